"""Rows a second of `galbase ingest images` on a shard of HDF5 images whose pixels stay untouched; one JSON line a case.

The shard has the layout of georgestein/ssl-legacysurvey and its size, 28 GB for 100,000 images, as a sparse file: it
takes no room on the disk, and reading its pixels would take minutes. Target: 20,000 rows a second for the first
ingest; a second one must see in no time that nothing changed.

    python benchmarks/ingest_images.py --rows 100000
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from galbase.ingest.bulk_load import ingest_turn
from galbase.ingest.file_job import LedgerRun
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.releases import add_release
from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.healpix import hpx29
from galbase.schema.server import stop_server
from galbase.schema.upgrade import upgrade

SIZE = 152


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def write_shard(path: Path, n: int) -> None:
    """A shard with all catalogue columns, and room for the pixels that nothing is written to."""
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["ra"], file["dec"] = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
        file["release"], file["brickid"] = np.full(n, 9010, np.int16), rng.integers(1, 662_174, n).astype(np.int32)
        file["objid"] = np.arange(n, dtype=np.int32)
        for name in ("flux", "fiberflux", "psfdepth", "psfsize", "transmission"):
            file[name] = rng.random((n, 3)).astype(np.float32)
        for name in ("ebv", "z_phot_mean", "z_phot_median", "z_phot_std", "z_phot_l68", "z_phot_u68", "z_spec"):
            file[name] = rng.random(n).astype(np.float32)
        file["maskbits"] = np.zeros(n, np.int16)
        file["source_type"] = rng.choice([b"REX ", b"EXP ", b"DEV ", b"SER "], n)
        file["inds"] = np.arange(n)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((n, 3, SIZE, SIZE))
        h5py.h5d.create(file.id, b"images", h5py.h5t.IEEE_F32LE, space, dcpl=layout)


def main() -> None:
    """Ingest a shard twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        config = Config(data_dir=Path(folder) / "data")
        upgrade(config)
        path = Path(folder) / "images_npix152_000000000_000100000.h5"
        write_shard(path, arguments.rows)
        hpx29(1.0, 1.0)  # imports healpy, which takes a second and a half
        try:
            with connect(config, autocommit=True) as connection, ingest_turn(connection):
                release, _ = add_release(connection, "shard", survey="benchmark")
                for case in ("first ingest", "second ingest"):
                    before, started = os.times(), time.perf_counter()
                    run = LedgerRun(config, {}, connection)
                    found = ingest_images(connection, release, [path], ImageOptions(), parallel=run)
                    seconds, after = time.perf_counter() - started, os.times()
                    if found.rejected:
                        raise SystemExit(str(found.rejected))
                    report(
                        case,
                        rows=arguments.rows,
                        file_gb=round(path.stat().st_size / 1e9, 1),
                        seconds=round(seconds, 2),
                        rows_per_s=round(arguments.rows / seconds),
                        own_cpu_s=round(after.user + after.system - before.user - before.system, 2),
                        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                        inserted=found.inserted,
                        target_rows_per_s=20_000 if case == "first ingest" else None,
                        cores=os.cpu_count(),
                    )
        finally:
            stop_server(config)


main()
