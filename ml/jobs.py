"""Batch steps of ml on a Dask cluster: one training a task, prediction units claimed by tasks."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.ml.model_store import ModelRecord, build_embedding_index, find_model
from galbase.ml.prediction_store import STEP, UnitReport, predict_unit
from galbase.ml.predictor import Predictor, load_predictor
from galbase.ml.refresh import ModelPlan, RefreshReport, plan, step_named
from galbase.schema import ledger
from galbase.schema.cache_folder import cache_folder, make_cache_folder
from galbase.schema.console import Progress, note, progress
from galbase.schema.database import connect, connect_url, database_url
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import Batch, cluster, finish, run_batch
from galbase.schema.worker_device import placement

if TYPE_CHECKING:
    import psycopg

    from galbase.ml.request import TrainingRequest
    from galbase.schema.config import Config
    from galbase.schema.ledger import WorkUnit

# The first unit of a worker waits for the network to be built, which can take a minute.
LEASE_SECONDS = 300.0
_LOADING = threading.Lock()
# Topics of trainings that nobody in this process waits for any more.
_ENDED: set[str] = set()


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
    from galbase.ml.networks.build import reads
    from galbase.ml.request import request_config
    from galbase.ml.training import n_epoch, training_config
    from galbase.ml.training_check import check_request
    from galbase.ml.training_set import find_training_set

    reads(request.family)

    with connect(config) as connection:
        # What a task would refuse is refused here: no run is recorded, and Dask logs no traceback.
        check_request(connection, request, find_training_set(connection, request.training_set))
        device = None if scheduler else backend.device()
        run_id = ledger.start_run(connection, "train", request_config(request), device)
        # A process that was killed could not say so.
        connection.execute(
            "UPDATE archive.run SET state = 'failed', message = 'interrupted; run ' || %s || ' takes its place', "
            "finished_at = clock_timestamp() WHERE kind = 'train' AND state = 'running' AND run_id <> %s "
            "AND config ->> 'name' = %s",
            (run_id, run_id, request.name),
        )
        cache = training_cache(connection, config)
    url = database_url(config)
    topic = f"galbase-train-{uuid.uuid4().hex}"
    with cluster(scheduler) as client, progress("train", unit="epochs") as bar:
        try:
            if request.epochs is not None:
                schedule = training_config(request.family, request.mode, request.preset, request.epochs)
                bar.total(n_epoch(schedule, request.family))
            client.subscribe_topic(topic, lambda event: _follow(bar, event[1]))
            where = placement(client, "auto", prefer_gpu=True)
            future = client.submit(train_task, url, replace(request, run_id=run_id), topic, cache, pure=False, **where)
            result: dict[str, Any] = future.result()
            client.unsubscribe_topic(topic)
        except BaseException as error:
            # Before the cluster ends: a cluster of this process waits for its task, which would train on. The task
            # sees the first after its present step, and on another machine the second after its present epoch.
            _ENDED.add(topic)
            finish(config, run_id, "failed", f"{type(error).__name__}: {error}")
            raise
    finish(config, run_id, "done", f"model {result['name']}")
    return result


def _follow(bar: Progress, told: dict[str, Any]) -> None:
    """Show what a training tells: a line, or an epoch that has ended."""
    if "note" in told:
        note(told["note"])
    else:
        bar.advance()


def training_cache(connection: psycopg.Connection[Any], config: Config) -> str | None:
    """`worker_cache`, made if it does not exist, for checkpoints; a worker that cannot use it says so."""
    with suppress(GalbaseError):
        make_cache_folder(connection, config)
    return worker_cache(connection, config)


def worker_cache(connection: psycopg.Connection[Any], config: Config) -> str | None:
    """The cache folder as tasks carry it; a worker that does not see it makes the stamps anew."""
    folder = cache_folder(connection, config)
    return None if folder is None else str(folder)


def train_task(url: str, request: TrainingRequest, topic: str, cache: str | None = None) -> dict[str, Any]:
    """A Dask task: one training; tells `topic` of each epoch."""
    from distributed import get_worker

    from galbase.ml.checkpoint import TrainingEndedError
    from galbase.ml.experiment import run_training

    worker = get_worker()

    def on_epoch(part: str, epoch: int, losses: dict[str, float]) -> None:
        worker.log_event(topic, {"part": part, "epoch": epoch, **losses})

    def tell(line: str) -> None:
        worker.log_event(topic, {"note": f"train: {line}"})

    folder = None if cache is None else Path(cache)
    try:
        return run_training(url, request, on_epoch, folder, tell, lambda: topic not in _ENDED)
    except TrainingEndedError:
        # Whoever would be told is gone.
        return {}


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
    seeing = [each for each in models if each.input_kind != "spectrum"]
    for model in {each.preprocess_config_id: each for each in seeing}.values():
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
        # Threads of this process: the backend takes seconds to start in each process, its sums already use all cores,
        # and it lets go of Python's lock while it computes.
        with cluster(scheduler, threads=workers or 2) as client:
            for each in wanted:
                done = predict(config, client, each)
                predicted[each.model.name] = done.n_row - done.n_removed
                removed += done.n_removed
    with connect(config) as connection:
        for each in wanted:
            dimension = int(each.model.calibration["embedding_dim"])
            build_embedding_index(connection, each.model.model_id, dimension)
    return RefreshReport(judged, kept, predicted, removed)


def predict(config: Config, client: Any, wanted: ModelPlan) -> UnitReport:
    """Bring one model's stale units up to date on a cluster, as a run of its own.

    Raises
    ------
    GalbaseError
        If units failed; all others are done then.
    """
    model = wanted.model
    recorded = {"model": model.name, "weights": model.weights_sha256}
    with connect(config) as connection:
        arguments = (database_url(config), model.name, worker_cache(connection, config))
    batch = Batch(
        "predict", STEP, recorded, wanted.units, predict_task, arguments, UnitReport(), LEASE_SECONDS, prefer_gpu=True
    )
    with progress(f"predict {model.name}", unit="images") as bar:
        return run_batch(
            config, client, batch, bar,
            lambda it: f"{it.n_row - it.n_removed} images predicted, {it.n_removed} removed",
        )[1]  # fmt: skip


def predict_task(
    connection: psycopg.Connection[Any], unit: WorkUnit, url: str, model_name: str, cache: str | None = None
) -> UnitReport:
    """Predict a claimed unit on a worker, which loads a model once for all its units."""
    model = _loaded(url, find_model(connection, model_name))
    return predict_unit(connection, unit, model, None if cache is None else Path(cache))


def _loaded(url: str, record: ModelRecord) -> Predictor:
    """The model, loaded once a process; a worker serves many tasks."""
    with _LOADING:
        return _load_cached(url, record.name, record.weights_sha256, record.calibration_hash())


@lru_cache(maxsize=4)
def _load_cached(url: str, name: str, weights: str, calibration: str) -> Predictor:  # noqa: ARG001 -- the cache's key
    with connect_url(url) as connection:
        return load_predictor(connection, find_model(connection, name))
