"""Where the galaxies are, and what the sky and the telescope did there: bricks, PSF, depth, Galactic dust."""

from dataclasses import dataclass
from functools import lru_cache

import healpy
import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.footprint import draw_positions
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.psf import noise_area_per_fwhm2

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BRICK_SIZE_DEG = 0.25
RELEASE = 9010
# an SDSS field is 13.5 by 9.8 arcmin; a HEALPix cell of order 8 has a side of 13.7 arcmin
SDSS_FIELD_NSIDE = 256
# below 60 arcsec over the square root of 2, with room for the change of a brick's width with Dec
_OBJECT_STEP_ARCSEC = 40.0
_OBJECT_ROW = 64
_DENSE = 1.0


@dataclass(frozen=True, eq=False)
class Conditions:
    """What one telescope saw with; arrays are (n, 3) float64, one column a band.

    Attributes
    ----------
    psf_fwhm_arcsec : float64
        PSF FWHM.
    psf_depth : float64
        Inverse variance of a point source's flux [1/nanomaggy^2].
    pixel_sigma : float64
        White sky noise a pixel that gives the PSF depth [nanomaggy].
    """

    psf_fwhm_arcsec: FloatArray
    psf_depth: FloatArray
    pixel_sigma: FloatArray


@dataclass(frozen=True, eq=False)
class Sky:
    """Positions and observing conditions of the galaxies; arrays are (n,) unless said otherwise.

    Attributes
    ----------
    ra, dec : float64
        Position [deg].
    brickid, objid : int64
        Legacy Surveys brick and a number that is the object's own in it.
    brickname : bytes
        Brick name.
    ebv : float64
        Galactic reddening [mag].
    transmission : (n, 6) float64
        Share of light that the Galactic dust lets through, in the order of `filters.FILTERS`.
    legacy, sdss : Conditions
        Of the brick in g, r, z; of the SDSS field in g, r, i.
    """

    ra: FloatArray
    dec: FloatArray
    brickid: IntArray
    objid: IntArray
    brickname: NDArray[np.bytes_]
    ebv: FloatArray
    transmission: FloatArray
    legacy: Conditions
    sdss: Conditions


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


def object_numbers(ra: FloatArray, dec: FloatArray) -> IntArray:
    """A number in the brick from the position: no two galaxies 60 arcsec apart share one."""
    centre, columns, _ = _brick_rows()
    row = np.clip(np.floor((dec + 90 + BRICK_SIZE_DEG / 2) / BRICK_SIZE_DEG).astype(np.int64), 0, len(centre) - 1)
    width = 360.0 / columns[row]
    east = np.mod(np.mod(ra, 360.0), width) * np.cos(np.radians(centre[row]))
    north = dec - (centre[row] - BRICK_SIZE_DEG / 2)
    step = _OBJECT_STEP_ARCSEC / 3600
    number: IntArray = (np.floor(north / step) * _OBJECT_ROW + np.floor(east / step)).astype(np.int64)
    return number


def _normals(ident: IntArray, seed: int, stage: int, count: int) -> FloatArray:
    """Normal deviates that are a brick's or field's own, whatever else is drawn: (n, count)."""
    unique, place = np.unique(ident, return_inverse=True)
    drawn = np.array([np.random.default_rng([seed, stage, int(b)]).standard_normal(count) for b in unique])
    result: FloatArray = drawn[place]
    return result


def _conditions(
    normal: FloatArray,
    fwhm: tuple[float, float, float],
    scatter: float,
    depth_ab: tuple[float, float, float],
    depth_scatter: float,
    pixel_scale: float,
    beta: float,
) -> Conditions:
    """PSF and depth from seven normal deviates: one that the bands share, three of PSF, three of depth."""
    mean = np.array(fwhm)
    width = mean + scatter * (0.6 * normal[:, :1] + 0.8 * normal[:, 1:4])
    width = np.clip(width, 0.62 * mean, 1.7 * mean)
    sigma_flux = 10 ** (0.4 * (22.5 - np.array(depth_ab) - depth_scatter * normal[:, 4:7])) / 5
    area_px = noise_area_per_fwhm2(beta) * (width / pixel_scale) ** 2
    return Conditions(width, sigma_flux**-2, sigma_flux / np.sqrt(area_px))


def draw_sky(
    cells: IntArray, start: int, block_rows: int, seed: int, log_density: FloatArray, parameters: SurveyParameters
) -> Sky:
    """Place the galaxies of one block on the sky, those in dense surroundings in groups, none within 60 arcsec.

    Parameters
    ----------
    cells : (n_cell,) int64
        The survey's `footprint.footprint`.
    start, block_rows : int
        First row of the block, and rows of a whole block.
    seed : int
        Seed.
    log_density : (n,) float64
        log10(1 + overdensity); above 1.0 a galaxy belongs to a group.
    parameters : SurveyParameters
        PSF, depth and extinction.
    """
    rng = np.random.default_rng([seed, 2, start])
    rows = np.arange(start, start + len(log_density))
    ra, dec = draw_positions(cells, rows, block_rows, log_density > _DENSE, seed, rng)
    brickid, brickname = bricks(ra, dec)
    normal = _normals(brickid, seed, 3, 8)
    field = healpy.ang2pix(SDSS_FIELD_NSIDE, ra, dec, nest=True, lonlat=True)
    ebv = np.clip(0.035 * np.exp(0.55 * normal[:, 7]), 0.005, 0.25)
    p = parameters
    return Sky(
        ra, dec, brickid, object_numbers(ra, dec), brickname, ebv,
        10 ** (-0.4 * np.outer(ebv, (*p.extinction, *p.sdss_extinction))),
        _conditions(normal, p.psf_fwhm_arcsec, p.psf_scatter_arcsec, p.psf_depth_ab, p.depth_scatter_mag,
                    p.pixel_scale_arcsec, p.psf_beta),
        _conditions(_normals(field, seed, 15, 7), p.sdss_psf_fwhm_arcsec, p.sdss_psf_scatter_arcsec,
                    p.sdss_psf_depth_ab, p.sdss_depth_scatter_mag, p.sdss_pixel_scale_arcsec, p.psf_beta),
    )  # fmt: skip
