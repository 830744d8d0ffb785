"""The iterative threshold that the three image pipelines share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_ROUNDS = 1000


def iterative_threshold(grey: npt.ArrayLike, stop: str = "converged", delta: float = 36 / 255) -> tuple[float, int]:
    """Threshold midway between the means of the two classes that it makes.

    T0 = (max + min) / 2, then T = (mean of pixels >= T + mean of pixels < T) / 2 (Ridler & Calvard 1978, IEEE
    Trans. SMC 8, 630; Zhong et al. 2024, equations 1-3).

    Parameters
    ----------
    grey : array_like of float
        Finite pixel values that are not all equal; the shape does not matter.
    stop : {'converged', 'one_update', 'delta'}
        Iterate until T no longer changes; take the first update; or until T moves by less than `delta`.
    delta : float
        In the unit of `grey`; used by 'delta' only.

    Returns
    -------
    threshold : float
    n_round : int
        Number of updates made.

    Raises
    ------
    ValueError
        If `grey` is empty, constant, or holds a value that is not finite.
    """
    values = np.sort(np.asarray(grey, dtype=np.float64), axis=None)
    # Sorted, NaN and +inf come last and -inf first, so the ends tell of all.
    if values.size == 0 or not np.isfinite(values[[0, -1]]).all() or values[0] == values[-1]:
        raise ValueError("a threshold needs finite pixels that are not all equal")
    # With running sums a round costs one binary search instead of two passes over the image.
    sums = np.cumsum(values)
    threshold = (values[-1] + values[0]) / 2
    for n_round in range(1, MAX_ROUNDS + 1):
        below = int(np.searchsorted(values, threshold, side="left"))
        below = min(max(below, 1), values.size - 1)
        mean_below = sums[below - 1] / below
        mean_above = (sums[-1] - sums[below - 1]) / (values.size - below)
        updated = (mean_above + mean_below) / 2
        moved = abs(updated - threshold)
        threshold = updated
        if stop == "one_update" or moved == 0 or (stop == "delta" and moved < delta):
            return float(threshold), n_round
    # A partition of n pixels can only move monotonically, so rounding alone could keep it from settling.
    return float(threshold), MAX_ROUNDS
