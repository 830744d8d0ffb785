"""Batch steps of ingest on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess_store import STEP, UnitReport, ensure_config, find_config, process_unit, stale_units
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import LEASE_SECONDS, Batch, cluster, run_batch
from galbase.schema.ledger import WorkUnit

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
    """

    run_id: int | None
    config_id: int
    n_unit: int = 0
    n_row: int = 0
    n_kept: int = 0
    flags: Mapping[str, int] = field(default_factory=dict)


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

    Raises
    ------
    GalbaseError
        If the release or the scheduler does not exist, or if units failed; all other units are done then.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed.")
    with connect(config) as connection:
        _check_release(connection, release)
        config_id = ensure_config(connection, name, preprocess)
        connection.commit()
        units = stale_units(connection, config_id, preprocess, release)
        if not units:
            return PreprocessReport(None, config_id)
    recorded = {"release": release, "preset": name, "hash": preprocess.hash(), "parameters": preprocess.to_dict()}
    batch = Batch(
        "preprocess", STEP, recorded, units, judge_unit, (config_id, preprocess.to_dict()), UnitReport(), lease_seconds
    )
    small = sum(unit.n_row for unit in units) < SMALL_JOB
    # Processes rather than threads, since deblending holds Python's lock.
    n_process = workers or (1 if small else len(os.sched_getaffinity(0)))
    with cluster(scheduler, processes=n_process) as client:
        run_id, report = run_batch(
            config, client, batch, progress, lambda it: f"{it.n_row} images judged, {it.n_kept} kept"
        )
    flags = dict(sorted(report.flags.items()))
    return PreprocessReport(run_id, config_id, len(units), report.n_row, report.n_kept, flags)


def judge_unit(
    connection: psycopg.Connection[Any], unit: WorkUnit, config_id: int, options: Mapping[str, Any]
) -> UnitReport:
    """Judge a claimed unit on a worker; options travel as a dict, so that an unknown one is refused there too."""
    return process_unit(connection, unit, config_id, PreprocessConfig.from_dict(options))


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
