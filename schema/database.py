"""Connections to the archive, embedded or external."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.version import SchemaVersion, expected_version, schema_version

if TYPE_CHECKING:
    import psycopg

    from galbase.schema.config import Config

__all__ = ["SchemaVersion", "admin_url", "connect", "connect_url", "database_url", "schema_version"]

Role = Literal["owner", "reader"]
CONNECT_TIMEOUT_S = 15
RETRY_FOR_S = 60
# A server that is coming up or recovering says so; one that was killed this moment does not answer at all.
_TRANSIENT = (
    "the database system is starting up",
    "the database system is shutting down",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "server closed the connection unexpectedly",
)
_GONE = (*_TRANSIENT, "Connection refused", "No such file or directory", "Connection reset by peer")


def connect(
    config: Config, *, autocommit: bool = False, role: Role = "owner", check_version: bool = True
) -> psycopg.Connection:
    """Connect to the archive; starts the embedded server if there is no external one and it does not run.

    Parameters
    ----------
    config : Config
        Where the archive is.
    autocommit : bool
        Whether every statement commits by itself.
    role : {'owner', 'reader'}
        As whom: the owner writes, the reader may only read.
    check_version : bool
        Whether to refuse a database whose schema is not the one that this program needs.

    Returns
    -------
    psycopg.Connection
        Not in a transaction. As a context manager it commits and closes.

    Raises
    ------
    GalbaseError
        If the server cannot be started or reached, or the schema's version is another.
    """
    connection = _connect(config, autocommit, role)
    if not check_version:
        return connection
    try:
        found = schema_version(connection)
        connection.rollback()
    except Exception:
        connection.close()
        raise
    expected = expected_version()
    if found != expected:
        connection.close()
        raise GalbaseError(
            f"database {connection_text(config)} holds no archive yet. Run `galbase db upgrade`."
            if found.tables is None
            else f"the schema of database {connection_text(config)} is {found}; this galbase needs {expected}. "
            "Run `galbase db upgrade` (or, if the database is the newer one, upgrade galbase)."
        )
    return connection


def _connect(config: Config, autocommit: bool, role: Role) -> psycopg.Connection:
    if config.database_url is not None:
        return connect_url(database_url(config, role), autocommit=autocommit)
    # The embedded server may be killed between finding it and connecting to it; then it is started again.
    deadline = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            return connect_url(database_url(config, role), autocommit=autocommit)
        except GalbaseError as error:
            if not any(text in str(error) for text in _GONE) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def connect_url(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Connect to a URL as given by `database_url`; for workers, which are handed that text.

    Waits up to a minute while the server starts up or recovers from a crash.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``.
    autocommit : bool
        Whether every statement commits by itself.

    Raises
    ------
    GalbaseError
        If there is no connection; the message has the URL without its password.
    """
    import psycopg

    deadline = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            return psycopg.connect(
                url, autocommit=autocommit, connect_timeout=CONNECT_TIMEOUT_S, fallback_application_name="galbase"
            )
        except psycopg.OperationalError as error:
            if any(text in str(error) for text in _TRANSIENT) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise GalbaseError(_refusal(url, str(error))) from error
        except psycopg.ProgrammingError as error:
            raise UsageError(f"{hide_password(url)} is not a database URL: {error}. {_EXAMPLE}") from error


_EXAMPLE = "Write it like postgresql://user:password@host:5432/database."


def _refusal(url: str, said: str) -> str:
    no_such_role = 'role "' in said and "does not exist" in said and "options=" in url
    if no_such_role or "permission denied to set role" in said or 'value for parameter "role"' in said:
        remedy = "The roles of the archive are not set up for this user: run `galbase db upgrade`."
    else:
        remedy = "Check that the server runs, and host, port, user and password in GALBASE_DATABASE_URL."
    return f"no connection to {hide_password(url)}: {said.strip()}\n{remedy}"


def database_url(config: Config, role: Role = "owner") -> str:
    """URL with which any program connects over TCP as owner or reader, password included.

    Starts the embedded server if need be. On an external server the user of ``config.database_url`` connects and
    takes on the role at once; what it makes then belongs to the role.

    Parameters
    ----------
    config : Config
        Where the archive is.
    role : {'owner', 'reader'}
        As whom.

    Raises
    ------
    GalbaseError
        If the embedded server cannot be started, or ``config.database_url`` is not a URL.
    """
    if role not in ("owner", "reader"):
        raise UsageError(f"role is {role!r}; it must be owner or reader.")
    name = config.owner_role if role == "owner" else config.reader_role
    if config.database_url is None:
        from galbase.schema.server import ensure_running

        return ensure_running(config).url(name)
    return _with_role(config.database_url, name)


def admin_url(config: Config) -> str:
    """URL of the user that prepares, dumps and restores: the embedded superuser, or the external URL's own user."""
    if config.database_url is None:
        from galbase.schema.server import ensure_running
        from galbase.schema.server_process import SUPERUSER

        return ensure_running(config).url(SUPERUSER)
    _checked(config.database_url)
    return config.database_url


def _checked(url: str) -> None:
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise UsageError(f"GALBASE_DATABASE_URL is {hide_password(url)!r}, which is not a database URL. {_EXAMPLE}")


def _with_role(url: str, role: str) -> str:
    """Add the start-up option that takes on `role`."""
    _checked(url)
    parts = urlsplit(url)
    if unquote(parts.username or "") == role:
        return url
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
    query["options"] = f"{query.get('options', '')} -c role={escaped}".strip()
    # libpq reads "+" as itself, not as a space.
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def hide_password(url: str) -> str:
    """The URL without its password, for messages."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}@{host}"))


def connection_text(config: Config) -> str:
    """Which database a configuration means, for messages."""
    return f"in {config.data_dir}" if config.database_url is None else hide_password(config.database_url)
