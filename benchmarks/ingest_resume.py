"""Ingest killed with signal 9 at random moments and called again, and files in shuffled order; one JSON line a case.

What counts is that the tables end the same to the last bit: `identical` compares digests of their rows with those of
one undisturbed ingest. Some files share detections, each has a bad row, one is broken.

    python benchmarks/ingest_resume.py --files 30 --rows 20000 --kills 20
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release
from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.server import stop_server
from galbase.schema.upgrade import upgrade

DIGESTS = {
    "source": "SELECT (s.source_id, s.native_id, s.ra, s.dec, s.hpx29, s.flag, f.path)::text "
    "FROM archive.source s LEFT JOIN archive.data_file f USING (data_file_id)",
    "legacysurvey_dr9_object": "SELECT t::text FROM archive.legacysurvey_dr9_object t",
    "extra_value": "SELECT (v.source_id, c.name, v.value_float, v.value_array)::text "
    "FROM archive.extra_value v JOIN archive.extra_column c USING (extra_column_id)",
    "data_file": "SELECT (path, state, n_row, n_loaded, n_rejected)::text FROM archive.data_file",
    "rejected_row": "SELECT (f.path, w.native_id, w.reason)::text "
    "FROM archive.rejected_row w JOIN archive.data_file f USING (data_file_id)",
}


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def write_files(folder: Path, n_file: int, n: int) -> list[Path]:
    """Tractor files; every third shares a tenth of its detections, with other values, with the one before."""
    rng = np.random.default_rng(1)
    paths = []
    for number in range(n_file):
        first = number * n - (n // 10 if number % 3 == 2 else 0)
        ids = first + np.arange(n)
        made = Table()
        made["RELEASE"], made["BRICKID"] = np.full(n, 9010, np.int16), np.full(n, 1, np.int32)
        made["BRICKNAME"], made["OBJID"] = ["0001p000"] * n, ids.astype(np.int32)
        made["TYPE"] = rng.choice(["PSF", "REX", "EXP", "SER"], n)
        made["RA"] = np.mod(ids * 137.50776, 360.0)
        made["DEC"] = np.degrees(np.arcsin(np.mod(ids * 0.7548776662, 2.0) - 1))
        made["DCHISQ"] = rng.random((n, 5)).astype(np.float32)
        for stem in ("FLUX", "FLUX_IVAR", "MW_TRANSMISSION"):
            for band in "GRZ":
                made[f"{stem}_{band}"] = rng.random(n).astype(np.float32)
        made["SHAPE_R"], made["SERSIC"] = rng.random(n).astype(np.float32), rng.random(n).astype(np.float32)
        made["BX"] = rng.random(n)
        made["RA"][5] = np.nan
        paths.append(folder / f"tractor-{number:03d}.fits")
        made.write(paths[-1])
    (folder / "tractor-broken.fits").write_bytes(paths[0].read_bytes()[:-5000])
    return [*paths, folder / "tractor-broken.fits"]


def digest(connection: Any) -> dict[str, str]:
    """Digest of each table's rows, whatever their order."""
    return {
        name: connection.execute(
            f"SELECT md5(string_agg(t, '|' ORDER BY t COLLATE \"C\")) FROM ({query}) q (t)".encode()  # noqa: S608
        ).fetchone()[0]
        for name, query in DIGESTS.items()
    }


def clear(connection: Any) -> None:
    """Take all rows out."""
    connection.execute("TRUNCATE archive.source, archive.data_file, archive.run CASCADE")


def kill_and_resume(config: Config, folder: Path, kills: int, longest_s: float, bulk: bool) -> tuple[int, int]:
    """Call the command until it was killed so often; returns the kills and the calls that ended by themselves."""
    code = "from galbase.schema.cli import main; main()"
    words = ["ingest", "catalogue", str(folder), "--release", "r", "--bulk" if bulk else "--no-bulk"]
    random.seed(4)
    killed = ended = 0
    while killed < kills and ended < 5:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--data-dir", str(config.data_dir), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(random.uniform(1.0, longest_s))
            ended += 1
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    return killed, ended


def shuffle_rows(paths: list[Path], seed: int) -> None:
    """Write the same files anew with their rows in another order."""
    rng = np.random.default_rng(seed)
    for path in paths[:-1]:
        table = Table.read(path)
        table[rng.permutation(len(table))].write(path, overwrite=True)


def main() -> None:
    """Run all cases on an embedded server of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        config = Config(data_dir=Path(name) / "data")
        upgrade(config)
        folder = Path(name) / "files"
        folder.mkdir()
        paths = write_files(folder, arguments.files, arguments.rows)
        try:
            with connect(config, autocommit=True) as connection:
                add_release(connection, "r", survey="benchmark")
                started = time.perf_counter()
                run_catalogues(config, "r", [folder], CatalogueOptions())
                seconds = time.perf_counter() - started
                wanted = digest(connection)
                report("undisturbed", files=len(paths), seconds=round(seconds, 1), digests=wanted)
                for bulk in (True, False):
                    clear(connection)
                    killed, ended = kill_and_resume(config, folder, arguments.kills, max(3.0, 0.4 * seconds), bulk)
                    run_catalogues(config, "r", [folder], CatalogueOptions())
                    report("killed and called again", bulk=bulk, kills=killed, ended=ended,
                           identical=digest(connection) == wanted)  # fmt: skip
                for seed in range(3):
                    order = paths[:]
                    random.Random(seed).shuffle(order)
                    clear(connection)
                    for path in order:
                        run_catalogues(config, "r", [path], CatalogueOptions(), bulk=False, root=folder)
                    report("one call a file, shuffled", seed=seed, identical=digest(connection) == wanted)
                for seed in range(3):
                    # Over what is there: every file changed, and none of its rows did.
                    shuffle_rows(paths, seed)
                    found = run_catalogues(config, "r", [folder], CatalogueOptions())
                    over = digest(connection) == wanted
                    clear(connection)
                    run_catalogues(config, "r", [folder], CatalogueOptions())
                    report("rows shuffled", seed=seed, identical=over and digest(connection) == wanted,
                           loaded=found.count("loaded"), updated=found.total("updated"))  # fmt: skip
        finally:
            stop_server(config)


main()
