"""Simulate a survey: draw the galaxies, render their stamps, write files as the real surveys do."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import healpy
import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.labels import (
    FibreTruth,
    Targeting,
    draw_targeting,
    fibre_truth,
    mpa_jhu_table,
)
from galbase.ml.simulate.noise import sky_noise
from galbase.ml.simulate.parameters import REFERENCES, SIMULATION_VERSION, SurveyParameters
from galbase.ml.simulate.photometry import legacy_columns
from galbase.ml.simulate.population import Population, draw_population
from galbase.ml.simulate.render import STAMP_SIZE, render_stamp
from galbase.ml.simulate.scene import Blend, build_scene, draw_blends
from galbase.ml.simulate.sky import Sky, draw_sky
from galbase.ml.simulate.spectrum import write_spectra
from galbase.ml.simulate.structure import Structure, draw_structure
from galbase.ml.simulate.truth import TRUTH_UNITS, truth_columns
from galbase.ml.simulate.write import file_digest, shard_name, write_shard, write_table
from galbase.schema.errors import GalbaseError

Progress = Callable[[int, int], None]

_BLOCK = 64
SHARD_ROWS = 8192


@dataclass(frozen=True)
class SimulationReport:
    """What was written, and how fast.

    Attributes
    ----------
    out : str
        Folder.
    size, seed : int
        Number of galaxies and seed.
    n_labelled, n_spectrum, n_block : int
        Rows of the galSpec table, spectrum files, HEALPix order-5 blocks with galaxies.
    files : dict of str to str
        SHA-256 by path relative to `out`.
    digest : str
        SHA-256 over the sorted file digests: equal for equal surveys.
    seconds, galaxies_per_second : float
        Wall time of it all, and of the stamps alone.
    """

    out: str
    size: int
    seed: int
    n_labelled: int
    n_spectrum: int
    n_block: int
    files: dict[str, str]
    digest: str
    seconds: float
    galaxies_per_second: float


@dataclass(frozen=True, eq=False)
class Survey:
    """A simulated survey before it is written."""

    population: Population
    structure: Structure
    fibre: FibreTruth
    sky: Sky
    blend: Blend
    targeting: Targeting


def draw_survey(size: int, seed: int, parameters: SurveyParameters) -> Survey:
    """Draw everything but pixels and measurement noise.

    Parameters
    ----------
    size : int
        Number of galaxies, at least 1.
    seed : int
        Seed, not negative.
    parameters : SurveyParameters
        Physics and observing conditions.
    """
    population = draw_population(size, seed, parameters)
    structure = draw_structure(population, seed)
    sky = draw_sky(size, seed, population.log_density, parameters)
    return Survey(
        population,
        structure,
        fibre_truth(population, structure, parameters),
        sky,
        draw_blends(sky, seed, parameters),
        draw_targeting(sky, seed, parameters),
    )


def render_rows(
    survey: Survey, start: int, stop: int, seed: int, parameters: SurveyParameters
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Stamps of a row range; each galaxy has its own generator, so ranges do not matter.

    Returns
    -------
    images : (stop - start, 3, 152, 152) float32
        Flux in g, r, z with sky noise [nanomaggy/pixel].
    n_neighbour : (stop - start,) int32
        Field sources with r < 22 between 4 and 10 arcsec.
    """
    images = np.empty((stop - start, 3, STAMP_SIZE, STAMP_SIZE), np.float32)
    near = np.empty(stop - start, np.int32)
    for row, index in enumerate(range(start, stop)):
        rng = np.random.default_rng([seed, 6, index])
        scene = build_scene(index, rng, survey.population, survey.structure, survey.sky, survey.blend, parameters)
        fwhm = survey.sky.psf_fwhm_arcsec[index] / parameters.pixel_scale_arcsec
        render_stamp(scene.sersic, scene.blobs, fwhm, images[row])
        images[row] += sky_noise(rng, survey.sky.pixel_sigma[index], STAMP_SIZE)
        near[row] = scene.n_neighbour
    return images, near


def _rendered(
    survey: Survey, start: int, stop: int, seed: int, parameters: SurveyParameters, workers: int
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.int32]]]:
    """Blocks in order, a few ahead of the reader, so that memory stays bounded."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, Future[tuple[NDArray[np.float32], NDArray[np.int32]]]]] = deque()
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            waiting.append((first, pool.submit(render_rows, survey, first, last, seed, parameters)))
            if len(waiting) > workers:
                done, future = waiting.popleft()
                yield done, *future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, *future.result()


def simulate(
    out: Path,
    size: int,
    seed: int,
    *,
    n_spectra: int = 50,
    parameters: SurveyParameters | None = None,
    workers: int | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> SimulationReport:
    """Simulate a survey and write it as the real surveys' files.

    Parameters
    ----------
    out : Path
        Folder; created. A survey already there is replaced only by the same seed's.
    size : int
        Number of galaxies.
    seed : int
        Seed; the same size, seed and parameters give the same bytes.
    n_spectra : int
        Number of spectrum files, the first of those with a fibre.
    parameters : SurveyParameters, optional
        Physics and observing conditions.
    workers : int, optional
        Rendering threads; the number of processors, at most 4, by default. The result does not depend on it.
    shard_rows : int
        Galaxies in one HDF5 shard.
    progress : callable, optional
        Called with (galaxies done, galaxies in all).

    Returns
    -------
    SimulationReport

    Raises
    ------
    GalbaseError
        If size or seed make no sense, or the folder holds another survey.
    """
    if size < 1 or seed < 0:
        raise GalbaseError(f"size {size} and seed {seed}: ask for at least one galaxy and a seed that is not negative.")
    began = time.perf_counter()
    parameters = parameters or SurveyParameters()
    _claim_folder(out, size, seed)
    survey = draw_survey(size, seed, parameters)
    observed = survey.targeting.observed
    columns = legacy_columns(survey.population, survey.structure, survey.sky, survey.blend, observed, seed, parameters)
    near = np.empty(size, np.int32)
    written: list[Path] = []
    rendering = time.perf_counter()
    for start in range(0, size, shard_rows):
        stop = min(start + shard_rows, size)
        path = out / "legacysurvey" / shard_name(start, stop)

        def blocks(start: int = start, stop: int = stop) -> Iterator[tuple[int, NDArray[np.float32]]]:
            threads = workers or min(4, os.cpu_count() or 1)
            for first, images, count in _rendered(survey, start, stop, seed, parameters, threads):
                near[first : first + len(count)] = count
                yield first, images
                if progress:
                    progress(first + len(count), size)

        write_shard(path, columns, start, stop, blocks())
        written.append(path)
    rendered = time.perf_counter() - rendering

    sweep = {name: value for name, value in columns.items() if name.isupper()}
    written.append(out / "legacysurvey" / "sweep-sim.fits")
    write_table(written[-1], sweep, "SWEEP")
    labels = mpa_jhu_table(survey.population, survey.fibre, survey.targeting, survey.sky, seed, parameters)
    written.append(out / "sdss" / "galSpec-sim.fits")
    write_table(written[-1], labels, "GALSPEC")
    spectra = write_spectra(
        out / "sdss" / "spectra", survey.population, survey.fibre, survey.targeting, labels, n_spectra, seed
    )
    written.extend(spectra)
    truth = truth_columns(
        survey.population, survey.structure, survey.fibre, survey.sky, survey.blend, survey.targeting, near, parameters
    )
    written.append(out / "truth.fits")
    write_table(written[-1], truth, "TRUTH", TRUTH_UNITS)

    files = {path.relative_to(out).as_posix(): file_digest(path) for path in written}
    digest = _digest(files)
    record = {
        "version": SIMULATION_VERSION,
        "size": size,
        "seed": seed,
        "parameters": asdict(parameters),
        "references": REFERENCES,
        "files": files,
        "digest": digest,
    }
    (out / "simulation.json").write_text(json.dumps(record, indent=1) + "\n")
    block = healpy.ang2pix(32, survey.sky.ra, survey.sky.dec, lonlat=True, nest=True)
    return SimulationReport(
        str(out),
        size,
        seed,
        int(observed.sum()),
        len(spectra),
        len(np.unique(block)),
        files,
        digest,
        time.perf_counter() - began,
        size / rendered,
    )


def _digest(files: dict[str, str]) -> str:
    text = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def _claim_folder(out: Path, size: int, seed: int) -> None:
    record = out / "simulation.json"
    if record.exists():
        known = json.loads(record.read_text())
        if (known["size"], known["seed"]) != (size, seed):
            raise GalbaseError(
                f"{out} holds a simulated survey of {known['size']} galaxies with seed {known['seed']}; "
                "name another folder, or remove that one."
            )
    elif out.exists() and any(out.iterdir()):
        raise GalbaseError(f"{out} is not empty and holds no simulated survey; name a new folder.")
    for part in ("legacysurvey", "sdss/spectra"):
        (out / part).mkdir(parents=True, exist_ok=True)
