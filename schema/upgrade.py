"""`galbase db upgrade`: migrations, then functions and views, then grants, in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.schema.database import admin_url, connect, connect_url, connection_text, database_url
from galbase.schema.deferred import restore
from galbase.schema.errors import GalbaseError
from galbase.schema.roles import grant_reader, in_use, lock_for_upgrade, prepare_database
from galbase.schema.version import (
    SchemaVersion,
    component_digest,
    expected_version,
    installers,
    schema_version,
)

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection as SAConnection

    from galbase.schema.config import Config


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade did.

    Parameters
    ----------
    before, after : SchemaVersion
        Version of the schema.
    changed : bool
        Whether they differ.
    seconds : float
        Time it took.
    """

    before: SchemaVersion
    after: SchemaVersion
    changed: bool
    seconds: float


def upgrade(config: Config, *, drop_dependents: bool = False) -> UpgradeReport:
    """Bring the archive's schema to the version of this program; everything or nothing.

    Roles, extension and settings of the database are seen to first, in a transaction of their own.

    Parameters
    ----------
    config : Config
        Where the archive is; the embedded server is started if need be.
    drop_dependents : bool
        Whether to drop users' views that stand in the way (the installer saves their definitions first); without,
        the upgrade stops and lists them.

    Returns
    -------
    UpgradeReport

    Raises
    ------
    GalbaseError
        If the user lacks rights (with the SQL for an administrator), the database is in use, users' views depend
        on what must change, or its schema is of a newer galbase. Then nothing has changed.
    """
    import psycopg
    import sqlalchemy as sa

    began = time.monotonic()
    with connect_url(admin_url(config), autocommit=True) as connection:
        prepare_database(connection, config)
    url = database_url(config, "owner")
    with connect_url(url, autocommit=True) as connection:
        _finish_bulk_load(connection)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: connect_url(url), poolclass=sa.NullPool)
    try:
        with engine.begin() as shared:
            # Alembic works through SQLAlchemy, the installer through psycopg: one connection, one transaction.
            raw: psycopg.Connection[Any] = shared.connection.driver_connection  # type: ignore[assignment]
            lock_for_upgrade(raw)
            before = schema_version(raw)
            _migrate(shared, before)
            for installer in installers():
                installer.load()(raw, drop_dependents=drop_dependents)
                raw.execute(
                    "INSERT INTO archive.installed_version (component, version) VALUES (%s, %s) "
                    "ON CONFLICT (component) DO UPDATE SET version = excluded.version",
                    [installer.name, component_digest(installer)],
                )
            grant_reader(raw, config)
            after = schema_version(raw)
    except (psycopg.errors.LockNotAvailable, sa.exc.OperationalError) as error:
        if not isinstance(getattr(error, "orig", error), psycopg.errors.LockNotAvailable):
            raise
        raise in_use(connection_text(config)) from error
    finally:
        engine.dispose()
    return UpgradeReport(before, after, before != after, time.monotonic() - began)


def _finish_bulk_load(connection: psycopg.Connection[Any]) -> None:
    """Make the indexes and constraints that an interrupted bulk load left to its end, for migrations expect them."""
    import psycopg

    row = connection.execute("SELECT to_regclass('archive.deferred_object') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return
    try:
        restore(connection)
    except psycopg.IntegrityError as error:
        raise GalbaseError(
            f"a bulk load was interrupted, and its rows need merging: {error.diag.message_detail} Run the same "
            "`galbase ingest catalogue` again with the version of galbase that began it, then upgrade."
        ) from error


def needs_upgrade(config: Config) -> bool:
    """Whether the archive's schema is absent or of another version."""
    with connect(config, check_version=False, autocommit=True) as connection:
        return schema_version(connection) != expected_version()


def _migrate(connection: SAConnection, before: SchemaVersion) -> None:
    from alembic import command
    from alembic.config import Config as AlembicConfig
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    settings.attributes["connection"] = connection
    if before.tables is not None:
        try:
            ScriptDirectory.from_config(settings).get_revision(before.tables)
        except CommandError as error:
            raise GalbaseError(
                f"the database's tables are at revision {before.tables!r}, which this galbase does not know: a newer "
                "galbase made them. Upgrade galbase."
            ) from error
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS archive")
    command.upgrade(settings, "head")
