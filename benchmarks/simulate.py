"""Galaxies a second of the simulated survey, and its renderer against galsim; one JSON line a case.

Target: 150 three-band galaxies a second on 2 cores, spectra aside. The comparison with galsim runs where galsim is
installed; it is no dependency.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from galbase.ml.simulate.render import STAMP_SIZE, BlobSet, SersicSet, render_stamp
from galbase.ml.simulate.survey import simulate

PIXEL = 0.262
NO_BLOBS = BlobSet(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 1)))


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")


def measure_survey(size: int) -> None:
    """The whole of `galbase simulate`."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.times()
        result = simulate(Path(folder) / "sim", size, 1, n_spectra=50)
        after = os.times()
    cpu = after.user + after.system - before.user - before.system
    report(
        "galbase simulate",
        size=size,
        cores=os.cpu_count(),
        stamps_per_s=round(result.galaxies_per_second, 1),
        galaxies_per_s_with_files=round(size / result.seconds, 1),
        cpu_ms_a_galaxy=round(1e3 * cpu / size, 2),
        target_stamps_per_s=150,
    )


def window_moments(image: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """Ellipticity and size under a Gaussian window."""
    at = np.arange(STAMP_SIZE) - (STAMP_SIZE - 1) / 2
    x, y = at[None, :], at[:, None]
    weight = image * np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    xx, yy, xy = ((weight * v).sum() / weight.sum() for v in (x * x, y * y, x * y))
    return np.array([(xx - yy), 2 * xy]) / (xx + yy), float(np.sqrt(xx + yy))


def compare_with_galsim(count: int) -> None:
    """Single Sersic galaxies drawn by both."""
    import galsim

    rng = np.random.default_rng(3)
    flux, size, ellipticity, peak, ours_s, galsim_s = [], [], [], [], [], []
    for _ in range(count):
        n, radius, q = rng.uniform(0.6, 5.5), rng.uniform(0.4, 4.0), rng.uniform(0.25, 1.0)
        pa, fwhm = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
        column = [np.array([value]) for value in (n, radius / PIXEL, q, pa, 0.0, 0.0)]
        start = time.perf_counter()
        ours = render_stamp(SersicSet(*column, np.array([[100.0]])), NO_BLOBS, np.array([fwhm / PIXEL]))[0]
        ours_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        # our profile tapers off between 7 and 8 r_e; galsim's is cut in the middle
        galaxy = galsim.Sersic(n=n, half_light_radius=radius, trunc=7.5 * radius, flux_untruncated=True)
        galaxy = galaxy.transform(1, 0, 0, q).withFlux(100.0).rotate((pa + np.pi / 2) * galsim.radians)
        seen = galsim.Convolve(galaxy, galsim.Moffat(beta=3.5, fwhm=fwhm))
        theirs = seen.drawImage(nx=STAMP_SIZE, ny=STAMP_SIZE, scale=PIXEL).array
        galsim_s.append(time.perf_counter() - start)
        window = 1.5 * radius / PIXEL + 4
        (e_ours, size_ours), (e_theirs, size_theirs) = window_moments(ours, window), window_moments(theirs, window)
        flux.append(ours.sum() / theirs.sum() - 1)
        size.append(size_ours / size_theirs - 1)
        ellipticity.append(np.abs(e_ours - e_theirs).max())
        peak.append(np.abs(ours - theirs).max() / theirs.max())
    report(
        "renderer against galsim",
        galaxies=count,
        max_flux_difference=float(np.abs(flux).max()),
        max_size_difference=float(np.abs(size).max()),
        max_ellipticity_difference=float(np.max(ellipticity)),
        max_pixel_difference_of_peak=float(np.max(peak)),
        median_ms_ours=1e3 * float(np.median(ours_s)),
        median_ms_galsim=1e3 * float(np.median(galsim_s)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000)
    arguments = parser.parse_args()
    measure_survey(arguments.size)
    if importlib.util.find_spec("galsim"):
        compare_with_galsim(300)
    else:
        report("renderer against galsim", skipped="galsim is not installed")
