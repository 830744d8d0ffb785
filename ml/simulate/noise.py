"""Sky noise of a coadd: Gaussian, and slightly correlated by the resampling onto the coadd's pixels."""

import numpy as np
from numpy.typing import NDArray

# A Lanczos-3 shift by a random part of a pixel, as the Legacy Surveys' coadds are made with, leaves 0.893 of the
# variance an axis (mean of the kernel's sum of squares); three taps (s, 1 - 2s, s) with this s leave the same.
SIDE_TAP = 0.028


def sky_noise(
    rng: np.random.Generator, sigma: NDArray[np.float64], size: int, side_tap: float = SIDE_TAP
) -> NDArray[np.float32]:
    """Noise of unit-sum taps: sums over many pixels scatter as white noise of `sigma` does, single pixels less.

    Parameters
    ----------
    rng : numpy.random.Generator
        This stamp's generator.
    sigma : (n_band,) float64
        White noise a pixel that gives the PSF depth [nanomaggy].
    size : int
        Side of the stamp [px].
    side_tap : float
        Share of a pixel's noise that each neighbour along an axis has; 0 for pixels as read out.

    Returns
    -------
    (n_band, size, size) float32
    """
    if side_tap == 0:
        noise: NDArray[np.float32] = rng.standard_normal((len(sigma), size, size), dtype=np.float32)
        noise *= sigma.astype(np.float32)[:, None, None]
        return noise
    side, middle = np.float32(side_tap), np.float32(1 - 2 * side_tap)
    white: NDArray[np.float32] = rng.standard_normal((len(sigma), size + 2, size + 2), dtype=np.float32)
    white *= sigma.astype(np.float32)[:, None, None]
    rows = middle * white[:, 1:-1] + side * (white[:, :-2] + white[:, 2:])
    smooth = middle * rows[:, :, 1:-1] + side * (rows[:, :, :-2] + rows[:, :, 2:])
    return smooth.astype(np.float32, copy=False)
