"""Roles and rights: who owns the archive, who may read it, and what a database needs before tables are made in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

    from galbase.schema.config import Config

SCHEMAS = ("archive", "api", "catalogue")
# Any fixed number: "galbase" in ASCII. Two upgrades of one database wait for each other.
ADVISORY_LOCK = 0x67616C62617365
LOCK_TIMEOUT = "30s"
MINIMUM_SERVER = 150000
MINIMUM_VECTOR = (0, 8)
READER_STATEMENT_TIMEOUT = "10min"
# They must reach psql, TOPCAT and every other client too, so they stand on the database. Both were measured on cone
# searches: JIT compiles longer than the query runs, and "auto" plans every call anew, which doubles its cost.
DATABASE_SETTINGS = {"jit": "off", "plan_cache_mode": "force_generic_plan"}


def create_login_roles(connection: psycopg.Connection, config: Config, passwords: dict[str, str]) -> None:
    """Make owner and reader of the embedded server, or set their passwords anew.

    Parameters
    ----------
    connection : psycopg.Connection
        A superuser's, in autocommit mode.
    config : Config
        Names of the roles.
    passwords : dict of str to str
        By role name.
    """
    from psycopg import sql

    for role in (config.owner_role, config.reader_role):
        create = sql.SQL(
            "ALTER ROLE {} LOGIN PASSWORD {}" if _role_exists(connection, role) else "CREATE ROLE {} LOGIN PASSWORD {}"
        )
        connection.execute(create.format(sql.Identifier(role), sql.Literal(passwords[role])))
    connection.execute(
        sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(
            sql.Identifier(config.reader_role), sql.Literal(READER_STATEMENT_TIMEOUT)
        )
    )


def create_database(connection: psycopg.Connection, name: str, owner: str) -> None:
    """Make database `name` if it does not exist; the connection is in autocommit mode."""
    from psycopg import sql

    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))


def prepare_database(connection: psycopg.Connection, config: Config) -> None:
    """Give the connected database its roles, rights, extension and settings; what is there already stays.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, of a user with the right to do so.
    config : Config
        Names of the roles.

    Raises
    ------
    GalbaseError
        If server or extension are too old; or, with the SQL for an administrator, if the user lacks the rights.
    """
    import psycopg

    check_server(connection)
    statements: list[sql.Composed] = []
    try:
        with connection.transaction():
            # PostgreSQL refuses the same GRANT by two sessions at one moment.
            lock_for_upgrade(connection)
            statements = missing_preparation(connection, config)
            for statement in statements:
                connection.execute(statement)
    except psycopg.errors.LockNotAvailable as error:
        raise in_use(connection.info.dbname) from error
    except psycopg.errors.InsufficientPrivilege as error:
        listing = "\n".join(f"{statement.as_string(connection)};" for statement in statements)
        raise GalbaseError(
            f"user {connection.info.user!r} lacks rights on the server ({error.diag.message_primary}). Ask an "
            f"administrator to run, in database {connection.info.dbname!r}:\n\n{listing}\n\n"
            "and run the command again."
        ) from error


def lock_for_upgrade(connection: psycopg.Connection) -> None:
    """Let other upgrades of this database wait until the current transaction ends; wait for them only so long."""
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])


def in_use(database: str) -> GalbaseError:
    """The error for a lock that was not free in time."""
    return GalbaseError(
        f"database {database!r} is in use: a lock was not free within {LOCK_TIMEOUT}. Nothing was changed. Wait for "
        "running queries and upgrades to end (they stand in pg_stat_activity), and run the command again."
    )


def check_server(connection: psycopg.Connection) -> None:
    """Refuse a server older than PostgreSQL 15, or without pgvector 0.8.

    Raises
    ------
    GalbaseError
        With the version found.
    """
    version = connection.info.server_version
    if version < MINIMUM_SERVER:
        raise GalbaseError(
            f"the server runs PostgreSQL {version // 10000}.{version % 10000}; galbase needs "
            f"{MINIMUM_SERVER // 10000} or newer. Upgrade it, or name another in GALBASE_DATABASE_URL."
        )
    row = connection.execute(
        "SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'vector'"
    ).fetchone()
    newest = None if row is None else str(row[0])
    if newest is None or _version(newest) < MINIMUM_VECTOR:
        raise GalbaseError(
            f"the server offers {'no pgvector' if newest is None else 'pgvector ' + newest}; galbase needs pgvector "
            f"{'.'.join(map(str, MINIMUM_VECTOR))} or newer. Install it on the server's machine "
            "(https://github.com/pgvector/pgvector), or name another server in GALBASE_DATABASE_URL."
        )


def missing_preparation(connection: psycopg.Connection, config: Config) -> list[sql.Composed]:
    """Statements that the connected database still needs before an upgrade, in order; none if it is ready."""
    from psycopg import sql

    owner, reader = sql.Identifier(config.owner_role), sql.Identifier(config.reader_role)
    user = connection.info.user
    database = sql.Identifier(connection.info.dbname)
    statements: list[sql.Composed] = []
    has_owner = _role_exists(connection, config.owner_role)
    has_reader = _role_exists(connection, config.reader_role)
    if not has_owner:
        statements.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(owner))
    if not has_reader:
        statements.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(reader))
    if not (has_owner and has_reader and _may_become(connection, config.owner_role, config.reader_role)):
        statements.append(sql.SQL("GRANT {} TO {}").format(reader, owner))
    if (
        user != config.owner_role
        and not _is_superuser(connection)
        and not (has_owner and _may_become(connection, user, config.owner_role))
    ):
        statements.append(sql.SQL("GRANT {} TO {}").format(owner, sql.Identifier(user)))
    if not (has_owner and _may_create(connection, config.owner_role)):
        statements.append(sql.SQL("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, owner))
    if not _may_connect(connection, config.reader_role if has_reader else "public"):
        statements.append(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, reader))
    installed = _installed_vector(connection)
    if installed is None:
        statements.append(sql.SQL("CREATE EXTENSION vector").format())
    elif _version(installed) < MINIMUM_VECTOR:
        statements.append(sql.SQL("ALTER EXTENSION vector UPDATE").format())
    current = _database_settings(connection)
    for name, value in DATABASE_SETTINGS.items():
        if current.get(name) != value:
            statements.append(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(name), sql.Literal(value))
            )
    return statements


def grant_reader(connection: psycopg.Connection, config: Config) -> None:
    """Let the reader read everything in `api`, `archive` and `catalogue`, now and in future.

    Parameters
    ----------
    connection : psycopg.Connection
        The owner's, in whose name default privileges are set; the statements run in its current transaction.
    config : Config
        Names of the roles.
    """
    from psycopg import sql

    templates: tuple[LiteralString, ...] = (
        "GRANT USAGE ON SCHEMA {schema} TO {reader}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {reader}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO {reader}",
    )
    for schema in SCHEMAS:
        for template in templates:
            connection.execute(
                sql.SQL(template).format(schema=sql.Identifier(schema), reader=sql.Identifier(config.reader_role))
            )


def _role_exists(connection: psycopg.Connection, role: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _may_become(connection: psycopg.Connection, member: str, role: str) -> bool:
    # Since PostgreSQL 16 a membership may lack the right to SET ROLE, which is the one needed here.
    kind = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute("SELECT pg_has_role(%s::name, %s::name, %s)", [member, role, kind]).fetchone()
    return row is not None and bool(row[0])


def _is_superuser(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").fetchone()
    return row is not None and bool(row[0])


def _may_create(connection: psycopg.Connection, role: str) -> bool:
    row = connection.execute("SELECT has_database_privilege(%s::name, current_database(), 'CREATE')", [role]).fetchone()
    return row is not None and bool(row[0])


def _may_connect(connection: psycopg.Connection, role: str) -> bool:
    row = connection.execute(
        "SELECT has_database_privilege(%s::name, current_database(), 'CONNECT')", [role]
    ).fetchone()
    return row is not None and bool(row[0])


def _installed_vector(connection: psycopg.Connection) -> str | None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    return None if row is None else str(row[0])


def _database_settings(connection: psycopg.Connection) -> dict[str, str]:
    row = connection.execute(
        "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
        "WHERE d.datname = current_database() AND s.setrole = 0"
    ).fetchone()
    return dict(entry.split("=", 1) for entry in row[0]) if row else {}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
