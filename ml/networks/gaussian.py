"""A head that predicts a normal distribution with a full covariance.

Of m properties it gives m values and the m (m + 1) / 2 numbers of the lower triangular factor L of the precision
matrix, ``C^-1 = L L^T``, row by row, the logarithm in place of each diagonal element. The loss is the distribution's
negative logarithm (Dorta et al. 2018, CVPR, arXiv:1802.07079, section 3), without its constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions

layers, ops = keras.layers, keras.ops

# A scaled property is known to between exp(-7) and exp(7) of its range: the loss has no pole.
_LOG_DIAGONAL = 7.0
# At the start a scaled property is known to about a quarter of its range, as without data.
_LOG_DIAGONAL_START = 1.3


def gaussian_network(
    name: str, inputs: Mapping[str, Any], feature: Any, options: ImageOptions, *, width: int
) -> Network:
    """A network whose output is `n_output` wide: values, then factor; parameters as of `feature_network`."""
    n_property, n_feature = len(options.properties), int(feature.shape[-1])
    scalar = {"scalar": layers.Input((options.n_scalar,), name="scalar")} if options.n_scalar else {}
    of_head = {"feature": layers.Input((n_feature,), name="feature")}
    joined = of_head["feature"]
    if options.n_scalar:
        of_head["scalar"] = layers.Input((options.n_scalar,), name="scalar")
        joined = layers.Concatenate(name="join")([joined, of_head["scalar"]])
    embedding = layers.Dense(width, activation="relu", name="embedding")(joined)
    value = layers.Dense(n_property, name="value")(embedding)
    spread = layers.Dense(width, activation="relu", name="spread")(joined)
    start = np.where(_is_diagonal(n_property), _LOG_DIAGONAL_START, 0.0)
    factor = layers.Dense(
        len(start), kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="factor",
        bias_initializer=keras.initializers.Constant(start),
    )(spread)  # fmt: skip
    output = layers.Concatenate(name="property")([value, factor])
    head = keras.Model(of_head, [output, embedding], name="head")
    whole, _ = head({"feature": feature, **scalar})
    return Network(
        training=keras.Model({**inputs, **scalar}, whole, name=name),
        backbone=keras.Model(dict(inputs), feature, name="backbone"),
        head=head,
        n_feature=n_feature,
        embedding_dim=width,
        dropout=0.0,
        input_shapes={key: tuple(value.shape[1:]) for key, value in {**inputs, **scalar}.items()},
        properties=options.properties,
    )


def n_output(n_property: int) -> int:
    """Width of the output: values and factor."""
    return n_property + n_property * (n_property + 1) // 2


def _is_diagonal(n_property: int) -> npt.NDArray[np.bool_]:
    row, column = np.tril_indices(n_property)
    return np.asarray(row == column)


def gaussian_loss(n_property: int) -> Any:
    """Mean negative log-likelihood of scaled labels ``(n, n_property)``, without its constant."""
    row, column = np.tril_indices(n_property)
    # sums over the triangle as products with constant matrices: gathers are slow to differentiate
    to_row = (row[:, None] == np.arange(n_property)).astype(np.float32)
    to_column = (column[:, None] == np.arange(n_property)).astype(np.float32)
    diagonal = _is_diagonal(n_property).astype(np.float32)

    def loss(label: Any, output: Any) -> Any:
        miss = label - output[:, :n_property]
        raw = output[:, n_property:]
        log_diagonal = _bounded(raw)
        element = diagonal * ops.exp(log_diagonal) + (1 - diagonal) * raw
        # (L^T d)_j = sum_i L_ij d_i
        whitened = ops.matmul(element * ops.matmul(miss, to_row.T), to_column)
        # far off at the start, a quadratic would let a few rows decide; from 5 sigma on the cost is linear
        distance = ops.sum(whitened * whitened, axis=-1)
        far = 2.0 * n_property + 11.0
        cost = ops.where(distance < far, distance, 2 * ops.sqrt(far * ops.maximum(distance, far)) - far)
        return ops.mean(0.5 * cost - ops.sum(diagonal * log_diagonal, axis=-1))

    return loss


def _bounded(raw: Any) -> Any:
    return _LOG_DIAGONAL * ops.tanh(raw / _LOG_DIAGONAL)


def split_output(
    output: npt.NDArray[np.floating], n_property: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scaled values ``(n, m)`` and factors ``(n, m, m)`` of the precision, from a network's output."""
    given: npt.NDArray[np.float64] = np.asarray(output, np.float64)
    row, column = np.tril_indices(n_property)
    factor = np.zeros((len(given), n_property, n_property))
    raw = given[:, n_property:]
    factor[:, row, column] = np.where(row == column, np.exp(_LOG_DIAGONAL * np.tanh(raw / _LOG_DIAGONAL)), raw)
    return given[:, :n_property], factor
