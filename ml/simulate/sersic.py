"""Sersic profiles: curve of growth and Hankel transform, tabulated once.

The profile is I(x) = exp(-b_n (x^(1/n) - 1)), x = r / r_e (Sersic 1968; Graham & Driver 2005, eq. 1-5), cut
smoothly to zero between 7 and 8 r_e as the SDSS de Vaucouleurs model is, and normalised to unit flux inside the
cut. Everything is in units of the Sersic scale radius r_e along the major axis.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, j0, roots_legendre
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]

N_MIN = 0.4
N_MAX = 6.0
N_STEP = 0.1
TAPER_START = 7.0
TAPER_END = 8.0
_LN_K_MIN = float(np.log(1e-3))
_LN_K_MAX = float(np.log(400.0))
_N_K = 640
_N_QUADRATURE = 3000
_N_QUANTILE = 400
_LN_R_MIN = float(np.log(1e-4))
_LN_R_MAX = float(np.log(TAPER_END))
_N_R = 600


@dataclass(frozen=True, eq=False)
class SersicTable:
    """Tables over the Sersic index, for linear interpolation.

    Attributes
    ----------
    index : (n_n,) float64
        The grid of Sersic indices.
    transform : (n_n, n_k) float64
        Two-dimensional Fourier transform of the unit-flux circular profile at wave number k r_e [rad], on a grid
        uniform in ln k from `ln_k_min` in steps of `ln_k_step`.
    quantile_radius : (n_n, n_u) float64
        Radius [r_e] that encloses the light fraction u, on a uniform grid of u from 0 to 1.
    growth : (n_n, n_r) float64
        Light fraction inside a radius, on a grid uniform in ln radius [r_e].
    """

    index: FloatArray
    transform: FloatArray
    quantile_radius: FloatArray
    growth: FloatArray
    ln_k_min: float
    ln_k_step: float

    def radial_transform(self, n: float) -> NDArray[np.float32]:
        """Transform against ln k for one Sersic index, interpolated linearly in n.

        Parameters
        ----------
        n : float
            Sersic index in [0.4, 6].

        Returns
        -------
        (n_k,) float32
        """
        row, weight = _locate(np.asarray(n), len(self.index))
        low, high = self.transform[int(row)], self.transform[int(row) + 1]
        mixed: NDArray[np.float32] = (low + (high - low) * float(weight)).astype(np.float32)
        return mixed

    def light_radius(self, n: FloatArray, fraction: FloatArray) -> FloatArray:
        """Radius that encloses a fraction of the light.

        Parameters
        ----------
        n : (...) float64
            Sersic index in [0.4, 6].
        fraction : (...) float64
            Light fraction in [0, 1]; broadcast against `n`.

        Returns
        -------
        (...) float64
            Radius [r_e].
        """
        n, fraction = np.broadcast_arrays(n, fraction)
        row, weight = _locate(n, len(self.index))
        place = np.clip(fraction, 0.0, 1.0) * (self.quantile_radius.shape[1] - 1)
        column = np.minimum(place.astype(np.int64), self.quantile_radius.shape[1] - 2)
        part = place - column
        table = self.quantile_radius
        low = table[row, column] * (1 - part) + table[row, column + 1] * part
        high = table[row + 1, column] * (1 - part) + table[row + 1, column + 1] * part
        result: FloatArray = low * (1 - weight) + high * weight
        return result

    def light_fraction(self, n: FloatArray, radius: FloatArray) -> FloatArray:
        """Light fraction inside a radius [r_e]; arrays broadcast; linear in the table over ln radius."""
        n, radius = np.broadcast_arrays(np.asarray(n, float), np.asarray(radius, float))
        row, weight = _locate(n, len(self.index))
        last = self.growth.shape[1] - 1
        place = (np.log(np.maximum(radius, 1e-9)) - _LN_R_MIN) / (_LN_R_MAX - _LN_R_MIN) * last
        place = np.clip(place, 0.0, float(last))
        column = np.minimum(place.astype(np.int64), last - 1)
        part = place - column
        low = self.growth[row, column] * (1 - part) + self.growth[row, column + 1] * part
        high = self.growth[row + 1, column] * (1 - part) + self.growth[row + 1, column + 1] * part
        result: FloatArray = low * (1 - weight) + high * weight
        return result


def _locate(n: NDArray[np.float64], length: int) -> tuple[NDArray[np.int64], FloatArray]:
    place = (np.clip(n, N_MIN, N_MAX) - N_MIN) / N_STEP
    row = np.minimum(place.astype(np.int64), length - 2)
    return row, place - row


def surface_brightness(n: float, radius: FloatArray) -> FloatArray:
    """Unnormalised Sersic brightness at radius [r_e], with the taper between 7 and 8 r_e.

    Parameters
    ----------
    n : float
        Sersic index.
    radius : (...) float64
        Radius in units of r_e.
    """
    b = float(gammaincinv(2 * n, 0.5))
    step = np.clip((radius - TAPER_START) / (TAPER_END - TAPER_START), 0.0, 1.0)
    brightness: FloatArray = np.exp(-b * (radius ** (1 / n) - 1)) * (1 - step * step * (3 - 2 * step))
    return brightness


@lru_cache(maxsize=1)
def sersic_table() -> SersicTable:
    """Build the tables (about half a second), once a process."""
    # scipy solves the tridiagonal problem; numpy the dense one, in a hundred times the time
    node, weight = roots_legendre(_N_QUADRATURE)
    s, ds = 0.5 * (node + 1), 0.5 * weight
    # r = 8 s^3 puts the nodes where the cusp of a high-n profile is
    radius = TAPER_END * s**3
    measure = TAPER_END * 3 * s**2 * ds * radius
    index = np.linspace(N_MIN, N_MAX, round((N_MAX - N_MIN) / N_STEP) + 1)
    light = np.array([surface_brightness(n, radius) * measure for n in index])
    light /= light.sum(axis=1, keepdims=True)
    ln_k = np.linspace(_LN_K_MIN, _LN_K_MAX, _N_K)
    transform = np.empty((len(index), _N_K))
    # the last bit of a sum depends on how many threads share it, and the same survey shall be the same bytes
    with threadpool_limits(limits=1):
        for start in range(0, _N_K, 64):
            block = slice(start, start + 64)
            transform[:, block] = light @ j0(radius[:, None] * np.exp(ln_k[block]))
    u = np.linspace(0, 1, _N_QUANTILE)
    quantile = np.empty((len(index), _N_QUANTILE))
    growth = np.empty((len(index), _N_R))
    grid = np.exp(np.linspace(_LN_R_MIN, _LN_R_MAX, _N_R))
    for row in range(len(index)):
        # midpoint rule: half of a node's light lies inside the node
        inside = np.cumsum(light[row]) - 0.5 * light[row]
        quantile[row] = np.interp(u, np.r_[0.0, inside, 1.0], np.r_[0.0, radius, TAPER_END])
        growth[row] = np.interp(grid, np.r_[0.0, radius, TAPER_END], np.r_[0.0, inside, 1.0])
    return SersicTable(index, transform, quantile, growth, _LN_K_MIN, float(ln_k[1] - ln_k[0]))
