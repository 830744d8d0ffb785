"""Split-conformal quantiles: what turns a prediction into honest intervals.

On a calibration split that the network has never seen, the residuals ``true - predicted`` are exchangeable with
those of new objects of the same population. With n of them, the r-th smallest bounds a new residual from above with
probability at least r / (n + 1) (Vovk, Gammerman & Shafer 2005, ch. 2; Lei et al. 2018, JASA 113, 1094, eq. 2);
counting from the other end bounds it from below. Where the network predicts quantiles itself, the residuals are taken
from each of them (conformalised quantile regression with a quantile's own residuals: Romano, Patterson & Candes 2019,
NeurIPS 32, eq. 10), so that intervals keep the widths that the network gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

LEVELS: dict[str, float] = {
    "q025": 0.025,
    "q05": 0.05,
    "q16": 0.16,
    "q50": 0.5,
    "q84": 0.84,
    "q95": 0.95,
    "q975": 0.975,
}
MEDIAN = list(LEVELS).index("q50")
# Coverage of a bin of 250 is known to 3 points, and the tails differ from the middle by more.
MIN_BIN, MAX_BIN = 250, 5
MIN_RESIDUAL = 80  # the 2.5 % quantile of fewer than 39 does not exist; of 80 it is the second smallest


@dataclass(frozen=True)
class ConformalBins:
    """Offsets of each quantile from what was predicted of it, in bins of the predicted median.

    Parameters
    ----------
    edges : (n_bin - 1,) tuple of float
        Inner edges of the bins of the predicted median; empty for one bin.
    offsets : dict of str to (n_bin,) tuple of float
        For ``q025`` to ``q975``: what is added to the predicted quantile, in the property's unit.
    n : (n_bin,) tuple of int
        Residuals each bin was calibrated on.
    """

    edges: tuple[float, ...]
    offsets: dict[str, tuple[float, ...]]
    n: tuple[int, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return {
            "edges": list(self.edges),
            "offsets": {name: list(values) for name, values in self.offsets.items()},
            "n": list(self.n),
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ConformalBins:
        """From what `to_mapping` gave."""
        return cls(
            edges=tuple(values["edges"]),
            offsets={name: tuple(offsets) for name, offsets in values["offsets"].items()},
            n=tuple(values["n"]),
        )

    def quantiles(self, predicted: npt.ArrayLike) -> dict[str, npt.NDArray[np.float64]]:
        """Calibrated quantiles ``q025`` to ``q975``, each ``(n,)`` and none below the one before.

        Parameters
        ----------
        predicted : (n,) or (n, 7) array_like of float
            Point predictions, or predicted quantiles in the order of `LEVELS`.
        """
        values = _quantiles(predicted)
        bins = _bins(values, self.edges)
        moved = np.column_stack([
            values[:, k] + np.asarray(self.offsets[name])[bins] for k, name in enumerate(LEVELS)
        ])  # fmt: skip
        # Sorted quantiles are at least as near to the true ones (Chernozhukov et al. 2010, Econometrica 78, 1093).
        moved.sort(axis=1)
        return dict(zip(LEVELS, moved.T, strict=True))


def calibrate(true: npt.ArrayLike, predicted: npt.ArrayLike, edges: tuple[float, ...] = ()) -> ConformalBins:
    """Fit the offsets on a calibration split.

    Parameters
    ----------
    true : (n,) array_like of float
        Reference values of objects that were used neither for fitting nor for stopping.
    predicted : (n,) or (n, 7) array_like of float
        Their point predictions, or predicted quantiles in the order of `LEVELS`.
    edges : tuple of float
        Inner edges of bins of the predicted median; none for one bin.

    Raises
    ------
    GalbaseError
        If a bin has fewer than 80 objects or a value is not finite.
    """
    y, p = np.asarray(true, dtype=np.float64), _quantiles(predicted)
    if y.shape != p.shape[:1] or not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise GalbaseError("calibration needs finite reference values and predictions of one shape.")
    bins = _bins(p, edges)
    offsets: dict[str, list[float]] = {name: [] for name in LEVELS}
    counts = []
    for index in range(len(edges) + 1):
        inside = bins == index
        n = int(inside.sum())
        if n < MIN_RESIDUAL:
            raise GalbaseError(
                f"{n} objects to calibrate on in bin {index} of {len(edges) + 1}, {MIN_RESIDUAL} are "
                "needed: use a larger training set or fewer bins."
            )
        counts.append(n)
        for k, (name, level) in enumerate(LEVELS.items()):
            offsets[name].append(conformal_quantile(np.sort(y[inside] - p[inside, k]), level))
    return ConformalBins(edges, {name: tuple(values) for name, values in offsets.items()}, tuple(counts))


def bin_edges(predicted: npt.ArrayLike) -> tuple[float, ...]:
    """Inner edges of bins that hold equally many predicted medians: as many bins as have 250 each, at most five.

    Parameters
    ----------
    predicted : (n,) or (n, 7) array_like of float
        As of `calibrate`, on the calibration split.
    """
    median = _quantiles(predicted)[:, MEDIAN]
    n_bin = min(MAX_BIN, max(1, len(median) // MIN_BIN))
    edges = np.unique(np.quantile(median, np.arange(1, n_bin) / n_bin)).tolist() if n_bin > 1 else []
    return tuple(edges)


def _quantiles(predicted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Predicted quantiles ``(n, 7)``; of a point prediction all are the same."""
    values = np.asarray(predicted, dtype=np.float64)
    if values.ndim == 1:
        return np.repeat(values[:, None], len(LEVELS), axis=1)
    if values.ndim != 2 or values.shape[1] != len(LEVELS):
        raise GalbaseError(f"predictions have shape {values.shape}, neither (n,) nor (n, {len(LEVELS)}).")
    return values


def _bins(quantiles: npt.NDArray[np.float64], edges: tuple[float, ...]) -> npt.NDArray[np.intp]:
    return np.searchsorted(np.asarray(edges, dtype=np.float64), quantiles[:, MEDIAN], side="right")


def conformal_quantile(residual: npt.ArrayLike, level: float) -> float:
    """Finite-sample quantile of sorted residuals: outwards from the middle, the median at 0.5.

    Parameters
    ----------
    residual : (n,) array_like of float
        Residuals in ascending order.
    level : float
        Between 0 and 1. Above 0.5 the rank is ``ceil((n + 1) * level)``, below 0.5 ``floor((n + 1) * level)``.

    Raises
    ------
    GalbaseError
        If there are too few residuals for the level.
    """
    values = np.asarray(residual, dtype=np.float64)
    n = values.size
    if level == 0.5:
        return float(np.median(values))
    exact = (n + 1) * level
    rank = int(np.ceil(exact - 1e-9)) if level > 0.5 else int(np.floor(exact + 1e-9))
    if not 1 <= rank <= n:
        raise GalbaseError(f"{n} residuals are too few for the quantile at {level}.")
    return float(values[rank - 1])
