"""What lies on each stamp: the target with its arms, true blends, and the field around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.render import STAMP_SIZE, BlobSet, SersicSet
from galbase.ml.simulate.sky import Sky
from galbase.ml.simulate.structure import Structure

FloatArray = NDArray[np.float64]

# share of clump light by band: young clumps are bluer than the disc they are taken from
_CLUMP_COLOUR = np.array([1.3, 1.0, 0.65])
# r-z against g-r of stars, after Covey et al. 2007, table 3
_STAR_LOCUS = ([0.3, 0.8, 1.1, 1.35, 1.5], [0.12, 0.42, 0.72, 1.1, 1.8])
# an exponential profile of scale radius 1 as circular Gaussians: (share, sigma), Hogg & Lang 2013, coarse
_EXPONENTIAL = np.array([[0.35, 0.45], [0.65, 1.05]])


@dataclass(frozen=True, eq=False)
class Blend:
    """The true blend of each galaxy; NaN where there is none; arrays are (n,) float64 unless said otherwise.

    Attributes
    ----------
    blended : bool
        A neighbour was placed on purpose.
    separation_arcsec, flux_ratio : float64
        Separation, and flux of the neighbour in r relative to the target.
    angle_rad : float64
        Direction from the target, east of north.
    partner : int64
        Galaxy whose colours and shape the neighbour takes.
    """

    blended: NDArray[np.bool_]
    separation_arcsec: FloatArray
    flux_ratio: FloatArray
    angle_rad: FloatArray
    partner: NDArray[np.int64]


def draw_blends(sky: Sky, seed: int, parameters: SurveyParameters) -> Blend:
    """Draw true blends: separation and flux ratio log-uniform, the separation in units of the r-band FWHM."""
    rng = np.random.default_rng([seed, 5])
    n = len(sky.ra)
    blended = rng.random(n) < parameters.blend_fraction
    low, high = np.log(parameters.blend_separation_fwhm)
    separation = np.exp(rng.uniform(low, high, n)) * sky.psf_fwhm_arcsec[:, 1]
    low, high = np.log(parameters.blend_flux_ratio)
    ratio = np.exp(rng.uniform(low, high, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    partner = rng.integers(n, size=n)
    nan = np.where(blended, 1.0, np.nan)
    return Blend(blended, separation * nan, ratio * nan, angle, partner)


@dataclass(frozen=True, eq=False)
class Scene:
    """One stamp's contents, and how many field sources brighter than r = 22 lie within 10 arcsec."""

    sersic: SersicSet
    blobs: BlobSet
    n_neighbour: int


def _clumps(
    rng: np.random.Generator, radius_px: float, q: float, pa: float, disc_flux: FloatArray, strength: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Star-forming clumps along logarithmic arms, in the plane of the disc: sigma, dx, dy, flux."""
    n = 36
    arms = int(rng.choice([2, 2, 2, 3, 4]))
    winding = 1 / np.tan(np.radians(rng.uniform(10, 30))) * rng.choice([-1.0, 1.0])
    # exponential disc light beyond half a scale radius
    radius = radius_px * np.clip(0.45 + 0.55 * rng.gamma(1.6, 0.75, n), 0.4, 3.0)
    phase = 2 * np.pi * rng.integers(arms, size=n) / arms + rng.uniform(0, 2 * np.pi)
    angle = phase + winding * np.log(radius / radius_px) + 0.22 * rng.standard_normal(n)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * q
    dx = -along * np.sin(pa) + across * np.cos(pa)
    dy = along * np.cos(pa) + across * np.sin(pa)
    sigma = np.clip(radius_px * np.exp(rng.uniform(np.log(0.07), np.log(0.22), n)), 0.3, 12) * np.sqrt(q)
    weight = sigma**1.5 * rng.exponential(size=n)
    flux = strength * weight[:, None] / weight.sum() * disc_flux * _CLUMP_COLOUR
    return sigma, dx, dy, flux


def _field(
    rng: np.random.Generator, parameters: SurveyParameters, transmission: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, int]:
    """Faint galaxies and stars over the stamp: sigma, dx, dy, flux, number of near bright ones."""
    half = STAMP_SIZE / 2 + 8
    area = (2 * half * parameters.pixel_scale_arcsec / 60) ** 2
    n_galaxy = int(rng.poisson(parameters.field_galaxies_per_arcmin2 * area))
    n_star = int(rng.poisson(parameters.field_stars_per_arcmin2 * area))
    n = n_galaxy + n_star
    slope = parameters.field_count_slope * np.log(10)
    low, high = parameters.field_r_range
    r_mag = high + np.log1p(-rng.random(n) * -np.expm1(-slope * (high - low))) / slope
    r_mag[n_galaxy:] = rng.uniform(16.5, high, n_star)
    is_galaxy = np.arange(n) < n_galaxy
    g_r = np.where(is_galaxy, np.clip(0.8 + 0.35 * rng.standard_normal(n), 0.0, 1.8), rng.uniform(0.3, 1.5, n))
    # galaxies scatter; stars keep to their locus, Covey et al. 2007
    r_z = np.where(is_galaxy, 0.25 + 0.45 * g_r + 0.15 * rng.standard_normal(n), np.interp(g_r, *_STAR_LOCUS))
    mag = np.column_stack([r_mag + g_r, r_mag, r_mag - r_z])
    flux = 10 ** (0.4 * (22.5 - mag)) * transmission
    dx, dy = rng.uniform(-half, half, n), rng.uniform(-half, half, n)
    scale = 0.35 * 10 ** (-0.06 * (r_mag - 22)) * np.exp(0.4 * rng.standard_normal(n)) / parameters.pixel_scale_arcsec
    scale[n_galaxy:] = 0.0
    # a field source on top of the target would be an unrecorded blend; the recorded ones are drawn apart
    distance = np.hypot(dx, dy) * parameters.pixel_scale_arcsec
    clear = distance > 4.0
    near = int(np.count_nonzero(clear & (distance < 10) & (r_mag < 22)))
    share, width = _EXPONENTIAL[:, 0], _EXPONENTIAL[:, 1]
    sigma = (scale[clear, None] * width).ravel()
    flux = (flux[clear, None, :] * share[None, :, None]).reshape(-1, 3)
    return sigma, np.repeat(dx[clear], 2), np.repeat(dy[clear], 2), flux, near


def build_scene(
    index: int,
    rng: np.random.Generator,
    population: Population,
    structure: Structure,
    sky: Sky,
    blend: Blend,
    parameters: SurveyParameters,
) -> Scene:
    """Put together one stamp.

    Parameters
    ----------
    index : int
        Galaxy.
    rng : numpy.random.Generator
        This galaxy's own generator.
    population, structure, sky, blend
        The survey.
    parameters : SurveyParameters
        Field density and pixel scale.
    """
    scale = parameters.pixel_scale_arcsec
    transmission = 10 ** (-0.4 * np.array(parameters.extinction) * sky.ebv[index])
    centre = rng.uniform(-0.5, 0.5, 2)
    pa = np.radians(structure.pa_deg[index])
    flux = population.flux[index] * transmission
    radius = structure.component_radius_arcsec[index] / scale
    sigma, dx, dy, blob_flux, near = _field(rng, parameters, transmission)

    # arms: stronger in discs that form stars, none in dead, edge-on or tiny ones
    activity = np.clip((population.log_ssfr_tot[index] + 11.2) / 1.2, 0, 1)
    strength = float(activity * rng.uniform(0.08, 0.38))
    q_disc = float(population.q_disc[index])
    if strength > 0.02 and q_disc > 0.3 and structure.component_radius_arcsec[index, 1] > 1.0:
        clump = _clumps(rng, float(radius[1]), q_disc, float(pa), flux[1], strength)
        sigma = np.concatenate([sigma, clump[0]])
        dx = np.concatenate([dx, centre[0] + clump[1]])
        dy = np.concatenate([dy, centre[1] + clump[2]])
        blob_flux = np.concatenate([blob_flux, clump[3]])
        flux = flux.copy()
        flux[1] *= 1 - strength * _CLUMP_COLOUR

    present = flux[:, 1] > 0
    sets = [(structure.component_sersic[index], radius, structure.component_q[index], pa, centre, flux, present)]
    if blend.blended[index]:
        other = int(blend.partner[index])
        target_r = population.flux[index, :, 1].sum() * transmission[1]
        partner = population.flux[other] * transmission
        ratio = float(blend.flux_ratio[index])
        flux = partner * (ratio * target_r / partner[:, 1].sum())
        # the neighbour's size follows the target's, smaller as it is fainter
        own = structure.half_light_arcsec[other]
        size = np.clip(structure.half_light_arcsec[index] * ratio**0.4, 0.3, 4.0)
        shift = blend.separation_arcsec[index] / scale
        place = centre + shift * np.array([-np.sin(blend.angle_rad[index]), np.cos(blend.angle_rad[index])])
        radius = structure.component_radius_arcsec[other] * size / own / scale
        angle = np.radians(structure.pa_deg[other])
        present = flux[:, 1] > 0
        sets.append(
            (structure.component_sersic[other], radius, structure.component_q[other], angle, place, flux, present)
        )
    sersic = SersicSet(
        n=np.concatenate([s[0][s[6]] for s in sets]),
        radius_px=np.concatenate([s[1][s[6]] for s in sets]),
        q=np.concatenate([s[2][s[6]] for s in sets]),
        pa_rad=np.concatenate([np.full(int(s[6].sum()), s[3]) for s in sets]),
        dx=np.concatenate([np.full(int(s[6].sum()), s[4][0]) for s in sets]),
        dy=np.concatenate([np.full(int(s[6].sum()), s[4][1]) for s in sets]),
        flux=np.concatenate([s[5][s[6]] for s in sets]),
    )
    return Scene(sersic, BlobSet(sigma, dx, dy, blob_flux), near)
