"""Spectral energy distributions: three stellar populations, nebular lines, dust, and their grz fluxes.

The populations are analytic continua of our own with the 4000 A or Balmer break and the strong absorption
features, tilted so that their g-r and r-z are those of stellar population models of the same age (Bruzual &
Charlot 2003, solar metallicity, Chabrier 2003 initial mass function), with those models' mass-to-light ratios.
Distances: flat cosmology H0 = 70 km/s/Mpc, Omega_m = 0.3.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LIGHT_SPEED_KM_S = 299792.458
HUBBLE_KM_S_MPC = 70.0
OMEGA_MATTER = 0.3
SUN_R_ABSOLUTE_AB = 4.65  # Willmer 2018, ApJS 236, 47, SDSS r
BANDS = ("g", "r", "z")
REFERENCE_WAVE = 6200.0

# Half-power edges and edge softness of the DECam filters [A]; effective wavelengths 4770, 6420, 9200 A
FILTER_EDGES = {"g": (4020.0, 5480.0, 60.0), "r": (5660.0, 7150.0, 60.0), "z": (8480.0, 9950.0, 90.0)}

# log10 rest wavelength [A], uniform as in SDSS spectra
LOG_WAVE = np.arange(3.36, 4.04, 1e-4)

# rest-frame vacuum wavelength [A], luminosity [1e40 erg/s per Msun/yr]; Halpha: Kennicutt 1998 for a Chabrier IMF
# (SFR = 4.6e-42 L); Balmer decrement 2.86, [NII], [SII], [OII], [OIII] at about 0.7 solar (Kewley et al. 2006)
HALPHA_PER_SFR = 1.0 / 4.6e-42
LINES = (
    ("[O_II] 3725", 3727.09, 0.40),
    ("[O_II] 3727", 3729.88, 0.55),
    ("H_gamma", 4341.68, 0.164),
    ("H_beta", 4862.68, 0.350),
    ("[O_III] 4959", 4960.30, 0.090),
    ("[O_III] 5007", 5008.24, 0.270),
    ("[N_II] 6548", 6549.86, 0.110),
    ("H_alpha", 6564.61, 1.000),
    ("[N_II] 6583", 6585.27, 0.330),
    ("[S_II] 6716", 6718.29, 0.180),
    ("[S_II] 6730", 6732.67, 0.135),
)


@dataclass(frozen=True)
class Population:
    """One stellar population: continuum anchors, colours, and r-band mass-to-light ratio."""

    name: str
    anchors: tuple[tuple[float, float], ...]
    g_minus_r: float
    r_minus_z: float
    mass_to_light_r: float
    features: tuple[tuple[float, float, float], ...]


_METAL_LINES = (
    (3934.8, 0.60, 11.0), (3969.6, 0.55, 11.0), (4228.0, 0.12, 8.0), (4305.6, 0.28, 13.0), (4385.0, 0.16, 10.0),
    (4532.0, 0.08, 12.0), (4669.0, 0.08, 15.0), (4862.7, 0.20, 5.0), (5015.0, 0.08, 12.0), (5176.6, 0.26, 16.0),
    (5270.0, 0.16, 9.0), (5335.0, 0.14, 8.0), (5895.6, 0.30, 5.0), (6190.0, 0.06, 25.0), (6564.6, 0.18, 4.0),
    (7090.0, 0.10, 40.0), (8500.0, 0.15, 5.0), (8544.4, 0.25, 6.0), (8664.5, 0.22, 6.0),
)  # fmt: skip
_BALMER_LINES = (
    (3751.2, 0.25, 6.0), (3771.7, 0.28, 7.0), (3798.9, 0.32, 8.0), (3836.5, 0.36, 9.0), (3890.2, 0.40, 10.0),
    (3971.2, 0.42, 11.0), (4102.9, 0.42, 12.0), (4341.7, 0.40, 12.0), (4862.7, 0.38, 12.0), (6564.6, 0.25, 10.0),
)  # fmt: skip

POPULATIONS = (
    Population(
        "old",  # 5-12 Gyr
        ((2300, 0.03), (2800, 0.08), (3200, 0.17), (3600, 0.27), (3800, 0.30), (3970, 0.34), (4030, 0.48),
         (4150, 0.56), (4500, 0.78), (5000, 0.91), (5500, 1.0), (6500, 1.0), (7500, 0.96), (8500, 0.90),
         (9500, 0.82), (10900, 0.72)),
        0.75, 0.66, 1.95, _METAL_LINES,
    ),
    Population(
        "intermediate",  # 1-3 Gyr
        ((2300, 0.15), (2800, 0.35), (3200, 0.55), (3650, 0.68), (3850, 0.85), (3970, 0.98), (4050, 1.22),
         (4200, 1.26), (4500, 1.22), (5000, 1.12), (5500, 1.0), (6500, 0.85), (7500, 0.74), (8500, 0.66),
         (9500, 0.58), (10900, 0.48)),
        0.42, 0.38, 0.52, tuple((w, 0.6 * d, s) for w, d, s in _METAL_LINES) + tuple(
            (w, 0.5 * d, s) for w, d, s in _BALMER_LINES),
    ),
    Population(
        "young",  # constant star formation over 300 Myr
        ((2300, 5.4), (2800, 3.9), (3200, 3.0), (3600, 2.4), (3700, 2.4), (3800, 2.7), (3970, 2.75), (4050, 2.6),
         (4500, 1.95), (5000, 1.38), (5500, 1.0), (6500, 0.62), (7500, 0.44), (8500, 0.34), (9500, 0.27),
         (10900, 0.20)),
        -0.10, -0.12, 0.075, tuple((w, 0.7 * d, s) for w, d, s in _BALMER_LINES),
    ),
)  # fmt: skip


def band_response(band: str, wave: FloatArray) -> FloatArray:
    """Photon response of a DECam-like filter: a plateau with soft edges.

    Parameters
    ----------
    band : {'g', 'r', 'z'}
        Band.
    wave : (n,) float64
        Observed wavelength [A].
    """
    low, high, soft = FILTER_EDGES[band]
    response: FloatArray = 1 / (1 + np.exp(-(wave - low) / soft)) / (1 + np.exp((wave - high) / soft))
    return response


def calzetti(wave: FloatArray) -> FloatArray:
    """Attenuation A(lambda)/A(V) of Calzetti et al. 2000 (ApJ 533, 682, eq. 4), R_V = 4.05.

    Parameters
    ----------
    wave : (...) float64
        Rest wavelength [A].
    """
    micron = np.asarray(wave, float) / 1e4
    inverse = 1 / micron
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * inverse) + 4.05
    curve: FloatArray = np.maximum(np.where(micron < 0.63, blue, red), 0.0) / 4.05
    return curve


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


def kpc_per_arcsec(z: FloatArray) -> FloatArray:
    """Proper transverse size of one arcsecond [kpc]."""
    scale: FloatArray = comoving_distance(z) / (1 + z) * 1e3 * np.pi / 180 / 3600
    return scale


def _ab_mag(flux: FloatArray, wave: FloatArray, band: str) -> float:
    """AB magnitude, up to a constant, of f_lambda for a photon counter (Fukugita et al. 1996, eq. 7)."""
    weight = band_response(band, wave) * np.gradient(wave)
    return float(-2.5 * np.log10(np.sum(flux * wave * weight) / np.sum(weight / wave)))


@lru_cache(maxsize=1)
def population_spectra() -> FloatArray:
    """Rest-frame spectra of the populations.

    Returns
    -------
    (3, n_wave) float64
        L_lambda [erg/s/A per Msun] at `LOG_WAVE`.
    """
    wave = 10**LOG_WAVE
    x = np.log(wave / REFERENCE_WAVE)
    spectra = []
    for population in POPULATIONS:
        knots = np.array(population.anchors)
        continuum = np.exp(np.interp(np.log(wave), np.log(knots[:, 0]), np.log(knots[:, 1])))
        for centre, depth, sigma in population.features:
            continuum *= 1 - depth * np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
        tilt = np.zeros(2)
        for _ in range(20):
            shaped = continuum * np.exp(tilt[0] * x + tilt[1] * x * x)
            mags = [_ab_mag(shaped, wave, band) for band in BANDS]
            miss = np.array([mags[0] - mags[1] - population.g_minus_r, mags[1] - mags[2] - population.r_minus_z])
            # d(colour)/d(tilt) from the bands' effective wavelengths
            at = np.log(np.array([4770.0, 6420.0, 9200.0]) / REFERENCE_WAVE)
            slope = -1.0857 * np.array(
                [[at[0] - at[1], at[0] ** 2 - at[1] ** 2], [at[1] - at[2], at[1] ** 2 - at[2] ** 2]]
            )
            tilt -= np.linalg.solve(slope, miss)
        # absolute AB magnitude of one solar mass: the tilted spectrum scaled at 10 pc
        absolute = SUN_R_ABSOLUTE_AB + 2.5 * np.log10(population.mass_to_light_r)
        weight = band_response("r", wave) * np.gradient(wave)
        f_nu = np.sum(shaped * wave * weight) / np.sum(weight / wave) / 2.99792458e18
        wanted = 3.6307805e-20 * 10 ** (-0.4 * absolute)
        area = 4 * np.pi * (10 * 3.0856776e18) ** 2
        spectra.append(shaped * wanted / f_nu * area)
    return np.array(spectra)


@lru_cache(maxsize=1)
def line_spectrum() -> FloatArray:
    """Nebular lines at 120 km/s width: (n_wave,) L_lambda [erg/s/A per Msun/yr] at `LOG_WAVE`."""
    wave = 10**LOG_WAVE
    spectrum = np.zeros(len(wave))
    for _, centre, ratio in LINES:
        sigma = centre * 120.0 / LIGHT_SPEED_KM_S
        profile = np.exp(-0.5 * ((wave - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        spectrum += HALPHA_PER_SFR * ratio * profile
    return spectrum


_Z_GRID = np.linspace(0.0, 0.40, 161)


@lru_cache(maxsize=1)
def _flux_table() -> FloatArray:
    """(n_z, 4, 3) nanomaggies at 1 Mpc luminosity distance per Msun (populations) or Msun/yr (lines)."""
    rest = 10**LOG_WAVE
    spectra = np.vstack([population_spectra(), line_spectrum()])
    area = 4 * np.pi * 3.0856776e24**2
    table = np.empty((len(_Z_GRID), len(spectra), len(BANDS)))
    for i, z in enumerate(_Z_GRID):
        wave = rest * (1 + z)
        for j, band in enumerate(BANDS):
            weight = band_response(band, wave) * np.gradient(wave)
            f_nu = (spectra / area / (1 + z)) @ (wave * weight) / np.sum(weight / wave) / 2.99792458e18
            table[i, :, j] = f_nu / 3.6307805e-20 * 1e9
    return table


def band_fluxes(
    population_mass: FloatArray, sfr: FloatArray, z: FloatArray, a_v: FloatArray, tilt: FloatArray
) -> FloatArray:
    """Observed grz fluxes of stellar mixtures, with lines and dust, without Galactic extinction.

    Parameters
    ----------
    population_mass : (n, 3) float64
        Mass in each population [Msun].
    sfr : (n,) float64
        Star formation rate that powers the lines [Msun/yr].
    z : (n,) float64
        Redshift, at most 0.4.
    a_v : (n,) float64
        Attenuation in V [mag] (Calzetti et al. 2000).
    tilt : (n,) float64
        Change of g-r by stellar metallicity [mag], r-z changing 0.9 times as much, r fixed (Gallazzi et al. 2006).

    Returns
    -------
    (n, 3) float64
        Flux in g, r, z [nanomaggy].
    """
    table = _flux_table()
    place = np.clip(np.asarray(z) / (_Z_GRID[1] - _Z_GRID[0]), 0, len(_Z_GRID) - 1.001)
    row = place.astype(np.int64)
    part = (place - row)[:, None, None]
    unit = table[row] * (1 - part) + table[row + 1] * part
    weight = np.column_stack([population_mass, sfr])
    luminosity_distance = comoving_distance(z) * (1 + z)
    flux = np.einsum("np,npb->nb", weight, unit) / luminosity_distance[:, None] ** 2
    effective = np.array([4770.0, 6420.0, 9200.0])
    attenuation = a_v[:, None] * calzetti(effective / (1 + z[:, None]))
    colour = tilt[:, None] * np.array([1.0, 0.0, -0.9])
    result: FloatArray = flux * 10 ** (-0.4 * (attenuation + colour))
    return result
