"""A PostgreSQL 15 server of the benchmarks' own, with Q3C and pgSphere, and skies to put there.

The rivals come from Debian: `make bench-rivals`.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from galbase.schema.healpix import CELL_ORDERS, hpx29
from galbase.schema.packed_copy import pack_rows
from galbase.sql.installer import sql_files

BINARIES = Path("/usr/lib/postgresql/15/bin")
TABLE = (
    "CREATE UNLOGGED TABLE archive.source (source_id bigint, release_id bigint, native_id text, ra float8, dec float8, "
    "hpx29 bigint, flag bigint DEFAULT 0)"
)


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL 15 server of its own in a temporary folder; its URL."""
    if not (BINARIES / "postgres").exists():
        sys.exit(f"{BINARIES} is not there; `make bench-rivals` installs PostgreSQL 15, Q3C and pgSphere from Debian.")
    folder = Path(tempfile.mkdtemp(prefix="galbase-sky-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "shared_buffers": "8GB",
        "maintenance_work_mem": "1GB", "work_mem": "256MB", "max_wal_size": "8GB", "fsync": "off", "jit": "off",
        "random_page_cost": "1.1", "plan_cache_mode": "force_generic_plan",
    }  # fmt: skip
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    control = [BINARIES / "pg_ctl", "-w", "-D", folder / "data"]
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "user": user, "cwd": "/"}
    subprocess.run([BINARIES / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres"], **quiet)
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], **quiet)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder, ignore_errors=True)


def uniform(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform on the sphere, degrees."""
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def clustered(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Half uniform, half in n / 20,000 clusters of 0.5 degrees."""
    ra, dec = uniform(rng, n)
    centre_ra, centre_dec = uniform(rng, max(1, n // 20_000))
    half = n // 2
    pick = rng.integers(0, len(centre_ra), half)
    dec[:half] = np.clip(centre_dec[pick] + rng.normal(0, 0.5, half), -90, 90)
    ra[:half] = (centre_ra[pick] + rng.normal(0, 0.5, half) / np.cos(np.radians(dec[:half]))) % 360
    return ra, dec


def load(
    connection: psycopg.Connection[Any],
    release: int,
    ra: np.ndarray,
    dec: np.ndarray,
    first_id: int,
    rng: np.random.Generator | None = None,
) -> None:
    """Sources in sky order, or in random order, by binary COPY."""
    hpx = hpx29(ra, dec)
    order = np.argsort(hpx) if rng is None else rng.permutation(len(ra))
    ids = first_id + np.arange(len(ra))
    columns = {
        "source_id": ids, "release_id": np.full(len(ra), release), "ra": ra[order], "dec": dec[order],
        "hpx29": hpx[order],
    }  # fmt: skip
    types = {name: "double precision" if name in ("ra", "dec") else "bigint" for name in columns}
    with connection.cursor().copy(
        f"COPY archive.source ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)".encode()
    ) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for start in range(0, len(ra), 100_000):
            part = slice(start, start + 100_000)
            copy.write(pack_rows({name: values[part] for name, values in columns.items()}, types))
        copy.write(b"\xff\xff")


def create(connection: psycopg.Connection[Any]) -> None:
    """Empty schemas and table, our functions, the rivals' extensions."""
    for extension in ("q3c", "pg_sphere", "pg_prewarm"):
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}".encode())
    connection.execute("DROP SCHEMA IF EXISTS api, archive CASCADE")
    connection.execute("CREATE SCHEMA api")
    connection.execute("CREATE SCHEMA archive")
    connection.execute("CREATE TABLE archive.data_release (release_id bigint, release text)")
    connection.execute("INSERT INTO archive.data_release VALUES (1, 'right'), (2, 'left')")
    connection.execute(TABLE.encode())
    for name, text in sql_files():
        if name < "100":
            connection.execute(text.encode())


def our_indexes() -> list[str]:
    """The indexes of archive.source that searches use."""
    return ["(release_id, hpx29)", *(f"((hpx29 >> {2 * (29 - order)}))" for order in CELL_ORDERS)]


def warm(connection: psycopg.Connection[Any]) -> None:
    """All tables and indexes into shared memory."""
    connection.execute(
        "SELECT sum(pg_prewarm(oid::regclass)) FROM pg_class WHERE relkind IN ('r', 'i') AND relpages > 1000"
    )


@dataclass
class Clock:
    """Processor time of a backend, microseconds."""

    path: Path

    def now(self) -> float:
        """Since the backend began."""
        return int(self.path.read_text().split()[0]) / 1000
