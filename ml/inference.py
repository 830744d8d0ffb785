"""From network inputs to values, spreads and embeddings; a row's result is the same in any batch.

Rows go through the network in batches of one fixed size, the last padded with zeros, so that the same kernels do the
same sums for a row wherever it stands; Monte Carlo masks come from the observation's number.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.uncertainty import N_PASS, dropout_mask

BATCH_SIZE = 64
Inputs = dict[str, npt.NDArray[np.float32]]
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Inference:
    """Raw results of a network for n rows.

    Parameters
    ----------
    value : (n, n_property) float64
        Point predictions in the properties' units, before calibration.
    mc_err : (n, n_property) float64
        Standard deviation over the Monte Carlo dropout passes.
    embedding : (n, dim) float32
        L2-normalised penultimate features; rows that cannot be normalised are NaN.
    """

    value: npt.NDArray[np.float64]
    mc_err: npt.NDArray[np.float64]
    embedding: npt.NDArray[np.float32]


def infer(
    network: Network, scaler: LabelScaler, inputs: Inputs, observation_id: Sequence[int], model_key: str
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
    """
    n = len(observation_id)
    values, spreads, embeddings = [], [], []
    for start in range(0, n, BATCH_SIZE):
        ids = observation_id[start : start + BATCH_SIZE]
        batch = {name: _padded(array[start : start + BATCH_SIZE]) for name, array in inputs.items()}
        masks = np.ones((BATCH_SIZE, N_PASS, network.n_feature), np.float32)
        for row, observation in enumerate(ids):
            masks[row] = dropout_mask(model_key, observation, N_PASS, network.n_feature, network.dropout)
        value, spread, embedding = _forward(network, batch, masks)
        values.append(value[: len(ids)])
        spreads.append(spread[: len(ids)])
        embeddings.append(embedding[: len(ids)])
    n_property = len(network.properties)
    if n == 0:
        return Inference(
            np.empty((0, n_property)), np.empty((0, n_property)), np.empty((0, network.embedding_dim), np.float32)
        )
    return Inference(
        value=scaler.unscale(np.concatenate(values)),
        mc_err=np.concatenate(spreads) * scaler.width,
        embedding=normalised(np.concatenate(embeddings)),
    )


def _forward(
    network: Network, batch: Inputs, masks: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Scaled values, their spread over the masks, and penultimate features of one full batch."""
    rest = {name: batch[name] for name in network.head_inputs}
    # Keras traces a model at its first call and does not expect two threads there.
    with _LOCK:
        feature = np.asarray(network.backbone.predict_on_batch({name: batch[name] for name in network.backbone_inputs}))
        value, embedding = (np.asarray(a) for a in network.head.predict_on_batch({"feature": feature, **rest}))
        passes = [
            np.asarray(network.head.predict_on_batch({"feature": feature * masks[:, k], **rest})[0])
            for k in range(masks.shape[1])
        ]
    return value, np.stack(passes).astype(np.float64).std(axis=0), embedding


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
