"""Rows a second of `galbase ingest catalogue`, beside bare binary COPYs of the same rows; one JSON line a case.

Bare means: the packed bytes are ready in memory, and COPY writes them into tables with the same columns, constraints
and indexes. Target: 0.5 of that.

    python benchmarks/ingest_catalogue.py --rows 1000000 --sweep-rows 200000
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from psycopg import sql
from pyarrow import parquet

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release
from galbase.schema.bulk import column_types
from galbase.schema.config import Config
from galbase.schema.database import connect
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


def write_parquet(path: Path, n: int) -> None:
    """(id, ra, dec, 5 mags)."""
    ra, dec = positions(n)
    rng = np.random.default_rng(2)
    columns = {"id": np.arange(n), "ra": ra, "dec": dec}
    columns |= {f"mag_{band}": rng.normal(20, 1, n).astype(np.float32) for band in "ugriz"}
    parquet.write_table(pa.table(columns), path)


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


@dataclass(frozen=True)
class Bare:
    """A bare COPY: rows a second, and seconds."""

    rows_per_s: float
    seconds: float


def bare_copy(connection: Any, tables: list[tuple[str, str]]) -> Bare:
    """Copy the rows that lie in the tables into like tables made for this, from bytes made before the clock starts."""
    seconds, n_row = 0.0, 0
    for schema, table in tables:
        types = column_types(connection, schema, table)
        names = sql.SQL(", ").join(map(sql.Identifier, types))
        with connection.cursor() as cursor:
            with cursor.copy(
                sql.SQL("COPY (SELECT * FROM {} ORDER BY hpx29) TO STDOUT (FORMAT BINARY)").format(
                    sql.Identifier(schema, table)
                )
                if table != legacysurvey_dr8_object.name
                else sql.SQL("COPY (SELECT * FROM {} ORDER BY source_id) TO STDOUT (FORMAT BINARY)").format(
                    sql.Identifier(schema, table)
                )
            ) as out:
                data = b"".join(bytes(block) for block in out)
            n_row = max(n_row, cursor.rowcount)
        target = sql.Identifier("archive", f"bare_{table}")
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(target, sql.Identifier(schema, table))
        )
        for (definition,) in connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass",
            (f"{schema}.{table}",),
        ).fetchall():
            connection.execute(sql.SQL("ALTER TABLE {} ADD {}").format(target, sql.SQL(definition)))
        started = time.perf_counter()
        with (
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names)) as copy,
        ):
            for start in range(0, len(data), 2**20):
                copy.write(data[start : start + 2**20])
        seconds += time.perf_counter() - started
    for _, table in reversed(tables):
        connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier("archive", f"bare_{table}")))
    return Bare(n_row / seconds, seconds)


def measure(connection: Any, path: Path, name: str, tables: list[tuple[str, str]]) -> None:
    """Ingest a file, then the bare COPY of what it wrote."""
    release, _ = add_release(connection, name, survey="benchmark")
    before = os.times()
    started = time.perf_counter()
    found = ingest_catalogues(connection, release, [path], CatalogueOptions())
    seconds = time.perf_counter() - started
    after = os.times()
    if found.count("loaded") != 1:
        raise SystemExit(str(found.files))
    rows = found.total("loaded")
    bare = bare_copy(connection, tables)
    report(
        name,
        rows=rows,
        seconds=round(seconds, 2),
        rows_per_s=round(rows / seconds),
        mb_per_s=round(path.stat().st_size / 1e6 / seconds, 1),
        own_cpu_s=round(after.user + after.system - before.user - before.system, 2),
        bare_copy_s=round(bare.seconds, 2),
        bare_copy_rows_per_s=round(bare.rows_per_s),
        ratio_to_bare_copy=round(rows / seconds / bare.rows_per_s, 3),
        target_ratio=0.5,
        cores=os.cpu_count(),
    )
    connection.execute("TRUNCATE archive.source CASCADE")


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
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--sweep-rows", type=int, default=100_000)
    arguments = parser.parse_args()
    measure_packing(arguments.sweep_rows)
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        config = Config(data_dir=Path(folder) / "data")
        upgrade(config)
        try:
            with connect(config, autocommit=True) as connection:
                path = Path(folder) / "mags.parquet"
                write_parquet(path, arguments.rows)
                measure(connection, path, "mags", [("archive", "source"), ("catalogue", "mags")])
                path = Path(folder) / "sweep.fits"
                write_sweep(path, arguments.sweep_rows)
                measure(connection, path, "sweep", [("archive", "source"), ("archive", "legacysurvey_dr8_object")])
        finally:
            stop_server(config)


main()
