"""Losses of trainings, epoch by epoch."""

from alembic import op

revision = "a0014"
down_revision = "a0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add archive.training_epoch; curves of models trained before stay in their metrics."""
    op.get_bind().exec_driver_sql(
        "CREATE TABLE archive.training_epoch ("
        "run_id BIGINT NOT NULL, "
        "part TEXT NOT NULL, "
        "epoch INTEGER NOT NULL, "
        "loss DOUBLE PRECISION, "
        "val_loss DOUBLE PRECISION, "
        "recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, "
        "CONSTRAINT pk_training_epoch PRIMARY KEY (run_id, part, epoch), "
        "CONSTRAINT fk_training_epoch_run_id FOREIGN KEY (run_id) REFERENCES archive.run (run_id) ON DELETE CASCADE)"
    )
