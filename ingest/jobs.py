"""Batch steps of ingest on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

import psycopg

from galbase.ingest.cache_fill import STEP as FILL_STEP
from galbase.ingest.cache_fill import FillReport, fill_unit, lacking_units
from galbase.ingest.cache_size import expected_size
from galbase.ingest.preprocess.arrays import NUMPY, Arrays
from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess_store import STEP, UnitReport, ensure_config, find_config, process_unit, stale_units
from galbase.ingest.stamp_cache import CacheReport, usable
from galbase.schema.cache_folder import make_cache_folder
from galbase.schema.config import Config
from galbase.schema.console import Progress, note
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import LEASE_SECONDS, Batch, cluster, run_batch, worker_has_gpu, worker_threads
from galbase.schema.ledger import StaleUnit, WorkUnit
from galbase.schema.worker_device import check_device

ARRAYS_GROUP = "galbase.arrays"
# Below this many images starting worker processes costs more than they save.
SMALL_JOB = 200


@dataclass(frozen=True)
class PreprocessReport:
    """What a preprocessing job did.

    Parameters
    ----------
    run_id : int or None
        Row of table `run`; None if every image was current.
    config_id : int
        Row of table `preprocess_config`.
    n_unit, n_row, n_kept : int
        Units of work, images judged, images kept.
    flags : mapping of str to int
        Images judged by flag name.
    cache : CacheReport
        Stamps written to the cache.
    """

    run_id: int | None
    config_id: int
    n_unit: int = 0
    n_row: int = 0
    n_kept: int = 0
    flags: Mapping[str, int] = field(default_factory=dict)
    cache: CacheReport = field(default_factory=CacheReport)


def run_preprocess(
    config: Config,
    *,
    release: str | None,
    preprocess: PreprocessConfig,
    name: str = "galeffnet",
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    lease_seconds: float = LEASE_SECONDS,
    cache: bool = True,
    device: str = "auto",
) -> PreprocessReport:
    """Give every image that lacks one a current verdict, and leave all others untouched.

    Parameters
    ----------
    config : Config
        Where the archive is.
    release : str or None
        Data release; all releases when None.
    preprocess : PreprocessConfig
        Method and options.
    name : str
        Preset that the options started from; recorded with them.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``; a cluster in this process when None.
    workers : int, optional
        Workers of the cluster in this process: one a core when None.
    progress : Progress, optional
        Told the number of images and each that is done.
    lease_seconds : float
        After this time another worker may take over a unit.
    cache : bool
        Write the stamps of kept images to the cache, where `config.cache_dir` wants one; their size is told before.
    device : {'auto', 'cpu', 'gpu'}
        Workers that judge, as of `worker_device.placement`. One with a GPU computes pixels on it, and detection,
        contours and deblending on its threads.

    Raises
    ------
    GalbaseError
        If the release or the scheduler does not exist, or if units failed; all other units are done then.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed.")
    check_device(device)
    with connect(config) as connection:
        _check_release(connection, release)
        config_id = ensure_config(connection, name, preprocess)
        connection.commit()
        units = stale_units(connection, config_id, preprocess, release)
        if not units:
            return PreprocessReport(None, config_id)
        folder = make_cache_folder(connection, config) if cache else None
        if folder is not None:
            n_image = sum(unit.n_row for unit in units)
            note(expected_size(connection, config_id, preprocess, n_image, judged=False).text(folder))
    recorded = {"release": release, "preset": name, "hash": preprocess.hash(), "parameters": preprocess.to_dict()}
    arguments = (config_id, preprocess.to_dict(), None if folder is None else str(folder), device == "gpu")
    batch = Batch(
        "preprocess", STEP, recorded, units, judge_unit, arguments, UnitReport(), lease_seconds, device=device
    )
    gpu = scheduler is None and device == "gpu"
    if gpu:
        accelerator()
    with cluster(scheduler, processes=workers or _n_process(units), threads=_n_core() if gpu else 1, gpu=gpu) as client:
        run_id, report = run_batch(
            config, client, batch, progress, lambda it: f"{it.n_row} images judged, {it.n_kept} kept"
        )
    flags = dict(sorted(report.flags.items()))
    return PreprocessReport(run_id, config_id, len(units), report.n_row, report.n_kept, flags, report.cache)


def _n_process(units: Sequence[StaleUnit]) -> int:
    small = sum(unit.n_row for unit in units) < SMALL_JOB
    # Processes rather than threads, since deblending holds Python's lock.
    return 1 if small else _n_core()


def _n_core() -> int:
    return len(os.sched_getaffinity(0))


def judge_unit(
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    config_id: int,
    options: Mapping[str, Any],
    cache: str | None = None,
    alone: bool = False,
) -> UnitReport:
    """Judge a claimed unit on a worker; options travel as a dict, so that an unknown one is refused there too.

    On a worker with a GPU the pixels are computed there; a task that has it `alone` takes all threads of the worker.
    """
    arrays = accelerator() if worker_has_gpu() else NUMPY
    n_thread = worker_threads() if alone else 1
    preprocess = PreprocessConfig.from_dict(options)
    return process_unit(connection, unit, config_id, preprocess, usable(cache), arrays, n_thread)


@lru_cache(maxsize=1)
def accelerator() -> Arrays:
    """The array operations of this machine's accelerator, which another part gives: this one knows numpy alone.

    Raises
    ------
    GalbaseError
        If the machine has none, or the installation no such part.
    """
    for entry in entry_points(group=ARRAYS_GROUP):
        found: Arrays = entry.load()()
        return found
    raise GalbaseError(f"nothing in entry-point group {ARRAYS_GROUP!r} computes on a GPU; install galbase anew.")


def fill_cache(
    config: Config,
    *,
    release: str | None,
    preprocess: PreprocessConfig,
    verify: bool = False,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FillReport:
    """Cache the stamps of kept images that the cache lacks; their size is told before.

    Parameters
    ----------
    config, release, scheduler, workers, progress
        As of `run_preprocess`.
    preprocess : PreprocessConfig
        Configuration whose verdicts are there.
    verify : bool
        Read every cached file and compare its hash first.

    Raises
    ------
    GalbaseError
        If there is no cache, no such release or scheduler, no verdict of the configuration, or if units failed.
    """
    with connect(config) as connection:
        _check_release(connection, release)
        config_id = find_config(connection, preprocess)
        if config_id is None:
            raise GalbaseError("no image was judged with this configuration; run `galbase preprocess` first.")
        folder = make_cache_folder(connection, config)
        if folder is None:
            raise GalbaseError("cache_dir is 'none': there is no cache to fill; set GALBASE_CACHE_DIR to a folder.")
        units = lacking_units(connection, folder, config_id, release, verify)
        if not units:
            return FillReport()
        n_image = sum(unit.n_row for unit in units)
        note(expected_size(connection, config_id, preprocess, n_image, judged=True).text(folder))
    recorded = {"release": release, "hash": preprocess.hash(), "parameters": preprocess.to_dict(), "verify": verify}
    arguments = (config_id, preprocess.to_dict(), str(folder))
    batch = Batch("stamps", FILL_STEP, recorded, units, fill_task, arguments, FillReport())
    with cluster(scheduler, processes=workers or _n_process(units)) as client:
        return run_batch(config, client, batch, progress, lambda it: f"{it.n_row} stamps cached")[1]


def fill_task(
    connection: psycopg.Connection[Any], unit: WorkUnit, config_id: int, options: Mapping[str, Any], cache: str
) -> FillReport:
    """Fill a claimed unit on a worker."""
    return fill_unit(connection, unit, config_id, PreprocessConfig.from_dict(options), usable(cache))


def count_stale(config: Config, *, release: str | None, preprocess: PreprocessConfig) -> int:
    """Number of images that `run_preprocess` would look at: those without a current verdict. Writes nothing."""
    with connect(config) as connection:
        _check_release(connection, release)
        units = stale_units(connection, find_config(connection, preprocess), preprocess, release)
    return sum(unit.n_row for unit in units)


def _check_release(connection: Any, release: str | None) -> None:
    known = [row[0] for row in connection.execute("SELECT release FROM archive.data_release ORDER BY 1").fetchall()]
    if release is not None and release not in known:
        listed = ", ".join(known) or "none yet: `galbase release add` makes one"
        raise GalbaseError(f"there is no release {release!r}; releases are {listed}.")
