"""Dump the archive to a file and restore it, with the wheel's pg_dump and pg_restore."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from galbase.schema.database import admin_url, connect_url, connection_text, database_url
from galbase.schema.errors import GalbaseError
from galbase.schema.roles import grant_reader, prepare_database
from galbase.schema.server_binaries import MAJOR_VERSION, Binaries, wheel_binaries

if TYPE_CHECKING:
    import psycopg

    from galbase.schema.config import Config


def dump(config: Config, file: Path) -> int:
    """Write the whole database to `file` in pg_dump's custom format.

    Parameters
    ----------
    config : Config
        Where the archive is.
    file : Path
        File to write; it appears only when it is complete, with mode 0600.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    GalbaseError
        If the file exists or cannot be written, the server is newer than this pg_dump, or pg_dump fails.
    """
    if file.exists():
        raise GalbaseError(f"{file} exists already. Remove it, or name another file.")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise GalbaseError(f"{file.absolute().parent} is not a folder that you may write to. Name another file.")
    url = admin_url(config)
    _check_server(url)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        # The extension belongs to the server; a restore finds its own version there.
        _run(wheel_binaries(), "pg_dump", url, ["--format=custom", "--exclude-extension=*", f"--file={scratch}"])
        size = scratch.stat().st_size
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
    return size


def restore(config: Config, file: Path) -> None:
    """Fill an empty database from a file that `dump` wrote; everything or nothing.

    Everything in it belongs to the owner role afterwards, and the reader may read the archive's schemas; rights of
    other roles are not restored, since those need not exist here.

    Parameters
    ----------
    config : Config
        Where to restore; the embedded server is started if need be.
    file : Path
        The dump.

    Raises
    ------
    GalbaseError
        If the database is not empty, the file is no dump, or pg_restore fails.
    """
    if not file.is_file():
        raise GalbaseError(f"{file} is not a file. Name a file that `galbase db dump` wrote.")
    url = admin_url(config)
    _check_server(url)
    with connect_url(url, autocommit=True) as connection:
        occupied = _occupants(connection)
        if occupied:
            raise GalbaseError(
                f"database {connection_text(config)} is not empty: it holds {', '.join(occupied)}. Restore into a new "
                "archive (`galbase --data-dir NEW db restore FILE`), or into a new database named in "
                "GALBASE_DATABASE_URL."
            )
        prepare_database(connection, config)
    rights = ["--no-owner", "--no-privileges", f"--role={config.owner_role}"]
    _run(wheel_binaries(), "pg_restore", url, [*rights, "--single-transaction", "--exit-on-error", str(file)])
    with connect_url(database_url(config, "owner")) as connection:
        grant_reader(connection, config)
        connection.commit()
        connection.execute("ANALYZE")


def psql(config: Config, url: str, arguments: list[str]) -> None:
    """Replace this process by the wheel's psql, connected to `url`; the password goes by the environment.

    Parameters
    ----------
    config : Config
        Names the server in the message if psql is missing.
    url : str
        Where to connect.
    arguments : list of str
        Further arguments of psql.
    """
    program = wheel_binaries().program("psql")
    target, environment = _target(url)
    sys.stdout.flush()
    try:
        os.execve(program, [str(program), f"--dbname={target}", *arguments], environment)
    except OSError as error:
        raise GalbaseError(
            f"{program} cannot be run ({error.strerror}). Use any psql with `galbase db url` for database "
            f"{connection_text(config)}."
        ) from error


def _target(url: str) -> tuple[str, dict[str, str]]:
    """Connection text without its password, and the environment that has it: arguments are visible to all users."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    values = conninfo_to_dict(url)
    password = values.pop("password", None)
    environment = dict(os.environ)
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **values), environment


def _run(binaries: Binaries, name: str, url: str, options: list[str]) -> None:
    target, environment = _target(url)
    command = [str(binaries.program(name)), f"--dbname={target}", "--no-password", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise GalbaseError(f"{name} failed, and nothing was written:\n{done.stderr.strip()}")


def _check_server(url: str) -> None:
    with connect_url(url) as connection:
        version = connection.info.server_version
    if version // 10000 > MAJOR_VERSION:
        raise GalbaseError(
            f"the server runs PostgreSQL {version // 10000}, and galbase brings the programs of {MAJOR_VERSION}, which "
            f"cannot dump or restore it. Use the pg_dump and pg_restore of version {version // 10000}, with "
            "`galbase db url`."
        )


def _occupants(connection: psycopg.Connection) -> list[str]:
    """Schemas and public relations that a database holds beyond a new one's and its extensions'."""
    rows = connection.execute(
        "SELECT 'schema ' || nspname FROM pg_namespace "
        "WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') "
        "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass "
        "AND d.objid = pg_namespace.oid AND d.deptype = 'e') "
        "UNION ALL SELECT 'public.' || relname FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S') "
        "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass "
        "AND d.objid = pg_class.oid AND d.deptype = 'e') ORDER BY 1"
    ).fetchall()
    return [str(row[0]) for row in rows]
