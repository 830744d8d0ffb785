"""Cone searches beside Q3C and pgSphere in one PostgreSQL 15 server; one JSON line a case.

A cone's cost is the processor time of its backend, microseconds, as the kernel counts it; rivals take turns in random
order, each with other cones, so that all meet the same machine and no one finds its rows warmed by another. The rivals
come from Debian: `make bench-rivals`. Targets: the better rival at each radius.

    python benchmarks/sky.py --sources 10000000 --cones 1000
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import psycopg
from sky_server import Clock, clustered, create, load, our_indexes, report, server, uniform, warm

from galbase.sql.search import cone_rows

RADII_ARCSEC = (1.0, 10.0, 60.0, 600.0, 3600.0)
BLOCKS = 40
OURS = ("galbase", "galbase_python")
CONES = {
    "galbase": "SELECT source_id FROM api.cone_search(%s, %s, %s)",
    "pgsphere": "SELECT source_id FROM archive.source "
    "WHERE spoint(radians(ra), radians(dec)) <@ scircle(spoint(radians(%s), radians(%s)), radians(%s / 3600.0))",
    "q3c_join": "WITH p AS MATERIALIZED (SELECT %s::float8 AS a, %s::float8 AS d, %s::float8 AS r) "
    "SELECT source_id FROM p, archive.source s WHERE q3c_join(p.a, p.d, s.ra, s.dec, p.r / 3600)",
    "q3c_radial_query": "SELECT source_id FROM archive.source WHERE q3c_radial_query(ra, dec, %s, %s, %s / 3600.0)",
}


def prepare(connection: psycopg.Connection[Any], ra: np.ndarray, dec: np.ndarray) -> None:
    """Tables, our functions, all indexes; everything in memory."""
    create(connection)
    load(connection, 1, ra, dec, 1)
    for index in [*our_indexes(), "(q3c_ang2ipix(ra, dec))", "USING gist (spoint(radians(ra), radians(dec)))"]:
        start = time.perf_counter()
        connection.execute(f"CREATE INDEX ON archive.source {index}".encode())
        report("index", on=index, seconds=round(time.perf_counter() - start, 1))
    connection.execute("VACUUM ANALYZE archive.source")
    warm(connection)


def ask(connection: psycopg.Connection[Any], statement: bytes, ra: float, dec: float, radius: float) -> int:
    """Run one cone search and return the number of rows."""
    with connection.cursor(binary=True) as cursor:
        return len(cursor.execute(statement, (ra, dec, radius), prepare=True).fetchall())


def ask_python(connection: psycopg.Connection[Any], ra: float, dec: float, radius: float) -> int:
    """The same by the Python API, which sends the cells."""
    return len(cone_rows(connection, ra, dec, radius, everything=False))


def cones(
    url: str,
    sky: str,
    centres: tuple[np.ndarray, np.ndarray],
    place: str,
    *,
    commit: bool,
    plans: str = "force_generic_plan",
) -> None:
    """All rivals at all radii, in turns of a fortieth of the cones."""
    rivals: dict[str, Any] = {name: partial(ask, statement=text.encode()) for name, text in CONES.items()}
    rivals["galbase_python"] = ask_python
    rng = np.random.default_rng(2)
    blocks = np.array_split(np.arange(len(centres[0])), BLOCKS)
    spent: dict[tuple[str, float], list[float]] = {}
    client: dict[tuple[str, float], float] = {}
    found: dict[tuple[str, float], int] = {}
    with psycopg.connect(url) as connection:
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.execute(f"SET plan_cache_mode = {plans}".encode())
        connection.commit()
        clock = Clock(Path(f"/proc/{connection.info.backend_pid}/schedstat"))
        for turn in range(BLOCKS):
            cases = [(rival, radius) for rival in rivals for radius in RADII_ARCSEC]
            for number in rng.permutation(len(cases)):
                rival, radius = cases[number]
                search = rivals[rival]
                # Each rival is at another part of the sky in each turn, and all come everywhere in the end.
                block = blocks[(turn + 7 * list(rivals).index(rival)) % BLOCKS]
                values = [(float(centres[0][i]), float(centres[1][i])) for i in block]
                search(connection, ra=values[0][0], dec=values[0][1], radius=radius)
                if commit:
                    connection.commit()
                began = time.process_time()
                for a, d in values:
                    before = clock.now()
                    n_row = search(connection, ra=a, dec=d, radius=radius)
                    if commit:
                        connection.commit()
                    spent.setdefault((rival, radius), []).append(clock.now() - before)
                    found[rival, radius] = found.get((rival, radius), 0) + n_row
                client[rival, radius] = client.get((rival, radius), 0) + time.process_time() - began
                connection.commit()
    for radius in RADII_ARCSEC:
        medians = {rival: float(np.median(spent[rival, radius])) for rival in rivals}
        better = min(value for name, value in medians.items() if name not in OURS)
        for rival in rivals:
            p95 = float(np.percentile(spent[rival, radius], 95))
            report(
                "cone", sky=sky, place=place, transaction="one cone" if commit else "all cones", plans=plans,
                rival=rival, radius_arcsec=radius, median_us=round(medians[rival], 1), p95_us=round(p95, 1),
                p95_of_median=round(p95 / medians[rival], 2),
                client_us=round(client[rival, radius] / len(spent[rival, radius]) * 1e6, 1),
                rows=found[rival, radius], of_better_rival=round(medians[rival] / better, 2),
            )  # fmt: skip


def wide(url: str, rng: np.random.Generator) -> None:
    """Cones of 10 degrees and of a hemisphere, and what the first search of a connection takes."""
    with psycopg.connect(url, autocommit=True) as connection:
        for radius in (36_000.0, 324_000.0):
            for rival in ("galbase", "pgsphere"):
                ra, dec = (float(values[0]) for values in uniform(rng, 1))
                start = time.perf_counter()
                statement = CONES[rival].replace("SELECT source_id", "SELECT count(*)", 1)
                row = connection.execute(statement.encode(), (ra, dec, radius)).fetchone()
                report(
                    "wide", rival=rival, radius_arcsec=radius, rows=row[0] if row else 0,
                    seconds=round(time.perf_counter() - start, 3),
                )  # fmt: skip
    for rival in CONES:
        first = []
        for _ in range(10):
            with psycopg.connect(url, autocommit=True) as connection:
                clock = Clock(Path(f"/proc/{connection.info.backend_pid}/schedstat"))
                before = clock.now()
                ask(connection, CONES[rival].encode(), 10.0, 20.0, 600.0)
                first.append(clock.now() - before)
        report("first call of a connection", rival=rival, median_ms=round(float(np.median(first)) / 1000, 2))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000_000)
    parser.add_argument("--cones", type=int, default=1000)
    parser.add_argument("--sky", choices=("uniform", "clustered"), nargs="*", default=["uniform", "clustered"])
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    borders = healpy.vec2ang(
        healpy.boundaries(1, np.arange(12), step=400, nest=True).transpose(0, 2, 1).reshape(-1, 3), lonlat=True
    )
    with server() as url, psycopg.connect(url, autocommit=True) as connection:
        for sky, positions in (("uniform", uniform), ("clustered", clustered)):
            if sky not in arguments.sky:
                continue
            ra, dec = positions(rng, arguments.sources)
            prepare(connection, ra, dec)
            pick = rng.choice(len(ra), arguments.cones)
            centres = uniform(rng, arguments.cones) if sky == "uniform" else (ra[pick], dec[pick])
            place = "anywhere" if sky == "uniform" else "at sources"
            cones(url, sky, centres, place, commit=False)
            cones(url, sky, centres, place, commit=True)
            if sky == "uniform":
                pick = rng.choice(len(borders[0]), arguments.cones)
                cones(url, sky, (borders[0][pick], borders[1][pick]), "base-pixel borders and poles", commit=False)
                cones(url, sky, centres, place, commit=False, plans="force_custom_plan")
                wide(url, rng)


if __name__ == "__main__":
    main()
