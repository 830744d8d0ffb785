"""The embedded server after kills: no committed row is lost, and the next command works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.server import RunningServer, ensure_running, find_running, running_process, stop_server
from galbase.schema.server_files import DataDirectory
from galbase.schema.server_settings import MIB, ServerSettings
from galbase.schema.server_user import choose_user

QUICK = ServerSettings(memory=512 * MIB, durable=False)


@pytest.fixture
def config() -> Iterator[Config]:
    """Configuration of a data directory with a server that ran once."""
    folder = Path(tempfile.mkdtemp(prefix="galbase-test-", dir="/tmp"))
    folder.chmod(0o755)
    made = Config(data_dir=folder / "archive")
    ensure_running(made, QUICK)
    yield made
    stop_server(made)
    shutil.rmtree(folder)


def _kill(running: RunningServer) -> None:
    os.kill(running.postmaster.pid, signal.SIGKILL)


def _write(config: Config, value: int) -> None:
    with connect(config, check_version=False) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def _rows(config: Config) -> list[int]:
    with connect(config, check_version=False) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY value")]


def test_committed_rows_survive_kills(config: Config) -> None:
    for value in range(3):
        running = ensure_running(config)
        _write(config, value)
        _kill(running)
        assert _rows(config) == list(range(value + 1))
    assert ensure_running(config).postmaster.pid != running.postmaster.pid


def test_a_backend_that_still_computes_is_ended(config: Config) -> None:
    """It does not notice that its parent died, and would keep the shared memory in use for hours."""
    _write(config, 1)
    running = ensure_running(config)
    with psycopg.connect(running.url(config.owner_role)) as busy:
        orphan = psutil.Process(busy.info.backend_pid)
        failures: list[type[Exception]] = []

        def compute() -> None:
            try:
                busy.execute("DO $$ BEGIN LOOP END LOOP; END $$")
            except psycopg.OperationalError as error:
                failures.append(type(error))

        thread = threading.Thread(target=compute)
        thread.start()
        time.sleep(0.5)
        _kill(running)
        assert _rows(config) == [1]
        thread.join(10)
        assert not thread.is_alive()
        assert failures
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_process_number_that_is_anothers_by_now(config: Config) -> None:
    """PostgreSQL alone refuses to start as long as the number in postmaster.pid is any process of its user."""
    _write(config, 1)
    running = ensure_running(config)
    cluster = running.home / "data"
    stale = (cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()
    _kill(running)
    user = choose_user(config.data_dir, running.home)
    options = {} if user.is_self else {"user": user.uid, "group": user.gid, "extra_groups": []}
    with subprocess.Popen(["sleep", "100"], cwd="/", **options) as bystander:
        stale[0] = str(bystander.pid)
        user.write(cluster / "postmaster.pid", "\n".join(stale) + "\n")
        user.write(
            Path(running.postmaster.socket_directory) / f".s.PGSQL.{running.postmaster.port}.lock",
            "\n".join(stale) + "\n",
        )
        try:
            assert running_process(config) is None
            assert _rows(config) == [1]
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_broken_process_file(config: Config) -> None:
    _write(config, 1)
    running = ensure_running(config)
    _kill(running)
    user = choose_user(config.data_dir, running.home)
    user.write(running.home / "data" / "postmaster.pid", "nonsense\n")
    assert _rows(config) == [1]


def test_a_copied_directory_is_not_taken_for_the_running_one(config: Config) -> None:
    ensure_running(config)
    copy = Config(data_dir=config.data_dir.with_name("copy"))
    subprocess.run(["cp", "-a", str(config.data_dir), str(copy.data_dir)], check=True)
    assert (copy.data_dir / "postgresql-18" / "data" / "postmaster.pid").exists()
    assert find_running(copy) is None
    try:
        assert ensure_running(copy, QUICK).postmaster.port != ensure_running(config).postmaster.port
    finally:
        stop_server(copy)
    assert find_running(config) is not None


def test_a_killed_backend_is_waited_for(config: Config) -> None:
    """The server ends all sessions and recovers; meanwhile it refuses connections."""
    _write(config, 1)
    with connect(config, check_version=False) as victim:
        psutil.Process(victim.info.backend_pid).kill()
        time.sleep(0.05)
        assert _rows(config) == [1]


def test_stopping_while_it_recovers_does_not_hang(config: Config) -> None:
    _write(config, 1)
    with connect(config, check_version=False) as victim:
        psutil.Process(victim.info.backend_pid).kill()
    began = time.monotonic()
    assert stop_server(config) is not None
    assert time.monotonic() - began < 30
    assert _rows(config) == [1]


def test_a_killed_client_leaves_the_server(config: Config) -> None:
    stop_server(config)
    script = (
        "import sys, time; from pathlib import Path; from galbase.schema.config import Config\n"
        "from galbase.schema.server import ensure_running\n"
        "ensure_running(Config(data_dir=Path(sys.argv[1])))\n"
        "sys.stdout.write('up'); sys.stdout.flush(); time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(config.data_dir)], stdout=subprocess.PIPE, start_new_session=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.read(2) == b"up"
        pid = ensure_running(config).postmaster.pid
        assert os.getsid(pid) != client.pid
        os.killpg(client.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert ensure_running(config).postmaster.pid == pid


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.35, 0.5, 0.7, 0.9, 1.2])
def test_a_first_start_that_is_killed_can_be_repeated(delay: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="galbase-test-", dir="/tmp"))
    folder.chmod(0o755)
    config = Config(data_dir=folder / "archive")
    script = (
        "import sys; from pathlib import Path; from galbase.schema.config import Config\n"
        "from galbase.schema.server import ensure_running\n"
        "import psycopg, psutil, filelock\n"
        "sys.stdout.write('go'); sys.stdout.flush()\n"
        "ensure_running(Config(data_dir=Path(sys.argv[1])))\n"
    )
    try:
        with subprocess.Popen(
            [sys.executable, "-c", script, str(config.data_dir)], stdout=subprocess.PIPE, start_new_session=True
        ) as client:
            assert client.stdout is not None
            assert client.stdout.read(2) == b"go"
            time.sleep(delay)
            os.killpg(client.pid, signal.SIGKILL)
        _write(config, 1)
        assert _rows(config) == [1]
    finally:
        record = DataDirectory(config.data_dir).record()
        assert record is not None
        stop_server(config)
        shutil.rmtree(folder)
