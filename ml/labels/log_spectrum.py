"""A spectrum in even steps of log wavelength, as pPXF fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, identity

from galbase.ingest.preprocess.spectrum import SpectrumPixels
from galbase.schema.errors import GalbaseError

Floats = npt.NDArray[np.float64]

LIGHT_SPEED_KM_S = 299792.458
# SDSS's own step, 69 km/s; spectra in other steps are rebinned to it.
LOG_STEP = 1e-4
# Pixels of even steps are nowhere further from their place, of a pixel: 1.4 km/s.
EVEN_PIXELS = 0.02
_MIN_GOOD = 500
_MIN_COVER = 0.5


class FitError(GalbaseError):
    """A spectrum that cannot be fitted; the reason is recorded with it."""


@dataclass(frozen=True, eq=False)
class LogSpectrum:
    """A spectrum in even steps of log wavelength, in units of its median flux.

    Parameters
    ----------
    wave_angstrom : (n,) float64
        Vacuum wavelengths at rest.
    flux, noise : (n,) float64
        Flux and one sigma.
    good : (n,) bool
        Pixels with a weight.
    resolution_angstrom : (n,) float64 or None
        One sigma of the instrument, at rest; None where it is not known.
    rebinning : (n, n_pixel) sparse float64
        Makes pixels of the file, in its unit over the median flux, into these.
    pixel_noise : (n_pixel,) float64
        One sigma of the file's pixels over the median flux; 0 without a weight.
    """

    wave_angstrom: Floats
    flux: Floats
    noise: Floats
    good: npt.NDArray[np.bool_]
    resolution_angstrom: Floats | None
    rebinning: csr_array
    pixel_noise: Floats

    @property
    def velocity_step_km_s(self) -> float:
        """Width of a pixel."""
        log_wave = np.log(self.wave_angstrom)
        return float(LIGHT_SPEED_KM_S * (log_wave[-1] - log_wave[0]) / (len(log_wave) - 1))

    def noise_realisation(self, rng: np.random.Generator) -> Floats:
        """Noise drawn for each pixel of the file, rebinned like its flux: (n,)."""
        drawn: Floats = self.rebinning @ (self.pixel_noise * rng.standard_normal(len(self.pixel_noise)))
        return drawn


def log_spectrum(pixels: SpectrumPixels, z: float, wave_range: tuple[float, float]) -> LogSpectrum:
    """Cut a spectrum, bring it to even steps of log wavelength, and to rest.

    One that has even steps already, as SDSS's have, keeps its pixels.

    Parameters
    ----------
    pixels : SpectrumPixels
        Wavelengths in vacuum.
    z : float
        Redshift.
    wave_range : (low, high)
        What is kept, observed frame [A].

    Raises
    ------
    FitError
        If fewer than 500 pixels with a weight are left, or their median flux is not above 0.
    """
    inside = (pixels.wave_angstrom >= wave_range[0]) & (pixels.wave_angstrom <= wave_range[1])
    wave, flux, ivar = (values[inside] for values in (pixels.wave_angstrom, pixels.flux, pixels.ivar))
    used = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
    if used.sum() < _MIN_GOOD:
        raise FitError(
            f"{int(used.sum())} pixels with a weight between {wave_range[0]:.0f} and {wave_range[1]:.0f} A (observed); "
            f"{_MIN_GOOD} are needed"
        )
    level = float(np.median(flux[used]))
    if not level > 0:
        raise FitError(f"its median flux is {level:g}; a spectrum with light is needed")
    clean = np.where(used, flux, 0.0) / level
    sigma = np.where(used, 1 / np.sqrt(np.where(used, ivar, 1.0)), 0.0) / level
    log_wave = np.log10(wave)
    step = (log_wave[-1] - log_wave[0]) / (len(wave) - 1)
    grid = log_wave[0] + step * np.arange(len(wave))
    if np.abs(log_wave - grid).max() < EVEN_PIXELS * step:
        rebinning, good = csr_array(identity(len(wave))), used
    else:
        n = int((log_wave[-1] - log_wave[0]) / LOG_STEP)
        grid = log_wave[0] + LOG_STEP * (np.arange(n) + 0.5)
        rebinning, good = log_rebinning(log_wave, used, grid)
    noise = np.sqrt(rebinning.power(2) @ sigma**2)
    resolution = pixels.resolution_angstrom
    return LogSpectrum(
        wave_angstrom=10**grid / (1 + z),
        flux=rebinning @ clean,
        noise=np.where(good, noise, 1.0),
        good=good,
        resolution_angstrom=None if resolution is None else np.interp(grid, log_wave, resolution[inside]) / (1 + z),
        rebinning=rebinning,
        pixel_noise=sigma,
    )


def log_rebinning(
    log_wave: Floats, used: npt.NDArray[np.bool_], grid: Floats
) -> tuple[csr_array, npt.NDArray[np.bool_]]:
    """Mean of the used pixels in the bins of an even grid, each in proportion to its overlap.

    Parameters
    ----------
    log_wave : (n_pixel,) float64
        Centres of the pixels, rising; a pixel reaches half-way to its neighbours.
    used : (n_pixel,) bool
        Pixels with a weight.
    grid : (n_bin,) float64
        Centres of the bins, evenly spaced.

    Returns
    -------
    rebinning : (n_bin, n_pixel) sparse float64
        Rows add up to one, or zero without a used pixel.
    good : (n_bin,) bool
        Bins of which used pixels cover at least half.
    """
    middle = (log_wave[1:] + log_wave[:-1]) / 2
    edges = np.concatenate([[2 * log_wave[0] - middle[0]], middle, [2 * log_wave[-1] - middle[-1]]])
    step = grid[1] - grid[0]
    bins = np.append(grid, grid[-1] + step) - step / 2
    # Between two borders of either kind lies one piece, of one pixel and one bin.
    borders = np.union1d(edges, bins)
    centre, width = (borders[1:] + borders[:-1]) / 2, np.diff(borders)
    pixel = np.searchsorted(edges, centre) - 1
    place = np.searchsorted(bins, centre) - 1
    kept = (pixel >= 0) & (pixel < len(log_wave)) & (place >= 0) & (place < len(grid))
    kept[kept] = used[pixel[kept]]
    overlap = csr_array((width[kept], (place[kept], pixel[kept])), shape=(len(grid), len(log_wave)))
    covered = np.asarray(overlap.sum(axis=1)).ravel()
    share = np.divide(1.0, covered, out=np.zeros_like(covered), where=covered > 0)
    return csr_array(diags_array(share) @ overlap), covered >= _MIN_COVER * step
