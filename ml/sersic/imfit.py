"""The same least squares by Imfit (Erwin 2015, ApJ 799, 226) through pyimfit, where that is installed.

A fit that nobody here wrote, to hold ours and the network's against. It draws profiles on subpixels near the centre and
convolves them with the PSF image; the variance is that of the model's own light. Levenberg-Marquardt from moments.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, gammaln

from galbase.ml.sersic.model import E_MAX, LOWER, UPPER
from galbase.ml.sersic.moments import start_vector
from galbase.ml.sersic.vector import DX, DY, LOG_N, LOG_RE, MAG, profiles
from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]


def has_imfit() -> bool:
    """Whether pyimfit is installed."""
    return find_spec("pyimfit") is not None


def _flux_of_unit(index: float, radius: float, ratio: float) -> float:
    """Light of a profile whose brightness at the radius is one (Graham & Driver 2005, PASA 22, 118, eq. 4)."""
    b = float(gammaincinv(2 * index, 0.5))
    shape = 2 * np.pi * index * np.exp(b - 2 * index * np.log(b) + gammaln(2 * index))
    return float(radius**2 * ratio * shape)


def fit_imfit(image: Array, psf: npt.NDArray[np.floating], electrons: float) -> Array:
    """Fit a Sersic profile with Imfit.

    Parameters
    ----------
    image : (61, 61) float64
        Stamp in units of the noise of a pixel of sky.
    psf : (25, 25) float array
    electrons : float
        Electrons in one unit of the sky's noise.

    Returns
    -------
    (7,) float64
        Vector of `galbase.ml.sersic.vector`.

    Raises
    ------
    GalbaseError
        If pyimfit is not installed.
    """
    if not has_imfit():
        raise GalbaseError(
            "fits by Imfit need the package pyimfit, which is not installed: pip install 'galbase[imfit]'."
        )
    import pyimfit

    start = start_vector(image, psf)
    found = profiles(start[None])
    middle = image.shape[0] // 2 + 1
    model = pyimfit.SimpleModelDescription()
    # Imfit counts pixels from one
    model.x0.setValue(middle + start[DX], [middle + LOWER[DX], middle + UPPER[DX]])
    model.y0.setValue(middle + start[DY], [middle + LOWER[DY], middle + UPPER[DY]])
    function = pyimfit.make_imfit_function("Sersic")
    index, radius = 10 ** start[LOG_N], 10 ** start[LOG_RE]
    ratio = float(found.q[0])
    intensity = 10 ** (-0.4 * start[MAG]) / _flux_of_unit(index, radius, ratio)
    function.PA.setValue(np.degrees(found.pa_rad[0]), [-360, 360])
    function.ell.setValue(1 - ratio, [0, 2 * E_MAX / (1 + E_MAX)])
    function.n.setValue(index, list(10 ** np.array([LOWER[LOG_N], UPPER[LOG_N]])))
    function.I_e.setValue(intensity, [1e-6 * intensity, 1e6 * intensity])
    function.r_e.setValue(radius, list(10 ** np.array([LOWER[LOG_RE], UPPER[LOG_RE]])))
    model.addFunction(function)
    fitter = pyimfit.Imfit(model, psf=np.asarray(psf, np.float64), maxThreads=1)
    # sky of `electrons` units has `electrons` squared photons: a variance of one
    fitter.fit(image, gain=electrons, original_sky=electrons, use_model_for_errors=True)
    x0, y0, angle, ellipticity, index, intensity, radius = fitter.getRawParameters()
    e, twice = ellipticity / (2 - ellipticity), 2 * np.radians(angle)
    flux = intensity * _flux_of_unit(index, radius, 1 - ellipticity)
    return np.array([
        -2.5 * np.log10(flux), np.log10(radius), np.log10(index), e * np.cos(twice), e * np.sin(twice), x0 - middle,
        y0 - middle,
    ])  # fmt: skip
