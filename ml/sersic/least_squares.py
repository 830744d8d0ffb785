"""Least squares, what networks are compared with: the model convolved with the PSF, fitted pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from galbase.ml.sersic.model import LOWER, UPPER, StampModel
from galbase.ml.sersic.moments import start_vector
from galbase.ml.sersic.vector import N_PARAMETER

Array = npt.NDArray[np.float64]

_STARTS = (1.2, 4.0)
_TOLERANCE = 1e-5
# chi2 of n pixels scatters by sqrt(2 n): a worse fit deserves another start
_SUSPECT_SIGMA = 3.0
_SMOOTH_PX = 2


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted stamp.

    Attributes
    ----------
    vector : (7,) float64
    covariance : (7, 7) float64
        Inverse of the curvature of half of what was minimised; infinite where the data do not decide.
    chi2_reduced : float
        Against the stamp, over pixels less seven.
    n_draw : int
        Models drawn.
    """

    vector: Array
    covariance: Array
    chi2_reduced: float
    n_draw: int


def photon_variance(light: Array, electrons: float) -> Array:
    """Variance a pixel in units of the sky's, of sky and of photons of the galaxy.

    Parameters
    ----------
    light : (61, 61) float64
        Light of the galaxy in units of the sky's noise.
    electrons : float
        Electrons in one unit of the sky's noise.
    """
    return np.asarray(1 + np.maximum(light, 0) / electrons)


def smoothed(image: Array) -> Array:
    """Means over 5x5 pixels: what the variance is made of as long as there is no model."""
    total = np.cumsum(np.cumsum(np.pad(image, _SMOOTH_PX + 1, mode="edge"), axis=0), axis=1)
    width = 2 * _SMOOTH_PX + 1
    total = total[width:, width:] - total[:-width, width:] - total[width:, :-width] + total[:-width, :-width]
    return np.asarray(total[: image.shape[0], : image.shape[1]] / width**2)


def fit_least_squares(image: Array, psf: npt.NDArray[np.floating], electrons: float) -> Fit:
    """Fit a Sersic profile by least squares from moments alone.

    Trust-region reflective (Branch, Coleman & Li 1999, SIAM J. Sci. Comput. 21, 1; scipy) with exact derivatives.
    The variance is first that of the smoothed stamp, then that of the model found: the stamp's own would favour faint
    models. A fit that misses the stamp by more than noise does starts again from a steep profile.

    Parameters
    ----------
    image : (61, 61) float64
        Stamp in units of the noise of a pixel of sky.
    psf : (25, 25) float array
    electrons : float
        Electrons in one unit of the sky's noise.
    """
    model = StampModel(psf)
    best: Fit | None = None
    n_draw = 0
    for sersic_n in _STARTS:
        found = _fit_from(start_vector(image, psf, sersic_n), image, model, electrons)
        n_draw += found.n_draw
        if best is None or found.chi2_reduced < best.chi2_reduced:
            best = found
        if best.chi2_reduced < 1 + _SUSPECT_SIGMA * np.sqrt(2 / image.size):
            break
    assert best is not None
    return Fit(best.vector, best.covariance, best.chi2_reduced, n_draw)


def _fit_from(start: Array, image: Array, model: StampModel, electrons: float) -> Fit:
    light, vector, n_draw = smoothed(image), start, 0
    inside = UPPER - LOWER
    for _ in range(2):
        weight = 1 / np.sqrt(photon_variance(light, electrons))
        target = _Target(image, weight, model)
        # the solver wants to start off the bounds
        begin = np.clip(vector, LOWER + 1e-6 * inside, UPPER - 1e-6 * inside)
        solved = least_squares(
            target.residual, begin, target.slopes, bounds=(LOWER, UPPER), method="trf", x_scale="jac",
            ftol=_TOLERANCE, xtol=_TOLERANCE, gtol=1e-8, max_nfev=60,
        )  # fmt: skip
        vector, n_draw = solved.x, n_draw + solved.nfev
        light = model.draw(vector)
    return Fit(vector, inverse(solved.jac.T @ solved.jac), reduced_chi2(image, light, electrons), n_draw + 2)


class _Target:
    """Weighted residuals; model and derivatives come from one drawing."""

    def __init__(self, image: Array, weight: Array, model: StampModel) -> None:
        self._image, self._weight, self._model = image, weight, model
        self._at: Array | None = None
        self._drawn: tuple[Array, Array] | None = None

    def _draw(self, vector: Array) -> tuple[Array, Array]:
        if self._drawn is None or self._at is None or not np.array_equal(self._at, vector):
            self._drawn, self._at = self._model.draw_with_slopes(vector), vector.copy()
        return self._drawn

    def residual(self, vector: Array) -> Array:
        """(3721,) residuals."""
        return np.asarray(((self._draw(vector)[0] - self._image) * self._weight).ravel())

    def slopes(self, vector: Array) -> Array:
        """(3721, 7) derivatives."""
        return np.asarray((self._draw(vector)[1] * self._weight).reshape(N_PARAMETER, -1).T)


def reduced_chi2(image: Array, light: Array, electrons: float) -> float:
    """Squared residuals over the variance of the model's own light, a pixel less seven parameters."""
    return float(((image - light) ** 2 / photon_variance(light, electrons)).sum() / (image.size - N_PARAMETER))


def inverse(curvature: Array) -> Array:
    """Inverse of a curvature matrix; infinite variances where it has none."""
    scale = np.sqrt(np.diag(curvature))
    if not (scale > 0).all():
        return np.diag(np.full(len(curvature), np.inf))
    result: Array = np.linalg.pinv(curvature / np.outer(scale, scale), hermitian=True) / np.outer(scale, scale)
    return result
