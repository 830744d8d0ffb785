"""Galaxies a second of the simulated survey, spectra a second, its memory at any size, and its renderer against galsim.

One JSON line a case. Target: 150 three-band galaxies a second on 2 cores, files included, spectra aside; less than 2 GB
at any size.
"""

import argparse
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from galbase.ml.simulate.block import Plan, draw_block, tabulate
from galbase.ml.simulate.render import STAMP_SIZE, BlobSet, SersicSet, render_stamp
from galbase.ml.simulate.spec_file import SpecHead, spec_bytes
from galbase.ml.simulate.spectrum import fibre_spectrum, observe
from galbase.ml.simulate.survey import simulate

PIXEL = 0.262
NO_BLOBS = BlobSet(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 1)))


def report(case: str, **values: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system


def measure_survey(size: int, surveys: tuple[str, ...], n_spectra: int, folder: Path | None) -> None:
    """The whole of `galbase simulate`, tables of populations and profiles included."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        before = cpu_seconds()
        result = simulate(Path(place) / "sim", size, 1, n_spectra=n_spectra, surveys=surveys)
        cpu = cpu_seconds() - before
    report(
        f"galbase simulate, {'+'.join(surveys)}, {result.n_spectrum} spectra",
        size=size,
        cores=os.cpu_count(),
        galaxies_per_s_with_files=round(size / result.seconds, 1),
        cpu_ms_a_galaxy=round(1e3 * cpu / size, 2),
        galaxies_per_two_cpu_seconds=round(2 * size / cpu, 1),
        peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        target_galaxies_per_s=150,
        target_rss_mb=2048,
    )


def measure_blocks(size: int) -> None:
    """Truth and catalogues without pixels, of blocks far apart in a large survey: what a million costs in memory."""
    plan = Plan(size, 1)
    with threadpool_limits(limits=1):
        draw_block(plan, 0)
        before = cpu_seconds()
        numbers = np.linspace(0, plan.n_block - 1, 12).astype(int)
        rows = sum(len(tabulate(plan, draw_block(plan, int(number))).truth["z"]) for number in numbers)
        cpu = cpu_seconds() - before
    report(
        "truth and catalogues without pixels",
        survey_size=size,
        rows=rows,
        cpu_ms_a_galaxy=round(1e3 * cpu / rows, 3),
        peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    )


def measure_spectra(count: int) -> None:
    """Spectra and their files' bytes, without writing them."""
    block = draw_block(Plan(2000, 1), 0)
    weights = block.population.ssp_weights()
    head = SpecHead(1, 266, 52000, 1, 10.0, 0.0, b"", 0.1, 1e-5, 0, 0.1)
    rng = np.random.default_rng(1)
    with threadpool_limits(limits=1):
        before = cpu_seconds()
        for index in range(count):
            model = fibre_spectrum(index, block.population, block.fibre, weights)
            spec_bytes(head, observe(rng, model, 12.0), block.fibre.line_flux_fib[index] * 1e17)
        cpu = cpu_seconds() - before
    report("spectra", spectra=count, cpu_ms_a_spectrum=round(1e3 * cpu / count, 2))


def window_moments(image: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """Ellipticity and size under a Gaussian window."""
    at = np.arange(STAMP_SIZE) - (STAMP_SIZE - 1) / 2
    x, y = at[None, :], at[:, None]
    weight = image * np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    xx, yy, xy = ((weight * v).sum() / weight.sum() for v in (x * x, y * y, x * y))
    return np.array([(xx - yy), 2 * xy]) / (xx + yy), float(np.sqrt(xx + yy))


def compare_with_galsim(count: int) -> None:
    """Single Sersic galaxies drawn by both; composites and blends are compared in tests/ml/test_simulate_galsim.py."""
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
    parser.add_argument("--folder", type=Path, help="where the surveys are written and removed")
    arguments = parser.parse_args()
    measure_survey(arguments.size, ("legacy",), 0, arguments.folder)
    measure_survey(arguments.size, ("legacy", "sdss"), 0, arguments.folder)
    measure_survey(arguments.size, ("legacy",), arguments.size // 4, arguments.folder)
    measure_spectra(200)
    measure_blocks(1_000_000)
    if importlib.util.find_spec("galsim"):
        compare_with_galsim(300)
    else:
        report("renderer against galsim", skipped="galsim is not installed")
