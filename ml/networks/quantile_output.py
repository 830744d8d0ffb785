"""Outputs that are quantiles: ordered by construction, learnt with the pinball loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galbase.ml.backend import keras

# Steps between neighbouring quantiles start at softplus(-3) = 0.05 of the labels' range.
_FIRST_STEP = -3.0


class OrderedQuantiles(keras.layers.Layer):  # type: ignore[misc]
    """Numbers ``(n, 2 k + 1)`` to ascending ones: the middle one as it is, the others steps away from it."""

    def call(self, raw: Any) -> Any:
        """Ascending along the last axis."""
        ops = keras.ops
        middle = int(raw.shape[-1]) // 2
        step = ops.softplus(raw + _FIRST_STEP)
        above = ops.cumsum(step[:, middle + 1 :], axis=-1)
        below = ops.flip(ops.cumsum(ops.flip(step[:, :middle], axis=-1), axis=-1), axis=-1)
        median = raw[:, middle : middle + 1]
        return ops.concatenate([median - below, median, median + above], axis=-1)


class PinballLoss(keras.losses.Loss):  # type: ignore[misc]
    """Mean over levels and properties of ``max(a (y - q), (a - 1) (y - q))``, least where q is y's quantile at level a.

    Koenker & Bassett 1978, Econometrica 46, 33, eq. 2.1. Labels ``(n, n_property)``, quantiles
    ``(n, n_property, n_level)``.

    Parameters
    ----------
    levels : sequence of float
        Of the quantiles, ascending.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__(name="pinball")
        self.levels = tuple(levels)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each row, ``(n,)``."""
        ops = keras.ops
        level = ops.convert_to_tensor(self.levels, dtype=y_pred.dtype)
        above = ops.expand_dims(ops.cast(y_true, y_pred.dtype), -1) - y_pred
        return ops.mean(ops.maximum(level * above, (level - 1.0) * above), axis=(1, 2))
