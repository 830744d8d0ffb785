"""Batch steps of ingest on a Dask cluster: list units, map them on workers, sum the reports."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess_store import (
    STEP,
    StaleUnit,
    UnitReport,
    ensure_config,
    find_config,
    process_unit,
    stale_units,
)
from galbase.schema import ledger
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.database import connect, connect_url, database_url
from galbase.schema.errors import GalbaseError, UsageError

# A unit takes seconds; a dead worker's unit waits this long before another takes it.
LEASE_SECONDS = 120.0
# Below this many images starting worker processes costs more than they save.
SMALL_JOB = 200
TASKS_PER_WORKER = 16
_log = logging.getLogger(__name__)


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
        run_id = ledger.start_run(connection, "preprocess", recorded)
        ledger.add_units(connection, run_id, STEP, ((u.data_file_id, u.row_start, u.row_stop) for u in units))
    url = database_url(config)
    try:
        report = _map_units(url, run_id, config_id, preprocess, units, scheduler, workers, progress, lease_seconds)
    except BaseException as error:
        _finish(url, run_id, "failed", f"{type(error).__name__}: {error}")
        raise
    with connect(config) as connection:
        failed = ledger.failed_units(connection, run_id, STEP)
    if failed:
        path, start, stop, message = failed[0]
        text = f"{len(failed)} of {len(units)} units failed, the first {path} rows {start} to {stop}: {message}"
        _finish(url, run_id, "failed", text)
        raise GalbaseError(f"{text}\nAll other units are done; mend the cause and run the command again.")
    _finish(url, run_id, "done", f"{report.n_row} images judged, {report.n_kept} kept")
    flags = dict(sorted(report.flags.items()))
    return PreprocessReport(run_id, config_id, len(units), report.n_row, report.n_kept, flags)


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


def _finish(url: str, run_id: int, state: str, message: str) -> None:
    with connect_url(url) as connection:
        ledger.finish_run(connection, run_id, state, message)


def _map_units(
    url: str,
    run_id: int,
    config_id: int,
    preprocess: PreprocessConfig,
    units: list[StaleUnit],
    scheduler: str | None,
    workers: int | None,
    progress: Progress | None,
    lease_seconds: float,
) -> UnitReport:
    """Run tasks until no unit is open. A task claims units from the ledger: which, does not matter."""
    from distributed import as_completed

    n_image = sum(unit.n_row for unit in units)
    if progress is not None:
        progress.total(n_image)
    total = UnitReport()
    small = n_image < SMALL_JOB and workers is None
    with _client(scheduler, 1 if small else workers) as client:
        n_worker = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        while True:
            with connect_url(url) as connection:
                states = ledger.unit_states(connection, run_id, STEP)
            n_open = states.get("waiting", 0) + states.get("claimed", 0)
            if n_open == 0:
                return total
            # A task takes several units, so that a hundred thousand one-image files are not as many tasks.
            n_unit = max(1, n_open // (n_worker * TASKS_PER_WORKER))
            arguments = (url, run_id, config_id, preprocess.to_dict(), n_unit, lease_seconds)
            n_task = -(-n_open // n_unit)
            futures = [client.submit(work_units, *arguments, pure=False) for _ in range(n_task)]
            n_taken = 0
            for future in as_completed(futures):
                n_done, report = _result(future)
                n_taken += n_done
                total = UnitReport(total.n_row + report.n_row, total.n_kept + report.n_kept, total.flags + report.flags)
                if progress is not None:
                    progress.advance(report.n_row)
            if n_taken == 0:
                # Only dead workers' units are left: wait for their leases.
                time.sleep(min(1.0, lease_seconds / 4))


def _result(future: Any) -> tuple[int, UnitReport]:
    """A task's result; a task whose workers all died counts as having done nothing, for its units stay open."""
    from distributed.scheduler import KilledWorker

    try:
        result: tuple[int, UnitReport] = future.result()
    except KilledWorker as error:
        _log.warning("a task lost its workers and its units go to others: %s", error)
        return 0, UnitReport()
    return result


def work_units(
    url: str, run_id: int, config_id: int, options: Mapping[str, Any], n_unit: int, lease_seconds: float
) -> tuple[int, UnitReport]:
    """A Dask task: claim and process up to `n_unit` units; returns their number and what was done."""
    preprocess = PreprocessConfig.from_dict(options)
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    total = UnitReport()
    n_done = 0
    with connect_url(url, autocommit=True) as connection:
        while n_done < n_unit:
            unit = ledger.claim(connection, run_id, STEP, owner, lease_seconds)
            if unit is None:
                break
            n_done += 1
            try:
                report = process_unit(connection, unit, config_id, preprocess)
            except GalbaseError as error:
                ledger.fail(connection, unit, str(error))
                continue
            except ledger.ClaimLostError as error:
                _log.warning("%s: it goes to another worker", error)
                continue
            total = UnitReport(total.n_row + report.n_row, total.n_kept + report.n_kept, total.flags + report.flags)
    return n_done, total


@contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A client of the scheduler at this address, or of a cluster of this process: one thread for one worker,
    otherwise one process a worker, since deblending holds Python's lock.
    """
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if scheduler is not None:
            yield stack.enter_context(_connected(lambda: Client(scheduler, timeout="15s"), scheduler))
            return
        n_worker = workers or len(os.sched_getaffinity(0))
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=n_worker,
                threads_per_worker=1,
                processes=n_worker > 1,
                # Nothing of a cluster of ours may listen beyond this machine.
                host="127.0.0.1" if n_worker > 1 else None,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
        )
        yield stack.enter_context(Client(cluster))


@contextmanager
def _connected(make: Callable[[], Any], scheduler: str) -> Iterator[Any]:
    try:
        client = make()
    except (OSError, ValueError) as error:
        raise GalbaseError(
            f"no Dask scheduler answers at {scheduler!r}: {error}. Start one with `dask scheduler`, or leave "
            "--scheduler away."
        ) from error
    with client:
        yield client
