"""Training of MMLforGalAM's fused networks: M1, the image to spectral feature M2 where it is wanted, M3, and M4.

As published the parts are trained one after the other on one training split, and M4 learns from features of the very
rows that M1 to M3 were fitted to. Those know their labels better than features of new rows ever will, so that M4 trusts
them too much. With `TrainingConfig.n_fold` parts of the training sky, features of training rows are those of networks
that did not see the row's part:

- The features of two M1 lie in different bases. Each fold's M1 starts from the weights of the final one, and an affine
  map to the final one's features is fitted (ridge) on the rows that the fold's M1 was trained on, where both know the
  labels alike. Rows of the validation split tell how well the map does (``aligned_r2``).
- Rows of other splits were seen by no M1: theirs are the final M1's features, which are also what a prediction uses.
- M1's outputs, which a stacked M4 corrects, are in the labels' units with any M1, and are taken as they are.
- M2's targets have one basis, so that M2 of the folds needs no map.
- M3 is trained with M4 as one network upon the spectral features, so that its features know no more than M4 does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.checkpoint import Checkpoints
from galbase.ml.networks.mmlforgalam_fused import FusedNetwork, feature_model, on_features, told_model, told_parts
from galbase.ml.networks.network import Network
from galbase.ml.training import OnPartEpoch, TrainingConfig, TrainingResult, fit
from galbase.schema.errors import GalbaseError

Float32 = npt.NDArray[np.float32]
Inputs = dict[str, Float32]
Part = tuple[Inputs, Float32]
RIDGE = 1e-3
_BATCH = 64


@dataclass(frozen=True)
class FusedData:
    """Rows of the training and the validation split.

    Parameters
    ----------
    train, validation : (inputs, label)
        Inputs ``image``, ``spectrum`` and, where the network reads some, ``scalar``; scaled labels.
    block : (n_train,) int64
        Patch of sky of each training row; all rows of a patch are in one fold.
    """

    train: Part
    validation: Part
    block: npt.NDArray[np.int64]


def fit_fused(
    network: FusedNetwork,
    teacher: Network,
    data: FusedData,
    config: TrainingConfig,
    seed: int,
    on_epoch: OnPartEpoch | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[TrainingResult, dict[str, Any]]:
    """Train all parts of `network` in place.

    Parameters
    ----------
    network : FusedNetwork
    teacher : Network
        M1 whose features are learned from: `network.first`, or one of its own where features are simulated.
    data : FusedData
    config : TrainingConfig
        Schedule of each part.
    seed : int
        As of `training.fit`.
    on_epoch : callable, optional
        Called after each epoch of each part, with the part's name before what `training.fit` gives.
    checkpoints : Checkpoints, optional
        Where each part's state is kept; parts that are finished are not trained again.

    Returns
    -------
    result : TrainingResult
        Of the last part, with the seconds of all.
    stages : dict
        Curves of each part, and how well features agree where there are folds.

    Raises
    ------
    GalbaseError
        If a split is empty, a loss leaves the finite numbers, or the sky cannot be cut into so many folds.
    """
    stages: dict[str, Any] = {}
    results: list[TrainingResult] = []

    def trained(name: str, part: Network, train: Part, validation: Part, schedule: TrainingConfig) -> None:
        told = None if on_epoch is None else partial(on_epoch, name)
        kept = None if checkpoints is None else checkpoints.part(name)
        result = fit(part, train, validation, schedule, seed, told, kept)
        results.append(result)
        stages[name] = result.history

    (inputs, label), (unseen, unseen_label) = data.train, data.validation
    folds = sky_folds(data.block, config.n_fold) if config.n_fold else []
    seen_by = [np.flatnonzero(~fold) for fold in folds]

    # M1 and what it tells: the spectral features and, for a stacked M4, its outputs behind them.
    spectra, unseen_spectra = (spectral_inputs(teacher, each) for each in (inputs, unseen))
    stacked = "spectral_output" in network.fusion.input_shapes
    to_told = told_model(teacher) if stacked else feature_model(teacher)
    width = network.fusion.input_shapes["spectral_feature"][0]
    start = teacher.training.get_weights()
    longer = replace(config, epochs=config.epochs * config.spectrum_passes)
    drafts: list[tuple[Float32, Float32]] = []
    for number, rows in enumerate(seen_by):
        teacher.training.set_weights(start)
        trained(
            f"m1_fold{number}", teacher, (_rows(spectra, rows), label[rows]), (unseen_spectra, unseen_label), longer
        )
        drafts.append((features(to_told, spectra), features(to_told, unseen_spectra)))
    teacher.training.set_weights(start)
    trained("m1", teacher, (spectra, label), (unseen_spectra, unseen_label), longer)
    spectral, unseen_spectral = features(to_told, spectra), features(to_told, unseen_spectra)
    if folds:
        spectral, quality = _aligned(drafts, folds, spectral, unseen_spectral, width)
        stages["aligned_r2"] = quality

    if network.first is None:
        spectral, unseen_spectral = _simulated(
            network, config, folds, ({"image": inputs["image"]}, spectral),
            ({"image": unseen["image"]}, unseen_spectral), trained,
        )  # fmt: skip

    # M3 and M4.
    given, unseen_given = (
        {**told_parts(told, width), **{name: each[name] for name in network.head_inputs}}
        for told, each in ((spectral, inputs), (unseen_spectral, unseen))
    )
    if folds:
        trained(
            "m3_m4", on_features(network), ({"image": inputs["image"], **given}, label),
            ({"image": unseen["image"], **unseen_given}, unseen_label), config,
        )  # fmt: skip
    else:
        image, unseen_image = {"image": inputs["image"]}, {"image": unseen["image"]}
        trained("m3", network.image, (image, label), (unseen_image, unseen_label), config)
        seen = feature_model(network.image)
        trained(
            "m4", network.fusion, ({**given, "image_feature": features(seen, image)}, label),
            ({**unseen_given, "image_feature": features(seen, unseen_image)}, unseen_label),
            replace(config, augment=False),
        )  # fmt: skip
    last = results[-1]
    total = replace(
        last,
        seconds=sum(each.seconds for each in results),
        cpu_seconds=sum(each.cpu_seconds for each in results),
    )
    return total, stages


def _simulated(
    network: FusedNetwork,
    config: TrainingConfig,
    folds: Sequence[npt.NDArray[np.bool_]],
    train: Part,
    validation: Part,
    trained: Callable[[str, Network, Part, Part, TrainingConfig], None],
) -> tuple[Float32, Float32]:
    """Train M2 on spectral features and return what it makes of both splits' images."""
    schedule = replace(config, loss="mse", learning_rate=max(config.learning_rate, 1e-3), tail_weight=0.0)
    # Features differ in scale by orders, and those that vary most would be all that is learned.
    scale = np.maximum(train[1].std(axis=0), 1e-3 * max(float(train[1].std()), 1e-12))
    centre = train[1].mean(axis=0)
    targets = [(inputs, np.asarray((feature - centre) / scale, np.float32)) for inputs, feature in (train, validation)]
    second = _as_network(network.spectral)
    start = network.spectral.get_weights()
    made = np.empty_like(train[1])
    for number, fold in enumerate(folds):
        rows, held = np.flatnonzero(~fold), np.flatnonzero(fold)
        network.spectral.set_weights(start)
        trained(f"m2_fold{number}", second, (_rows(targets[0][0], rows), targets[0][1][rows]), targets[1], schedule)
        made[held] = features(network.spectral, _rows(train[0], held)) * scale + centre
    network.spectral.set_weights(start)
    trained("m2", second, targets[0], targets[1], schedule)
    # The scaling becomes part of M2's last layer, which is linear.
    last = network.spectral.get_layer("spectral_feature")
    kernel, bias = last.get_weights()
    last.set_weights([kernel * scale, bias * scale + centre])
    if not folds:
        made = features(network.spectral, train[0])
    return made, features(network.spectral, validation[0])


def simulated_r2(found: Float32, true: Float32, train_mean: Float32) -> dict[str, float]:
    """How well simulated features agree with those of observed spectra, feature by feature.

    ``1 - sum((found - true)**2) / sum((true - train_mean)**2)`` of each feature over rows held out: the constant vector
    of the training split's means scores 0. Taken over the features of one galaxy instead, as in the paper's
    section 4.2, that constant vector scores high; ``per_galaxy`` and ``per_galaxy_constant`` are these two.

    Parameters
    ----------
    found, true : (n, n_feature) float32
    train_mean : (n_feature,) float32

    Returns
    -------
    dict
        Median, 16 % and 84 % quantiles over the features that vary, share of them above 0, ``overall`` (all features
        summed up before the division), their number, and the two figures over features.
    """
    error = ((found - true).astype(np.float64) ** 2).sum(axis=0)
    spread = ((true - train_mean).astype(np.float64) ** 2).sum(axis=0)
    alive = true.std(axis=0) > 1e-6 * max(float(true.std()), 1e-12)
    each = 1 - error[alive] / spread[alive]

    def over_features(values: npt.NDArray[Any]) -> float:
        residual = ((values - true).astype(np.float64) ** 2).sum(axis=1)
        return float(np.median(1 - residual / ((true - true.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)))

    q16, q50, q84 = np.quantile(each, (0.16, 0.5, 0.84))
    return {
        "median": float(q50),
        "q16": float(q16),
        "q84": float(q84),
        "above_zero": float((each > 0).mean()),
        "overall": float(1 - error.sum() / spread.sum()),
        "n_feature": float(alive.sum()),
        "per_galaxy": over_features(found),
        "per_galaxy_constant": over_features(np.broadcast_to(train_mean, true.shape)),
    }


def sky_folds(block: npt.NDArray[np.int64], n_fold: int) -> list[npt.NDArray[np.bool_]]:
    """Whether each row is in each of `n_fold` parts of about the same number of rows, whole patches of sky each.

    Raises
    ------
    GalbaseError
        If there are fewer patches than folds.
    """
    patches, counts = np.unique(block, return_counts=True)
    if len(patches) < n_fold:
        raise GalbaseError(
            f"the training split lies on {len(patches)} patches of sky and cannot be cut into {n_fold} folds; choose a "
            "training set of more sky."
        )
    filled = np.zeros(n_fold)
    of_patch = {}
    # The fullest first, each into the fold with the fewest rows.
    for index in np.lexsort((patches, -counts)):
        fold = int(np.argmin(filled))
        of_patch[int(patches[index])] = fold
        filled[fold] += counts[index]
    number = np.array([of_patch[int(each)] for each in block])
    return [number == fold for fold in range(n_fold)]


def affine_map(source: Float32, target: Float32) -> npt.NDArray[np.float64]:
    """Ridge regression from one network's features to another's, ``(n_source + 1, n_target)`` with the constant last.

    The penalty is `RIDGE` times the mean variance of the source's features, a row; the constant has none.
    """
    centre, goal = source.mean(axis=0, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    x, y = source - centre, target - goal
    penalty = RIDGE * len(x) * max(float((x**2).mean()), 1e-12)
    slope = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return np.vstack([slope, goal - centre @ slope])


def mapped(source: Float32, weights: npt.NDArray[np.float64]) -> Float32:
    """Features under `affine_map`; below 0, where rectified features cannot lie, they are 0."""
    return np.asarray(np.maximum(source @ weights[:-1] + weights[-1], 0), np.float32)


def _aligned(
    drafts: Sequence[tuple[Float32, Float32]],
    folds: Sequence[npt.NDArray[np.bool_]],
    final: Float32,
    unseen: Float32,
    width: int,
) -> tuple[Float32, list[float]]:
    """What networks that did not see them tell of training rows, and R2 by fold.

    The first `width` columns are features, and are mapped to the final network's basis.
    """
    made = np.empty_like(final)
    goal = unseen[:, :width]
    quality = []
    for (seen, checked), fold in zip(drafts, folds, strict=True):
        weights = affine_map(seen[~fold, :width], final[~fold, :width])
        made[fold, :width] = mapped(seen[fold, :width], weights)
        made[fold, width:] = seen[fold, width:]
        error = ((mapped(checked[:, :width], weights) - goal) ** 2).sum()
        quality.append(float(1 - error / ((goal - goal.mean(axis=0)) ** 2).sum()))
    return made, quality


def spectral_inputs(first: Network, inputs: Inputs) -> Inputs:
    """What M1 reads among a fused network's inputs: the spectrum, and the last of the scalars."""
    chosen = {name: inputs[name] for name in first.input_shapes}
    if "scalar" in chosen:
        chosen["scalar"] = chosen["scalar"][:, -first.input_shapes["scalar"][0] :]
    return chosen


def features(model: Any, inputs: Inputs) -> Float32:
    """What a Keras model makes of rows, in batches of one size."""
    n = len(next(iter(inputs.values())))
    made = []
    for start in range(0, n, _BATCH):
        batch = {name: values[start : start + _BATCH] for name, values in inputs.items()}
        short = _BATCH - len(next(iter(batch.values())))
        if short:
            batch = {
                name: np.concatenate([each, np.zeros((short, *each.shape[1:]), each.dtype)])
                for name, each in batch.items()
            }
        made.append(np.asarray(model.predict_on_batch(batch))[: _BATCH - short])
    return np.concatenate(made)


def _rows(inputs: Inputs, rows: npt.NDArray[np.intp]) -> Inputs:
    return {name: values[rows] for name, values in inputs.items()}


def _as_network(model: Any) -> Network:
    """M2 as something to fit: it has no outputs of its own, its features are what is learned."""
    shapes = {name: tuple(value.shape[1:]) for name, value in model.input.items()}
    width = int(model.output.shape[-1])
    return Network(model, model, model, width, width, 0.0, shapes, ())
