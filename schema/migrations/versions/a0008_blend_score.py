"""How blended an image is, not just whether."""

from alembic import op

revision = "a0008"
down_revision = "a0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to archive.preprocess."""
    op.get_bind().exec_driver_sql("ALTER TABLE archive.preprocess ADD COLUMN blend_score DOUBLE PRECISION")
