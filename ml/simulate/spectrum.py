"""Spectra through a 3 arcsec fibre, as SDSS takes them: vacuum wavelengths, R about 2000, lines with known areas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.cosmology import LIGHT_SPEED_KM_S, luminosity_area_cm2
from galbase.ml.simulate.fibre import FibreTruth
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sed import galaxy_spectrum
from galbase.ml.simulate.ssp import ssp_grid

FloatArray = NDArray[np.float64]

# 3800-9200 A in steps of 1e-4 in log10, the grid of SDSS spectra
SPEC_LOG_WAVE = np.round(np.arange(35798, 39644) * 1e-4, 4)
RESOLUTION_KM_S = 69.0
LINE_SIGMA_KM_S = 120.0
FLUX_UNIT = 1e-17
SKY_LINE = 5578.5


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One observed spectrum at `SPEC_LOG_WAVE`; fluxes in 1e-17 erg/s/cm2/A.

    Attributes
    ----------
    flux, ivar, model : (n_wave,) float64
        Measured, its inverse variance (0 on the sky line), and noise-free.
    good : (n_wave,) bool
        Off the sky line.
    """

    flux: FloatArray
    ivar: FloatArray
    model: FloatArray
    good: NDArray[np.bool_]

    @property
    def signal_to_noise(self) -> float:
        """Median S/N a pixel of the noise-free spectrum."""
        return float(np.median(self.model[self.good] * np.sqrt(self.ivar[self.good])))


def fibre_spectrum(index: int, population: Population, fibre: FibreTruth, weights: FloatArray) -> FloatArray:
    """Noise-free spectrum of one galaxy through its fibre.

    The templates have the resolution of SDSS already (FWHM 2.3 to 3 A), so that the stars are broadened by their own
    motion alone; the lines are as wide as gas and instrument make them.

    Parameters
    ----------
    index : int
        Galaxy, counted in its block.
    population, fibre
        Stars, dust and lines by component, and their shares inside the fibre.
    weights : (n, 2, n_ssp) float64
        `population.ssp_weights()`.

    Returns
    -------
    (n_wave,) float64
        f_lambda [1e-17 erg/s/cm2/A] at `SPEC_LOG_WAVE` (vacuum, observed frame), without Galactic extinction.
    """
    z = float(population.z[index])
    area = float(luminosity_area_cm2(np.array([z]))[0])
    none = np.zeros(fibre.line_flux_fib.shape[1])
    stars = galaxy_spectrum(
        weights[index], population.a_v[index], none, fibre.component_fraction[index], RESOLUTION_KM_S
    )
    # pixels are uniform in log wavelength, so one Gaussian does for all wavelengths
    sigma_px = velocity_dispersion(float(population.log_mstar_tot[index])) / LIGHT_SPEED_KM_S / np.log(10) / 1e-4
    reach = np.arange(-int(5 * sigma_px) - 1, int(5 * sigma_px) + 2)
    kernel = np.exp(-0.5 * (reach / sigma_px) ** 2)
    pad = len(reach) // 2
    stars = np.convolve(np.pad(stars, pad, mode="edge"), kernel / kernel.sum(), mode="valid")
    width = float(np.hypot(RESOLUTION_KM_S, LINE_SIGMA_KM_S))
    gas = galaxy_spectrum(
        np.zeros((1, weights.shape[2])), np.zeros(1), fibre.line_flux_fib[index] * area, np.ones(1), width
    )
    rest = SPEC_LOG_WAVE - np.log10(1 + z)
    flux: FloatArray = np.interp(rest, ssp_grid().log_wave, stars + gas) / (area * (1 + z)) / FLUX_UNIT
    return flux


def velocity_dispersion(log_mass: float) -> float:
    """Faber-Jackson-like dispersion [km/s] for the stars in the fibre (Gallazzi et al. 2006, fig. 6)."""
    return float(np.clip(10 ** (2.25 + 0.29 * (log_mass - 11.0)), 50, 350))


def noise_shape(wave: FloatArray) -> FloatArray:
    """Relative noise against wavelength: the throughput falls at both ends, the night sky rises in the red."""
    blue = 1 + 1.6 * np.exp(-(wave - 3790) / 260)
    red = 1 + 0.5 * np.clip((wave - 7200) / 2000, 0, None)
    sky_line = 1.2 * np.exp(-0.5 * ((wave - SKY_LINE) / 4) ** 2)
    noise: FloatArray = (blue + sky_line) * red
    return noise


def observe(rng: np.random.Generator, model: FloatArray, signal_to_noise: float) -> Spectrum:
    """Add noise: of the sky and of the source's own photons, for a median S/N a pixel in r."""
    wave = 10**SPEC_LOG_WAVE
    in_r = (wave > 5660) & (wave < 7150)
    level = np.median(model[in_r])
    shape = noise_shape(wave) * np.sqrt(0.5 + 0.5 * np.maximum(model, 0) / level)
    sigma = shape * level / signal_to_noise / np.median(shape[in_r])
    flux = model + sigma * rng.standard_normal(len(model))
    good = np.abs(wave - SKY_LINE) >= 3
    return Spectrum(flux, np.where(good, sigma**-2, 0.0), model, good)
