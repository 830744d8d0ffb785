"""How many current stamps a cached file holds, so that it is known which files lack some."""

from alembic import op

revision = "a0010"
down_revision = "a0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to archive.stamp_file."""
    op.get_bind().exec_driver_sql("ALTER TABLE archive.stamp_file ADD COLUMN n_stamp BIGINT NOT NULL DEFAULT 0")
