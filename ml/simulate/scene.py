"""What lies on each stamp, in arcsec for all telescopes: the target with its arms, true blends, and the field."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.filters import FILTERS, LEGACY_R
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.render import BlobSet, SersicSet
from galbase.ml.simulate.sky import Sky
from galbase.ml.simulate.structure import Structure

FloatArray = NDArray[np.float64]

# share of clump light by filter: young clumps are bluer than the disc they are taken from
_CLUMP_COLOUR = np.array([1.3, 1.0, 0.65, 1.3, 1.0, 0.82])
# r-z against g-r of stars, after Covey et al. 2007, table 3
_STAR_LOCUS = ([0.3, 0.8, 1.1, 1.35, 1.5], [0.12, 0.42, 0.72, 1.1, 1.8])
# r-i as a share of r-z, for galaxies and stars
_RI_OF_RZ = 0.57
# an exponential profile of scale radius 1 as circular Gaussians: (share, sigma), Hogg & Lang 2013, coarse
_EXPONENTIAL = np.array([[0.35, 0.45], [0.65, 1.05]])
# half of the side of the widest stamp, SDSS's, and some more [arcsec]
_FIELD_HALF_ARCSEC = 28.0


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
        Galaxy of the same block whose colours and shape the neighbour takes.
    """

    blended: NDArray[np.bool_]
    separation_arcsec: FloatArray
    flux_ratio: FloatArray
    angle_rad: FloatArray
    partner: NDArray[np.int64]


def draw_blends(sky: Sky, seed: int, block: int, parameters: SurveyParameters) -> Blend:
    """Draw true blends: separation and flux ratio log-uniform, the separation in units of the Legacy r-band FWHM."""
    rng = np.random.default_rng([seed, 5, block])
    n = len(sky.ra)
    blended = rng.random(n) < parameters.blend_fraction
    low, high = np.log(parameters.blend_separation_fwhm)
    separation = np.exp(rng.uniform(low, high, n)) * sky.legacy.psf_fwhm_arcsec[:, 1]
    low, high = np.log(parameters.blend_flux_ratio)
    ratio = np.exp(rng.uniform(low, high, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    partner = rng.integers(n, size=n)
    nan = np.where(blended, 1.0, np.nan)
    return Blend(blended, separation * nan, ratio * nan, angle, partner)


@dataclass(frozen=True, eq=False)
class Scene:
    """One stamp's contents, and how many field sources brighter than r = 22 lie within 10 arcsec.

    Lengths of `sersic` and `blobs` are in arcsec, fluxes in the order of `filters.FILTERS`. The target is the first
    `n_target_sersic` components and the last `n_target_blob` blobs.
    """

    sersic: SersicSet
    blobs: BlobSet
    n_neighbour: int
    n_target_sersic: int
    n_target_blob: int

    def target(self) -> "Scene":
        """The target with its clumps alone, as it would be seen without blend and field."""
        s, b = self.sersic, self.blobs
        own, first = slice(self.n_target_sersic), len(b.sigma_px) - self.n_target_blob
        return replace(
            self,
            sersic=SersicSet(s.n[own], s.radius_px[own], s.q[own], s.pa_rad[own], s.dx[own], s.dy[own], s.flux[own]),
            blobs=BlobSet(b.sigma_px[first:], b.dx[first:], b.dy[first:], b.flux[first:]),
            n_neighbour=0,
        )

    def on(self, pixel_scale: float, filters: slice, half_arcsec: float) -> tuple[SersicSet, BlobSet]:
        """Components in pixels and some filters; blobs far outside a stamp of half its side are left out."""
        s, b = self.sersic, self.blobs
        near = np.maximum(np.abs(b.dx), np.abs(b.dy)) < half_arcsec + 2.0 + 3 * b.sigma_px
        sersic = SersicSet(
            s.n, s.radius_px / pixel_scale, s.q, s.pa_rad, s.dx / pixel_scale, s.dy / pixel_scale, s.flux[:, filters]
        )
        blobs = BlobSet(
            b.sigma_px[near] / pixel_scale, b.dx[near] / pixel_scale, b.dy[near] / pixel_scale, b.flux[near, filters]
        )
        return sersic, blobs


def _clumps(
    rng: np.random.Generator, radius: float, q: float, pa: float, disc_flux: FloatArray, strength: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Star-forming clumps along logarithmic arms, in the plane of the disc: sigma, dx, dy [arcsec], flux."""
    n = 36
    arms = int(rng.choice([2, 2, 2, 3, 4]))
    winding = 1 / np.tan(np.radians(rng.uniform(10, 30))) * rng.choice([-1.0, 1.0])
    # exponential disc light beyond half a scale radius
    distance = radius * np.clip(0.45 + 0.55 * rng.gamma(1.6, 0.75, n), 0.4, 3.0)
    phase = 2 * np.pi * rng.integers(arms, size=n) / arms + rng.uniform(0, 2 * np.pi)
    angle = phase + winding * np.log(distance / radius) + 0.22 * rng.standard_normal(n)
    along, across = distance * np.cos(angle), distance * np.sin(angle) * q
    dx = -along * np.sin(pa) + across * np.cos(pa)
    dy = along * np.cos(pa) + across * np.sin(pa)
    sigma = np.clip(radius * np.exp(rng.uniform(np.log(0.07), np.log(0.22), n)), 0.08, 3.2) * np.sqrt(q)
    weight = sigma**1.5 * rng.exponential(size=n)
    flux = strength * weight[:, None] / weight.sum() * disc_flux * _CLUMP_COLOUR
    return sigma, dx, dy, flux


def _field(
    rng: np.random.Generator, parameters: SurveyParameters, transmission: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, int]:
    """Faint galaxies and stars over the stamp: sigma, dx, dy [arcsec], flux, number of near bright ones."""
    half = _FIELD_HALF_ARCSEC
    area = (2 * half / 60) ** 2
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
    mag = np.column_stack([r_mag + g_r, r_mag, r_mag - r_z, r_mag + g_r, r_mag, r_mag - _RI_OF_RZ * r_z])
    flux = 10 ** (0.4 * (22.5 - mag)) * transmission
    dx, dy = rng.uniform(-half, half, n), rng.uniform(-half, half, n)
    scale = 0.35 * 10 ** (-0.06 * (r_mag - 22)) * np.exp(0.4 * rng.standard_normal(n))
    scale[n_galaxy:] = 0.0
    # a field source on top of the target would be an unrecorded blend; the recorded ones are drawn apart
    distance = np.hypot(dx, dy)
    clear = distance > 4.0
    near = int(np.count_nonzero(clear & (distance < 10) & (r_mag < 22)))
    share, width = _EXPONENTIAL[:, 0], _EXPONENTIAL[:, 1]
    sigma = (scale[clear, None] * width).ravel()
    flux = (flux[clear, None, :] * share[None, :, None]).reshape(-1, len(FILTERS))
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
        Galaxy, counted in its block.
    rng : numpy.random.Generator
        This galaxy's own generator.
    population, structure, sky, blend
        The block.
    parameters : SurveyParameters
        Field density and pixel scale.
    """
    transmission = sky.transmission[index]
    # the target lies anywhere within its pixel
    centre = parameters.pixel_scale_arcsec * rng.uniform(-0.5, 0.5, 2)
    flux = _component_flux(index, population, structure) * transmission
    sigma, dx, dy, blob_flux, near = _field(rng, parameters, transmission)
    strength, n_clump = float(structure.clump_strength[index]), 0
    if strength > 0:
        pa, radius = np.radians(structure.pa_deg[index]), float(structure.component_radius_arcsec[index, 1])
        clump = _clumps(rng, radius, float(structure.component_q[index, 1]), float(pa), flux[1], strength)
        n_clump = len(clump[0])
        sigma = np.concatenate([sigma, clump[0]])
        dx = np.concatenate([dx, centre[0] + clump[1]])
        dy = np.concatenate([dy, centre[1] + clump[2]])
        blob_flux = np.concatenate([blob_flux, clump[3]])
        flux[1] *= 1 - strength * _CLUMP_COLOUR
    sets = [_sersic(index, structure, centre, flux, 1.0)]
    if blend.blended[index]:
        other = int(blend.partner[index])
        own_r = population.flux[index, :, LEGACY_R].sum()
        ratio = float(blend.flux_ratio[index])
        flux = _component_flux(other, population, structure)
        flux *= ratio * own_r / flux[:, LEGACY_R].sum() * transmission
        # the neighbour's size follows the target's, smaller as it is fainter
        size = np.clip(structure.half_light_arcsec[index] * ratio**0.4, 0.3, 4.0) / structure.half_light_arcsec[other]
        angle = blend.angle_rad[index]
        place = centre + blend.separation_arcsec[index] * np.array([-np.sin(angle), np.cos(angle)])
        sets.append(_sersic(other, structure, place, flux, float(size)))
    n, radius_arcsec, q, pa_rad, x, y = (np.concatenate([s[k] for s in sets]) for k in range(6))
    sersic = SersicSet(n, radius_arcsec, q, pa_rad, x, y, np.concatenate([s[6] for s in sets]))
    return Scene(sersic, BlobSet(sigma, dx, dy, blob_flux), near, len(sets[0][0]), n_clump)


def _component_flux(index: int, population: Population, structure: Structure) -> FloatArray:
    """Flux of bulge and disc: the galaxy's own light, shared as its (or its donor's) structure says: (2, 6)."""
    share = structure.bulge_to_total[index]
    flux: FloatArray = population.flux[index].sum(axis=0) * np.array([share, 1 - share])
    return flux


def _sersic(
    index: int, structure: Structure, place: FloatArray, flux: FloatArray, size: float
) -> tuple[FloatArray, ...]:
    """Index, radius, axis ratio, angle, offsets and flux of the components that shine."""
    shines = flux[:, LEGACY_R] > 0
    count = int(shines.sum())
    return (
        structure.component_sersic[index][shines], structure.component_radius_arcsec[index][shines] * size,
        structure.component_q[index][shines], np.full(count, np.radians(structure.pa_deg[index])),
        np.full(count, place[0]), np.full(count, place[1]), flux[shines],
    )  # fmt: skip
