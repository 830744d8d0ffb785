"""Light of galaxies: stars of many ages and metallicities behind dust, and lines, in filters or as spectra."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from galbase.ml.simulate.cosmology import LIGHT_SPEED_KM_S, MEGAPARSEC_CM, comoving_distance, luminosity_area_cm2
from galbase.ml.simulate.dust import GAS_TO_STARS, transmission
from galbase.ml.simulate.filters import FILTERS, NANOMAGGY, SDSS_R, load_filters
from galbase.ml.simulate.nebular import LINE_WAVE
from galbase.ml.simulate.ssp import ssp_grid

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

Z_MAX = 0.30
A_V_MAX = 3.0
_Z_STEP = 0.005
_A_V_STEP = 0.1
_MEGAPARSEC_AREA = 4 * np.pi * MEGAPARSEC_CM**2

# Balogh et al. 1999 (ApJ 527, 54): mean f_nu in 4000-4100 over that in 3850-3950 A (air)
D4000_BLUE = (3851.1, 3951.1)
D4000_RED = (4001.1, 4101.2)


@lru_cache(maxsize=1)
def _flux_table() -> Float32Array:
    """(n_z, n_av, n_ssp, n_filter) nanomaggies at 1 Mpc luminosity distance per solar mass formed."""
    grid = ssp_grid()
    spectra = grid.luminosity.reshape(-1, len(grid.log_wave))
    redshifts = np.arange(0, Z_MAX + _Z_STEP / 2, _Z_STEP)
    a_v = np.arange(0, A_V_MAX + _A_V_STEP / 2, _A_V_STEP)
    weight = np.empty((len(grid.log_wave), len(redshifts), len(FILTERS)))
    step = np.gradient(grid.wave)
    for i, z in enumerate(redshifts):
        wave = grid.wave * (1 + z)
        for j, name in enumerate(FILTERS):
            band = load_filters()[name]
            # L_lambda at rest gives f_lambda = L_lambda / area / (1 + z); d(lambda) grows by (1 + z)
            weight[:, i, j] = wave * band.at(wave) * step / band.normalisation / NANOMAGGY / _MEGAPARSEC_AREA
    matrix = weight.reshape(len(grid.log_wave), -1)
    table = np.empty((len(redshifts), len(a_v), len(spectra), len(FILTERS)), np.float32)
    # the last bit of a sum depends on how many threads share it, and the same survey shall be the same bytes
    with threadpool_limits(limits=1):
        for k, share in enumerate(transmission(grid.wave, a_v)):
            table[:, k] = (spectra * share @ matrix).reshape(len(spectra), len(redshifts), -1).transpose(1, 0, 2)
    return table


def stellar_fluxes(weights: FloatArray, z: FloatArray, a_v: FloatArray, filters: slice) -> FloatArray:
    """Observed flux of stars behind their own galaxy's dust.

    Parameters
    ----------
    weights : (n, n_ssp) float64
        Mass formed in each population of the grid, metallicity by age [Msun].
    z, a_v : (n,) float64
        Redshift, at most 0.3, and attenuation in V [mag], at most 3 (Calzetti et al. 2000).
    filters : slice
        Which of `FILTERS`.

    Returns
    -------
    (n, n_filter) float64
        Flux [nanomaggy].
    """
    flux = _interpolated(weights.astype(np.float32), z, a_v, filters)
    distance = comoving_distance(z) * (1 + z)
    return flux / distance[:, None] ** 2


def _interpolated(weights: Float32Array, z: FloatArray, a_v: FloatArray, filters: slice) -> FloatArray:
    table = _flux_table()[..., filters]
    row, row_part = _place(z, _Z_STEP, table.shape[0])
    column, column_part = _place(a_v, _A_V_STEP, table.shape[1])
    flux = np.zeros((len(weights), table.shape[-1]))
    for i in (0, 1):
        for j in (0, 1):
            share = (row_part if i else 1 - row_part) * (column_part if j else 1 - column_part)
            flux += share[:, None] * np.einsum("np,npf->nf", weights, table[row + i, column + j])
    return flux


def _place(value: FloatArray, step: float, length: int) -> tuple[NDArray[np.int64], FloatArray]:
    place = np.clip(np.asarray(value, float) / step, 0, length - 1)
    index = np.minimum(place.astype(np.int64), length - 2)
    return index, place - index


def r_luminosity(weights: FloatArray, a_v: FloatArray) -> FloatArray:
    """Rest-frame SDSS r light of each population behind the dust, in a common unit: (n, n_ssp)."""
    table = _flux_table()[0, :, :, SDSS_R]
    column, part = _place(a_v, _A_V_STEP, len(table))
    unit = table[column] * (1 - part)[:, None] + table[column + 1] * part[:, None]
    light: FloatArray = weights * unit
    return light


def line_fluxes(luminosity: FloatArray, z: FloatArray, a_v: FloatArray) -> FloatArray:
    """Line fluxes as they leave the galaxy's dust: (n, n_line) [erg/s/cm2].

    Parameters
    ----------
    luminosity : (n, n_line) float64
        Intrinsic [erg/s].
    z, a_v : (n,) float64
        Redshift; attenuation of the stars [mag], that of the gas being 1/0.44 times as much (Calzetti et al. 2000).
    """
    share = transmission(LINE_WAVE, GAS_TO_STARS * np.asarray(a_v, float))
    flux: FloatArray = luminosity * share / luminosity_area_cm2(z)[:, None]
    return flux


def line_nanomaggies(flux: FloatArray, z: FloatArray, filters: slice) -> FloatArray:
    """What lines add to the bands: (n, n_filter) [nanomaggy] for flux (n, n_line) [erg/s/cm2]."""
    wave = LINE_WAVE * (1 + np.asarray(z)[:, None])
    names = FILTERS[filters]
    added = np.empty((len(flux), len(names)))
    for j, name in enumerate(names):
        band = load_filters()[name]
        added[:, j] = (flux * wave * band.at(wave)).sum(axis=1) / band.normalisation / NANOMAGGY
    return added


@lru_cache(maxsize=1)
def _break_table() -> tuple[FloatArray, FloatArray]:
    """(n_ssp,) light in the two windows of D4000n, f_nu up to a constant."""
    grid = ssp_grid()
    wave, step = grid.wave, np.gradient(grid.wave)
    spectra = grid.luminosity.reshape(-1, len(wave)) * wave**2
    sums = []
    for low, high in (D4000_BLUE, D4000_RED):
        inside = (wave > low) & (wave < high)
        sums.append(spectra[:, inside] @ step[inside] / step[inside].sum())
    return sums[0], sums[1]


def break_light(weights: FloatArray, a_v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """f_nu, up to a constant, below and above 4000 A as D4000n takes it (Balogh et al. 1999): two (n,)."""
    centre = np.array([np.mean(D4000_BLUE), np.mean(D4000_RED)])
    share = transmission(centre, a_v)
    blue, red = _break_table()
    return weights @ blue * share[:, 0], weights @ red * share[:, 1]


def galaxy_spectrum(
    weights: FloatArray, a_v: FloatArray, lines: FloatArray, fraction: FloatArray, line_sigma_km_s: float
) -> FloatArray:
    """Rest-frame spectrum of one galaxy's components behind their dust.

    Parameters
    ----------
    weights : (n_component, n_ssp) float64
        Mass formed [Msun].
    a_v, fraction : (n_component,) float64
        Attenuation of the stars [mag]; share of the component's stars seen.
    lines : (n_line,) float64
        Luminosity seen in each line, behind dust [erg/s].
    line_sigma_km_s : float
        Intrinsic width of the lines.

    Returns
    -------
    (n_wave,) float64
        L_lambda [erg/s/A] at the grid's wavelengths.
    """
    grid = ssp_grid()
    stars = (weights @ grid.luminosity.reshape(-1, len(grid.log_wave))) * transmission(grid.wave, a_v)
    luminosity: FloatArray = fraction @ stars
    for wave, strength in zip(LINE_WAVE, lines, strict=True):
        sigma = wave * line_sigma_km_s / LIGHT_SPEED_KM_S
        near = slice(*np.searchsorted(grid.wave, [wave - 6 * sigma, wave + 6 * sigma]))
        profile = np.exp(-0.5 * ((grid.wave[near] - wave) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        luminosity[near] += strength * profile
    return luminosity
