"""Indexes on HEALPix cells of three orders, which searches by position use."""

from alembic import op

revision = "a0003"
down_revision = "a0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them on archive.source and archive.galaxy."""
    connection = op.get_bind()
    for table in ("source", "galaxy"):
        for order, shift in ((11, 36), (9, 40), (7, 44)):
            connection.exec_driver_sql(
                f"CREATE INDEX ix_{table}_hpx29_order{order} ON archive.{table} ((hpx29 >> {shift}))"
            )
