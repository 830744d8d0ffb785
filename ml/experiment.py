"""One training from a frozen training set to a registered candidate: the work of a `galbase train` task."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml import backend
from galbase.ml.baselines import boosted_trees, mean_prediction
from galbase.ml.calibration import LEVELS, MIN_RESIDUAL, ConformalBins, bin_edges, calibrate
from galbase.ml.dataset import image_files, load_inputs
from galbase.ml.domain import Domain
from galbase.ml.inference import Inference, infer
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_store import NewModel, register_model, weights_to_bytes
from galbase.ml.networks.build import build
from galbase.ml.networks.network import Network
from galbase.ml.photometry import photometry
from galbase.ml.recipe import Recipe, recipe_of_mode
from galbase.ml.request import TrainingRequest
from galbase.ml.scaling import LabelScaler
from galbase.ml.splits import SPLITS
from galbase.ml.training import TrainingResult, fit, training_config
from galbase.ml.training_set import TrainingSet, find_training_set, members
from galbase.schema.database import connect_url
from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Sample:
    """Arrays of a training set, in order of file and row.

    Parameters
    ----------
    observation_id : (n,) int64
    split : (n,) str
    label : (n, n_property) float64
    image : (n, side, side, 3) float32
    scalar : (n, n_scalar) float32
        Raw.
    feature : (n, n_feature) float64 or None
        Catalogue features for the baselines.
    n_cached : int
        Images whose stamps came from the cache.
    """

    observation_id: npt.NDArray[np.int64]
    split: npt.NDArray[np.str_]
    label: Array
    image: Float32
    scalar: Float32
    feature: Array | None
    n_cached: int = 0

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Positions of a split's rows."""
        return np.flatnonzero(self.split == split)


def run_training(
    url: str, request: TrainingRequest, on_epoch: OnEpoch | None = None, cache: Path | None = None
) -> dict[str, Any]:
    """Train, calibrate, score and register; runs on a Dask worker.

    Parameters
    ----------
    url : str
        Database URL of the archive's owner.
    request : TrainingRequest
    on_epoch : callable, optional
        Called after each epoch with its number and losses.
    cache : Path, optional
        The archive's cache folder; none when None.

    Returns
    -------
    dict
        ``model_id``, ``name`` and the metrics that were stored.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    with connect_url(url) as connection:
        training_set = find_training_set(connection, request.training_set)
        recipe = recipe_of_mode(request.mode)
        sample = load_sample(connection, training_set, recipe, cache)
    loaded = time.perf_counter()
    n_calibration = len(sample.rows("calibration"))
    if n_calibration < MIN_RESIDUAL:
        raise GalbaseError(
            f"training set {training_set.name!r} has {n_calibration} images to calibrate on, and intervals need "
            f"{MIN_RESIDUAL}: create a larger one, or one with a larger third of four --fractions, such as 50:10:10:30."
        )
    recipe = recipe.fitted(sample.scalar[sample.rows("train")])
    options = network_options(request, training_set, recipe)
    backend.make_deterministic(request.seed)
    network = build(request.family, request.preset, options)
    missing = sorted(set(network.input_shapes) - {"image", "scalar"})
    if missing:
        raise GalbaseError(
            f"family {request.family} reads {' and '.join(missing)}, which training sets do not hold yet; families of "
            "one image can be trained."
        )
    pretrained = None if request.weights_path is None else load_backbone(network, Path(request.weights_path))
    scaler = LabelScaler.fit(sample.label[sample.rows("train")])
    result = _fit(network, sample, recipe, scaler, request, on_epoch)
    weights = weights_to_bytes(network)
    key = hashlib.sha256(weights).hexdigest()
    found = {part: _infer(network, sample, recipe, scaler, part, key) for part in ("train", "calibration", "test")}
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
        "training": training_config(request.family, request.mode, request.preset, request.epochs).to_mapping(),
        "seed": request.seed,
        "n_parameter": network.n_parameter,
        "pretrained_sha256": pretrained,
        "images_per_second": result.images_per_second,
        "stamps_from_cache": sample.n_cached,
        "seconds": {
            "load": loaded - start,
            "fit": result.seconds,
            "all": time.perf_counter() - start,
            "cpu": time.process_time() - cpu_start,
        },
    }
    model = NewModel(
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
        domain=Domain.fit(found["train"].embedding, found["calibration"].embedding),
        metrics=metrics,
    )
    with connect_url(url) as connection:
        model_id = register_model(connection, model)
    return {"model_id": model_id, "name": request.name, **metrics}


def load_sample(connection: Any, training_set: TrainingSet, recipe: Recipe, cache: Path | None = None) -> Sample:
    """Read labels, stamps and catalogue features of a training set; members on the seam are left out."""
    images, split = members(connection, training_set)
    used = {
        image.observation_id: (image.label, part) for image, part in zip(images, split, strict=True) if part in SPLITS
    }
    files = image_files(connection, list(used), training_set.preprocess_config_id)
    loaded = load_inputs(files, training_set.preprocess, recipe, cache)
    observation_id = loaded.observation_id
    return Sample(
        observation_id=np.array(observation_id, dtype=np.int64),
        split=np.array([used[each][1] for each in observation_id], dtype=np.str_),
        label=np.array([used[each][0] for each in observation_id], dtype=np.float64),
        image=loaded.image,
        scalar=loaded.scalar,
        feature=photometry(connection, observation_id),
        n_cached=loaded.n_cached,
    )


def network_options(request: TrainingRequest, training_set: TrainingSet, recipe: Recipe) -> dict[str, Any]:
    """Options the network is built with: the family's, and what training set and recipe decide."""
    levels = {"n_level": len(LEVELS)} if request.mode == "improved" else {}
    return {
        **levels,
        **request.options,
        "properties": list(training_set.properties),
        "size_px": training_set.preprocess.stamp_px,
        "pixel_range": "uint8" if recipe.kind == "display" else "unit",
        "n_scalar": recipe.n_scalar,
    }


def load_backbone(network: Network, path: Path) -> str:
    """Fill the backbone from a Keras weights file of ImageNet without top; returns the file's SHA-256.

    The file is read as plain HDF5 arrays (`keras.Model.load_weights`); it holds no code.

    Raises
    ------
    GalbaseError
        If the file is missing or does not fit.
    """
    if not path.is_file():
        raise GalbaseError(f"--weights {path} is not a file; name a weights file (.h5 without top) of the backbone.")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        network.backbone.load_weights(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise GalbaseError(f"--weights {path} does not fit the backbone: {str(error)[:200]}") from error
    return digest


def _inputs(sample: Sample, recipe: Recipe, rows: npt.NDArray[np.intp]) -> dict[str, Float32]:
    return recipe.inputs(sample.image[rows], sample.scalar[rows])


def _fit(
    network: Network, sample: Sample, recipe: Recipe, scaler: LabelScaler, request: TrainingRequest,
    on_epoch: OnEpoch | None,
) -> TrainingResult:  # fmt: skip
    parts = []
    for part in ("train", "validation"):
        rows = sample.rows(part)
        parts.append((_inputs(sample, recipe, rows), scaler.scale(sample.label[rows]).astype(np.float32)))
    config = training_config(request.family, request.mode, request.preset, request.epochs)
    return fit(network, parts[0], parts[1], config, request.seed, on_epoch)


def _infer(network: Network, sample: Sample, recipe: Recipe, scaler: LabelScaler, part: str, key: str) -> Inference:
    rows = sample.rows(part)
    ids = [int(each) for each in sample.observation_id[rows]]
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
