"""Simple stellar populations: 10 ages by 4 metallicities, from the table `ssp_grid.npz` (see ssp_grid.LICENSE.md).

Bruzual & Charlot 2003 with the initial mass function of Chabrier 2003; luminosities are per solar mass formed.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.ssp_grid_build import FLUX_STEP_DEX, LOG_WAVE_START, LOG_WAVE_STEP

FloatArray = NDArray[np.float64]

SOLAR_LUMINOSITY = 3.828e33  # erg/s, IAU 2015 resolution B3


@dataclass(frozen=True, eq=False)
class SspGrid:
    """The populations.

    Attributes
    ----------
    log_wave : (n_wave,) float64
        log10 of vacuum wavelength [A], uniform.
    age_yr : (n_age,) float64
        Age [yr].
    mh : (n_mh,) float64
        Metallicity [log solar, solar is Z = 0.02].
    luminosity : (n_mh, n_age, n_wave) float64
        L_lambda [erg/s/A per solar mass formed].
    """

    log_wave: FloatArray
    age_yr: FloatArray
    mh: FloatArray
    luminosity: FloatArray

    @property
    def wave(self) -> FloatArray:
        """Vacuum wavelength [A]."""
        wave: FloatArray = 10**self.log_wave
        return wave

    @property
    def age_edges_yr(self) -> FloatArray:
        """Borders between the ages that each population stands for: (n_age - 1,), geometric means."""
        edges: FloatArray = np.sqrt(self.age_yr[1:] * self.age_yr[:-1])
        return edges


@lru_cache(maxsize=1)
def ssp_grid() -> SspGrid:
    """Load the table, once a process."""
    with files("galbase.ml.simulate").joinpath("ssp_grid.npz").open("rb") as stream, np.load(stream) as data:
        log_flux = data["log_flux"] * FLUX_STEP_DEX + data["offset"][:, :, None].astype(float)
        log_wave = LOG_WAVE_START + LOG_WAVE_STEP * np.arange(log_flux.shape[2])
        return SspGrid(log_wave, data["age_gyr"] * 1e9, data["mh"], 10**log_flux * SOLAR_LUMINOSITY)


def metallicity_weights(mh: FloatArray) -> FloatArray:
    """Shares of the grid's metallicities, linear in [M/H]; beyond the grid its end is taken.

    Parameters
    ----------
    mh : (...) float64
        Metallicity [log solar].

    Returns
    -------
    (..., n_mh) float64
        Sums to one; at most two are not zero.
    """
    grid = ssp_grid().mh
    place = np.interp(mh, grid, np.arange(len(grid)))
    weights: FloatArray = np.clip(1 - np.abs(place[..., None] - np.arange(len(grid))), 0, 1)
    return weights


def surviving_fraction(age_yr: FloatArray) -> FloatArray:
    """Mass still in stars and remnants, of that formed (Leitner & Kravtsov 2011, ApJ 734, 48, Chabrier)."""
    left: FloatArray = 1 - 0.046 * np.log1p(np.asarray(age_yr, float) / 2.76e5)
    return left
