"""What GaLNet's distributions are worth, measured on stamps that it was not trained on.

Three plain numbers or tables come of it: by how much the predicted covariance is too small or large, how much the
network's say counts beside the pixels', and intervals that cover what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from galbase.ml.calibration import LEVELS, MIN_RESIDUAL, conformal_quantile
from galbase.ml.sersic.vector import N_PARAMETER
from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]

N_BIN = 4
_MISS_MAX = 2.0


def covariance_scale(miss: Array, precision: Array) -> float:
    """Factor on the covariance that gives the Mahalanobis distances the median of chi squared with 7 degrees.

    The median, because a few rows far out say nothing about the others.

    Parameters
    ----------
    miss : (n, 7) float64
        Truth minus mean.
    precision : (n, 7, 7) float64
    """
    distance = np.einsum("ni,nij,nj->n", miss, precision, miss)
    return float(np.median(distance) / chi2.median(N_PARAMETER))


def check_size(n_stamp: int, n_bin: int) -> None:
    """Refuse too few stamps to calibrate intervals on.

    Raises
    ------
    GalbaseError
    """
    needed = MIN_RESIDUAL * n_bin
    if n_stamp < needed:
        raise GalbaseError(f"{n_stamp} stamps to calibrate on; {needed} are needed. Simulate a larger set.")


def bin_edges(sigma: Array, n_bin: int = N_BIN) -> tuple[float, ...]:
    """Inner edges of bins with equally many of ``sigma`` ``(n,)`` each."""
    return tuple(float(edge) for edge in np.quantile(sigma, np.arange(1, n_bin) / n_bin))


def bins_of(sigma: Array, edges: tuple[float, ...]) -> npt.NDArray[np.intp]:
    """Numbers ``(n,)`` of the bins in which ``sigma`` ``(n,)`` lies."""
    return np.asarray(np.searchsorted(np.asarray(edges), sigma, side="right"))


@dataclass(frozen=True)
class ScaledIntervals:
    """Conformal intervals in units of a predicted sigma, in bins.

    Split conformal prediction with normalised residuals (Lei et al. 2018, JASA 113, 1094, section 5.2).

    Attributes
    ----------
    factor : dict of str to (n_bin, 7) tuple of tuple
        For ``q025`` to ``q975``: what sigma is multiplied by and added to the value.
    """

    factor: dict[str, tuple[tuple[float, ...], ...]]

    @classmethod
    def fit(cls, miss: Array, sigma: Array, bins: npt.NDArray[np.intp], n_bin: int = N_BIN) -> ScaledIntervals:
        """Fit on held-out stamps.

        Parameters
        ----------
        miss, sigma : (n, 7) float64
            Truth minus value, and predicted standard deviations.
        bins : (n,) int
            What bin each is of, from 0 to ``n_bin - 1``.
        n_bin : int

        Raises
        ------
        GalbaseError
            If there are too few stamps in one of the bins.
        """
        check_size(n_bin * int(np.bincount(bins, minlength=n_bin).min()), n_bin)
        scaled = miss / sigma
        factor: dict[str, list[tuple[float, ...]]] = {name: [] for name in LEVELS}
        for number in range(n_bin):
            ordered = np.sort(scaled[bins == number], axis=0)
            for name, level in LEVELS.items():
                factor[name].append(tuple(conformal_quantile(each, level) for each in ordered.T))
        return cls({name: tuple(rows) for name, rows in factor.items()})

    def quantiles(self, value: Array, sigma: Array, bins: npt.NDArray[np.intp]) -> dict[str, Array]:
        """``q025`` to ``q975``, each ``(n, 7)``, of values and predicted sigmas ``(n, 7)`` in bins ``(n,)``."""
        return {name: value + sigma * np.asarray(rows)[bins] for name, rows in self.factor.items()}

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return {name: [list(row) for row in rows] for name, rows in self.factor.items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ScaledIntervals:
        """From what `to_mapping` gave."""
        return cls({name: tuple(tuple(row) for row in rows) for name, rows in values.items()})


def capped_miss(miss: Array, sigma: Array) -> Array:
    """Mean over the seven numbers ``(n,)`` of what is missed, in units of sigmas and at most two of them.

    Of two methods the better one is told apart by fewer stamps than by their medians, and a few rows far out say no
    more than others.

    Parameters
    ----------
    miss, sigma : (n, 7) float64
    """
    return np.asarray(np.minimum(np.abs(miss) / sigma, _MISS_MAX).mean(axis=1))


def least_weight(miss: Mapping[float, Array]) -> float:
    """The smallest weight that is as good as the best one, as far as these stamps can tell.

    As good is what misses no more than the best one by more than one standard error of their difference, the same
    stamps being refined at both (the one-standard-error rule of Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).
    Where pixels and network know equally much the pixels decide: they are right of galaxies of any population, the
    network of those that it was trained on.

    Parameters
    ----------
    miss : mapping of float to (n,) float64
        By weight, what is missed of each stamp.
    """
    best = miss[min(miss, key=lambda each: float(miss[each].mean()))]
    return min(
        weight for weight, each in miss.items() if (each - best).mean() <= (each - best).std() / np.sqrt(len(best))
    )
