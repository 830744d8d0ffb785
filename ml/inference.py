"""From network inputs to quantiles, spreads and embeddings; a row's result is the same in any batch.

Rows go through the network in batches of one fixed size, the last padded with zeros, so that the same kernels do the
same sums for a row wherever it stands; Monte Carlo masks come from the observation's number. Results may be averaged
over the symmetries of the square, under which an image of a galaxy stays one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.batches import turned
from galbase.ml.calibration import LEVELS, MEDIAN
from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.uncertainty import N_PASS, dropout_mask

BATCH_SIZE = 64
Inputs = dict[str, npt.NDArray[np.float32]]
# Keras traces a model at its first call and does not expect two threads there.
KERAS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Inference:
    """Raw results of a network for n rows.

    Parameters
    ----------
    quantile : (n, n_property, 7) float64
        Predicted quantiles in the order of `calibration.LEVELS` in the properties' units, before calibration; of a
        network that gives one value all are that value.
    mc_err : (n, n_property) float64
        Standard deviation over the Monte Carlo dropout passes.
    embedding : (n, dim) float32
        L2-normalised penultimate features; rows that cannot be normalised are NaN.
    """

    quantile: npt.NDArray[np.float64]
    mc_err: npt.NDArray[np.float64]
    embedding: npt.NDArray[np.float32]

    @property
    def value(self) -> npt.NDArray[np.float64]:
        """Predicted medians ``(n, n_property)``."""
        return self.quantile[..., MEDIAN]


def infer(
    network: Network,
    scaler: LabelScaler,
    inputs: Inputs,
    observation_id: Sequence[int],
    model_key: str,
    n_turn: int = 1,
) -> Inference:
    """Run a network over rows.

    Parameters
    ----------
    network : Network
    scaler : LabelScaler
        The model's label scaling.
    inputs : dict of str to (n, ...) float32
        Inputs of the network.
    observation_id : sequence of int
        The rows' observations; they seed the dropout masks.
    model_key : str
        SHA-256 of the weights; it seeds the dropout masks.
    n_turn : int
        Average over the first so many of the square's eight symmetries, applied to input ``image``.
    """
    n = len(observation_id)
    values, spreads, embeddings = [], [], []
    for start in range(0, n, BATCH_SIZE):
        ids = observation_id[start : start + BATCH_SIZE]
        batch = {name: _padded(array[start : start + BATCH_SIZE]) for name, array in inputs.items()}
        masks = np.ones((BATCH_SIZE, N_PASS, network.n_feature), np.float32)
        for row, observation in enumerate(ids):
            n_thinned = network.n_feature - network.n_kept
            masks[row, :, :n_thinned] = dropout_mask(model_key, observation, N_PASS, n_thinned, network.dropout)
        value, spread, embedding = _forward(network, batch, masks, n_turn)
        values.append(value[: len(ids)])
        spreads.append(spread[: len(ids)])
        embeddings.append(embedding[: len(ids)])
    n_property = len(network.properties)
    if n == 0:
        return Inference(
            np.empty((0, n_property, len(LEVELS))), np.empty((0, n_property)),
            np.empty((0, network.embedding_dim), np.float32),
        )  # fmt: skip
    raw = np.concatenate(values)
    if not network.n_level:
        raw = np.repeat(raw[:, :, None], len(LEVELS), axis=2)
    return Inference(
        quantile=np.moveaxis(scaler.unscale(np.moveaxis(raw, 2, 1)), 1, 2),
        mc_err=np.concatenate(spreads) * scaler.width,
        embedding=normalised(np.concatenate(embeddings)),
    )


def _forward(
    network: Network, batch: Inputs, masks: npt.NDArray[np.float32], n_turn: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Scaled outputs, the spread of the medians over the masks, and penultimate features of one full batch."""
    rest = {name: batch[name] for name in network.head_inputs}
    seen = {name: batch[name] for name in network.backbone_inputs}
    values, embeddings, passes = [], [], []
    with KERAS_LOCK:
        for element in range(n_turn if "image" in seen else 1):
            shown = {**seen, "image": turned(seen["image"], element)} if element else seen
            feature = _numpy(network.backbone.predict_on_batch(shown))
            value, embedding = (_numpy(a) for a in network.head.predict_on_batch({"feature": feature, **rest}))
            values.append(value)
            embeddings.append(embedding)
            if element == 0:
                passes = [
                    _numpy(network.head.predict_on_batch({"feature": feature * masks[:, k], **rest})[0])
                    for k in range(masks.shape[1])
                ]
    spread = np.stack(passes).astype(np.float64)
    if network.n_level:
        spread = spread[..., network.n_level // 2]
    return np.mean(values, axis=0), spread.std(axis=0), np.mean(embeddings, axis=0)


def _numpy(array: Any) -> npt.NDArray[np.float32]:
    return np.asarray(array, np.float32)


def _padded(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    missing = BATCH_SIZE - len(rows)
    if missing == 0:
        return rows
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])


def normalised(embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of unit length, float32; NaN where a row is not finite or has no length.

    Half precision ends at 65504 and a zero vector drops out of a vector index without a word, so vectors are
    normalised before they are stored and the rest is stored as NULL.
    """
    vectors = embedding.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
    usable = np.isfinite(length) & (length > 0)
    result = np.full(vectors.shape, np.nan)
    np.divide(vectors, length, out=result, where=usable)
    return result.astype(np.float32)
