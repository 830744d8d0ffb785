"""Indexes on HEALPix cells of three orders, which searches by position use."""

from alembic import op

revision = "a0003"
down_revision = "a0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them on archive.source and archive.galaxy, and on the catalogues that were loaded without them."""
    connection = op.get_bind()
    for table in ("source", "galaxy"):
        for order, shift in ((11, 36), (9, 40), (7, 44)):
            connection.exec_driver_sql(
                f"CREATE INDEX ix_{table}_hpx29_order{order} ON archive.{table} ((hpx29 >> {shift}))"
            )
    connection.exec_driver_sql(
        "DO $$ DECLARE loaded text; BEGIN "
        "FOR loaded IN SELECT 'catalogue.' || quote_ident(c.relname) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE n.nspname = 'catalogue' AND c.relkind = 'r' AND a.attname = 'hpx29' AND NOT a.attisdropped LOOP "
        "EXECUTE 'CREATE INDEX ON ' || loaded || ' ((hpx29 >> 36))'; "
        "EXECUTE 'CREATE INDEX ON ' || loaded || ' ((hpx29 >> 40))'; "
        "EXECUTE 'CREATE INDEX ON ' || loaded || ' ((hpx29 >> 44))'; "
        "END LOOP; END $$"
    )
