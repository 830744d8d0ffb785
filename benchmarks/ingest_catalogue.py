"""Rows a second of `galbase ingest catalogue`, beside bare binary COPYs of the same rows; one JSON line a case.

Bare means: the packed bytes lie in a file, in the order of the sky, and COPY writes them into two tables with the same
columns, constraints and indexes. Two peers: `finished`, into tables that have these all along, and `deferred`, into
tables with primary keys and checks alone, the rest made afterwards, which is the fastest that an administrator can do
by hand. Ours makes the detections galaxies besides; `ratio_to_deferred` leaves the time of that (`galaxies_s`) out.
Target: 0.5 of a bare COPY.

    python benchmarks/ingest_catalogue.py --rows 10000000 --files 1 --sweep-rows 1000000
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from psycopg import sql
from pyarrow import parquet

from galbase.ingest import bulk_load
from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release
from galbase.schema import deferred
from galbase.schema.bulk import column_types
from galbase.schema.config import Config
from galbase.schema.database import admin_url, connect, connect_url
from galbase.schema.packed_copy import pack_rows
from galbase.schema.server import stop_server
from galbase.schema.tables.legacysurvey import legacysurvey_dr8_object
from galbase.schema.upgrade import upgrade

CHUNK = 50_000


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def positions(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform on the sphere, degrees."""
    rng = np.random.default_rng(1)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def write_parquet(folder: Path, n: int, n_file: int) -> list[Path]:
    """(id, ra, dec, 5 mags), in files of equal size."""
    ra, dec = positions(n)
    rng = np.random.default_rng(2)
    columns = {"id": np.arange(n), "ra": ra, "dec": dec}
    columns |= {f"mag_{band}": rng.normal(20, 1, n).astype(np.float32) for band in "ugriz"}
    table = pa.table(columns)
    step = -(-n // n_file)
    paths = [folder / f"mags-{number:03d}.parquet" for number in range(n_file)]
    for number, path in enumerate(paths):
        parquet.write_table(table.slice(number * step, step), path)
    return paths


def write_sweep(path: Path, n: int) -> None:
    """A sweep of all columns of the data model of DR8."""
    ra, dec = positions(n)
    rng = np.random.default_rng(3)
    made = [fits.Column("RA", "D", array=ra), fits.Column("DEC", "D", array=dec)]
    for column in legacysurvey_dr8_object.columns:
        kind = str(column.type)
        name = column.name.upper()
        if name == "OBJID":
            made.append(fits.Column(name, "J", array=np.arange(n)))
        elif name in ("RELEASE", "BRICKID"):
            made.append(fits.Column(name, "J", array=np.full(n, 8000)))
        elif name == "DCHISQ":
            made.append(fits.Column(name, "5E", array=rng.random((n, 5)).astype(np.float32)))
        elif kind == "REAL":
            made.append(fits.Column(name, "E", array=rng.random(n).astype(np.float32)))
        elif kind == "TEXT":
            made.append(fits.Column(name, "4A", array=np.full(n, "EXP")))
        elif kind == "BOOLEAN":
            made.append(fits.Column(name, "L", array=np.zeros(n, bool)))
        elif name != "SOURCE_ID":
            made.append(fits.Column(name, "I", array=rng.integers(0, 100, n).astype(np.int16)))
    fits.BinTableHDU.from_columns(made).writeto(path)


class Clock:
    """A function whose time is added up."""

    def __init__(self, function: Any) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        started = time.perf_counter()
        try:
            return self.function(*arguments)
        finally:
            self.seconds += time.perf_counter() - started


def checkpoint(config: Config) -> None:
    """Write out what earlier cases left, so that it does not disturb the next."""
    with connect_url(admin_url(config), autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def dump(connection: Any, schema: str, table: str, path: Path) -> None:
    """A table's rows in the order of the sky, as binary COPY, to a file."""
    key = "source_id" if table == legacysurvey_dr8_object.name else "hpx29"
    query = sql.SQL("COPY (SELECT * FROM {} ORDER BY {}) TO STDOUT (FORMAT BINARY)")
    with (
        path.open("wb") as out,
        connection.cursor() as cursor,
        cursor.copy(query.format(sql.Identifier(schema, table), sql.Identifier(key))) as copy,
    ):
        for block in copy:
            out.write(block)


def bare_copy(config: Config, tables: list[tuple[str, str]], files: list[Path], *, defer: bool) -> float:
    """Seconds of the same rows into like tables made for this, with their constraints and indexes in the end."""
    seconds = 0.0
    made = []
    with connect(config, autocommit=True) as connection:
        for schema, table in tables:
            made.append(("archive", f"bare_{table}"))
            connection.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    sql.Identifier(*made[-1]), sql.Identifier(schema, table)
                )
            )
            for (definition,) in connection.execute(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass",
                (f"{schema}.{table}",),
            ).fetchall():
                wanted = definition.replace("archive.source(", "archive.bare_source(")
                connection.execute(sql.SQL("ALTER TABLE {} ADD {}").format(sql.Identifier(*made[-1]), sql.SQL(wanted)))
        checkpoint(config)
        started = time.perf_counter()
        if defer:
            deferred.defer(connection, made[::-1])
        for target, (schema, table), file in zip(made, tables, files, strict=True):
            names = sql.SQL(", ").join(map(sql.Identifier, column_types(connection, schema, table)))
            with (
                file.open("rb") as data,
                connection.transaction(),
                connection.cursor() as cursor,
                cursor.copy(
                    sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(*target), names)
                ) as copy,
            ):
                while block := data.read(2**20):
                    copy.write(block)
        if defer:
            deferred.restore(connection)
        seconds = time.perf_counter() - started
        for target in reversed(made):
            connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(*target)))
    return seconds


def measure(config: Config, folder: Path, paths: list[Path], name: str, tables: list[tuple[str, str]]) -> None:
    """Ingest files into an empty archive, then the bare COPYs of what was written."""
    with connect(config, autocommit=True) as connection:
        add_release(connection, name, survey="benchmark")
    checkpoint(config)
    clock = Clock(bulk_load.update_galaxies)
    bulk_load.update_galaxies = clock  # type: ignore[assignment]
    before = os.times()
    started = time.perf_counter()
    found = run_catalogues(config, name, paths, CatalogueOptions())
    seconds = time.perf_counter() - started
    after = os.times()
    bulk_load.update_galaxies = clock.function
    if found.count("loaded") != len(paths):
        raise SystemExit(str(found.files))
    rows = found.total("loaded")
    files = [folder / f"{table}.copy" for _, table in tables]
    with connect(config, autocommit=True) as connection:
        for (schema, table), file in zip(tables, files, strict=True):
            dump(connection, schema, table, file)
    bare = {kind: bare_copy(config, tables, files, defer=kind == "deferred") for kind in ("finished", "deferred")}
    report(
        name,
        rows=rows,
        files=len(paths),
        seconds=round(seconds, 2),
        rows_per_s=round(rows / seconds),
        mb_per_s=round(sum(path.stat().st_size for path in paths) / 1e6 / seconds, 1),
        galaxies_s=round(clock.seconds, 2),
        own_cpu_s=round(after.user + after.system - before.user - before.system, 2),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        bare_finished_s=round(bare["finished"], 2),
        bare_deferred_s=round(bare["deferred"], 2),
        ratio_to_finished=round(bare["finished"] / seconds, 3),
        ratio_to_deferred=round(bare["deferred"] / (seconds - clock.seconds), 3),
        target_ratio=0.5,
        cores=os.cpu_count(),
    )
    with connect(config, autocommit=True) as connection:
        connection.execute("TRUNCATE archive.source, archive.galaxy CASCADE")
    for file in files:
        file.unlink()


def measure_packing(n: int) -> None:
    """Packing alone, without a server."""
    rng = np.random.default_rng(4)
    columns = {f"c{i}": rng.random(n).astype(np.float32) for i in range(90)}
    started = time.perf_counter()
    size = sum(
        len(pack_rows({k: v[i : i + CHUNK] for k, v in columns.items()}, dict.fromkeys(columns, "real")))
        for i in range(0, n, CHUNK)
    )
    seconds = time.perf_counter() - started
    report("pack 90 real columns", rows_per_s=round(n / seconds), mb_per_s=round(size / 1e6 / seconds))


def main() -> None:
    """Run all cases on an embedded server of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--sweep-rows", type=int, default=300_000)
    arguments = parser.parse_args()
    measure_packing(100_000)
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        config = Config(data_dir=Path(folder) / "data")
        upgrade(config)
        try:
            if arguments.rows:
                made = write_parquet(Path(folder), arguments.rows, arguments.files)
                measure(config, Path(folder), made, "mags", [("archive", "source"), ("catalogue", "mags")])
            if arguments.sweep_rows:
                path = Path(folder) / "sweep.fits"
                write_sweep(path, arguments.sweep_rows)
                tables = [("archive", "source"), ("archive", "legacysurvey_dr8_object")]
                measure(config, Path(folder), [path], "sweep", tables)
        finally:
            stop_server(config)


main()
