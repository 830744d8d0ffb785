"""Distances and ages in the flat cosmology H0 = 70 km/s/Mpc, Omega_m = 0.3."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LIGHT_SPEED_KM_S = 299792.458
HUBBLE_KM_S_MPC = 70.0
OMEGA_MATTER = 0.3
MEGAPARSEC_CM = 3.0856776e24
_HUBBLE_TIME_GYR = 977.79222 / HUBBLE_KM_S_MPC


@lru_cache(maxsize=1)
def _distance_table() -> tuple[FloatArray, FloatArray]:
    z = np.linspace(0, 2.0, 8001)
    inverse = 1 / np.sqrt(OMEGA_MATTER * (1 + z) ** 3 + 1 - OMEGA_MATTER)
    comoving = np.r_[0.0, np.cumsum(0.5 * (inverse[1:] + inverse[:-1]) * np.diff(z))]
    return z, comoving * LIGHT_SPEED_KM_S / HUBBLE_KM_S_MPC


def comoving_distance(z: FloatArray) -> FloatArray:
    """Comoving distance [Mpc] at redshift z < 2 (Hogg 1999, eq. 15)."""
    table_z, table_d = _distance_table()
    distance: FloatArray = np.interp(z, table_z, table_d)
    return distance


def luminosity_area_cm2(z: FloatArray) -> FloatArray:
    """4 pi d_L^2 [cm2]: luminosity [erg/s] over it is flux [erg/s/cm2]."""
    area: FloatArray = 4 * np.pi * (comoving_distance(z) * (1 + z) * MEGAPARSEC_CM) ** 2
    return area


def kpc_per_arcsec(z: FloatArray) -> FloatArray:
    """Proper transverse size of one arcsecond [kpc]."""
    scale: FloatArray = comoving_distance(z) / (1 + z) * 1e3 * np.pi / 180 / 3600
    return scale


def age_of_universe(z: FloatArray) -> FloatArray:
    """Time since the Big Bang [yr] (Hogg 1999, eq. 30 in its closed form for a flat universe)."""
    ratio = np.sqrt((1 - OMEGA_MATTER) / OMEGA_MATTER) * (1 + np.asarray(z, float)) ** -1.5
    age: FloatArray = 2 / (3 * np.sqrt(1 - OMEGA_MATTER)) * np.arcsinh(ratio) * _HUBBLE_TIME_GYR * 1e9
    return age
