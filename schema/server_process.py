"""The processes of the embedded server: find, create, start, stop."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from galbase.schema.errors import GalbaseError
from galbase.schema.server_binaries import MAJOR_VERSION, Binaries
from galbase.schema.server_files import choose_socket_directory
from galbase.schema.server_settings import ServerSettings, configuration
from galbase.schema.server_user import ServerUser

SUPERUSER = "postgres"
START_TIMEOUT_S = 900
STOP_TIMEOUT_S = 60
_PORT_TRIES = 5
_BUSY_TRIES = 20
_LOG_LIMIT = 10 << 20
_BIND_FAILED = "could not create any TCP/IP sockets"
# What PostgreSQL says while processes of a killed server are still going away.
_STILL_BUSY = ("pre-existing shared memory block", "lock file", "shared memory segment")


@dataclass(frozen=True)
class Postmaster:
    """A running server, as its ``postmaster.pid`` says."""

    pid: int
    started_at: int
    port: int
    socket_directory: str
    status: str


def find_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on a cluster, or None.

    The file alone proves nothing: after a crash it stays, its number may be another program's by now, or a copied
    data directory may name the original's server. The process must exist, not be a zombie, and work in `cluster`.
    """
    lines = _pid_file(cluster)
    if len(lines) < 8 or not _works_in(int(lines[0]), cluster):
        return None
    return Postmaster(int(lines[0]), int(lines[2]), int(lines[3]), lines[4], lines[7].strip())


def _pid_file(cluster: Path) -> list[str]:
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return lines if lines and lines[0].isdigit() else []


def _works_in(pid: int, cluster: Path) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return (
            process.name().startswith("postgres")
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()) == cluster.resolve()
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def create_cluster(cluster: Path, binaries: Binaries, user: ServerUser, password: str, *, durable: bool) -> None:
    """Run initdb; the cluster is complete or not there at all.

    Parameters
    ----------
    cluster : Path
        Folder to make; its parent exists and belongs to `user`.
    binaries, user
        What to run, and as whom.
    password : str
        Of the superuser; every connection must give a password (SCRAM).
    durable : bool
        Whether to sync the files to disk.

    Raises
    ------
    GalbaseError
        If initdb fails, with what it said.
    """
    scratch = cluster.with_name("data.new")
    password_file = cluster.with_name(f".password-{secrets.token_hex(4)}")
    if scratch.exists():
        shutil.rmtree(scratch)
    try:
        user.write(password_file, password + "\n")
        # The builtin locale provider needs no locale of the system; sorting is by code point everywhere.
        command = [
            binaries.program("initdb"),
            "--pgdata",
            scratch,
            "--username",
            SUPERUSER,
            "--pwfile",
            password_file,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--locale-provider",
            "builtin",
            "--builtin-locale",
            "C.UTF-8",
            "--data-checksums",
            "--text-search-config",
            "english",
            "--no-instructions",
            *([] if durable else ["--no-sync"]),
        ]
        done = user.run(command)
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(scratch, ignore_errors=True)
        raise GalbaseError(
            f"the database cluster {cluster} could not be created: {_last_lines(done.stderr or done.stdout)}\n"
            "Make room or permissions as it says, or choose another directory with --data-dir."
        )
    main = scratch / "postgresql.conf"
    include = "\ninclude = 'galbase.conf'  # rewritten at every start; your own settings go below\n"
    user.write(main, main.read_text(encoding="utf-8") + include)
    scratch.rename(cluster)


def start(
    home: Path,
    binaries: Binaries,
    user: ServerUser,
    settings: ServerSettings,
    port: int | None,
    previous_sockets: str | None,
) -> Postmaster:
    """Start the server on ``home/data``, detached from this process, and wait until it takes connections.

    The caller holds the data directory's lock. Recovers what a killed server left behind: its process file, its
    socket's lock file, backends that still run.

    Parameters
    ----------
    home : Path
        The server's folder.
    binaries, user, settings
        What to run, as whom, and how.
    port : int or None
        The TCP port to prefer.
    previous_sockets : str or None
        The socket folder of the last start.

    Raises
    ------
    GalbaseError
        If the server does not start, with the end of its log.
    """
    cluster, log = home / "data", home / "server.log"
    _check_version(cluster)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(home / "server.log.1")
    port_tries = busy_tries = 0
    while True:
        running = _wait_while_changing(cluster)
        if running is not None:
            return running
        _clear_leftovers(cluster)
        sockets = choose_socket_directory(home, user, previous_sockets)
        previous_sockets = str(sockets)
        for stale in sockets.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)
        port = _free_port(port)
        user.write(cluster / "galbase.conf", configuration(settings, port, sockets))
        offset = log.stat().st_size if log.exists() else 0
        done = user.run(
            [
                binaries.program("pg_ctl"),
                "start",
                "--pgdata",
                cluster,
                "--log",
                log,
                "--wait",
                "--timeout",
                str(START_TIMEOUT_S),
            ]
        )
        started = find_postmaster(cluster)
        if done.returncode == 0 and started is not None:
            return started
        said = _log_since(log, offset)
        if _BIND_FAILED in said and port_tries < _PORT_TRIES:
            port, port_tries = None, port_tries + 1
        elif any(text in said for text in _STILL_BUSY) and busy_tries < _BUSY_TRIES:
            busy_tries += 1
            time.sleep(0.5)
        else:
            raise GalbaseError(
                f"the database server in {home} did not start. The end of its log {log}:\n"
                f"{_last_lines(said or done.stderr or done.stdout)}"
            )


def stop(cluster: Path, binaries: Binaries, user: ServerUser) -> None:
    """Stop the server: sessions are ended, everything is written, the socket folder is removed.

    A server that does not stop by itself in time is ended at once, which loses nothing that was committed.

    Raises
    ------
    GalbaseError
        If processes of the server cannot be ended.
    """
    running = find_postmaster(cluster)
    if running is None:
        return
    # PostgreSQL 18 was seen to hang for ever when told to stop while it recovered from a crash.
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _recovering(binaries, user, running) and time.monotonic() < deadline:
        time.sleep(0.1)
    options = ["--pgdata", cluster, "--mode", "fast", "--wait", "--timeout", STOP_TIMEOUT_S]
    user.run([binaries.program("pg_ctl"), "stop", *options])
    _end_now(cluster, running.pid)
    sockets = Path(running.socket_directory)
    if sockets.parent == Path("/tmp"):
        shutil.rmtree(sockets, ignore_errors=True)


def _recovering(binaries: Binaries, user: ServerUser, running: Postmaster) -> bool:
    """Whether the server is there but takes no connections (status 1 of pg_isready)."""
    command = [binaries.program("pg_isready"), "--host", "127.0.0.1", "--port", str(running.port)]
    return user.run(command).returncode == 1


def _end_now(cluster: Path, pid: int) -> None:
    """End a server that is left, without a checkpoint: its next start recovers."""
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if not _works_in(pid, cluster):
            break
        _send(pid, number)
        deadline = time.monotonic() + 10
        while _works_in(pid, cluster) and time.monotonic() < deadline:
            time.sleep(0.05)
    _clear_leftovers(cluster)


def log_tail(home: Path) -> str:
    """The last lines of the server's log."""
    return _last_lines(_log_since(home / "server.log", 0))


def _check_version(cluster: Path) -> None:
    version = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != str(MAJOR_VERSION):
        raise GalbaseError(
            f"the cluster {cluster} was made by PostgreSQL {version}, and this galbase brings {MAJOR_VERSION}. "
            "With the galbase that made it run `galbase db dump FILE`, then with this one "
            "`galbase --data-dir NEW db restore FILE`."
        )


def _wait_while_changing(cluster: Path) -> Postmaster | None:
    """The running server once it is ready; None once none is there. One may be starting or stopping just now.

    Nobody else is at it, since the caller holds the lock: whoever told it to start or stop was killed.
    """
    began = time.monotonic()
    while True:
        running = find_postmaster(cluster)
        if running is not None and running.status == "ready":
            return running
        lines = _pid_file(cluster)
        if running is None and not (lines and _works_in(int(lines[0]), cluster)):
            return None
        waited = time.monotonic() - began
        if running is not None and running.status == "stopping" and waited > STOP_TIMEOUT_S:
            _end_now(cluster, running.pid)
            return None
        if waited > START_TIMEOUT_S:
            raise GalbaseError(
                f"the database server on {cluster} (process {lines[0] if lines else '?'}) has been starting for "
                f"{START_TIMEOUT_S} s. Look into its log, {cluster.parent / 'server.log'}."
            )
        time.sleep(0.05)


def _clear_leftovers(cluster: Path) -> None:
    """Remove what a killed server left: backends without a parent, and its process file.

    PostgreSQL would refuse to start as long as the number in that file is any process of the same user. That no
    process of the old server touches the files any more is made sure here, and again by PostgreSQL itself from
    the shared memory segment that is named after the folder.
    """
    for pause, action in ((1.0, None), (5.0, signal.SIGQUIT), (5.0, signal.SIGKILL)):
        orphans = _orphans(cluster)
        if action is not None:
            for pid in orphans:
                _send(pid, action)
        deadline = time.monotonic() + pause
        while orphans and time.monotonic() < deadline:
            time.sleep(0.05)
            orphans = _orphans(cluster)
        if not orphans:
            break
    else:
        raise GalbaseError(
            f"processes {', '.join(str(pid) for pid in orphans)} of a killed database server still use "
            f"{cluster}. End them, and run the command again."
        )
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _orphans(cluster: Path) -> list[int]:
    import psutil

    return [pid for pid in psutil.pids() if _works_in(pid, cluster)]


def _send(pid: int, number: signal.Signals) -> None:
    import psutil

    try:
        process = psutil.Process(pid)
        # Looked at once more: a signal to a wrong process could not be taken back.
        if process.name().startswith("postgres"):
            process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _free_port(preferred: int | None) -> int:
    """`preferred` if no one listens there, or a port that the system gives."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise GalbaseError("no TCP port of 127.0.0.1 is free. End some programs, or set GALBASE_DATABASE_URL.")


def _log_since(log: Path, offset: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - 20_000))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
