"""The embedded server: creation, discovery, racing starts, settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from galbase.schema.config import Config
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.server import (
    _try_vector,
    ensure_running,
    find_running,
    running_process,
    stop_server,
)
from galbase.schema.server_files import MAX_SOCKET_PATH, DataDirectory
from galbase.schema.server_process import SUPERUSER
from galbase.schema.server_settings import GIB, MIB, ServerSettings, configuration, parse_memory

QUICK = ServerSettings(memory=512 * MIB, durable=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that every user may enter, as a system's data directory is."""
    made = Path(tempfile.mkdtemp(prefix="galbase-test-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def config(folder: Path) -> Iterator[Config]:
    """Configuration of a data directory without a server; one that a test starts is stopped."""
    made = Config(data_dir=folder / "archive")
    yield made
    _remove(made)


def _remove(config: Config) -> None:
    stop_server(config)
    record = DataDirectory(config.data_dir).record()
    if record is not None:
        shutil.rmtree(DataDirectory(config.data_dir).home(record))


def _modes(path: Path) -> dict[Path, int]:
    return {folder: folder.stat().st_mode for folder in [path, *path.parents]}


def test_starts_once_and_is_found_again(config: Config) -> None:
    assert running_process(config) is None
    assert find_running(config) is None
    first = ensure_running(config, QUICK)
    again = ensure_running(config, QUICK)
    assert again.postmaster == first.postmaster
    with psycopg.connect(first.url(config.owner_role)) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == (
            "galbase_owner",
            "galbase",
        )
    stopped = stop_server(config)
    assert stopped == first.postmaster
    assert not _processes(first.home / "data")
    assert stop_server(config) is None
    assert find_running(config) is None
    # The port stays, so that connections saved in psql or TOPCAT go on working.
    assert ensure_running(config, QUICK).postmaster.port == first.postmaster.port


def test_files_are_private_and_parents_untouched(folder: Path, config: Config) -> None:
    before = _modes(folder)
    running = ensure_running(config, QUICK)
    assert stat.S_IMODE((config.data_dir / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(running.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.home / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(running.postmaster.socket_directory).stat().st_mode) == 0o700
    stop_server(config)
    assert _modes(folder) == before


def test_a_closed_parent_stays_closed(folder: Path) -> None:
    """Whoever runs the server cannot enter the data directory."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    config = Config(data_dir=closed / "share" / "archive")
    before = _modes(closed)
    try:
        running = ensure_running(config, QUICK)
        with psycopg.connect(running.url(SUPERUSER)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert running.home.is_relative_to(closed) == (os.geteuid() != 0)
        assert ensure_running(config).postmaster == running.postmaster
        stop_server(config)
        assert ensure_running(config, QUICK).home == running.home
        assert _modes(closed) == before
    finally:
        _remove(config)


def test_long_paths_get_a_short_socket_folder(folder: Path) -> None:
    config = Config(data_dir=folder / ("a" * 60) / ("b" * 60))
    try:
        running = ensure_running(config, QUICK)
        sockets = Path(running.postmaster.socket_directory)
        path = sockets / f".s.PGSQL.{running.postmaster.port}"
        assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
        assert stat.S_ISSOCK(path.stat().st_mode)
        with psycopg.connect(
            host=str(sockets),
            port=running.postmaster.port,
            user=SUPERUSER,
            password=running.credentials[SUPERUSER],
            dbname="galbase",
        ) as connection:
            assert connection.execute("SELECT inet_server_addr()").fetchone() == (None,)
        stop_server(config)
        assert not sockets.exists()
    finally:
        _remove(config)


def _processes(cluster: Path) -> list[psutil.Process]:
    """Living processes that work in a cluster; the operating system knows them by their working directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == cluster and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


STARTER = """
import sys
from pathlib import Path
from galbase.schema.config import Config
from galbase.schema.server import ensure_running
sys.stdout.write(str(ensure_running(Config(data_dir=Path(sys.argv[1]))).postmaster.pid))
"""


def test_racing_starts_get_one_server(config: Config) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", STARTER, str(config.data_dir)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = [racer.communicate(timeout=120)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 6
    assert len(set(answers)) == 1
    processes = _processes(ensure_running(config).home / "data")
    pids = {process.pid for process in processes}
    assert [process.pid for process in processes if process.ppid() not in pids] == [int(answers[0])]


def test_settings_and_passwords(config: Config) -> None:
    running = ensure_running(config, QUICK)
    wanted = {
        "listen_addresses": "127.0.0.1",
        "shared_buffers": "128MB",
        "maintenance_work_mem": "64MB",
        "data_checksums": "on",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
        "client_connection_check_interval": "5s",
        "password_encryption": "scram-sha-256",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "fsync": "off",
    }
    with psycopg.connect(running.url(config.owner_role)) as connection:
        found = {}
        for name in wanted:
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert row is not None
            found[name] = row[0]
        locale = connection.execute(
            "SELECT datlocprovider, datlocale, upper('é') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        hashes = connection.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin",
            [[config.owner_role, config.reader_role]],
        ).fetchone()
    assert found == wanted
    assert locale == ("b", "C.UTF-8", "É")
    assert hashes == (2,)
    with psycopg.connect(running.url(config.reader_role)) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("10min",)
    wrong = running.url(SUPERUSER).replace(running.credentials[SUPERUSER], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    assert len(set(running.credentials.values())) == 3


def test_a_durable_server_is_the_default(config: Config) -> None:
    running = ensure_running(config)
    with psycopg.connect(running.url(SUPERUSER)) as connection:
        row = connection.execute("SELECT current_setting('fsync'), current_setting('full_page_writes')").fetchone()
    assert row == ("on", "on")


def test_a_taken_port_is_given_up(config: Config) -> None:
    port = ensure_running(config, QUICK).postmaster.port
    stop_server(config)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        again = ensure_running(config, QUICK)
    assert again.postmaster.port != port


def test_other_role_names_are_added(config: Config) -> None:
    first = ensure_running(config, QUICK)
    other = Config(data_dir=config.data_dir, owner_role="Curator of stars", reader_role="guest")
    second = ensure_running(other, QUICK)
    assert second.postmaster == first.postmaster
    with psycopg.connect(second.url("Curator of stars")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("Curator of stars",)


def test_an_unsupported_processor_is_named(config: Config) -> None:
    """An illegal instruction ends the backend and the connection; here a signal does the same to a real one."""
    running = ensure_running(config, QUICK)
    with psycopg.connect(running.url(SUPERUSER), autocommit=True) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.send_signal(4)
        backend.wait(10)
        with pytest.raises(GalbaseError, match="this processor cannot run the vector extension") as raised:
            _try_vector(connection, running.home)
    assert "GALBASE_DATABASE_URL" in str(raised.value)


def test_lost_passwords_are_named(config: Config) -> None:
    ensure_running(config, QUICK)
    stop_server(config)
    (config.data_dir / "credentials.json").unlink()
    with pytest.raises(GalbaseError, match=r"credentials\.json.*is missing"):
        ensure_running(config, QUICK)


def test_a_lost_cluster_is_named(config: Config) -> None:
    running = ensure_running(config, QUICK)
    stop_server(config)
    running.home.rename(running.home.with_name("elsewhere"))
    with pytest.raises(GalbaseError, match="which does not exist"):
        ensure_running(config, QUICK)
    running.home.with_name("elsewhere").rename(running.home)


def test_a_server_that_cannot_start_shows_its_log(config: Config) -> None:
    running = ensure_running(config, QUICK)
    stop_server(config)
    with (running.home / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(GalbaseError, match='unrecognized configuration parameter "no_such_setting"'):
        ensure_running(config, QUICK)


def test_another_major_version_is_named(config: Config) -> None:
    running = ensure_running(config, QUICK)
    stop_server(config)
    (running.home / "data" / "PG_VERSION").write_text("17\n", encoding="ascii")
    with pytest.raises(GalbaseError, match="made by PostgreSQL 17"):
        ensure_running(config, QUICK)


@pytest.mark.parametrize(
    ("text", "size"), [("512MB", 512 * MIB), ("4GB", 4 * GIB), ("4 GiB", 4 * GIB), ("1.5g", 3 * GIB // 2)]
)
def test_memory_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "100MB", "4 apples"])
def test_memory_that_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="server_memory is"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("memory", "buffers", "maintenance"),
    [(128 * MIB, "64MB", "64MB"), (8 * GIB, "2048MB", "512MB"), (256 * GIB, "4096MB", "2048MB")],
)
def test_memory_settings(memory: int, buffers: str, maintenance: str) -> None:
    text = configuration(ServerSettings(memory=memory), 5432, Path("/tmp/it's"))
    assert f"shared_buffers = '{buffers}'" in text
    assert f"maintenance_work_mem = '{maintenance}'" in text
    assert "unix_socket_directories = '/tmp/it''s'" in text
    assert "fsync" not in text
