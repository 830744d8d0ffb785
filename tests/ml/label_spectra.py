"""Spectra whose populations are known, as SDSS would take them, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from galbase.ingest.preprocess.spectrum import SpectrumPixels
from galbase.ml.labels.templates import own_templates
from galbase.ml.simulate.spec_file import SpecHead, spec_bytes, spec_path
from galbase.ml.simulate.spectrum import SPEC_LOG_WAVE, Spectrum

LIGHT_SPEED = 299792.458
PIXEL_KM_S = LIGHT_SPEED * np.log(10) * 1e-4
# Of 40 populations two: 1.4 Gyr at [M/H] = 0, and 10 Gyr at 0.4.
MIXED = {(9.1565, 0.0): 0.3, (10.0, 0.398): 0.7}


def light_means(mixed: dict[tuple[float, float], float] = MIXED) -> tuple[float, float]:
    """Light-weighted log10 age and [M/H] of a mixture, by hand."""
    return sum(w * age for (age, _), w in mixed.items()), sum(w * mh for (_, mh), w in mixed.items())


def model_flux(
    z: float,
    mixed: dict[tuple[float, float], float] = MIXED,
    dispersion_km_s: float = 150.0,
    a_v: float = 0.4,
    line_flux: float = 0.0,
) -> np.ndarray[Any, Any]:
    """Noise-free flux at SDSS's wavelengths: light fractions in rest-frame SDSS r, dispersion, Calzetti dust, lines."""
    from galbase.ml.simulate.dust import transmission

    templates = own_templates()
    light = templates.band_light("sdss-r")
    flux = np.zeros(len(templates.wave_angstrom))
    for (age, mh), weight in mixed.items():
        row = int(np.argmin(np.abs(templates.log_age - age) + np.abs(templates.mh - mh)))
        flux += weight * templates.flux[row] / light[row]
    flux = gaussian_filter1d(flux, dispersion_km_s / PIXEL_KM_S, mode="nearest")
    flux *= transmission(templates.wave_angstrom, np.array([a_v]))[0] * 10 / np.median(flux)
    rest = 10**SPEC_LOG_WAVE / (1 + z)
    seen = np.interp(rest, templates.wave_angstrom, flux)
    for line in (4862.69, 4960.295, 5008.24, 6549.86, 6564.61, 6585.27):
        seen += line_flux * np.exp(-0.5 * (LIGHT_SPEED * np.log(rest / line) / 140.0) ** 2)
    return seen


def observed(model: np.ndarray[Any, Any], signal_to_noise: float, seed: int) -> SpectrumPixels:
    """With white noise; a hundred pixels are masked and spoilt."""
    rng = np.random.default_rng(seed)
    sigma = np.full(len(model), np.median(model) / signal_to_noise)
    flux = model + sigma * rng.standard_normal(len(model))
    masked = np.zeros(len(model), bool)
    masked[1500:1600] = True
    wave = 10**SPEC_LOG_WAVE
    return SpectrumPixels(wave, np.where(masked, 1e4, flux), np.where(masked, 0.0, sigma**-2))


def write_spec(
    folder: Path, fiberid: int, pixels: SpectrumPixels, z: float, *, z_warning: int = 0, ra: float = 150.0
) -> Path:
    """A spec file of a galaxy; its fibre number is its id, and moves its position by a degree each."""
    good = pixels.ivar > 0
    spectrum = Spectrum(np.where(good, pixels.flux, 0.0), pixels.ivar, np.where(good, pixels.flux, 0.0), good)
    head = SpecHead(1000 + fiberid, 300, 52000, fiberid, ra, 2.0 + fiberid, b"", z, 1e-5, z_warning, z)
    path = spec_path(folder, 300, 52000, fiberid)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(spec_bytes(head, spectrum, np.zeros(11)))
    return path
