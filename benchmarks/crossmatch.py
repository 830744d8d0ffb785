"""Crossmatches of n / 10 with n sources, best match within 1 arcsec, on 2 cores; one JSON line a rival and a case.

Q3C's join and ours run in one PostgreSQL 15 server, on tables in sky order and in random order; astropy, scipy, LSDB
and STILTS have the same positions in memory or in files. `make bench-rivals` installs the rivals: PostgreSQL, Q3C and
STILTS from Debian, LSDB from PyPI into an environment of its own. Targets: faster than Q3C, 1.5 times faster than stock
Q3C, 2.5 times faster than LSDB and astropy, cost in proportion to n.

    python benchmarks/crossmatch.py --sources 1000000 10000000 30000000
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from scipy.spatial import cKDTree
from sky_server import create, load, our_indexes, report, server, uniform, warm

LSDB_PYTHON = Path(__file__).parents[1] / "build" / "rivals" / "bin" / "python"
OURS = "SELECT count(*) FROM api.crossmatch('left', 'right', 1, nearest => 1)"
Q3C = (
    "SELECT count(*) FROM (SELECT DISTINCT ON (l.source_id) l.source_id, r.source_id "
    "FROM left_source l JOIN right_source r ON q3c_join(l.ra, l.dec, r.ra, r.dec, 1 / 3600.0) "
    "ORDER BY l.source_id, q3c_dist(l.ra, l.dec, r.ra, r.dec)) x"
)
LSDB = """
import json, sys, time
import dask, lsdb, numpy as np, pandas as pd
dask.config.set(scheduler="processes", num_workers=2)
data = np.load(sys.argv[1])
start = time.perf_counter()
left, right = (
    lsdb.from_dataframe(pd.DataFrame({"ra": data[s + "_ra"], "dec": data[s + "_dec"]}), ra_column="ra",
                        dec_column="dec", margin_threshold=5)
    for s in ("left", "right")
)
loaded = time.perf_counter()
found = left.crossmatch(right, n_neighbors=1, radius_arcsec=1, suffixes=("_l", "_r"))[["_dist_arcsec"]].compute()
print(json.dumps({"matches": len(found), "seconds": time.perf_counter() - loaded, "import_seconds": loaded - start}))
"""


def positions(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """n uniform sources, and a tenth as many of which seven of ten are near one of them."""
    ra, dec = uniform(rng, n)
    n_left = n // 10
    near = rng.choice(n, 7 * n_left // 10, replace=False)
    far_ra, far_dec = uniform(rng, n_left - len(near))
    left_dec = np.clip(np.concatenate([dec[near] + rng.normal(0, 8e-5, len(near)), far_dec]), -90, 90)
    step = rng.normal(0, 8e-5, len(near)) / np.cos(np.radians(dec[near]))
    left_ra = np.concatenate([ra[near] + step, far_ra]) % 360
    return {"left_ra": left_ra, "left_dec": left_dec, "right_ra": ra, "right_dec": dec}


def fill(connection: psycopg.Connection[Any], sky: dict[str, np.ndarray], rng: np.random.Generator | None) -> None:
    """Both releases in our table, and tables of their own for Q3C in the same order."""
    create(connection)
    load(connection, 1, sky["right_ra"], sky["right_dec"], 1, rng)
    load(connection, 2, sky["left_ra"], sky["left_dec"], 10**12, rng)
    for index in our_indexes():
        connection.execute(f"CREATE INDEX ON archive.source {index}".encode())
    for name, release in (("left_source", 2), ("right_source", 1)):
        connection.execute(f"DROP TABLE IF EXISTS {name}".encode())
        connection.execute(
            f"CREATE UNLOGGED TABLE {name} AS SELECT source_id, ra, dec FROM archive.source "  # noqa: S608
            f"WHERE release_id = {release}".encode()
        )
    connection.execute("CREATE INDEX ON right_source (q3c_ang2ipix(ra, dec))")
    for table in ("archive.source", "left_source", "right_source"):
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    warm(connection)


def count(connection: psycopg.Connection[Any], statement: str, *settings: str) -> int:
    """Run a statement that counts matches, with settings."""
    for setting in ("enable_seqscan = on", "min_parallel_table_scan_size = '8MB'", *settings):
        connection.execute(f"SET {setting}".encode())
    row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0


def mark_q3c(connection: psycopg.Connection[Any], how: str) -> None:
    """Let Q3C's functions run in parallel workers, or not, as they are installed."""
    names = connection.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'q3c%'").fetchall()
    for (name,) in names:
        connection.execute(f"ALTER FUNCTION {name} PARALLEL {how}".encode())


def in_server(
    connection: psycopg.Connection[Any], order: str, n: int, turns: int, rivals: dict[str, Callable[[], int]]
) -> float:
    """Rivals in turns; the shortest time of each. Returns ours."""
    seconds: dict[str, list[float]] = {}
    matches: dict[str, int] = {}
    connection.execute("SET max_parallel_workers_per_gather = 1")  # the leader works too
    for _ in range(turns):
        for rival, run in rivals.items():
            start = time.perf_counter()
            matches[rival] = run()
            seconds.setdefault(rival, []).append(time.perf_counter() - start)
    for rival, values in seconds.items():
        report(
            "crossmatch", rival=rival, order=order, left=n // 10, right=n, matches=matches[rival],
            seconds=round(min(values), 2), of_galbase=round(min(values) / min(seconds["galbase"]), 2),
        )  # fmt: skip
    return min(seconds["galbase"])


def with_q3c(connection: psycopg.Connection[Any]) -> dict[str, Callable[[], int]]:
    """Ours, stock Q3C and Q3C marked parallel safe; Q3C finds its index only without sequential scans."""

    def q3c(how: str) -> int:
        mark_q3c(connection, how)
        scans = ["enable_seqscan = off"] + (["min_parallel_table_scan_size = 0"] if how == "SAFE" else [])
        return count(connection, Q3C, *scans)

    return {
        "galbase": lambda: count(connection, OURS),
        "q3c_join": lambda: q3c("UNSAFE"),
        "q3c_join, parallel safe": lambda: q3c("SAFE"),
    }


def outside(sky: dict[str, np.ndarray], n: int, ours: float) -> None:
    """astropy, scipy, LSDB and STILTS."""
    sides = [SkyCoord(sky[f"{s}_ra"] * u.deg, sky[f"{s}_dec"] * u.deg) for s in ("left", "right")]

    def tell(rival: str, seconds: float, matches: int, **more: float) -> None:
        report(
            "crossmatch", rival=rival, left=n // 10, right=n, matches=matches, seconds=round(seconds, 2),
            of_galbase=round(seconds / ours, 2), **{key: round(value, 2) for key, value in more.items()},
        )  # fmt: skip

    start = time.perf_counter()
    _, apart, _ = sides[0].match_to_catalog_sky(sides[1])
    tell("astropy", time.perf_counter() - start, int((apart.arcsec <= 1).sum()))
    start = time.perf_counter()
    vectors = [side.cartesian.xyz.value.T for side in sides]
    chord = 2 * np.sin(np.radians(1 / 3600) / 2)
    distance, _ = cKDTree(vectors[1]).query(vectors[0], distance_upper_bound=chord, workers=2)
    tell("scipy KD-tree", time.perf_counter() - start, int(np.isfinite(distance).sum()))
    with tempfile.TemporaryDirectory() as folder:
        if LSDB_PYTHON.exists():
            np.savez(f"{folder}/sky.npz", **sky)
            done = subprocess.run(
                [LSDB_PYTHON, "-c", LSDB, f"{folder}/sky.npz"], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            tell("LSDB", found["seconds"], found["matches"], import_seconds=found["import_seconds"])
        else:
            report("crossmatch", rival="LSDB", missing="make bench-rivals")
        if shutil.which("stilts"):
            for s in ("left", "right"):
                Table({"ra": sky[f"{s}_ra"], "dec": sky[f"{s}_dec"]}).write(f"{folder}/{s}.fits")
            start = time.perf_counter()
            done = subprocess.run(
                ["stilts", "-Xmx12g", "tmatch2", "matcher=sky", "params=1", "values1=ra dec", "values2=ra dec",
                 f"in1={folder}/left.fits", f"in2={folder}/right.fits", "find=best1", "join=1and2", "omode=count",
                 "progress=none"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            tell("STILTS", time.perf_counter() - start, int(done.stdout.split("rows:")[1].split()[0].replace(",", "")))
        else:
            report("crossmatch", rival="STILTS", missing="make bench-rivals")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, nargs="+", default=[1_000_000, 10_000_000, 30_000_000])
    parser.add_argument("--rivals-at", type=int, default=10_000_000, help="Size at which all rivals run.")
    arguments = parser.parse_args()
    with server() as url, psycopg.connect(url, autocommit=True) as connection:
        for n in arguments.sources:
            rng = np.random.default_rng(1)
            sky = positions(rng, n)
            full = n == arguments.rivals_at
            for order in ("sky", "random") if full else ("sky",):
                fill(connection, sky, None if order == "sky" else rng)
                rivals = with_q3c(connection)
                ours = in_server(connection, order, n, 3, rivals if full else {"galbase": rivals["galbase"]})
                if full and order == "sky":
                    outside(sky, n, ours)


if __name__ == "__main__":
    main()
