"""Where a fit starts without a network: centre, size, shape and light of a stamp from its moments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galbase.ml.sersic.model import E_MAX, LOWER, UPPER
from galbase.ml.sersic.vector import E1, E2

Array = npt.NDArray[np.float64]

_N_STEP = 12
_WIDTH_PX = (2.0, 12.0)


def start_vector(image: Array, psf: npt.NDArray[np.floating], sersic_n: float = 1.5) -> Array:
    """A vector near the galaxy in the middle of a stamp.

    Centre, second moments and their ellipse under a round Gaussian window that adapts to the galaxy (Bernstein &
    Jarvis 2002, AJ 123, 583, section 3.1); the PSF's second moments under the same window are taken off.

    Parameters
    ----------
    image : (61, 61) float64
        Stamp in units of the noise of a pixel.
    psf : (25, 25) float array
    sersic_n : float
        Index to start from.

    Returns
    -------
    (7,) float64
        Within the bounds of `galbase.ml.sersic.model`.
    """
    size = image.shape[0]
    at = np.arange(size) - size // 2
    variance, cx, cy = 16.0, 0.0, 0.0
    xx = yy = variance
    xy = 0.0
    for _ in range(_N_STEP):
        x, y = at[None, :] - cx, at[:, None] - cy
        weighted = image * np.exp(-0.5 * (x * x + y * y) / variance)
        total = float(weighted.sum())
        if total <= 0:
            break
        # the window pulls the centroid half way back for a source of its own size
        cx = float(np.clip(cx + 2 * (weighted * x).sum() / total, -8, 8))
        cy = float(np.clip(cy + 2 * (weighted * y).sum() / total, -8, 8))
        xx, yy, xy = (float((weighted * part).sum() / total) for part in (x * x, y * y, x * y))
        seen = max((xx + yy) / 2, 0.3)
        # a Gaussian of variance v under a window of variance w has 1 / (1 / v + 1 / w)
        free = 1 / max(1 / seen - 1 / variance, 1 / _WIDTH_PX[1] ** 2)
        variance = float(np.clip(free, _WIDTH_PX[0] ** 2, _WIDTH_PX[1] ** 2))
    half = psf.shape[0] // 2
    at_psf = np.arange(-half, half + 1)
    window = np.exp(-0.5 * (at_psf[None, :] ** 2 + at_psf[:, None] ** 2) / variance)
    of_psf = float((psf * window * (at_psf[None, :] ** 2 + at_psf[:, None] ** 2)).sum() / (psf * window).sum()) / 2
    own = max(variance - 1 / max(1 / of_psf - 1 / variance, 1e-6), 0.3)
    total_moment = max(xx + yy, 1e-6)
    dilution = min(3.0, 2 * variance / own)
    e1, e2 = ((yy - xx) / total_moment * dilution, -2 * xy / total_moment * dilution)
    # chi = (1 - q^2) / (1 + q^2) to (1 - q) / (1 + q)
    chi = float(np.hypot(e1, e2))
    limited = min(chi, 0.9)
    factor = limited / (1 + np.sqrt(1 - limited**2)) / chi if chi > 0 else 0.0
    inside = float(image[(at[None, :] - cx) ** 2 + (at[:, None] - cy) ** 2 <= (3 * np.sqrt(variance)) ** 2].sum())
    flux = 1.1 * max(inside, 1.0)
    # half of a Gaussian's light lies within 1.18 of its width
    radius = 1.18 * np.sqrt(own)
    vector = np.array([-2.5 * np.log10(flux), np.log10(radius), np.log10(sersic_n), e1 * factor, e2 * factor, cx, cy])
    return within_bounds(vector)


def within_bounds(vector: Array) -> Array:
    """The vector moved to the nearest one that a stamp can hold."""
    moved: Array = np.clip(vector, LOWER, UPPER)
    e = float(np.hypot(moved[E1], moved[E2]))
    if e > E_MAX:
        moved[[E1, E2]] *= E_MAX / e
    return moved
