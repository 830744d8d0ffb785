"""What `galbase db status` tells about the server and the schema; starts nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from galbase.schema.database import connect_url, hide_password
from galbase.schema.deferred import pending
from galbase.schema.errors import GalbaseError
from galbase.schema.version import expected_version, schema_version

if TYPE_CHECKING:
    from galbase.schema.config import Config


def database_status(config: Config) -> dict[str, Any]:
    """State of the server and of the schema in it.

    Parameters
    ----------
    config : Config
        Where the archive is.

    Returns
    -------
    dict
        Keys ``mode`` (embedded or external), ``running``, ``data_dir``, ``files``, ``pid``, ``host``, ``port``,
        ``socket_directory``, ``started_at``, ``url`` (without password), ``server_version``, ``pgvector_version``,
        ``size_bytes``, ``connections``, ``schema_version``, ``needed_version``, ``up_to_date``, ``deferred_indexes``
        (left to make by a bulk load that runs or was interrupted); those that are not
        known are None.
    """
    known = (
        "data_dir",
        "files",
        "pid",
        "host",
        "port",
        "socket_directory",
        "started_at",
        "url",
        "server_version",
        "pgvector_version",
        "size_bytes",
        "connections",
        "schema_version",
        "deferred_indexes",
    )
    status: dict[str, Any] = {"mode": "external" if config.database_url else "embedded", "running": False}
    status |= dict.fromkeys(known)
    status |= {"needed_version": str(expected_version()), "up_to_date": False}
    if config.database_url is None:
        from galbase.schema.server import HOST, find_running

        status["data_dir"] = str(config.data_dir)
        server = find_running(config)
        if server is None:
            return status
        status |= {
            "files": str(server.home),
            "pid": server.postmaster.pid,
            "host": HOST,
            "port": server.postmaster.port,
            "socket_directory": server.postmaster.socket_directory,
            "started_at": datetime.fromtimestamp(server.postmaster.started_at, UTC).isoformat(),
        }
        url = server.url(config.owner_role)
    else:
        url = config.database_url
    status["url"] = hide_password(url)
    try:
        status |= _ask(url)
    except GalbaseError:
        if config.database_url is None:
            raise
        return status
    status["running"] = True
    status["up_to_date"] = status["schema_version"] == status["needed_version"]
    return status


def _ask(url: str) -> dict[str, Any]:
    with connect_url(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), "
            "(SELECT extversion FROM pg_extension WHERE extname = 'vector'), "
            "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) - 1"
        ).fetchone()
        assert row is not None  # a SELECT without FROM has one row
        version = schema_version(connection)
        exists = connection.execute("SELECT to_regclass('archive.deferred_object') IS NOT NULL").fetchone()
        info = connection.info
        return {
            "host": info.host,
            "port": info.port,
            "server_version": row[0],
            "size_bytes": row[1],
            "pgvector_version": row[2],
            "connections": row[3],
            "schema_version": str(version),
            "deferred_indexes": pending(connection) if exists and exists[0] else None,
        }
