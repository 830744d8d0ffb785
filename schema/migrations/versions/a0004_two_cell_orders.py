"""Indexes on HEALPix cells of two orders instead of three."""

from alembic import op

revision = "a0004"
down_revision = "a0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace them on archive.source and archive.galaxy, and on the catalogues that were loaded."""
    connection = op.get_bind()
    for table in ("source", "galaxy"):
        for order in (11, 9, 7):
            connection.exec_driver_sql(f"DROP INDEX archive.ix_{table}_hpx29_order{order}")
        for order, shift in ((10, 38), (8, 42)):
            connection.exec_driver_sql(
                f"CREATE INDEX ix_{table}_hpx29_order{order} ON archive.{table} ((hpx29 >> {shift}))"
            )
    connection.exec_driver_sql(
        "DO $$ DECLARE loaded record; BEGIN "
        "FOR loaded IN SELECT indexname FROM pg_indexes WHERE schemaname = 'catalogue' "
        "AND indexdef ~ '\\(\\(hpx29 >> (36|40|44)\\)\\)$' LOOP "
        "EXECUTE 'DROP INDEX catalogue.' || quote_ident(loaded.indexname); "
        "END LOOP; "
        "FOR loaded IN SELECT c.relname FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE n.nspname = 'catalogue' AND c.relkind = 'r' AND a.attname = 'hpx29' AND NOT a.attisdropped LOOP "
        "EXECUTE 'CREATE INDEX ON catalogue.' || quote_ident(loaded.relname) || ' ((hpx29 >> 38))'; "
        "EXECUTE 'CREATE INDEX ON catalogue.' || quote_ident(loaded.relname) || ' ((hpx29 >> 42))'; "
        "END LOOP; END $$"
    )
