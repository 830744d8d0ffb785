"""Origins of labels; training sets that keep what they were frozen from, and the members that the archive has lost."""

from alembic import op

revision = "a0006"
down_revision = "a0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add archive.label_origin and columns of training sets; their members no longer vanish with their images."""
    run = op.get_bind().exec_driver_sql
    run(
        "CREATE TABLE archive.label_origin ("
        "origin TEXT NOT NULL, "
        "evaluation_only BOOLEAN NOT NULL, "
        "created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, "
        "CONSTRAINT pk_label_origin PRIMARY KEY (origin))"
    )
    run(
        "ALTER TABLE archive.reference_value ADD COLUMN data_file_id BIGINT, "
        "ADD CONSTRAINT fk_reference_value_data_file_id FOREIGN KEY (data_file_id) "
        "REFERENCES archive.data_file (data_file_id)"
    )
    run(
        "CREATE INDEX ix_reference_value_data_file_id ON archive.reference_value (data_file_id) "
        "WHERE data_file_id IS NOT NULL"
    )
    run(
        "ALTER TABLE archive.training_set "
        "ADD COLUMN properties TEXT[] DEFAULT '{}' NOT NULL, "
        "ADD COLUMN options JSONB DEFAULT '{}' NOT NULL"
    )
    # GalEffNet's was the only selection so far.
    run("UPDATE archive.training_set SET properties = '{log_mstar_fib,log_ssfr_fib}' WHERE selection = 'galeffnet'")
    run(
        "ALTER TABLE archive.training_member "
        "DROP CONSTRAINT fk_training_member_observation_id, "
        "ADD COLUMN label_source_id BIGINT, "
        "ADD COLUMN label DOUBLE PRECISION[], "
        "ADD COLUMN input_hash TEXT, "
        "ADD COLUMN spectrum_observation_id BIGINT, "
        "ADD COLUMN spectrum_hash TEXT"
    )
