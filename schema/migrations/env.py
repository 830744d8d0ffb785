"""Alembic environment: runs on the connection that `galbase db upgrade` hands over, in its transaction."""

from alembic import context

from galbase.schema import registry
from galbase.schema.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema="archive",
    include_schemas=True,
    transactional_ddl=True,
)
context.run_migrations()
registry.refresh(connection)
