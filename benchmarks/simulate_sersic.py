"""Sersic stamps a second, and their renderer against galsim on the same galaxies; one JSON line a case.

Target: 500 stamps a second on 2 cores. The comparison runs where galsim is installed (it is a development
dependency); both convolve the same profile with the same PSF image onto the same pixels.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np

from galbase.ml.stamps.parameters import StampParameters
from galbase.ml.stamps.psf import moffat_images
from galbase.ml.stamps.render import Profiles, draw_profiles
from galbase.ml.stamps.simulate import simulate_stamps


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")


def measure_command(size: int, background: Path | None, gain: float) -> None:
    """The whole of `galbase simulate-sersic`."""
    simulate = {"backgrounds": [background], "psf": background} if background else {}
    with tempfile.TemporaryDirectory() as folder:
        before = process_time()
        result = simulate_stamps(Path(folder) / "s", size, 1, parameters=StampParameters(gain=gain), **simulate)
        cpu = process_time() - before
    report(
        "galbase simulate-sersic", background=result.background, psf=result.psf, size=size, cores=os.cpu_count(),
        stamps_per_s=round(result.stamps_per_second, 1), seconds_with_reading=round(result.seconds, 2),
        cpu_ms_a_stamp=round(1e3 * cpu / size, 3), target_stamps_per_s=500,
    )  # fmt: skip


def compare_with_galsim(count: int) -> None:
    """Single Sersic galaxies drawn by both."""
    import galsim

    rng = np.random.default_rng(3)
    profiles = Profiles(
        n=np.exp(rng.uniform(np.log(0.5), np.log(6), count)), re_px=np.exp(rng.uniform(0, np.log(12), count)),
        q=rng.uniform(0.2, 1, count), pa_rad=rng.uniform(0, np.pi, count),
        dx=rng.uniform(-1, 1, count), dy=rng.uniform(-1, 1, count),
    )  # fmt: skip
    psf, _ = moffat_images(rng, count, StampParameters())
    draw_profiles(profiles, psf)  # tables are built once a process
    before = process_time()
    for first in range(0, count, 64):
        rows = np.arange(first, min(first + 64, count))
        draw_profiles(profiles.take(rows), psf[rows])
    ours = process_time() - before
    before = process_time()
    for k in range(count):
        galaxy = galsim.Sersic(
            n=profiles.n[k], half_light_radius=profiles.re_px[k], trunc=7.5 * profiles.re_px[k], flux_untruncated=True
        )
        galaxy = galaxy.transform(1, 0, 0, profiles.q[k]).rotate((profiles.pa_rad[k] + np.pi / 2) * galsim.radians)
        image = galsim.InterpolatedImage(galsim.Image(psf[k].astype(float), scale=1.0))
        both = galsim.Convolve(galaxy.shift(profiles.dx[k], profiles.dy[k]), image)
        both.drawImage(nx=61, ny=61, scale=1, method="no_pixel")
    theirs = process_time() - before
    report(
        "sersic stamps against galsim", stamps=count, cpu_ms_ours=round(1e3 * ours / count, 3),
        cpu_ms_galsim=round(1e3 * theirs / count, 3), ratio=round(theirs / ours, 1),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--background", type=Path, help="survey frame for real sky and stars")
    parser.add_argument("--gain", type=float, default=925.0, help="electrons in the frame's unit")
    arguments = parser.parse_args()
    measure_command(arguments.size, None, StampParameters().gain)
    if arguments.background:
        measure_command(arguments.size, arguments.background, arguments.gain)
    if importlib.util.find_spec("galsim"):
        compare_with_galsim(300)
    else:
        report("sersic stamps against galsim", skipped="galsim is not installed")
