"""Samples of a selection, at random or uniform over a label, and weights that make up for what is rare."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from galbase.schema.errors import GalbaseError

N_BIN = 50
_SMOOTH_BIN = 2.0
_LEAST_DENSITY = 0.01


def random_sample(n: int, size: int, seed: int) -> npt.NDArray[np.intp]:
    """`size` of `n` positions at random, in ascending order; all where there are no more."""
    if size >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def uniform_sample(value: npt.ArrayLike, size: int, seed: int, n_bin: int = N_BIN) -> npt.NDArray[np.intp]:
    """Positions of `size` values whose distribution is as flat as the values allow.

    Bins of equal width between the least and the greatest value give equal numbers; a bin that has fewer gives all,
    and the others make up for it (GPM-ResNet, section 2.2.3, names no algorithm). Of the bins that could give one
    more, the last few are drawn at random.

    Parameters
    ----------
    value : (n,) array_like of float
        Label of each object.
    size : int
    seed : int
    n_bin : int
        Number of bins.

    Returns
    -------
    (size,) ndarray of int
        Ascending; all positions where there are no more than `size`.

    Raises
    ------
    GalbaseError
        If a value is not finite.
    """
    values = np.asarray(value, dtype=np.float64)
    if not np.isfinite(values).all():
        raise GalbaseError("a uniform sample needs finite labels.")
    if size >= values.size:
        return np.arange(values.size)
    rng = np.random.default_rng(seed)
    low, high = values.min(), values.max()
    width = (high - low) / n_bin or 1.0
    bins = np.minimum(((values - low) / width).astype(np.intp), n_bin - 1)
    count = np.bincount(bins, minlength=n_bin)
    # The highest level to which all bins can be filled.
    level = 0
    while np.minimum(count, level + 1).sum() <= size:
        level += 1
    wanted = np.minimum(count, level)
    open_bins = np.flatnonzero(count > level)
    wanted[rng.permutation(open_bins)[: size - wanted.sum()]] += 1
    drawn = [rng.permutation(np.flatnonzero(bins == each))[: wanted[each]] for each in range(n_bin)]
    return np.sort(np.concatenate(drawn))


def tail_weights(label: npt.ArrayLike, power: float) -> npt.NDArray[np.float32]:
    """Weight of each row in a loss: the smoothed density of its labels to the power of ``-power``, 1 on average.

    Label distribution smoothing (Yang et al. 2021, ICML 139, 11842, section 3.1) in 50 bins of equal width with a
    kernel of 2 bins; of several properties the mean of their weights. A density below a hundredth of the greatest
    counts as that, so that no row outweighs a hundred others.

    Parameters
    ----------
    label : (n, n_property) array_like of float
    power : float
        0 for equal weights; 0.5 for the square root, as the source recommends; 1 for the inverse density.

    Raises
    ------
    GalbaseError
        If a label is not finite.
    """
    values = np.asarray(label, dtype=np.float64)
    if not np.isfinite(values).all():
        raise GalbaseError("weights of tails need finite labels.")
    weights = np.ones(len(values))
    if power:
        each = []
        for column in values.T:
            count, edges = np.histogram(column, N_BIN)
            density = gaussian_filter1d(count.astype(np.float64), _SMOOTH_BIN, mode="nearest")
            centre = (edges[:-1] + edges[1:]) / 2
            at_row = np.maximum(np.interp(column, centre, density / density.max()), _LEAST_DENSITY)
            weight = at_row**-power
            each.append(weight / weight.mean())
        weights = np.mean(each, axis=0)
    return np.asarray(weights, np.float32)
