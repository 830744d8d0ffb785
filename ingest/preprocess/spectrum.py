"""Spectra as networks are shown them: read from their files, resampled to one grid of wavelengths, and scaled.

Two preparations. ``minmax`` is MMLforGalAM's (section 2.2.1): flux at every Angstrom from 3830 to 8000, observed frame,
scaled to 0-1 spectrum by spectrum, masked pixels like any other. ``rest`` uses what that throws away: wavelengths at
rest, pixels without a weight left out, the continuum's shape and the lines upon it in planes of their own, and the
flux's level, the redshift and the signal-to-noise ratio as numbers beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.spectra import read_pixel_rows
from galbase.ingest.readers.spectrum_file import SpectrumPixels as SpectrumPixels
from galbase.ingest.readers.spectrum_file import air_to_vacuum
from galbase.schema.errors import UsageError

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# Both preparations need this range of the observed frame, Angstrom, as the selection does.
OBSERVED_RANGE = (3830.0, 8000.0)
CONTINUUM_ANGSTROM = 200.0  # wider than broad absorption (the Balmer lines of an A star: 50)
LINE_GAIN = 4.0  # absorption lines are 5 to 30 % deep; the planes shall vary alike
LINE_LIMIT = 2.0  # emission lines that stand higher than half the continuum end here
SHAPE_LIMIT = 5.0
FLUX_SOFTENING = 1.0  # 1e-17 erg/s/cm2/Angstrom: the faintest median flux in SDSS's main sample


@dataclass(frozen=True)
class SpectrumForm:
    """A grid of wavelengths and what is shown on it.

    Parameters
    ----------
    start_angstrom, step_angstrom : float
        First wavelength of the grid and its step, vacuum.
    n_wave : int
        Points of the grid.
    n_channel : int
        Planes: values at each wavelength.
    n_scalar : int
        Numbers beside the planes.
    needs_redshift : bool
        Whether wavelengths are those at rest.
    """

    start_angstrom: float
    step_angstrom: float
    n_wave: int
    n_channel: int
    n_scalar: int
    needs_redshift: bool

    @property
    def grid(self) -> Floats:
        """Wavelengths, Angstrom, vacuum, ``(n_wave,)``."""
        return np.asarray(self.start_angstrom + self.step_angstrom * np.arange(self.n_wave), np.float64)


# At rest a spectrum of 3830-8000 Angstrom reaches down to 2946 at z = 0.3 and up to 7984 at z = 0.002: the grid holds
# what age and metallicity are read from, the Balmer break to H alpha, at half of SDSS's resolution.
FORMS = {
    "minmax": SpectrumForm(3830.0, 1.0, 4171, 1, 0, False),
    "rest": SpectrumForm(3600.0, 2.0, 1551, 2, 3, True),
}


def spectrum_form(kind: str) -> SpectrumForm:
    """The form of this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if kind not in FORMS:
        raise UsageError(f"no preparation of spectra {kind!r}; use one of {', '.join(FORMS)}.")
    return FORMS[kind]


def read_spectrum_rows(path: Path, format: str, rows: Sequence[int], wave_min_vacuum: float) -> list[SpectrumPixels]:
    """Spectra of a file that was loaded as `format`, their wavelengths those in vacuum.

    Parameters
    ----------
    path, format, rows, wave_min_vacuum
        As of `readers.spectra.read_pixel_rows`.

    Raises
    ------
    GalbaseError
        If the file is damaged or has no such row.
    """
    return [
        pixels
        if pixels.is_vacuum
        else replace(pixels, wave_angstrom=air_to_vacuum(pixels.wave_angstrom), is_vacuum=True)
        for pixels in read_pixel_rows(path, format, rows, wave_min_vacuum)
    ]


def prepare_spectrum(pixels: SpectrumPixels, z: float | None, kind: str) -> tuple[Float32, Float32]:
    """Planes and raw scalars of a spectrum.

    Parameters
    ----------
    pixels : SpectrumPixels
        Wavelengths in vacuum.
    z : float or None
        Redshift; ``minmax`` needs none.
    kind : str
        A key of `FORMS`.

    Returns
    -------
    planes : (n_wave, n_channel) float32
        ``minmax``: flux from 0 to 1. ``rest``: asinh(flux / median), and the flux over the continuum less one, four
        times and cut at +-2; 0 where no pixel has a weight.
    scalar : (n_scalar,) float32
        ``rest``: asinh of the median flux, redshift, asinh of the median signal-to-noise ratio a pixel.

    Raises
    ------
    UsageError
        If the kind is unknown, or the redshift is when it is needed.
    """
    form = spectrum_form(kind)
    if kind == "minmax":
        return scaled_to_unit(interpolated(form.grid, pixels.wave_angstrom, pixels.flux))[:, None], np.empty(
            0, np.float32
        )
    if z is None or not z > -1:
        raise UsageError(f"the redshift is {z}: wavelengths at rest need one; use spectra with a redshift.")
    flux, weight = rebinned(form.grid, pixels.wave_angstrom / (1 + z), pixels.flux, pixels.ivar)
    seen = weight > 0
    if not seen.any():
        return np.zeros((form.n_wave, form.n_channel), np.float32), np.zeros(form.n_scalar, np.float32)
    level = float(np.median(flux[seen]))
    # A median that is noise around zero is nothing to divide by; the scatter is.
    unit = max(level, 0.1 * float(np.sqrt(np.mean(flux[seen] ** 2)))) or 1.0
    relative = flux / unit
    smooth = continuum(relative, seen, CONTINUUM_ANGSTROM / form.step_angstrom)
    line = np.clip(LINE_GAIN * (relative / np.maximum(smooth, 0.05) - 1), -LINE_LIMIT, LINE_LIMIT)
    shape = np.clip(np.arcsinh(relative), -SHAPE_LIMIT, SHAPE_LIMIT)
    planes = np.where(seen[:, None], np.column_stack([shape, line]), 0.0)
    good = pixels.ivar > 0
    noise = float(np.median(pixels.flux[good] * np.sqrt(pixels.ivar[good])))
    scalar = [np.arcsinh(level / (2 * FLUX_SOFTENING)), z, np.arcsinh(noise / 2)]
    return planes.astype(np.float32), np.array(scalar, np.float32)


def interpolated(grid: Floats, wave_angstrom: Floats, flux: Floats) -> Floats:
    """Flux at the wavelengths of a grid, linear between pixels; the first or last pixel's flux beyond them."""
    return np.interp(grid, wave_angstrom, flux)


def scaled_to_unit(flux: Floats) -> Float32:
    """Flux from its least value, 0, to its greatest, 1; zeros where all are alike."""
    low, high = flux.min(), flux.max()
    return np.asarray((flux - low) / (high - low) if high > low else np.zeros_like(flux), np.float32)


def rebinned(grid: Floats, wave_angstrom: Floats, flux: Floats, ivar: Floats) -> tuple[Floats, Floats]:
    """Mean flux density in the bins of an even grid: what a pixel's flux adds to a bin is in proportion to the overlap.

    A pixel reaches half-way to its neighbours, and its flux density is the same all over it. Pixels without a weight
    add nothing; the mean is over the others.

    Parameters
    ----------
    grid : (n_bin,) float64
        Centres of the bins, evenly spaced.
    wave_angstrom, flux, ivar : (n_pixel,) float64
        Centres of the pixels, rising.

    Returns
    -------
    flux : (n_bin,) float64
        0 where no pixel with a weight overlaps.
    weight : (n_bin,) float64
        Share of each bin that pixels with a weight cover, 0 to 1.
    """
    middle = (wave_angstrom[1:] + wave_angstrom[:-1]) / 2
    first, last = 2 * wave_angstrom[0] - middle[0], 2 * wave_angstrom[-1] - middle[-1]
    edges = np.concatenate([[first], middle, [last]])
    width = np.diff(edges)
    good = (ivar > 0) & np.isfinite(flux)
    covered = np.concatenate([[0.0], np.cumsum(np.where(good, width, 0.0))])
    light = np.concatenate([[0.0], np.cumsum(np.where(good, np.where(good, flux, 0.0) * width, 0.0))])
    step = grid[1] - grid[0]
    bins = np.concatenate([grid - step / 2, [grid[-1] + step / 2]])
    # Rounding of the sums leaves some 1e-13 of a bin where there is nothing.
    weight = np.diff(np.interp(bins, edges, covered)) / step
    weight = np.where(weight > 1e-9, np.minimum(weight, 1.0), 0.0)
    mean = np.diff(np.interp(bins, edges, light)) / step
    return np.divide(mean, weight, out=np.zeros_like(mean), where=weight > 0), weight


def continuum(flux: Floats, seen: npt.NDArray[np.bool_], width: float) -> Floats:
    """Mean of the seen values within `width` grid steps around each; 1 where there is none.

    Parameters
    ----------
    flux : (n,) float64
    seen : (n,) bool
    width : float
        Full width of the window, in steps.
    """
    half = round(width / 2)
    total = np.concatenate([[0.0], np.cumsum(np.where(seen, flux, 0.0))])
    count = np.concatenate([[0], np.cumsum(seen)])
    low = np.maximum(np.arange(len(flux)) - half, 0)
    high = np.minimum(np.arange(len(flux)) + half + 1, len(flux))
    number = count[high] - count[low]
    return np.asarray(np.divide(total[high] - total[low], number, out=np.ones(len(flux)), where=number > 0), np.float64)
