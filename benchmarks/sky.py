"""Cone searches and a crossmatch beside Q3C and pgSphere in one PostgreSQL 15 server; one JSON line a case.

A cone's cost is the processor time of its backend, microseconds, as the kernel counts it; rivals take turns, so that
all meet the same machine. The rivals come from Debian: `make bench-rivals`. Targets: the better rival at each radius.

    python benchmarks/sky.py --sources 10000000 --cones 1000
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import psycopg
from astropy import units as u
from astropy.coordinates import SkyCoord

from galbase.schema.healpix import CELL_ORDERS, hpx29
from galbase.schema.packed_copy import pack_rows
from galbase.sql.installer import sql_files

BINARIES = Path("/usr/lib/postgresql/15/bin")
RADII_ARCSEC = (1.0, 10.0, 60.0, 600.0, 3600.0)
TABLE = (
    "CREATE UNLOGGED TABLE archive.source (source_id bigint, release_id bigint, native_id text, ra float8, dec float8, "
    "hpx29 bigint, flag bigint DEFAULT 0)"
)
CONES = {
    "galbase": "SELECT source_id FROM api.cone_search(%s, %s, %s)",
    "pgsphere": "SELECT source_id FROM archive.source "
    "WHERE spoint(radians(ra), radians(dec)) <@ scircle(spoint(radians(%s), radians(%s)), radians(%s / 3600.0))",
    "q3c_join": "WITH p AS MATERIALIZED (SELECT %s::float8 AS a, %s::float8 AS d, %s::float8 AS r) "
    "SELECT source_id FROM p, archive.source s WHERE q3c_join(p.a, p.d, s.ra, s.dec, p.r / 3600)",
    "q3c_radial_query": "SELECT source_id FROM archive.source WHERE q3c_radial_query(ra, dec, %s, %s, %s / 3600.0)",
}
BEST_MATCHES = {
    "galbase": "SELECT count(*) FROM (SELECT DISTINCT ON (left_source_id) left_source_id, right_source_id "
    "FROM api.crossmatch_pairs(2, 1, 1) ORDER BY left_source_id, separation_arcsec) x",
    "q3c_join": "SELECT count(*) FROM (SELECT DISTINCT ON (l.source_id) l.source_id, r.source_id "
    "FROM left_source l JOIN right_source r ON q3c_join(l.ra, l.dec, r.ra, r.dec, 1 / 3600.0) "
    "ORDER BY l.source_id, q3c_dist(l.ra, l.dec, r.ra, r.dec)) x",
}


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
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "shared_buffers": "4GB",
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


def load(connection: psycopg.Connection[Any], release: int, ra: np.ndarray, dec: np.ndarray, first_id: int) -> None:
    """Sources in sky order, by binary COPY."""
    order = np.argsort(hpx := hpx29(ra, dec))
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


def prepare(connection: psycopg.Connection[Any], ra: np.ndarray, dec: np.ndarray) -> None:
    """Tables, our functions, all indexes; everything in memory."""
    for extension in ("q3c", "pg_sphere", "pg_prewarm"):
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}".encode())
    connection.execute("DROP SCHEMA IF EXISTS api, archive CASCADE")
    connection.execute("CREATE SCHEMA api")
    connection.execute("CREATE SCHEMA archive")
    connection.execute("CREATE TABLE archive.data_release (release_id bigint, release text)")
    connection.execute(TABLE.encode())
    load(connection, 1, ra, dec, 1)
    shifts = [2 * (29 - order) for order in CELL_ORDERS]
    indexes = ["(release_id, hpx29)", *(f"((hpx29 >> {shift}))" for shift in shifts), "(q3c_ang2ipix(ra, dec))"]
    for index in [*indexes, "USING gist (spoint(radians(ra), radians(dec)))"]:
        start = time.perf_counter()
        connection.execute(f"CREATE INDEX ON archive.source {index}".encode())
        report("index", on=index, seconds=round(time.perf_counter() - start, 1))
    for name, text in sql_files():
        if name < "100":
            connection.execute(text.encode())
    connection.execute("VACUUM ANALYZE archive.source")
    warm(connection)


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


def cones(url: str, sky: str, centres: tuple[np.ndarray, np.ndarray], place: str, commit: bool) -> None:
    """All rivals at all radii, in turns of a tenth of the cones."""
    ra, dec = centres
    n = len(ra) // 10
    spent: dict[tuple[str, float], list[float]] = {}
    found: dict[tuple[str, float], int] = {}
    with psycopg.connect(url) as connection:
        connection.execute("SET max_parallel_workers_per_gather = 0")
        clock = Clock(Path(f"/proc/{connection.info.backend_pid}/schedstat"))
        cursor = connection.cursor(binary=True)
        for turn in range(10):
            for radius in RADII_ARCSEC:
                for rival, statement in CONES.items():
                    key = (rival, radius)
                    values = [(float(a), float(d), radius) for a, d in zip(ra, dec, strict=True)][turn * n :][:n]
                    cursor.execute(statement.encode(), values[0], prepare=True)
                    cursor.fetchall()
                    for value in values:
                        before = clock.now()
                        cursor.execute(statement.encode(), value, prepare=True)
                        found[key] = found.get(key, 0) + len(cursor.fetchall())
                        if commit:
                            connection.commit()
                        spent.setdefault(key, []).append(clock.now() - before)
                    connection.commit()
    for radius in RADII_ARCSEC:
        medians = {rival: float(np.median(spent[rival, radius])) for rival in CONES}
        for rival in CONES:
            report(
                "cone", sky=sky, place=place, transaction="one cone" if commit else "all cones", rival=rival,
                radius_arcsec=radius, median_us=round(medians[rival], 1),
                p95_us=round(float(np.percentile(spent[rival, radius], 95)), 1),
                rows=found[rival, radius], of_better_rival=round(
                    medians[rival] / min(value for name, value in medians.items() if name != "galbase"), 2
                ),
            )  # fmt: skip


def crossmatch(connection: psycopg.Connection[Any], ra: np.ndarray, dec: np.ndarray, rng: np.random.Generator) -> None:
    """A tenth as many sources, seven of ten near one of the first release, best match within 1 arcsec."""
    n = len(ra) // 10
    near = rng.choice(len(ra), 7 * n // 10, replace=False)
    far_ra, far_dec = uniform(rng, n - len(near))
    left_dec = np.clip(np.concatenate([dec[near] + rng.normal(0, 8e-5, len(near)), far_dec]), -90, 90)
    step = rng.normal(0, 8e-5, len(near)) / np.cos(np.radians(dec[near]))
    left_ra = np.concatenate([ra[near] + step, far_ra]) % 360
    load(connection, 2, left_ra, left_dec, 10**12)
    for name, release in (("left_source", 2), ("right_source", 1)):
        connection.execute(
            f"CREATE UNLOGGED TABLE {name} AS SELECT source_id, ra, dec FROM archive.source "  # noqa: S608
            f"WHERE release_id = {release} ORDER BY hpx29".encode()
        )
    connection.execute("CREATE INDEX ON right_source (q3c_ang2ipix(ra, dec))")
    for table in ("archive.source", "left_source", "right_source"):
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    warm(connection)
    connection.execute("SET max_parallel_workers_per_gather = 1")
    seconds: dict[str, list[float]] = {}
    matches: dict[str, int] = {}
    for _ in range(3):
        for rival, statement in BEST_MATCHES.items():
            # Q3C finds its index only without the alternative of reading the whole table for each source.
            connection.execute(f"SET enable_seqscan = {'off' if rival == 'q3c_join' else 'on'}".encode())
            start = time.perf_counter()
            row = connection.execute(statement.encode()).fetchone()
            seconds.setdefault(rival, []).append(time.perf_counter() - start)
            matches[rival] = row[0] if row else 0
    start = time.perf_counter()
    places = SkyCoord(left_ra * u.deg, left_dec * u.deg)
    _, separation, _ = places.match_to_catalog_sky(SkyCoord(ra * u.deg, dec * u.deg))
    seconds["astropy"] = [time.perf_counter() - start]
    matches["astropy"] = int((separation.arcsec <= 1).sum())
    for rival, values in seconds.items():
        report(
            "crossmatch", rival=rival, left=n, right=len(ra), matches=matches[rival], seconds=round(min(values), 2),
            of_galbase=round(min(values) / min(seconds["galbase"]), 2),
        )  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000_000)
    parser.add_argument("--cones", type=int, default=1000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    borders = healpy.vec2ang(
        healpy.boundaries(1, np.arange(12), step=400, nest=True).transpose(0, 2, 1).reshape(-1, 3), lonlat=True
    )
    with server() as url, psycopg.connect(url, autocommit=True) as connection:
        for sky, positions in (("uniform", uniform), ("clustered", clustered)):
            ra, dec = positions(rng, arguments.sources)
            prepare(connection, ra, dec)
            pick = rng.choice(len(ra), arguments.cones)
            centres = uniform(rng, arguments.cones) if sky == "uniform" else (ra[pick], dec[pick])
            cones(url, sky, centres, "anywhere" if sky == "uniform" else "at sources", commit=False)
            cones(url, sky, centres, "anywhere" if sky == "uniform" else "at sources", commit=True)
            if sky == "uniform":
                pick = rng.choice(len(borders[0]), arguments.cones)
                cones(url, sky, (borders[0][pick], borders[1][pick]), "base-pixel borders and poles", commit=False)
                crossmatch(connection, ra, dec, rng)


if __name__ == "__main__":
    main()
