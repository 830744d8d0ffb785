"""Scores of predictions against reference values, unclipped.

Definitions: GalEffNet paper, section 3.2 (sigma, MAE, f_out at 0.3 dex, bias); NMAD as in Hoaglin, Mosteller & Tukey
(1983), 1.4826 times the median absolute deviation from the median.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

OUTLIER_DEX = 0.3
INTERVALS: dict[int, tuple[str, str]] = {68: ("q16", "q84"), 90: ("q05", "q95"), 95: ("q025", "q975")}


def point_metrics(true: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Scores of point predictions.

    Parameters
    ----------
    true, predicted : (n,) array_like of float
        Reference values and predictions in the property's unit (dex).

    Returns
    -------
    dict
        ``n``; ``sigma``, the standard deviation of predicted minus true; ``mae``; ``nmad``; ``bias_mean``;
        ``bias_median``; ``f_out``, the fraction off by more than 0.3 dex; ``r2``.

    Raises
    ------
    GalbaseError
        If the arrays are empty, differ in shape or hold values that are not finite.
    """
    y, p = _pair(true, predicted)
    delta = p - y
    spread = float(np.sum((y - y.mean()) ** 2))
    centre = float(np.median(delta))
    return {
        "n": float(y.size),
        "sigma": float(delta.std()),
        "mae": float(np.abs(delta).mean()),
        "nmad": float(1.4826 * np.median(np.abs(delta - centre))),
        "bias_mean": float(delta.mean()),
        "bias_median": centre,
        "f_out": float((np.abs(delta) > OUTLIER_DEX).mean()),
        "r2": 1 - float(np.sum(delta**2)) / spread if spread > 0 else float("-inf"),
    }


def coverage(true: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike) -> float:
    """Fraction of reference values inside ``[lower, upper]``.

    Raises
    ------
    GalbaseError
        If the arrays are empty, differ in shape or hold values that are not finite.
    """
    y, low = _pair(true, lower)
    _, high = _pair(true, upper)
    return float(((y >= low) & (y <= high)).mean())


def interval_metrics(true: npt.ArrayLike, quantiles: dict[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """Coverage of the 68, 90 and 95 % intervals: ``coverage_68`` and so on.

    Parameters
    ----------
    true : (n,) array_like of float
        Reference values.
    quantiles : dict
        ``q025`` to ``q975``, each ``(n,)``.
    """
    return {
        f"coverage_{level}": coverage(true, quantiles[low], quantiles[high]) for level, (low, high) in INTERVALS.items()
    }


def _pair(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.size == 0:
        raise GalbaseError(f"metrics need two arrays of one shape, not empty; got {left.shape} and {right.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise GalbaseError("metrics need finite values; drop the rows without a reference value first.")
    return left, right
