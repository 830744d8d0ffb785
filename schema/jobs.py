"""Batches on a Dask cluster: a run's units of work are claimed from the ledger by tasks, and their reports summed."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import psycopg

from galbase.schema import ledger
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.database import connect, connect_url, database_url
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import StaleUnit, WorkUnit
from galbase.schema.transient import is_transient
from galbase.schema.worker_device import RESOURCE, placement

# A unit takes seconds; a dead worker's unit waits this long before another takes it.
LEASE_SECONDS = 120.0
# After a passing error a unit waits this long, then twice and four times and eight times that.
RETRY_SECONDS = 2.0
TASKS_PER_WORKER = 16
_log = logging.getLogger(__name__)


class Report(Protocol):
    """What units did, in numbers that can be added."""

    @property
    def n_row(self) -> int:
        """Rows that the units brought up to date."""

    def __add__(self: R, other: R, /) -> R:
        """Both together."""


R = TypeVar("R", bound=Report)
Process = Callable[..., R]


@dataclass(frozen=True)
class Batch(Generic[R]):
    """A run of one step over units of work.

    Parameters
    ----------
    kind : str
        What runs, as `run.kind` records it.
    step : str
        Name of the step in the ledger.
    recorded : mapping
        Parameters to record with the run, of what JSON can hold.
    units : sequence of StaleUnit
    process : callable
        ``process(connection, unit, *arguments)`` computes a claimed unit, writes and completes it in one
        transaction, and returns a report. A function of a module, so that workers can import it.
    arguments : tuple
        What tasks carry to the workers.
    nothing : Report
        The sum of no reports.
    lease_seconds : float
        After this time without a sign of life another worker may take over a unit.
    prepare : callable, optional
        ``prepare(connection, run_id)`` writes what units refer to, in the transaction that records the run.
    device : str
    prefer_gpu : bool
        Workers that the units are for, as of `worker_device.placement`.
    """

    kind: str
    step: str
    recorded: Mapping[str, Any]
    units: Sequence[StaleUnit]
    process: Process[R]
    arguments: tuple[Any, ...]
    nothing: R
    lease_seconds: float = LEASE_SECONDS
    prepare: Callable[[psycopg.Connection[Any], int], None] | None = None
    device: str = "auto"
    prefer_gpu: bool = False


def run_batch(
    config: Config, client: Any, batch: Batch[R], bar: Progress | None, summary: Callable[[R], str]
) -> tuple[int, R]:
    """Process all units of a batch on a cluster, as one recorded run.

    Parameters
    ----------
    config : Config
    client : distributed.Client or None
        None works in this process, one unit after the other.
    batch : Batch
    bar : Progress, optional
        Told the number of rows, and each unit's when it is done.
    summary : callable
        What to record as the run's message.

    Returns
    -------
    (run_id, report)

    Raises
    ------
    GalbaseError
        If units failed; all other units are done then.
    """
    where = {} if client is None else placement(client, batch.device, prefer_gpu=batch.prefer_gpu)
    with connect(config) as connection:
        run_id = ledger.start_run(connection, batch.kind, batch.recorded)
        places = ((unit.data_file_id, unit.row_start, unit.row_stop) for unit in batch.units)
        ledger.add_units(connection, run_id, batch.step, places)
        if batch.prepare is not None:
            batch.prepare(connection, run_id)
    if bar is not None:
        bar.total(sum(unit.n_row for unit in batch.units))
    try:
        report = _map_units(config, client, run_id, batch, bar, where)
        with connect(config) as connection:
            failed = ledger.failed_units(connection, run_id, batch.step)
        if failed:
            path, start, stop, message = failed[0]
            raise GalbaseError(
                f"{len(failed)} of {len(batch.units)} units failed, the first {path} rows {start} to {stop}: "
                f"{message}\nAll other units are done; mend the cause and run the command again."
            )
    except BaseException as error:
        finish(config, run_id, "failed", f"{type(error).__name__}: {error}")
        raise
    finish(config, run_id, "done", summary(report))
    return run_id, report


def finish(config: Config, run_id: int, state: str, message: str) -> None:
    """Record the end of a run in a transaction of its own."""
    with connect(config) as connection:
        ledger.finish_run(connection, run_id, state, message)


def _map_units(
    config: Config, client: Any, run_id: int, batch: Batch[R], bar: Progress | None, where: Mapping[str, Any]
) -> R:
    """Run tasks until no unit is open. A task claims units from the ledger: which, does not matter."""
    from distributed import as_completed

    url = database_url(config)
    total = batch.nothing
    if client is None:
        work = (url, run_id, batch.step, batch.process, batch.arguments, batch.nothing, 1, batch.lease_seconds)
        while n_open := _n_open(config, run_id, batch):
            for _ in range(n_open):
                n_done, report = work_units(*work)
                total = total + report
                if bar is not None:
                    bar.advance(report.n_row)
                if n_done == 0:
                    _wait(batch)
                    break
        return total
    n_worker = max(1, sum(client.nthreads().values()))
    while True:
        n_open = _n_open(config, run_id, batch)
        if n_open == 0:
            return total
        # A task takes several units, so that a hundred thousand one-image files are not as many tasks.
        n_unit = max(1, n_open // (n_worker * TASKS_PER_WORKER))
        work = (url, run_id, batch.step, batch.process, batch.arguments, batch.nothing, n_unit, batch.lease_seconds)
        futures = [client.submit(work_units, *work, pure=False, **where) for _ in range(-(-n_open // n_unit))]
        n_taken = 0
        for future in as_completed(futures):
            n_done, report = _result(future, batch.nothing)
            n_taken += n_done
            total = total + report
            if bar is not None:
                bar.advance(report.n_row)
        if n_taken == 0:
            _wait(batch)


def _n_open(config: Config, run_id: int, batch: Batch[R]) -> int:
    with connect(config) as connection:
        states = ledger.unit_states(connection, run_id, batch.step)
    return states.get("waiting", 0) + states.get("claimed", 0)


def _wait(batch: Batch[R]) -> None:
    """Only units of dead workers, or that are tried again later, are left."""
    time.sleep(min(1.0, batch.lease_seconds / 4))


def _result(future: Any, nothing: R) -> tuple[int, R]:
    """A task's result; a task whose workers all died counts as having done nothing, for its units stay open."""
    from distributed.scheduler import KilledWorker

    try:
        result: tuple[int, R] = future.result()
    except KilledWorker as error:
        _log.warning("a task lost its workers and its units go to others: %s", error)
        return 0, nothing
    return result


def work_units(
    url: str,
    run_id: int,
    step: str,
    process: Process[R],
    arguments: tuple[Any, ...],
    nothing: R,
    n_unit: int,
    lease_seconds: float,
) -> tuple[int, R]:
    """A Dask task: claim and process up to `n_unit` units; returns their number and what was done."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    total = nothing
    n_done = n_lost = 0
    while n_done < n_unit:
        with connect_url(url, autocommit=True) as connection:
            try:
                unit = ledger.claim(connection, run_id, step, owner, lease_seconds)
                while unit is not None:
                    n_done += 1
                    with _signs_of_life(url, unit, lease_seconds):
                        total = total + _attempt(url, connection, unit, process, arguments, nothing)
                    if n_done == n_unit or connection.closed:
                        break
                    unit = ledger.claim(connection, run_id, step, owner, lease_seconds)
                if unit is None:
                    break
            except psycopg.OperationalError as error:
                # Lost while a unit was claimed: a unit that was claimed nevertheless waits for its lease to run out.
                n_lost += 1
                if n_lost >= ledger.MAX_ATTEMPTS or not connection.closed:
                    raise
                _log.warning("the connection was lost and is made anew: %s", error)
    return n_done, total


@contextmanager
def _signs_of_life(url: str, unit: WorkUnit, lease_seconds: float) -> Iterator[None]:
    """Renew a unit's lease while it is worked on, from a thread and connection of their own.

    A thread that cannot reach the server ends: the unit then goes to another worker when the lease runs out.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease_seconds / 3):
            try:
                with connect_url(url, autocommit=True) as connection:
                    ledger.renew(connection, unit, lease_seconds)
            except (psycopg.Error, GalbaseError) as error:
                _log.warning("unit %d: its lease was not renewed: %s", unit.work_unit_id, error)
                return

    thread = threading.Thread(target=renew, name=f"lease of unit {unit.work_unit_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _attempt(
    url: str,
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    process: Process[R],
    arguments: tuple[Any, ...],
    nothing: R,
) -> R:
    try:
        return process(connection, unit, *arguments)
    except ledger.ClaimLostError as error:
        _log.warning("%s: it goes to another worker", error)
    except (GalbaseError, OSError, psycopg.Error) as error:
        if is_transient(error):
            _try_again_later(url, unit, error)
        elif isinstance(error, GalbaseError):
            ledger.fail(connection, unit, str(error))
        else:
            raise
    return nothing


def _try_again_later(url: str, unit: WorkUnit, error: Exception) -> None:
    """Give a unit back after a passing error, each time for longer; on a new connection, for the old may be lost."""
    _log.warning("unit %d, attempt %d: %s", unit.work_unit_id, unit.attempt, error)
    try:
        with connect_url(url, autocommit=True) as connection:
            message = str(error) if isinstance(error, GalbaseError) else f"{type(error).__name__}: {error}"
            ledger.retry(connection, unit, message, RETRY_SECONDS * 2 ** (unit.attempt - 1))
    except (GalbaseError, psycopg.Error) as other:
        _log.warning("unit %d waits for its lease to run out: %s", unit.work_unit_id, other)


@contextmanager
def cluster(scheduler: str | None, *, processes: int = 1, threads: int = 1, gpu: bool = False) -> Iterator[Any]:
    """A client of a Dask scheduler, or of a cluster of this process that ends with it.

    Parameters
    ----------
    scheduler : str or None
        Address, ``tcp://host:8786``; a cluster of our own when None.
    processes : int
        Worker processes of our own cluster; 1 stays in this process.
    threads : int
        Threads of each worker.
    gpu : bool
        Our own cluster is one process that offers this machine's GPU.

    Raises
    ------
    GalbaseError
        If no scheduler answers.
    """
    import dask
    from distributed import Client, LocalCluster

    if scheduler is None:
        processes = 1 if gpu else processes
        # Workers of ours live and sleep with their scheduler. One that gave them up for silence, after the machine had
        # slept, would leave their tasks without a worker, and us waiting.
        with dask.config.set({"distributed.scheduler.worker-ttl": None}):
            own = LocalCluster(
                n_workers=processes,
                threads_per_worker=threads,
                processes=processes > 1,
                resources={RESOURCE: 1} if gpu else None,
                # Nothing of a cluster of ours may listen beyond this machine; None as dashboard address would still
                # open the default port, on all addresses.
                host="127.0.0.1" if processes > 1 else None,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
        with own, Client(own) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout="15s")
    except (OSError, ValueError) as error:
        raise GalbaseError(
            f"no Dask scheduler answers at {scheduler!r}: {error}. Start one with `dask scheduler`, or leave "
            "--scheduler away."
        ) from error
    with client:
        yield client


def worker_has_gpu() -> bool:
    """Whether this is a task on a worker with a GPU."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return False
    return bool(worker.state.total_resources.get(RESOURCE, 0) >= 1)


def worker_threads() -> int:
    """Threads of this worker; 1 outside a task."""
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return 1
