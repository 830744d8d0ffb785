"""Fits of labels on a Dask cluster: units claimed by tasks, templates read once a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.ml.labels.fit import require_ppxf
from galbase.ml.labels.options import FitOptions, method_hash, method_record
from galbase.ml.labels.store import STEP, Method, UnitReport, align_labels, fit_unit, stale_units
from galbase.ml.labels.templates import TemplateSet, read_templates
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import Batch, cluster, run_batch
from galbase.schema.label_origin import check_origin, is_truth, register_origin

if TYPE_CHECKING:
    import psycopg

    from galbase.schema.config import Config
    from galbase.schema.console import Progress
    from galbase.schema.ledger import StaleUnit, WorkUnit

# Below so many fits, realisations included, starting worker processes costs more than they save.
SMALL_JOB = 100


@dataclass(frozen=True)
class TemplateFile:
    """Where templates are, and what their file does not say; as of `templates.read_templates`."""

    path: str | None = None
    wavelengths_in: str | None = None
    fwhm_angstrom: float | None = None


@dataclass(frozen=True)
class FitReport:
    """What a job did.

    Parameters
    ----------
    run_id : int or None
        Row of table `run`, which holds method, templates and options; None if every fit was current.
    method : mapping
        As recorded with the run.
    n_row, n_fitted, n_removed : int
        Spectra looked at, those that gave labels, and labels removed because their spectra are gone.
    reasons : mapping of str to int
        Spectra without labels, by reason.
    """

    run_id: int | None
    method: Mapping[str, Any]
    n_row: int = 0
    n_fitted: int = 0
    n_removed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


def fit_labels(
    config: Config,
    *,
    release: str | None,
    origin: str,
    templates: TemplateFile,
    options: FitOptions,
    evaluation_only: bool = False,
    limit: int | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FitReport:
    """Fit every spectrum that lacks a current fit, and leave all others untouched.

    Parameters
    ----------
    config : Config
    release : str or None
        Release of the spectra; all when None.
    origin : str
        Name of the labels; another method or other templates under the same name replace them.
    templates : TemplateFile
        Seen by all workers under the same path.
    options : FitOptions
    evaluation_only : bool
        Keep the labels out of selections that do not name them.
    limit : int, optional
        At most so many spectra now.
    scheduler : str, optional
        Address of a Dask scheduler; a cluster in this process when None.
    workers : int, optional
        Worker processes of our own cluster: one a core when None.
    progress : Progress, optional

    Raises
    ------
    GalbaseError
        If pPXF, the release, the templates or the scheduler are not there, the origin is of another kind of labels,
        or units failed; all other units are done then.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed.")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; at least 1 is needed.")
    check_origin(origin)
    options.check()
    require_ppxf()
    found = _templates(templates)
    found.band_light(options.band)
    record, digest = method_record(found, options), method_hash(found, options)
    for_evaluation = evaluation_only or is_truth(origin)
    with connect(config) as connection:
        _check_release(connection, release)
        register_origin(connection, origin, for_evaluation, fitted=True)
        n_removed = align_labels(connection, origin)
        connection.commit()
        units = stale_units(connection, origin, digest, release, limit)
    if not units:
        return FitReport(None, record, n_removed=n_removed)
    recorded = {"release": release, "origin": origin, "hash": digest, **record}
    arguments = (origin, digest, templates, found.digest, options.to_dict())
    batch = Batch("labels", STEP, recorded, units, fit_task, arguments, UnitReport())
    with cluster(scheduler, processes=workers or _n_process(units, options)) as client:
        run_id, done = run_batch(
            config, client, batch, progress, lambda it: f"{it.n_fitted} of {it.n_row} spectra gave labels"
        )
    return FitReport(run_id, record, done.n_row, done.n_fitted, n_removed, dict(sorted(done.reasons.items())))


def _n_process(units: Sequence[StaleUnit], options: FitOptions) -> int:
    small = sum(unit.n_row for unit in units) * (1 + options.realisations) < SMALL_JOB
    # Processes rather than threads, since most of a fit holds Python's lock.
    return 1 if small else len(os.sched_getaffinity(0))


def fit_task(
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    origin: str,
    digest: str,
    file: TemplateFile,
    templates_digest: str,
    options: dict[str, Any],
) -> UnitReport:
    """Fit a claimed unit on a worker.

    Raises
    ------
    GalbaseError
        If the worker lacks pPXF, or does not see the templates that the job was started with.
    """
    require_ppxf()
    templates = _templates(file)
    if templates.digest != templates_digest:
        raise GalbaseError(f"templates {file.path} are others on this worker; let all workers see the same files.")
    return fit_unit(connection, unit, Method(origin, digest, templates, FitOptions.from_dict(options)))


@lru_cache(maxsize=2)
def _templates(file: TemplateFile) -> TemplateSet:
    return read_templates(None if file.path is None else Path(file.path), file.wavelengths_in, file.fwhm_angstrom)


def _check_release(connection: psycopg.Connection[Any], release: str | None) -> None:
    known = [row[0] for row in connection.execute("SELECT release FROM archive.data_release ORDER BY 1").fetchall()]
    if release is not None and release not in known:
        listed = ", ".join(known) or "none yet: `galbase release add` makes one"
        raise GalbaseError(f"there is no release {release!r}; releases are {listed}.")
