"""One training from a frozen training set to a registered candidate: the work of a `galbase train` task."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml import backend
from galbase.ml.baselines import boosted_trees, mean_prediction
from galbase.ml.calibration import LEVELS, MIN_RESIDUAL, ConformalBins, bin_edges, calibrate
from galbase.ml.checkpoint import Checkpoints, Tell
from galbase.ml.curve_store import check_running, curve_rows, record_epochs, recorder
from galbase.ml.domain import Domain, evenly_spaced
from galbase.ml.fused_training import FusedData, features, fit_fused, simulated_r2
from galbase.ml.inference import Inference, infer
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_file import SUFFIX, checked_bytes, read_model_file
from galbase.ml.model_store import register_model
from galbase.ml.networks.backbones import load_backbone
from galbase.ml.networks.build import (
    backbone_of,
    build,
    improved_bin_px,
    improved_crop_px,
    improved_options,
    learns_from,
    reads,
)
from galbase.ml.networks.mmlforgalam_fused import FusedNetwork, feature_model
from galbase.ml.networks.network import Network
from galbase.ml.predictor import NewNetworkModel
from galbase.ml.recipe import NONE, Recipe, recipe_of_mode
from galbase.ml.request import TrainingRequest
from galbase.ml.sample import Sample, load_sample
from galbase.ml.scaling import LabelScaler
from galbase.ml.splits import SPLITS
from galbase.ml.training import OnPartEpoch, TrainingConfig, TrainingResult, fit, training_config
from galbase.ml.training_check import check_request
from galbase.ml.training_set import TrainingSet, find_training_set
from galbase.ml.weights import fill_weights, weights_to_bytes
from galbase.schema.database import connect_url
from galbase.schema.errors import GalbaseError

Float32 = npt.NDArray[np.float32]
# Name of what is fitted in families that are one network.
WHOLE = "network"


def run_training(
    url: str,
    request: TrainingRequest,
    on_epoch: OnPartEpoch | None = None,
    cache: Path | None = None,
    tell: Tell | None = None,
    goes_on: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train, calibrate, score and register; runs on a Dask worker.

    Parameters
    ----------
    url : str
        Database URL of the archive's owner.
    request : TrainingRequest
    on_epoch : callable, optional
        Called after each epoch with the name of the part that is fitted, its number and losses.
    cache : Path, optional
        The archive's cache folder; none when None, and then an interrupted training begins anew.
    tell : callable, optional
        Told in a line what became of checkpoints; they go to the log when None.
    goes_on : callable, optional
        Asked after each step whether to make another.

    Returns
    -------
    dict
        ``model_id``, ``name`` and the metrics that were stored.

    Raises
    ------
    TrainingEndedError
        If its run was ended meanwhile, or `goes_on` says no.
    GalbaseError
        If training set, files or weights cannot be used, or the training diverges.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    with connect_url(url) as connection:
        training_set = find_training_set(connection, request.training_set)
        check_request(connection, request, training_set)
        recipe, learned = recipes(request, training_set)
        sample = load_sample(connection, training_set, learned, cache)
    loaded = time.perf_counter()
    n_calibration = len(sample.rows("calibration"))
    if n_calibration < MIN_RESIDUAL:
        raise GalbaseError(
            f"training set {training_set.name!r} has {n_calibration} images to calibrate on, and intervals need "
            f"{MIN_RESIDUAL}: create a larger one, or one with a larger third of four --fractions, such as 50:10:10:30."
        )
    start_from = None if request.weights_path is None else Path(request.weights_path)
    before = None
    if start_from is not None and start_from.suffix == SUFFIX:
        before = read_model_file(start_from, request.weights_sha256)
    options = network_options(request, training_set, recipe)
    if before is not None:
        before.check(request.family, request.mode, request.preset, options, recipe)
    backend.make_deterministic(request.seed)
    network = build(request.family, request.preset, options)
    pretrained: dict[str, Any] | None = None
    if before is not None:
        # The network knows its inputs and outputs in the scales that it was trained with.
        recipe, scaler = before.recipe, before.scaler
        fill_weights(network, before.weights)
        pretrained = {"sha256": before.sha256, "model": before.name, "cpu_seconds": before.cpu_seconds}
    else:
        recipe = recipe.fitted(sample.scalar[sample.rows("train"), : recipe.n_scalar])
        scaler = LabelScaler.fit(sample.label[sample.rows("train")])
        if start_from is not None:
            pretrained = {"sha256": hashlib.sha256(checked_bytes(start_from, request.weights_sha256)).hexdigest()}
            load_backbone(network, backbone_of(request.family, request.preset, options), start_from)
    config = schedule(request)
    decides = {
        "training_set": training_set.hash, "sample": sample.digest(), "family": request.family, "mode": request.mode,
        "preset": request.preset, "options": options, "seed": request.seed, "schedule": config.to_mapping(),
        "recipe": [recipe.to_mapping(), learned.to_mapping()], "scaler": scaler.to_mapping(), "pretrained": pretrained,
    }  # fmt: skip
    checkpoints = Checkpoints.of(cache, decides, tell, goes_on)
    told = _each(on_epoch, None if request.run_id is None else recorder(url, request.run_id))
    result, further = _fit(network, sample, recipe, learned, scaler, request, config, told, checkpoints)
    weights = weights_to_bytes(network)
    key = hashlib.sha256(weights).hexdigest()
    rows = {part: sample.rows(part) for part in ("train", "calibration", "test")}
    rows["train"] = evenly_spaced(rows["train"])
    found = {part: _infer(network, sample, recipe, scaler, each, key) for part, each in rows.items()}
    conformal = {
        name: calibrate(
            sample.label[sample.rows("calibration"), k],
            found["calibration"].quantile[:, k],
            bin_edges(found["calibration"].quantile[:, k]),
        )
        for k, name in enumerate(network.properties)
    }
    metrics = {
        "test": score(sample, found["test"], conformal, request.seed),
        "n": {part: len(sample.rows(part)) for part in SPLITS},
        "history": result.history,
        "training": config.to_mapping(),
        "seed": request.seed,
        "n_parameter": network.n_parameter,
        "pretrained": pretrained,
        "images_per_second": result.images_per_second,
        "stamps_from_cache": None if sample.image is None else sample.n_cached,
        "seconds": {
            "load": loaded - start,
            "fit": result.seconds,
            "all": time.perf_counter() - start,
            "cpu": time.process_time() - cpu_start,
        },
        **further,
    }
    model = NewNetworkModel(
        name=request.name,
        family=request.family,
        mode=request.mode,
        preset=request.preset,
        options=options,
        preprocess_config_id=training_set.preprocess_config_id,
        training_set_id=training_set.training_set_id,
        run_id=request.run_id,
        trained_on="simulation" if training_set.simulated else "observation",
        weights=weights,
        scaler=scaler,
        recipe=recipe,
        conformal=conformal,
        domain=Domain.fit(
            found["train"].embedding, found["calibration"].embedding, recipe.psf(sample.scalar[sample.rows("train")])
        ),
        metrics=metrics,
    )
    with connect_url(url) as connection:
        if request.run_id is not None:
            check_running(connection, request.run_id)
        model_id = register_model(connection, model)
        if request.run_id is not None:
            curves = {part: each for part, each in further.get("stages", {}).items() if "loss" in each}
            record_epochs(connection, request.run_id, curve_rows(curves or {WHOLE: result.history}))
    checkpoints.remove()
    return {"model_id": model_id, "name": request.name, **metrics}


def recipes(request: TrainingRequest, training_set: TrainingSet) -> tuple[Recipe, Recipe]:
    """Recipes of the model and of its training, before fitting; they differ where spectra are only learned from."""
    of_model = reads(request.family)
    bin_px = improved_bin_px(request.family, request.preset, training_set.preprocess.stamp_px)
    crop_px = improved_crop_px(request.family, request.preset)
    model = recipe_of_mode(request.mode, of_model, bin_px, crop_px)
    learned = recipe_of_mode(request.mode, of_model | learns_from(request.family), bin_px, crop_px)
    less = (request.bands, request.resolution_px)
    return model.reduced(*less), learned.reduced(*less)


def network_options(request: TrainingRequest, training_set: TrainingSet, recipe: Recipe) -> dict[str, Any]:
    """Options the network is built with: the family's, and what training set and recipe decide."""
    options: dict[str, Any] = {}
    if request.mode == "improved":
        options = {"n_level": len(LEVELS), **improved_options(request.family)}
    options |= {**request.options, "properties": list(training_set.properties), "n_scalar": recipe.n_scalar}
    if recipe.kind != NONE:
        options["size_px"] = recipe.side_px(training_set.preprocess.stamp_px)
        options["pixel_range"] = "uint8" if recipe.kind == "display" else "unit"
        if recipe.form is not None and recipe.form.n_scalar:
            options["n_spectral_scalar"] = recipe.form.n_scalar
    return options | spectrum_options(recipe)


def spectrum_options(recipe: Recipe) -> dict[str, Any]:
    """Options of a network that reads a recipe's spectra; none without."""
    return {} if recipe.form is None else {"n_wave": recipe.form.n_wave, "n_channel": recipe.form.n_channel}


def schedule(request: TrainingRequest) -> TrainingConfig:
    """The schedule of a request: its family's, mode's and preset's, with what the request overrides."""
    config = training_config(request.family, request.mode, request.preset, request.epochs)
    given = {name: getattr(request, name) for name in ("learning_rate", "tail_weight")}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _each(*told: OnPartEpoch | None) -> OnPartEpoch:
    """What tells all of them of each epoch."""

    def tell(part: str, epoch: int, losses: dict[str, float]) -> None:
        for each in told:
            if each is not None:
                each(part, epoch, losses)

    return tell


def _inputs(sample: Sample, recipe: Recipe, rows: npt.NDArray[np.intp]) -> dict[str, Float32]:
    image, spectrum = (None if each is None else each[rows] for each in (sample.image, sample.spectrum))
    return recipe.inputs(image, sample.scalar[rows, : recipe.n_scalar], spectrum)


def _fit(
    network: Network, sample: Sample, recipe: Recipe, learned: Recipe, scaler: LabelScaler, request: TrainingRequest,
    config: TrainingConfig, on_epoch: OnPartEpoch, checkpoints: Checkpoints,
) -> tuple[TrainingResult, dict[str, Any]]:  # fmt: skip
    """Fit the network; also returns what its family adds to the metrics."""
    parts = []
    for part in ("train", "validation"):
        rows = sample.rows(part)
        parts.append((_inputs(sample, recipe, rows), scaler.scale(sample.label[rows]).astype(np.float32)))
    if not isinstance(network, FusedNetwork):
        told, kept = partial(on_epoch, WHOLE), checkpoints.part(WHOLE)
        return fit(network, parts[0], parts[1], config, request.seed, told, kept), {}
    for (inputs, _), part in zip(parts, ("train", "validation"), strict=True):
        if sample.spectrum is not None:
            inputs["spectrum"] = sample.spectrum[sample.rows(part)]
    teacher = network.first
    if teacher is None:
        options = {"properties": list(network.properties), "n_level": network.n_level, **spectrum_options(learned)}
        if request.mode == "improved":
            options |= improved_options("mmlforgalam_m1")
        teacher = build("mmlforgalam_m1", request.preset, options)
    data = FusedData(parts[0], parts[1], sample.block[sample.rows("train")])
    result, stages = fit_fused(network, teacher, data, config, request.seed, on_epoch, checkpoints)
    further = {"stages": stages}
    if network.first is None and sample.spectrum is not None:
        to_feature = feature_model(teacher)
        train, test = (
            features(to_feature, {"spectrum": sample.spectrum[sample.rows(each)]}) for each in ("train", "test")
        )
        images = _inputs(sample, recipe, sample.rows("test"))["image"]
        found = features(network.spectral, {"image": images})
        further["simulated_feature"] = simulated_r2(found, test, train.mean(axis=0))
    return result, further


def _infer(
    network: Network, sample: Sample, recipe: Recipe, scaler: LabelScaler, rows: npt.NDArray[np.intp], key: str
) -> Inference:
    ids = [int(each) for each in sample.predicted_id[rows]]
    return infer(network, scaler, _inputs(sample, recipe, rows), ids, key, recipe.n_turn)


def score(
    sample: Sample, found: Inference, conformal: Mapping[str, ConformalBins], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores on the test split: property -> predictor -> metrics.

    ``network`` is the served value (the calibrated median) with its coverages; ``mean`` and ``boosted_trees`` are the
    baselines, fitted on the same training split; the trees are missing where no image has catalogue photometry.
    """
    train, test = sample.rows("train"), sample.rows("test")
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for k, (name, bins) in enumerate(conformal.items()):
        true = sample.label[test, k]
        quantiles = bins.quantiles(found.quantile[:, k])
        scores[name] = {
            "network": {
                **point_metrics(true, quantiles["q50"]),
                **interval_metrics(true, quantiles),
                "mc_err_median": float(np.median(found.mc_err[:, k])),
            },
            "mean": point_metrics(true, mean_prediction(sample.label[train, k], len(test))),
        }
        if sample.feature is not None:
            trees = boosted_trees(
                sample.feature[train], sample.label[train, k], sample.feature[test], category=-1, seed=seed
            )
            scores[name]["boosted_trees"] = point_metrics(true, trees)
    return scores
