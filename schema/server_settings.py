"""Settings of the embedded server, from the machine's memory."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from galbase.schema.errors import UsageError

MIB = 1 << 20
GIB = 1 << 30
_UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": GIB, "t": 1 << 40}
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class ServerSettings:
    """How to run the embedded server.

    Parameters
    ----------
    memory : int or None
        Bytes of memory that the server may plan with; None takes what the machine (or its container) has.
    durable : bool
        False gives up safety against a power cut for speed, for tests only: after a crash of the machine (not of
        the server) such a cluster may be corrupt.
    """

    memory: int | None = None
    durable: bool = True


def parse_memory(text: str) -> int:
    """Bytes from a text such as ``512MB``, ``4GB`` or ``4GiB`` (powers of 1024).

    Raises
    ------
    UsageError
        If the text is not a size, or less than 128 MB.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"server_memory is {text!r}, which is not a size. Write it like 512MB or 4GB.")
    size = int(float(match[1]) * _UNITS[match[2].lower()])
    if size < 128 * MIB:
        raise UsageError(f"server_memory is {text!r}; the server needs at least 128MB.")
    return size


def available_memory() -> int:
    """Bytes of memory of this machine, or of the container where that has less."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in _CGROUP_LIMITS:
        try:
            limit = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def configuration(settings: ServerSettings, port: int, socket_directory: Path) -> str:
    """Text of the configuration file that every start writes anew.

    Parameters
    ----------
    settings : ServerSettings
        Memory and durability.
    port : int
        TCP port on 127.0.0.1.
    socket_directory : Path
        Folder of the Unix socket.

    Returns
    -------
    str
        Lines for ``galbase.conf``, which the cluster's ``postgresql.conf`` includes.
    """
    memory = settings.memory or available_memory()
    values = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(socket_directory),
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "max_connections": "100",
        # A quarter of memory is PostgreSQL's own advice; above 4 GB the page cache serves this load as well.
        "shared_buffers": _megabytes(memory // 4, 64 * MIB, 4 * GIB),
        "effective_cache_size": _megabytes(memory * 6 // 10, 128 * MIB, None),
        # HNSW builds are several times slower once the graph no longer fits.
        "maintenance_work_mem": _megabytes(memory // 16, 64 * MIB, 2 * GIB),
        "work_mem": _megabytes(memory // 256, 4 * MIB, 64 * MIB),
        "max_wal_size": "2GB",
        # One lock a partition and index: every model has its own partitions.
        "max_locks_per_transaction": "256",
        "jit": "off",
        # For the disks of today, and for indexes that stay in memory; 4 makes crossmatches prefer to read whole tables.
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "log_line_prefix": "%m [%p] ",
    }
    if sys.platform.startswith("linux"):
        # Ends the query of a client that was killed, instead of running it to its end.
        values["client_connection_check_interval"] = "5s"
        values["dynamic_shared_memory_type"] = _dynamic_shared_memory()
    if not settings.durable:
        # Commits stay synchronous, or a kill of the server would lose the last ones.
        values |= {"fsync": "off", "full_page_writes": "off"}
    lines = [f"{name} = {_quote(value)}" for name, value in values.items()]
    header = "# Written by galbase at every start. Your own settings go into postgresql.conf, below the include."
    return "\n".join([header, *lines]) + "\n"


def _dynamic_shared_memory() -> str:
    """``posix``, or ``mmap`` where /dev/shm is small (64 MB in a container), which parallel index builds overflow."""
    import os

    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return "mmap"
    return "posix" if status.f_frsize * status.f_blocks >= GIB else "mmap"


def _megabytes(size: int, least: int, most: int | None) -> str:
    size = max(size, least) if most is None else min(max(size, least), most)
    return f"{size // MIB}MB"


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
