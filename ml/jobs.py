"""Batch steps of ml on a Dask cluster: one training a task, prediction units mapped on workers."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from galbase.ml.model_store import LoadedModel, ModelRecord, build_embedding_index, find_model, load_model
from galbase.ml.prediction_store import STEP, UnitReport, predict_unit
from galbase.ml.refresh import ModelPlan, RefreshReport, plan, step_named
from galbase.schema import ledger
from galbase.schema.console import progress
from galbase.schema.database import connect, connect_url, database_url
from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    from galbase.ml.request import TrainingRequest
    from galbase.schema.config import Config

# A unit takes seconds; a dead worker's unit waits this long before another takes it.
LEASE_SECONDS = 300.0
TASKS_PER_WORKER = 16
_LOADING = threading.Lock()
_log = logging.getLogger(__name__)


def train(config: Config, request: TrainingRequest, *, scheduler: str | None = None) -> dict[str, Any]:
    """Train a model as a task on a Dask worker and register it as a candidate.

    Parameters
    ----------
    config : Config
    request : TrainingRequest
        Its `run_id` is filled in here.
    scheduler : str, optional
        Address of a Dask scheduler; a cluster in this process when None.

    Returns
    -------
    dict
        ``model_id``, ``name`` and the metrics on held-out sky.

    Raises
    ------
    GalbaseError
        If the training set, the options or the scheduler are not usable.
    """
    from dataclasses import replace

    from galbase.ml import backend
    from galbase.ml.request import request_config

    with connect(config) as connection:
        known = connection.execute("SELECT 1 FROM archive.model WHERE name = %s", (request.name,)).fetchone()
        if known:
            raise GalbaseError(f"model {request.name!r} exists already; choose another --name.")
        device = None if scheduler else backend.device()
        run_id = ledger.start_run(connection, "train", request_config(request), device)
    url = database_url(config)
    topic = f"galbase-train-{uuid.uuid4().hex}"
    try:
        with _client(scheduler, 1) as client, progress("train", unit="epochs") as bar:
            if request.epochs is not None:
                bar.total(request.epochs)
            client.subscribe_topic(topic, lambda _event: bar.advance())
            future = client.submit(train_task, url, replace(request, run_id=run_id), topic, pure=False)
            result: dict[str, Any] = future.result()
            client.unsubscribe_topic(topic)
    except BaseException as error:
        _finish(config, run_id, "failed", f"{type(error).__name__}: {error}")
        raise
    _finish(config, run_id, "done", f"model {result['name']}")
    return result


def train_task(url: str, request: TrainingRequest, topic: str) -> dict[str, Any]:
    """A Dask task: one training; tells `topic` of each epoch."""
    from distributed import get_worker

    from galbase.ml.experiment import run_training

    worker = get_worker()

    def on_epoch(epoch: int, losses: dict[str, float]) -> None:
        worker.log_event(topic, {"epoch": epoch, **losses})

    return run_training(url, request, on_epoch)


def refresh(config: Config, *, scheduler: str | None = None, workers: int | None = None) -> RefreshReport:
    """Bring every image that lacks current results up to date, and touch nothing else.

    For each preprocessing that a candidate or serving model reads, images without a current verdict are judged; then
    each such model predicts the kept images whose prediction is missing or outdated.

    Parameters
    ----------
    config : Config
    scheduler : str, optional
        Address of a Dask scheduler; a cluster in this process when None.
    workers : int, optional
        Workers of the cluster in this process.

    Raises
    ------
    GalbaseError
        If units failed; all others are done then.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; at least 1 is needed.")
    models = [each.model for each in plan(config)]
    judged = kept = 0
    step = step_named("preprocess")
    for model in {each.preprocess_config_id: each for each in models}.values():
        with progress("preprocess", unit="images") as bar:
            report = step(
                config,
                release=None,
                preprocess=model.preprocess,
                name=model.preprocess_name,
                scheduler=scheduler,
                workers=workers,
                progress=bar,
            )
        judged += report.n_row
        kept += report.n_kept
    wanted = [each for each in plan(config) if each.units]
    predicted: dict[str, int] = {}
    removed = 0
    if wanted:
        with _client(scheduler, workers or 2) as client:
            for each in wanted:
                done = _predict(config, client, each)
                predicted[each.model.name] = done.n_row
                removed += done.n_removed
    with connect(config) as connection:
        for each in wanted:
            dimension = int(each.model.calibration["embedding_dim"])
            build_embedding_index(connection, each.model.model_id, dimension)
    return RefreshReport(judged, kept, predicted, removed)


def _predict(config: Config, client: Any, wanted: ModelPlan) -> UnitReport:
    """One model's stale units as a run of its own."""
    model = wanted.model
    with connect(config) as connection:
        run_id = ledger.start_run(connection, "predict", {"model": model.name, "weights": model.weights_sha256})
        ledger.add_units(
            connection, run_id, STEP, ((unit.data_file_id, unit.row_start, unit.row_stop) for unit in wanted.units)
        )
    try:
        report = _map_units(config, client, run_id, model, wanted.n_stale)
        with connect(config) as connection:
            failed = ledger.failed_units(connection, run_id, STEP)
        if failed:
            path, start, stop, message = failed[0]
            raise GalbaseError(
                f"{len(failed)} of {len(wanted.units)} units failed, the first {path} rows {start} to {stop}: "
                f"{message}\nAll other units are done; mend the cause and run the command again."
            )
    except BaseException as error:
        _finish(config, run_id, "failed", f"{type(error).__name__}: {error}")
        raise
    _finish(config, run_id, "done", f"{report.n_row} images predicted, {report.n_removed} removed")
    return report


def _map_units(config: Config, client: Any, run_id: int, model: ModelRecord, n_image: int) -> UnitReport:
    """Run tasks until no unit is open. A task claims units from the ledger: which, does not matter."""
    from distributed import as_completed

    url = database_url(config)
    n_worker = max(1, sum(client.nthreads().values()))
    total = UnitReport()
    with progress(f"predict {model.name}", n_image, "images") as bar:
        while True:
            with connect(config) as connection:
                states = ledger.unit_states(connection, run_id, STEP)
            n_open = states.get("waiting", 0) + states.get("claimed", 0)
            if n_open == 0:
                return total
            n_unit = max(1, n_open // (n_worker * TASKS_PER_WORKER))
            futures = [
                client.submit(predict_task, url, run_id, model.name, n_unit, LEASE_SECONDS, pure=False)
                for _ in range(-(-n_open // n_unit))
            ]
            n_taken = 0
            for future in as_completed(futures):
                n_done, report = _result(future)
                n_taken += n_done
                total = UnitReport(total.n_row + report.n_row, total.n_removed + report.n_removed)
                bar.advance(report.n_row + report.n_removed)
            if n_taken == 0:
                # Only dead workers' units are left: wait for their leases.
                time.sleep(1.0)


def _result(future: Any) -> tuple[int, UnitReport]:
    """A task's result; a task whose workers all died counts as having done nothing, for its units stay open."""
    from distributed.scheduler import KilledWorker

    try:
        result: tuple[int, UnitReport] = future.result()
    except KilledWorker as error:
        _log.warning("a task lost its workers and its units go to others: %s", error)
        return 0, UnitReport()
    return result


def predict_task(url: str, run_id: int, model_name: str, n_unit: int, lease_seconds: float) -> tuple[int, UnitReport]:
    """A Dask task: claim and predict up to `n_unit` units; returns their number and what was done."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    total = UnitReport()
    n_done = 0
    with connect_url(url, autocommit=True) as connection:
        model = _loaded(url, find_model(connection, model_name))
        while n_done < n_unit:
            unit = ledger.claim(connection, run_id, STEP, owner, lease_seconds)
            if unit is None:
                break
            n_done += 1
            try:
                report = predict_unit(connection, unit, model)
            except GalbaseError as error:
                ledger.fail(connection, unit, str(error))
                continue
            except ledger.ClaimLostError as error:
                _log.warning("%s: it goes to another worker", error)
                continue
            total = UnitReport(total.n_row + report.n_row, total.n_removed + report.n_removed)
    return n_done, total


def _loaded(url: str, record: ModelRecord) -> LoadedModel:
    """The model, loaded once a process; a worker serves many tasks."""
    with _LOADING:
        return _load_cached(url, record.name, record.weights_sha256, record.calibration_hash())


@lru_cache(maxsize=4)
def _load_cached(url: str, name: str, weights: str, calibration: str) -> LoadedModel:  # noqa: ARG001 -- the cache's key
    with connect_url(url) as connection:
        return load_model(connection, find_model(connection, name))


def _finish(config: Config, run_id: int, state: str, message: str) -> None:
    with connect(config) as connection:
        ledger.finish_run(connection, run_id, state, message)


@contextmanager
def _client(scheduler: str | None, threads: int) -> Iterator[Any]:
    """A client of the scheduler at this address, or of a cluster in this process.

    In this process workers are threads: the backend takes seconds to start in each process, its sums already use all
    cores, and it lets go of Python's lock while it computes.
    """
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if scheduler is None:
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=1,
                    threads_per_worker=threads,
                    processes=False,
                    # None would still open the default port, on all addresses, and warn where it is taken.
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    silence_logs=logging.ERROR,
                )
            )
            yield stack.enter_context(Client(cluster))
            return
        try:
            client = Client(scheduler, timeout="15s")
        except (OSError, ValueError) as error:
            raise GalbaseError(
                f"no Dask scheduler answers at {scheduler!r}: {error}. Start one with `dask scheduler`, or leave "
                "--scheduler away."
            ) from error
        yield stack.enter_context(client)
