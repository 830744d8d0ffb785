"""Simulate a survey: any number of galaxies, shard by shard, as files in the real surveys' formats.

What is written under the folder:

- `legacysurvey/images_npix152_START_STOP.h5`: grz stamps of 152 px at 0.262 arcsec [nanomaggy/pixel] with catalogue
  datasets, in the layout of georgestein/ssl-legacysurvey;
- `sdss/images_npix128_START_STOP.h5`, if asked for: gri stamps of the same galaxies, 128 px at 0.396 arcsec; the
  attributes `bands` and `pixel_scale_arcsec` say so;
- `legacysurvey/sweep-sim.fits`: the catalogue, in the columns of the DR9 sweeps;
- `sdss/galSpec-sim.fits`: MPA-JHU-like labels of the galaxies with a spectrum, with errors, -9999 where invalid;
- `sdss/stellarpop-sim.fits`: ages and metallicities of the same as fits of the spectra would give: SPECOBJID, RA, DEC,
  LOG_AGE, LOG_AGE_ERR [log10 yr], MH, MH_ERR [log10 solar], light-weighted in r, in the fibre;
- `sdss/spectra/spec-PLATE-MJD-FIBER.fits`: spectra as SDSS has them, in the COADD, SPECOBJ and SPZLINE extensions;
  corrected for Galactic extinction; SPZLINE has the true line areas;
- `truth.fits`: everything without noise, one row a galaxy in the order of the stamps (see `truth`);
- `simulation.json`: version, parameters, references, digests. It is written last: a folder without it is not whole.

A galaxy depends on size, seed and parameters alone: galaxies are drawn in blocks of 2560, each with its own seeds,
and rendered with a seed each, so that neither shards nor workers matter. Memory holds one shard's catalogues and a few
hundred stamps. An interrupted run goes on with the first shard that is not complete.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import healpy
import numpy as np
from threadpoolctl import threadpool_limits

from galbase.ml.simulate.block import BLOCK_ROWS, Plan
from galbase.ml.simulate.fits_stream import FitsTableWriter
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.shard import SPECTRA_FOLDER, Shard, make_shard, read_part
from galbase.ml.simulate.stellarpop import STELLARPOP_COMMENTS, STELLARPOP_UNITS
from galbase.ml.simulate.truth import TRUTH_UNITS
from galbase.ml.simulate.write import file_digest
from galbase.schema.errors import GalbaseError

Progress = Callable[[int, int], None]

SHARD_ROWS = 4 * BLOCK_ROWS
# path, extension, units and comments; the Legacy sweeps and MPA-JHU files carry no units
_TABLES = {
    "sweep": ("legacysurvey/sweep-sim.fits", "SWEEP", None, None),
    "labels": ("sdss/galSpec-sim.fits", "GALSPEC", None, None),
    "stellarpop": ("sdss/stellarpop-sim.fits", "STELLARPOP", STELLARPOP_UNITS, STELLARPOP_COMMENTS),
    "truth": ("truth.fits", "TRUTH", TRUTH_UNITS, None),
}
_RECORD, _UNFINISHED = "simulation.json", "simulation.unfinished.json"


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
        SHA-256 by path relative to `out`; the spectra of a shard share one.
    digest : str
        SHA-256 over the sorted file digests: equal for equal surveys.
    seconds, galaxies_per_second : float
        Wall time of it all, and of the shards made by this run.
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


def simulate(
    out: Path,
    size: int,
    seed: int,
    *,
    n_spectra: int = 50,
    surveys: tuple[str, ...] = ("legacy",),
    decorrelated: bool = False,
    sky: str = "main",
    parameters: SurveyParameters | None = None,
    workers: int | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> SimulationReport:
    """Simulate a survey and write it as the real surveys' files.

    Parameters
    ----------
    out : Path
        Folder; created. A survey already there is replaced only by itself, an unfinished one completed.
    size : int
        Number of galaxies.
    seed : int
        Seed; the same size, seed, options and parameters give the same bytes (with the same versions of the packages
        and the same kind of processor).
    n_spectra : int
        Number of spectrum files, spread over the galaxies with a fibre.
    surveys : tuple of str
        Whose images: 'legacy' (grz), 'sdss' (gri). What else is written does not depend on it.
    decorrelated : bool
        Null test: exchange structure between look-alikes (see `decorrelate`).
    sky : {'main', 'pretraining'}
        Which end of the sky to fill; the two stay apart.
    parameters : SurveyParameters, optional
        Physics and observing conditions.
    workers : int, optional
        Rendering threads; the number of processors, at most 8, by default. The result does not depend on it.
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
        If the plan makes no sense, or the folder holds another survey or something else.
    """
    plan = Plan(size, seed, n_spectra, surveys, decorrelated, sky, parameters or SurveyParameters())
    if shard_rows < 1:
        raise GalbaseError(f"shard_rows {shard_rows}: a shard has at least one galaxy.")
    began = time.perf_counter()
    shards = [
        Shard(number, start, min(start + shard_rows, plan.size))
        for number, start in enumerate(range(0, plan.size, shard_rows))
    ]
    _claim_folder(out, plan, shard_rows)
    done, made = 0, 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, plan.size)

    threads = workers or min(8, os.cpu_count() or 1)
    # matrices are small: with threads of its own, BLAS costs four times the processor time and gains nothing
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        for shard in shards:
            if shard.part_path(out).exists():
                advance(shard.stop - shard.start)
                continue
            make_shard(plan, shard, out, pool, threads, advance)
            made += shard.stop - shard.start
    rendered = time.perf_counter() - began

    files, n_labelled, n_spectrum, n_block = _assemble(out, shards)
    record = {**plan.record(), "shard_rows": shard_rows, "files": files, "digest": _digest(files)}
    (out / _RECORD).write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(out / "parts")
    (out / _UNFINISHED).unlink()
    return SimulationReport(
        str(out), plan.size, plan.seed, n_labelled, n_spectrum, n_block, files, str(record["digest"]),
        time.perf_counter() - began, made / rendered,
    )  # fmt: skip


def _assemble(out: Path, shards: list[Shard]) -> tuple[dict[str, str], int, int, int]:
    """Join the shards' parts of the catalogues: digests of all files, labelled galaxies, spectra, sky blocks."""
    files: dict[str, str] = {}
    blocks: set[int] = set()
    n_labelled = n_spectrum = 0
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(FitsTableWriter(out / path, extension, units, comments))
            for name, (path, extension, units, comments) in _TABLES.items()
        }
        for shard in shards:
            parts, report = read_part(shard.part_path(out))
            for name, writer in tables.items():
                writer.append(parts[name])
            files |= report.files
            n_labelled += report.n_labelled
            n_spectrum += report.n_spectrum
            truth = parts["truth"]
            blocks.update(np.unique(healpy.ang2pix(32, truth["ra"], truth["dec"], lonlat=True, nest=True)).tolist())
    files |= {path: file_digest(out / path) for path, *_ in _TABLES.values()}
    return files, n_labelled, n_spectrum, len(blocks)


def _digest(files: dict[str, str]) -> str:
    text = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def _claim_folder(out: Path, plan: Plan, shard_rows: int) -> None:
    """Make the folder the plan's own; leave finished shards of the same plan."""
    wanted = json.loads(json.dumps({**plan.record(), "shard_rows": shard_rows}))
    for name in (_RECORD, _UNFINISHED):
        if not (out / name).exists():
            continue
        known = json.loads((out / name).read_text())
        differing = [key for key, value in wanted.items() if key != "references" and known.get(key) != value]
        if differing:
            raise GalbaseError(
                f"{out} holds a simulated survey of {known['size']} galaxies with seed {known['seed']}, which differs "
                f"in {', '.join(differing)}; name another folder, or remove that one."
            )
        break
    else:
        if out.exists() and any(out.iterdir()):
            raise GalbaseError(f"{out} is not empty and holds no simulated survey; name a new folder.")
    for part in ("legacysurvey", SPECTRA_FOLDER, "parts"):
        (out / part).mkdir(parents=True, exist_ok=True)
    (out / _UNFINISHED).write_text(json.dumps(wanted, indent=1) + "\n")
    (out / _RECORD).unlink(missing_ok=True)
