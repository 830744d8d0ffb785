"""Sizes, profiles and orientations of bulges and discs, and their light through round apertures."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ncx2

from galbase.ml.simulate.cosmology import kpc_per_arcsec
from galbase.ml.simulate.filters import LEGACY_R
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sersic import sersic_table

FloatArray = NDArray[np.float64]

_N_LIGHT = 48
_N_ANGLE = 8


@dataclass(frozen=True, eq=False)
class Structure:
    """Noise-free structure; arrays are (n,) float64 unless said otherwise; component 0 is the bulge, 1 the disc.

    Attributes
    ----------
    half_light_arcsec : float64
        Half-light radius of the whole galaxy along the major axis in r, without the PSF.
    half_light_kpc : float64
        The same, proper.
    sersic : float64
        Index of the single Sersic profile with the same concentration r90/r50.
    q : float64
        Axis ratio of the whole, weighted by r light.
    pa_deg : float64
        Position angle, east of north, in [0, 180).
    component_sersic, component_radius_arcsec, component_q : (n, 2) float64
        Sersic index, scale radius along the major axis, axis ratio of bulge and disc.
    bulge_to_total : (n, 6) float64
        Bulge share of the light in each of `filters.FILTERS`; its run with the band is the colour gradient.
    clump_strength : float64
        Share of the disc's r light in arms and clumps, 0 where there are none.
    donor : int64
        Row of the galaxy that the structure was drawn from: the galaxy itself, or another one in the null test.
    """

    half_light_arcsec: FloatArray
    half_light_kpc: FloatArray
    sersic: FloatArray
    q: FloatArray
    pa_deg: FloatArray
    component_sersic: FloatArray
    component_radius_arcsec: FloatArray
    component_q: FloatArray
    bulge_to_total: FloatArray
    clump_strength: FloatArray
    donor: NDArray[np.int64]

    def of(self, donor: NDArray[np.int64], z: FloatArray) -> "Structure":
        """Angular structure of other galaxies, for galaxies at redshift z."""
        taken = {field.name: getattr(self, field.name)[donor] for field in fields(self)}
        taken["half_light_kpc"] = taken["half_light_arcsec"] * kpc_per_arcsec(z)
        taken["donor"] = donor
        return Structure(**taken)


def shen_radius(rng: np.random.Generator, log_mass: FloatArray, early: NDArray[np.bool_]) -> FloatArray:
    """Circularised half-light radius [kpc] with scatter, Shen et al. 2003, eq. 17-19, table 1 and erratum 2007."""
    mass = 10**log_mass
    break_mass = 3.98e10
    late_radius = 0.10 * mass**0.14 * (1 + mass / break_mass) ** (0.39 - 0.14)
    early_radius = 2.88e-6 * mass**0.56
    # below 2e9 Msun dwarf spheroids leave the power law
    early_radius = np.maximum(early_radius, 0.9)
    scatter = 0.34 + (0.47 - 0.34) / (1 + (mass / break_mass) ** 2)
    radius: FloatArray = np.where(early, early_radius, late_radius) * np.exp(scatter * rng.standard_normal(len(mass)))
    return radius


def _enclosing_radius(bulge: FloatArray, n: FloatArray, ratio: FloatArray, fraction: float) -> FloatArray:
    """Radius, in units of the disc's scale radius, that encloses a fraction of bulge plus disc light."""
    table = sersic_table()
    low, high = np.full(len(bulge), 1e-3), np.full(len(bulge), 40.0)
    for _ in range(26):
        middle = np.sqrt(low * high)
        light = bulge * table.light_fraction(n[:, 0], middle / ratio)
        light += (1 - bulge) * table.light_fraction(n[:, 1], middle)
        low = np.where(light < fraction, middle, low)
        high = np.where(light < fraction, high, middle)
    result: FloatArray = np.sqrt(low * high)
    return result


def _index_from_concentration(concentration: FloatArray) -> FloatArray:
    table = sersic_table()
    half = table.light_radius(table.index, np.full(len(table.index), 0.5))
    ninety = table.light_radius(table.index, np.full(len(table.index), 0.9))
    index: FloatArray = np.interp(concentration, ninety / half, table.index)
    return index


def draw_structure(population: Population, seed: int, block: int = 0) -> Structure:
    """Draw sizes, profiles, angles and arms.

    Parameters
    ----------
    population : Population
        Galaxies with bulge and disc light.
    seed, block : int
        Seed, and number of the block of galaxies.
    """
    rng = np.random.default_rng([seed, 4, block])
    n_galaxy = len(population)
    share = population.flux[:, 0] / population.flux.sum(axis=1)
    bulge = share[:, LEGACY_R]
    spheroid = population.bulge_mass_fraction >= 1.0
    early = population.quenched & (bulge > 0.4)
    q = bulge * population.q_bulge + (1 - bulge) * population.q_disc
    # those radii are circularised; a disc's true size must not depend on how it is seen, so it takes the median
    radius_kpc = shen_radius(rng, population.log_mstar_tot, early) / np.sqrt(np.where(early, q, 0.62))
    radius = np.clip(radius_kpc / kpc_per_arcsec(population.z), 0.25, 25.0)

    pseudo = ~population.quenched & (bulge < 0.35)
    n_bulge = np.where(pseudo, 1.6, 3.6) * np.exp(0.22 * rng.standard_normal(n_galaxy))
    n_spheroid = 4.2 + 1.3 * (population.log_mstar_tot - 11.0) + 0.6 * rng.standard_normal(n_galaxy)
    n_disc = 1.0 + 0.08 * rng.standard_normal(n_galaxy)
    component_n = np.column_stack([np.where(spheroid, n_spheroid, n_bulge), n_disc])
    component_n = np.clip(component_n, 0.6, 5.9)
    ratio = np.clip(0.22 * np.exp(0.35 * rng.standard_normal(n_galaxy)) * (1 + bulge), 0.06, 1.2)
    ratio = np.where(spheroid, 1.0, ratio)

    half = _enclosing_radius(bulge, component_n, ratio, 0.5)
    ninety = _enclosing_radius(bulge, component_n, ratio, 0.9)
    disc_radius = radius / half
    component_radius = np.column_stack([ratio * disc_radius, disc_radius])
    # arms: clumpiness follows star formation (Conselice 2003, ApJS 147, 1), none in edge-on or tiny discs
    activity = np.clip((population.log_ssfr_tot + 11.4) / 1.7, 0, 1.2)
    strength = 0.25 * activity**1.5 * np.exp(0.35 * rng.standard_normal(n_galaxy))
    strength = np.clip(strength, 0, 0.45)
    armed = (strength > 0.02) & (population.q_disc > 0.3) & (disc_radius > 1.0) & ~spheroid
    return Structure(
        half_light_arcsec=radius,
        half_light_kpc=radius * kpc_per_arcsec(population.z),
        sersic=_index_from_concentration(ninety / half),
        q=q,
        pa_deg=180.0 * rng.random(n_galaxy),
        component_sersic=component_n,
        component_radius_arcsec=component_radius,
        component_q=np.column_stack([population.q_bulge, population.q_disc]),
        bulge_to_total=share,
        clump_strength=np.where(armed, strength, 0.0),
        donor=np.arange(n_galaxy),
    )


def _aperture_weight(radius: FloatArray, aperture: float, sigma: float) -> FloatArray:
    """Share of a point source's light at `radius` that a round aperture at the origin takes in.

    The source's PSF is Gaussian; the share is 1 - Q_1(radius/sigma, aperture/sigma), a Rice distribution.
    """
    grid = np.linspace(0, aperture + 8 * sigma, 400)
    value = ncx2.cdf((aperture / sigma) ** 2, 2, np.maximum((grid / sigma) ** 2, 1e-12))
    weight: FloatArray = np.interp(radius, grid, value, right=0.0)
    return weight


def aperture_fraction(structure: Structure, diameter_arcsec: float, fwhm_arcsec: float) -> FloatArray:
    """Share of each component's light inside a round aperture, seen through a Gaussian PSF.

    Parameters
    ----------
    structure : Structure
        Galaxies.
    diameter_arcsec : float
        Aperture diameter.
    fwhm_arcsec : float
        Seeing FWHM.

    Returns
    -------
    (n, 2) float64
        Bulge and disc.
    """
    sigma = fwhm_arcsec / 2.354820045
    light = (np.arange(_N_LIGHT) + 0.5) / _N_LIGHT
    angle = (np.arange(_N_ANGLE) + 0.5) / _N_ANGLE * np.pi / 2
    fraction = np.empty((len(structure.q), 2))
    for part in (0, 1):
        x = sersic_table().light_radius(structure.component_sersic[:, part, None], light)
        major = x * structure.component_radius_arcsec[:, part, None]
        total = np.zeros(len(structure.q))
        for a in angle:
            shape = np.sqrt(np.cos(a) ** 2 + structure.component_q[:, part, None] ** 2 * np.sin(a) ** 2)
            total += _aperture_weight(major * shape, diameter_arcsec / 2, sigma).mean(axis=1)
        fraction[:, part] = total / _N_ANGLE
    return fraction
