"""Whose criterion a flag of preprocessing is, and whether it keeps an image out."""

from alembic import op

revision = "a0011"
down_revision = "a0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns to archive.flag_definition; every upgrade fills them anew."""
    op.get_bind().exec_driver_sql(
        "ALTER TABLE archive.flag_definition ADD COLUMN criterion TEXT, ADD COLUMN keeps_out BOOLEAN"
    )
