"""The embedded database server of a data directory: one PostgreSQL that starts by itself and survives commands.

The server is a plain PostgreSQL, detached from the program that started it; there is no daemon of ours. All state is
in the data directory (`galbase.schema.server_files`), and every change of it happens under one file lock.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from galbase.schema.config import Config
from galbase.schema.errors import GalbaseError
from galbase.schema.server_binaries import Binaries, binaries_for
from galbase.schema.server_files import (
    HOME_NAME,
    DataDirectory,
    ServerRecord,
    choose_home,
    state_directories,
)
from galbase.schema.server_process import (
    SUPERUSER,
    Postmaster,
    create_cluster,
    find_postmaster,
    log_tail,
    start,
    stop,
)
from galbase.schema.server_settings import ServerSettings, parse_memory
from galbase.schema.server_user import ServerUser, choose_user

if TYPE_CHECKING:
    import psycopg

DATABASE = "galbase"
HOST = "127.0.0.1"
LOCK_TIMEOUT_S = 960


@dataclass(frozen=True)
class RunningServer:
    """An embedded server that takes connections.

    Parameters
    ----------
    postmaster : Postmaster
        Its process, port and socket folder.
    home : Path
        Its folder.
    credentials : dict of str to str
        Passwords by role name.
    """

    postmaster: Postmaster
    home: Path
    credentials: dict[str, str]

    def url(self, role: str, database: str = DATABASE) -> str:
        """URL with which `role` connects over TCP."""
        password = quote(self.credentials[role], safe="")
        return f"postgresql://{quote(role, safe='')}:{password}@{HOST}:{self.postmaster.port}/{database}"


def settings_from(config: Config) -> ServerSettings:
    """Settings of the embedded server that the configuration asks for."""
    return ServerSettings(memory=None if config.server_memory is None else parse_memory(config.server_memory))


def ensure_running(config: Config, settings: ServerSettings | None = None) -> RunningServer:
    """Find the server of ``config.data_dir``, and create or start it if need be.

    Safe to call from several processes at once: they get the same server. On return the database ``galbase``, its
    extension `vector` and both login roles exist; tables are the business of `galbase.schema.upgrade`.

    Parameters
    ----------
    config : Config
        Data directory and role names.
    settings : ServerSettings, optional
        Memory and durability, used only if the server is not running; by default from `config`.

    Returns
    -------
    RunningServer

    Raises
    ------
    GalbaseError
        If the server cannot be created or started, or this processor cannot run its vector extension.
    """
    directory = DataDirectory(config.data_dir)
    found = find_running(config)
    if found is not None:
        return found
    directory.create()
    with _locked(directory):
        found = find_running(config)
        if found is not None:
            return found
        settings = settings or settings_from(config)
        record, user, binaries = _installation(directory)
        home = directory.home(record)
        credentials = directory.credentials()
        if not (home / "data").is_dir():
            credentials = {SUPERUSER: secrets.token_urlsafe(24)}
            directory.write_credentials(credentials)
            create_cluster(home / "data", binaries, user, credentials[SUPERUSER], durable=settings.durable)
        elif SUPERUSER not in credentials:
            raise GalbaseError(
                f"{directory.credentials_path}, which holds the passwords of the server in {home}, is missing. "
                "Put it back from a backup, or choose another directory with --data-dir."
            )
        postmaster = start(home, binaries, user, settings, record.port, record.socket_directory)
        directory.write_record(replace(record, port=postmaster.port, socket_directory=postmaster.socket_directory))
        running = RunningServer(postmaster, home, credentials)
        try:
            credentials = _prepare(running, config)
        except GalbaseError:
            stop(home / "data", binaries, user)
            raise
        directory.write_credentials(credentials)
        return RunningServer(postmaster, home, credentials)


def find_running(config: Config) -> RunningServer | None:
    """The server of ``config.data_dir`` if it runs, is ready and has the configured roles; starts nothing."""
    directory = DataDirectory(config.data_dir)
    postmaster = running_process(config)
    if postmaster is None or postmaster.status != "ready":
        return None
    credentials = directory.credentials()
    if not {SUPERUSER, config.owner_role, config.reader_role} <= set(credentials):
        return None
    record = directory.record()
    return None if record is None else RunningServer(postmaster, directory.home(record), credentials)


def running_process(config: Config) -> Postmaster | None:
    """The process of the server of ``config.data_dir``, or None; starts nothing."""
    directory = DataDirectory(config.data_dir)
    record = directory.record()
    if record is None:
        return None
    cluster = directory.home(record) / "data"
    try:
        return find_postmaster(cluster)
    except PermissionError as error:
        raise GalbaseError(
            f"{cluster} is not readable to this user. Run the command as the user that made {config.data_dir}, "
            "or choose another directory with --data-dir."
        ) from error


def stop_server(config: Config) -> Postmaster | None:
    """Stop the server of ``config.data_dir`` cleanly.

    Returns
    -------
    Postmaster or None
        The process that was stopped; None if none ran.

    Raises
    ------
    GalbaseError
        If it does not stop in time.
    """
    directory = DataDirectory(config.data_dir)
    if running_process(config) is None:
        return None
    with _locked(directory):
        running = running_process(config)
        if running is not None:
            record, user, binaries = _installation(directory)
            stop(directory.home(record) / "data", binaries, user)
        return running


@contextmanager
def _locked(directory: DataDirectory) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(directory.lock_path, timeout=LOCK_TIMEOUT_S, mode=0o600)
    try:
        with lock:
            directory.give_to_owner(directory.lock_path)
            yield
    except PermissionError as error:
        raise GalbaseError(
            f"{error.filename} is not accessible to this user. Run the command as the owner of {directory.path}, "
            "or choose another directory with --data-dir."
        ) from error
    except Timeout as error:
        raise GalbaseError(
            f"another command has been starting or stopping the server for {LOCK_TIMEOUT_S} s "
            f"(it holds {directory.lock_path}). End that command, and run this one again."
        ) from error


def _installation(directory: DataDirectory) -> tuple[ServerRecord, ServerUser, Binaries]:
    """The server's record, user and programs; chosen and recorded the first time. The caller holds the lock."""
    record = directory.record()
    if record is None:
        # There is a home without a record where the first start was interrupted between making the two.
        left = directory.path / HOME_NAME
        user = choose_user(directory.path, left if left.is_dir() else None)
        record = ServerRecord(choose_home(directory, user))
        directory.write_record(record)
    home = directory.home(record)
    if not home.is_dir():
        raise GalbaseError(
            f"{directory.record_path} says that the server's files are in {home}, which does not exist. Put that "
            "folder back from a backup, or choose another directory with --data-dir."
        )
    user = choose_user(directory.path, home)
    return record, user, binaries_for(user, [*state_directories(), home])


def _prepare(running: RunningServer, config: Config) -> dict[str, str]:
    """Make roles, database and extension, and try one vector query; returns the passwords of all roles."""
    import psycopg

    from galbase.schema.roles import create_database, create_login_roles, prepare_database

    credentials = dict(running.credentials)
    try:
        with psycopg.connect(running.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            for role in (config.owner_role, config.reader_role):
                credentials.setdefault(role, secrets.token_urlsafe(24))
            create_login_roles(connection, config, credentials)
            create_database(connection, DATABASE, config.owner_role)
        with psycopg.connect(running.url(SUPERUSER), autocommit=True) as connection:
            prepare_database(connection, config)
            _try_vector(connection, running.home)
    except psycopg.OperationalError as error:
        raise GalbaseError(
            f"the database server in {running.home} started, but refused its preparation: {error}\n"
            f"The end of its log:\n{log_tail(running.home)}"
        ) from error
    return credentials


def _try_vector(connection: psycopg.Connection, home: Path) -> None:
    """One vector query: the wheel's build may use instructions that an old processor lacks, which kills a backend."""
    import psycopg

    try:
        row = connection.execute("SELECT '[1,2,2]'::halfvec(3) <-> '[0,0,0]'::halfvec(3)").fetchone()
    except psycopg.OperationalError as error:
        raise GalbaseError(
            "this processor cannot run the vector extension of the embedded server: the query "
            f"\"SELECT '[1,2,2]'::halfvec(3) <-> '[0,0,0]'::halfvec(3)\" ended its process ({error}). "
            "Set GALBASE_DATABASE_URL to a PostgreSQL server with pgvector that was built for this machine. "
            f"The end of the log:\n{log_tail(home)}"
        ) from error
    if row is None or row[0] != 3.0:
        raise GalbaseError(
            f"the vector extension of the embedded server gave {row} for a distance of 3 on this processor. "
            "Set GALBASE_DATABASE_URL to another PostgreSQL server with pgvector."
        )
