"""Attenuation by dust in the galaxies."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Calzetti et al. 2000: E(B-V) of the stars is 0.44 of that of the gas
GAS_TO_STARS = 1 / 0.44


def calzetti(wave: FloatArray) -> FloatArray:
    """Attenuation A(lambda)/A(V) of Calzetti et al. 2000 (ApJ 533, 682, eq. 4), R_V = 4.05.

    Parameters
    ----------
    wave : (...) float64
        Rest wavelength [A].
    """
    micron = np.asarray(wave, float) / 1e4
    inverse = 1 / micron
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * inverse) + 4.05
    curve: FloatArray = np.maximum(np.where(micron < 0.63, blue, red), 0.0) / 4.05
    return curve


def transmission(wave: FloatArray, a_v: FloatArray) -> FloatArray:
    """Share of light that leaves the galaxy: (..., n_wave) for a_v (...) [mag] and wave (n_wave,) [A]."""
    share: FloatArray = 10 ** (-0.4 * np.asarray(a_v)[..., None] * calzetti(wave))
    return share
