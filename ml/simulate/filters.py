"""Photon responses of the DECam and SDSS filters, from the table `filters.csv` (see ssp_grid.LICENSE.md)."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEGACY_BANDS = ("g", "r", "z")
SDSS_BANDS = ("g", "r", "i")
# the order of every array with a filter axis: Legacy g, r, z, then SDSS g, r, i
FILTERS = (*(f"decam2014-{band}" for band in LEGACY_BANDS), *(f"sdss2010-{band}" for band in SDSS_BANDS))
LEGACY = slice(0, 3)
SDSS = slice(3, 6)
LEGACY_R = 1
SDSS_R = 4

_LIGHT_SPEED_A_S = 2.99792458e18
_AB_ZERO = 3.6307805e-20  # erg/s/cm2/Hz
NANOMAGGY = 1e-9 * _AB_ZERO


@dataclass(frozen=True, eq=False)
class Filter:
    """A filter's photon response; zero outside the table.

    Attributes
    ----------
    wave, response : (n,) float64
        Observed wavelength [A], relative number of photons detected.
    """

    wave: FloatArray
    response: FloatArray

    def at(self, wave: FloatArray) -> FloatArray:
        """Response at any wavelengths [A]."""
        value: FloatArray = np.interp(wave, self.wave, self.response, left=0.0, right=0.0)
        return value

    @property
    def normalisation(self) -> float:
        """Integral of c R / lambda d(lambda): what a flat f_nu of 1 gives (Fukugita et al. 1996, eq. 7)."""
        return float(np.trapezoid(_LIGHT_SPEED_A_S * self.response / self.wave, self.wave))

    @property
    def effective_wave(self) -> float:
        """Photon-weighted mean wavelength [A] of a flat f_lambda."""
        weight = self.response * self.wave
        return float(np.trapezoid(weight * self.wave, self.wave) / np.trapezoid(weight, self.wave))


@lru_cache(maxsize=1)
def load_filters() -> dict[str, Filter]:
    """The six filters by name, in the order of `FILTERS`."""
    text = files("galbase.ml.simulate").joinpath("filters.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines()[1:]]
    made = {}
    for name in FILTERS:
        own = np.array([[float(wave), float(response)] for filter_name, wave, response in rows if filter_name == name])
        made[name] = Filter(own[:, 0], own[:, 1])
    return made


def nanomaggies(wave: FloatArray, flux: FloatArray, name: str) -> FloatArray:
    """Synthetic photometry of spectra.

    Parameters
    ----------
    wave : (n_wave,) float64
        Observed wavelength [A], rising.
    flux : (..., n_wave) float64
        f_lambda [erg/s/cm2/A].
    name : str
        One of `FILTERS`.

    Returns
    -------
    (...) float64
        Flux [nanomaggy].
    """
    band = load_filters()[name]
    photons = np.asarray(np.trapezoid(flux * wave * band.at(wave), wave, axis=-1), np.float64)
    return photons / band.normalisation / NANOMAGGY
