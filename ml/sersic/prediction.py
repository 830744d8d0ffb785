"""From stamps to the network's distribution of their vectors; a stamp's result is the same in any batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.ml.inference import KERAS_LOCK
from galbase.ml.networks.gaussian import split_output
from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.inputs import network_inputs
from galbase.ml.sersic.vector import N_PARAMETER, vectors_of_published

Array = npt.NDArray[np.float64]

BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Predicted:
    """The network's say on n stamps.

    Attributes
    ----------
    mean : (n, 7) float64
        Vectors.
    precision : (n, 7, 7) float64 or None
        Inverse covariances, as the network says them; None in mode as-published, which has none.
    embedding : (n, dim) float32
        Penultimate features.
    """

    mean: Array
    precision: Array | None
    embedding: npt.NDArray[np.float32]


def predict_vectors(
    network: Network, scaler: LabelScaler, mode: str, image: npt.NDArray[np.float32], psf: npt.NDArray[np.float32],
    sky_sigma: Array, zero_point: float,
) -> Predicted:  # fmt: skip
    """Run GaLNet over stamps in batches of one fixed size, the last padded with zeros.

    Parameters
    ----------
    network : Network
    scaler : LabelScaler
    mode : str
        The network's.
    image : (n, 61, 61) float32
        Stamps [image unit].
    psf : (n, 25, 25) float32
    sky_sigma : (n,) float64
        Noise a pixel [image unit].
    zero_point : float
        AB magnitude of one image unit.
    """
    outputs, embeddings = [], []
    for first in range(0, len(image), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        inputs = network_inputs(mode, image[part], psf[part], sky_sigma[part])
        n = len(inputs["image"])
        padded = {
            name: np.concatenate([value, np.zeros((BATCH_SIZE - n, *value.shape[1:]), value.dtype)])
            for name, value in inputs.items()
        }
        rest = {name: padded[name] for name in network.head_inputs}
        with KERAS_LOCK:
            feature = network.backbone.predict_on_batch({name: padded[name] for name in network.backbone_inputs})
            output, embedding = network.head.predict_on_batch({"feature": feature, **rest})
        outputs.append(np.asarray(output)[:n])
        embeddings.append(np.asarray(embedding)[:n])
    output = np.concatenate(outputs)
    if mode == "as-published":
        mean = vectors_of_published(scaler.unscale(output), sky_sigma, zero_point)
        return Predicted(mean, None, np.concatenate(embeddings))
    value, factor = split_output(output, N_PARAMETER)
    # a scaled number d / width has the precision P where d has P / width^2
    factor /= scaler.width[None, :, None]
    return Predicted(scaler.unscale(value), factor @ factor.transpose(0, 2, 1), np.concatenate(embeddings))
