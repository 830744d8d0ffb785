"""Where the galaxies are, and what the sky and the telescope did there: bricks, PSF, depth, Galactic dust."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.psf import noise_area_per_fwhm2
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BRICK_SIZE_DEG = 0.25
RELEASE = 9010
MIN_SEPARATION_ARCSEC = 60.0
MAX_DENSITY_DEG2 = 120.0

# RA from, RA to, Dec from, Dec to [deg]; the first crosses RA 0; the first four hold more than 180 order-5 pixels
STRIPS = (
    (348.0, 372.0, -3.0, 3.0), (140.0, 184.0, 0.0, 6.0), (120.0, 152.0, 25.0, 31.0), (30.0, 54.0, -9.0, -2.0),
    (186.0, 236.0, 6.0, 26.0), (140.0, 184.0, 6.0, 24.0), (20.0, 60.0, 3.0, 30.0), (300.0, 346.0, -30.0, 0.0),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sky:
    """Positions and observing conditions of the galaxies; bands are g, r, z.

    Attributes
    ----------
    ra, dec : (n,) float64
        Position [deg].
    brickid, objid : (n,) int64
        Legacy Surveys brick and running number in it.
    brickname : (n,) bytes
        Brick name.
    psf_fwhm_arcsec : (n, 3) float64
        PSF FWHM.
    psf_depth : (n, 3) float64
        Inverse variance of a point source's flux [1/nanomaggy^2].
    ebv : (n,) float64
        Galactic reddening [mag].
    pixel_sigma : (n, 3) float64
        White sky noise a pixel that gives the PSF depth [nanomaggy].
    """

    ra: FloatArray
    dec: FloatArray
    brickid: IntArray
    objid: IntArray
    brickname: NDArray[np.bytes_]
    psf_fwhm_arcsec: FloatArray
    psf_depth: FloatArray
    ebv: FloatArray
    pixel_sigma: FloatArray


@lru_cache(maxsize=1)
def _brick_rows() -> tuple[FloatArray, IntArray, IntArray]:
    """Central declinations, number of columns and first brick id of the Legacy Surveys' brick rows."""
    centre = np.arange(-90.0, 90.0 + BRICK_SIZE_DEG / 2, BRICK_SIZE_DEG)
    nearest = np.minimum(np.abs(centre - BRICK_SIZE_DEG / 2), np.abs(centre + BRICK_SIZE_DEG / 2))
    columns = (np.ceil(360 / BRICK_SIZE_DEG * np.cos(np.radians(nearest)) / 2) * 2).astype(np.int64)
    columns[0] = columns[-1] = 1
    return centre, columns, np.r_[1, 1 + np.cumsum(columns)[:-1]]


def bricks(ra: FloatArray, dec: FloatArray) -> tuple[IntArray, NDArray[np.bytes_]]:
    """Legacy Surveys bricks of positions (0.25 degree, 662,174 in all).

    Parameters
    ----------
    ra, dec : (n,) float64
        Position [deg].

    Returns
    -------
    brickid : (n,) int64
    brickname : (n,) bytes
        `RRRRsDDD`: ten times the centre's RA and Dec.
    """
    centre, columns, first = _brick_rows()
    row = np.clip(np.floor((dec + 90 + BRICK_SIZE_DEG / 2) / BRICK_SIZE_DEG).astype(np.int64), 0, len(centre) - 1)
    width = 360.0 / columns[row]
    column = np.minimum((np.mod(ra, 360.0) / width).astype(np.int64), columns[row] - 1)
    # the epsilon keeps centres such as 338.125 from rounding down by float error
    ra10 = np.floor((column + 0.5) * width * 10 + 1e-6).astype(np.int64)
    dec10 = np.floor(np.abs(centre[row]) * 10 + 1e-6).astype(np.int64)
    name = [f"{r:04d}{'m' if c < 0 else 'p'}{d:03d}".encode() for r, c, d in zip(ra10, centre[row], dec10, strict=True)]
    return first[row] + column, np.array(name, dtype="S8")


def _strip_areas() -> FloatArray:
    return np.array(
        [np.degrees(np.sin(np.radians(d1)) - np.sin(np.radians(d0))) * (r1 - r0) for r0, r1, d0, d1 in STRIPS]
    )


def _footprint(size: int) -> int:
    area = np.cumsum(_strip_areas())
    enough = np.flatnonzero(area * MAX_DENSITY_DEG2 >= size)
    if not len(enough):
        raise GalbaseError(
            f"A simulated survey of {size} galaxies does not fit its footprint of {area[-1]:.0f} square degrees; "
            f"ask for at most {int(area[-1] * MAX_DENSITY_DEG2)}, or make several with different seeds."
        )
    return max(4, int(enough[0]) + 1)


def _uniform(rng: np.random.Generator, n: int, n_strip: int) -> tuple[FloatArray, FloatArray]:
    area = _strip_areas()[:n_strip]
    strip = np.array(STRIPS[:n_strip])[rng.choice(n_strip, size=n, p=area / area.sum())]
    ra = strip[:, 0] + rng.random(n) * (strip[:, 1] - strip[:, 0])
    low, high = np.sin(np.radians(strip[:, 2])), np.sin(np.radians(strip[:, 3]))
    dec = np.degrees(np.arcsin(low + rng.random(n) * (high - low)))
    return np.mod(ra, 360.0), dec


def _unit_vectors(ra: FloatArray, dec: FloatArray) -> FloatArray:
    a, d = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def _crowded(ra: FloatArray, dec: FloatArray) -> IntArray:
    """The later of each pair closer than the minimum separation."""
    chord = 2 * np.sin(np.radians(MIN_SEPARATION_ARCSEC / 3600) / 2)
    pairs = cKDTree(_unit_vectors(ra, dec)).query_pairs(chord, output_type="ndarray")
    return np.unique(pairs.max(axis=1)) if len(pairs) else np.empty(0, np.int64)


def draw_sky(size: int, seed: int, log_density: FloatArray, parameters: SurveyParameters) -> Sky:
    """Place galaxies on the sky, those in dense surroundings in groups, none within 60 arcsec of another.

    Parameters
    ----------
    size : int
        Number of galaxies.
    seed : int
        Seed.
    log_density : (size,) float64
        log10(1 + overdensity); above 1.0 a galaxy joins a group, with a width of 0.12 degrees.
    parameters : SurveyParameters
        PSF, depth and extinction.
    """
    rng = np.random.default_rng([seed, 2])
    n_strip = _footprint(size)
    ra, dec = _uniform(rng, size, n_strip)
    member = np.flatnonzero(log_density > 1.0)
    centre_ra, centre_dec = _uniform(rng, max(1, len(member) // 8), n_strip)
    group = rng.integers(len(centre_ra), size=len(member))
    dec[member] = centre_dec[group] + 0.12 * rng.standard_normal(len(member))
    ra[member] = np.mod(
        centre_ra[group] + 0.12 * rng.standard_normal(len(member)) / np.cos(np.radians(dec[member])), 360.0
    )
    for _ in range(200):
        moved = _crowded(ra, dec)
        if not len(moved):
            break
        ra[moved], dec[moved] = _uniform(rng, len(moved), n_strip)
    else:
        raise GalbaseError(f"{size} galaxies could not be kept {MIN_SEPARATION_ARCSEC} arcsec apart; ask for fewer.")

    brickid, brickname = bricks(ra, dec)
    unique, place = np.unique(brickid, return_inverse=True)
    order = np.argsort(brickid, kind="stable")
    start = np.r_[0, np.flatnonzero(np.diff(brickid[order])) + 1]
    objid = np.empty(size, np.int64)
    objid[order] = np.arange(size) - np.repeat(start, np.diff(np.r_[start, size]))

    # conditions are a brick's own: seeded by its id, whatever else was drawn
    brick = [np.random.default_rng([seed, 3, int(b)]).standard_normal(8) for b in unique]
    normal = np.array(brick)[place]
    common = normal[:, :1]
    mean_fwhm = np.array(parameters.psf_fwhm_arcsec)
    fwhm = mean_fwhm + parameters.psf_scatter_arcsec * (0.6 * common + 0.8 * normal[:, 1:4])
    fwhm = np.clip(fwhm, 0.85, 2.2)
    depth_mag = np.array(parameters.psf_depth_ab) + parameters.depth_scatter_mag * normal[:, 4:7]
    sigma_flux = 10 ** (0.4 * (22.5 - depth_mag)) / 5
    ebv = np.clip(0.035 * np.exp(0.55 * normal[:, 7]), 0.005, 0.25)
    area_px = noise_area_per_fwhm2() * (fwhm / parameters.pixel_scale_arcsec) ** 2
    return Sky(ra, dec, brickid, objid, brickname, fwhm, sigma_flux**-2, ebv, sigma_flux / np.sqrt(area_px))
