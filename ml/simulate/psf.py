"""The point spread function: a circular Moffat profile in Fourier space.

I(r) = (1 + r^2/a^2)^-beta (Moffat 1969), FWHM = 2 a sqrt(2^(1/beta) - 1). Its unit-flux transform is
(k a)^(beta-1) K_(beta-1)(k a) / (2^(beta-2) Gamma(beta-1)) (Trujillo et al. 2001, MNRAS 328, 977, appendix).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, kv

BETA = 3.5


def fwhm_per_scale(beta: float = BETA) -> float:
    """FWHM over the Moffat scale a."""
    return 2.0 * float(np.sqrt(2.0 ** (1.0 / beta) - 1.0))


FWHM_PER_SCALE = fwhm_per_scale()


def moffat_transform(k_scale: NDArray[np.float64], beta: float = BETA) -> NDArray[np.float64]:
    """Transform of the unit-flux Moffat profile.

    Parameters
    ----------
    k_scale : (...) float64
        Wave number times the Moffat scale, k a [rad].
    beta : float
        Exponent, above 1.
    """
    order = beta - 1.0
    x = np.maximum(np.asarray(k_scale, float), 1e-6)
    value = x**order * kv(order, x) / (2.0 ** (order - 1.0) * gamma(order))
    transform: NDArray[np.float64] = np.where(np.asarray(k_scale) < 1e-5, 1.0, value)
    return transform


def moffat_profile(radius: NDArray[np.float64], fwhm: float, beta: float = BETA) -> NDArray[np.float64]:
    """Unit-flux Moffat brightness at a radius in the unit of `fwhm`; per unit area of that unit squared."""
    scale = fwhm / fwhm_per_scale(beta)
    profile: NDArray[np.float64] = (beta - 1) / (np.pi * scale**2) * (1 + (radius / scale) ** 2) ** -beta
    return profile


@lru_cache(maxsize=8)
def noise_area_per_fwhm2(beta: float = BETA) -> float:
    """Noise-equivalent area 1 / integral(I^2) of the Moffat profile for FWHM 1, in FWHM squared.

    integral(I^2) = (beta-1)^2 / (pi a^2 (2 beta - 1)), by direct integration.
    """
    scale = 1.0 / fwhm_per_scale(beta)
    return float(np.pi * scale**2 * (2 * beta - 1) / (beta - 1) ** 2)
