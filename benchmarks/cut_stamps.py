"""Stamps cut from frames a processor second, beside astropy's Cutout2D on the same positions; one JSON line a case.

``python benchmarks/cut_stamps.py [FRAME.fits.bz2]``: on a survey's frame, or on one of 2048 x 1489 pixels made here.
Ours includes reading the frame, the WCS of all positions and writing the file of stamps; Cutout2D starts from pixels in
memory and writes nothing. Both must give the same pixels.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D

from galbase.ingest.stamp_shard import write_stamps
from galbase.ingest.survey_frame import group_frames, read_frame

N_POSITION = 5000
N_PEER = 500
SIZES = (64, 152)
SEED = 3


def made_frame(path: Path) -> Path:
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 309.27, -1.15, 1025.0, 745.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = 0.0, 1.1e-4, 1.1e-4, 0.0
    header["BUNIT"], header["FILTER"] = "nanomaggy", "g"
    fits.PrimaryHDU(np.random.default_rng(SEED).normal(0, 1, (1489, 2048)).astype(np.float32), header).writeto(path)
    return path


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else made_frame(Path(folder) / "frame-g-1.fits")
        frame = read_frame(path)
        if frame is None:
            raise SystemExit(f"{path} is no frame")
        group = group_frames([frame])[0]
        ny, nx = frame.shape
        rng = np.random.default_rng(SEED)
        wcs = frame.wcs()
        ra, dec = wcs.all_pix2world(rng.uniform(0, nx - 1, N_POSITION), rng.uniform(0, ny - 1, N_POSITION), 0)
        ids = [str(i) for i in range(N_POSITION)]
        pixels = frame.read()
        for size in SIZES:
            started = time.process_time()
            written, _ = write_stamps(
                Path(folder) / f"{size}.stamps.h5", group, ids, ra, dec, size_px=size, min_coverage=0.0,
                max_offset_px=0.1, input_hash="",
            )  # fmt: skip
            ours = time.process_time() - started
            sky = SkyCoord(ra[:N_PEER], dec[:N_PEER], unit="deg")
            started = time.process_time()
            peer = [Cutout2D(pixels, sky[i], size, wcs=wcs, mode="partial", fill_value=np.nan) for i in range(N_PEER)]
            theirs = time.process_time() - started
            with h5py.File(Path(folder) / f"{size}.stamps.h5", "r") as file:
                same = all(np.array_equal(file["images"][i, 0], peer[i].data, equal_nan=True) for i in range(N_PEER))
            line = {
                "benchmark": "cut_stamps", "case": f"{size} px", "n_stamp": written, "cpu_s": round(ours, 3),
                "stamps_per_cpu_s": round(written / ours), "mb_per_cpu_s": round(written * size**2 * 4e-6 / ours),
                "cutout2d_per_cpu_s": round(N_PEER / theirs), "ratio": round(written / ours / (N_PEER / theirs), 1),
                "same_pixels": same,
            }  # fmt: skip
            sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
