"""The Legacy-Surveys-like catalogue: what a source extractor would have measured on the stamps."""

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.filters import LEGACY, LEGACY_BANDS, LEGACY_R
from galbase.ml.simulate.fits_stream import Columns
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.psf import noise_area_per_fwhm2
from galbase.ml.simulate.scene import Blend
from galbase.ml.simulate.sky import RELEASE, Sky
from galbase.ml.simulate.structure import Structure, aperture_fraction

FloatArray = NDArray[np.float64]

# unresolved structure and model mismatch add to photon noise, as seen in repeated Legacy photometry of galaxies
SYSTEMATIC_FLUX_ERROR = 0.015
SYSTEMATIC_SHAPE_ERROR = 0.03
# closer than this many FWHM the extractor sees one source
MERGE_SEPARATION_FWHM = 1.0
LEAK = 0.03
_NO_SPEC_Z = -99.0


def true_flux(population: Population, sky: Sky) -> FloatArray:
    """Total flux as it arrives, behind Galactic dust: (n, 6) [nanomaggy], in the order of `filters.FILTERS`."""
    flux: FloatArray = population.flux.sum(axis=1) * sky.transmission
    return flux


def neighbour_flux(population: Population, sky: Sky, blend: Blend) -> FloatArray:
    """Flux of each galaxy's true blend, 0 where there is none: (n, 6) [nanomaggy]."""
    own = population.flux.sum(axis=1)
    other = own[blend.partner]
    scale = np.where(blend.blended, blend.flux_ratio, 0.0) * own[:, LEGACY_R] / other[:, LEGACY_R]
    flux: FloatArray = other * scale[:, None] * sky.transmission
    return flux


def _types(
    rng: np.random.Generator, structure: Structure, signal: FloatArray, fwhm_r: FloatArray
) -> NDArray[np.bytes_]:
    """Model chosen by the extractor: SER where the light allows it, else the nearest of EXP, DEV and REX."""
    resolved = structure.half_light_arcsec / fwhm_r
    score = np.log10(np.maximum(signal * resolved, 1.0)) + 0.15 * rng.standard_normal(len(signal))
    simple = np.where(structure.sersic > 2.5, b"DEV", b"EXP")
    near = (np.abs(structure.sersic - 1) < 0.12) | (np.abs(structure.sersic - 4) < 0.3)
    kind = np.where((score > 1.9) & ~near, b"SER", simple)
    small = (structure.half_light_arcsec < 0.6 * fwhm_r) & (structure.q > 0.75) & (rng.random(len(signal)) < 0.6)
    return np.where(small, b"REX", kind).astype("S4")


def legacy_columns(
    population: Population,
    structure: Structure,
    sky: Sky,
    blend: Blend,
    z_spec_known: NDArray[np.bool_],
    seed: int,
    block: int,
    parameters: SurveyParameters,
) -> Columns:
    """Columns of the DR9 sweep data model, plus photometric redshifts (lower case).

    Returns
    -------
    dict of str to (n,) arrays, upper case for sweep columns and lower case for redshift columns.
    """
    rng = np.random.default_rng([seed, 9, block])
    n = len(population)
    flux = true_flux(population, sky)[:, LEGACY]
    neighbour = neighbour_flux(population, sky, blend)[:, LEGACY]
    psf_fwhm, pixel_sigma = sky.legacy.psf_fwhm_arcsec, sky.legacy.pixel_sigma
    merged = blend.blended & (blend.separation_arcsec < MERGE_SEPARATION_FWHM * psf_fwhm[:, 1])
    share = np.where(merged, 1.0, LEAK)[:, None]
    contaminated = flux + share * neighbour

    psf_area = noise_area_per_fwhm2(parameters.psf_beta) * psf_fwhm**2
    galaxy_area = psf_area + 4 * np.pi * (structure.half_light_arcsec**2 * structure.q)[:, None]
    sigma = pixel_sigma * np.sqrt(galaxy_area) / parameters.pixel_scale_arcsec
    systematic = SYSTEMATIC_FLUX_ERROR * contaminated * rng.standard_normal((n, 1))
    # the model's size error moves all bands together; colours keep only a third of it each
    colour = SYSTEMATIC_FLUX_ERROR / 3 * contaminated * rng.standard_normal((n, 3))
    measured = contaminated + sigma * rng.standard_normal((n, 3)) + systematic + colour

    fraction = aperture_fraction(structure, 1.5, 1.0)
    transmission = sky.transmission[:, LEGACY]
    share_in_band = np.stack([structure.bulge_to_total, 1 - structure.bulge_to_total], axis=1)[:, :, LEGACY]
    fibre = (fraction[:, :, None] * share_in_band).sum(axis=1) * flux
    fibre_noise = pixel_sigma * np.sqrt(np.pi * 0.75**2) / parameters.pixel_scale_arcsec
    fibre = fibre + share * neighbour * fraction[:, 1:2] + fibre_noise * rng.standard_normal((n, 3))
    galaxy_depth = 1 / (pixel_sigma**2 * (psf_area + 4 * np.pi * 0.45**2)) * parameters.pixel_scale_arcsec**2

    kind = _types(rng, structure, flux[:, 1] / sigma[:, 1], psf_fwhm[:, 1])
    relative = np.hypot(1.2 * sigma[:, 1] / flux[:, 1], SYSTEMATIC_SHAPE_ERROR)
    blur = np.where(merged, 1 + 0.4 * np.nan_to_num(blend.flux_ratio) ** 0.5, 1.0)
    radius = structure.half_light_arcsec * blur * np.exp(relative * rng.standard_normal(n))
    index = np.clip(structure.sersic * np.exp(2 * relative * rng.standard_normal(n)), 0.5, 6.0)
    index = np.select([kind == b"DEV", kind == b"SER"], [np.full(n, 4.0), index], default=1.0)
    e = (1 - structure.q) / (1 + structure.q)
    angle = 2 * np.radians(structure.pa_deg)
    e_error = 0.5 * relative
    e1 = np.where(kind == b"REX", 0.0, e * np.cos(angle) + e_error * rng.standard_normal(n))
    e2 = np.where(kind == b"REX", 0.0, e * np.sin(angle) + e_error * rng.standard_normal(n))
    position_error = np.hypot(0.004, 0.6 * psf_fwhm[:, 1] * sigma[:, 1] / flux[:, 1]) / 3600
    step = position_error * rng.standard_normal((2, n))

    columns: Columns = {
        "RELEASE": np.full(n, RELEASE, np.int16),
        "BRICKID": sky.brickid.astype(np.int32),
        "BRICKNAME": sky.brickname,
        "OBJID": sky.objid.astype(np.int32),
        "TYPE": kind,
        "RA": np.mod(sky.ra + step[0] / np.cos(np.radians(sky.dec)), 360.0),
        "DEC": sky.dec + step[1],
        "RA_IVAR": position_error**-2,
        "DEC_IVAR": position_error**-2,
        "EBV": sky.ebv,
        "MASKBITS": np.where(rng.random(n) < 0.01, 2, 0).astype(np.int16),
        "SHAPE_R": radius,
        "SHAPE_R_IVAR": (radius * relative) ** -2,
        "SHAPE_E1": e1,
        "SHAPE_E1_IVAR": np.where(kind == b"REX", 0.0, e_error**-2),
        "SHAPE_E2": e2,
        "SHAPE_E2_IVAR": np.where(kind == b"REX", 0.0, e_error**-2),
        "SERSIC": index,
        "SERSIC_IVAR": np.where(kind == b"SER", (2 * relative * index) ** -2.0, 0.0),
    }
    visits = 2 + (rng.random((n, 3)) < 0.5).astype(np.int16) + (rng.random((n, 3)) < 0.2)
    for b, band in enumerate(LEGACY_BANDS):
        name = band.upper()
        columns |= {
            f"FLUX_{name}": measured[:, b],
            f"FLUX_IVAR_{name}": sigma[:, b] ** -2,
            f"MW_TRANSMISSION_{name}": transmission[:, b],
            f"FIBERFLUX_{name}": fibre[:, b],
            f"FIBERTOTFLUX_{name}": fibre[:, b] + (1 - share[:, 0]) * neighbour[:, b] * fraction[:, 1],
            f"PSFSIZE_{name}": psf_fwhm[:, b],
            f"PSFDEPTH_{name}": sky.legacy.psf_depth[:, b],
            f"GALDEPTH_{name}": galaxy_depth[:, b],
            f"NOBS_{name}": visits[:, b].astype(np.int16),
            f"FRACFLUX_{name}": LEAK * neighbour[:, b] / flux[:, b],
            f"FRACMASKED_{name}": np.zeros(n),
            f"FRACIN_{name}": np.ones(n),
            f"ANYMASK_{name}": np.zeros(n, np.int16),
            f"ALLMASK_{name}": np.zeros(n, np.int16),
        }
    doubles = {"RA", "DEC"}
    for name, value in columns.items():
        if value.dtype == np.float64 and name not in doubles:
            columns[name] = value.astype(np.float32)
    return columns | _redshifts(rng, population.z, z_spec_known)


def _redshifts(rng: np.random.Generator, z: FloatArray, known: NDArray[np.bool_]) -> Columns:
    """Photometric redshifts with the scatter of Zhou et al. 2021 (MNRAS 501, 3309) for bright galaxies."""
    n = len(z)
    sigma = 0.018 * (1 + z) * np.exp(0.2 * rng.standard_normal(n))
    centre = np.clip(z + sigma * rng.standard_normal(n), 0.001, None)
    columns = {
        "z_phot_mean": centre,
        "z_phot_median": np.clip(centre + 0.1 * sigma * rng.standard_normal(n), 0.001, None),
        "z_phot_std": sigma,
        "z_phot_l68": np.clip(centre - sigma, 0, None),
        "z_phot_u68": centre + sigma,
        "z_phot_l95": np.clip(centre - 1.96 * sigma, 0, None),
        "z_phot_u95": centre + 1.96 * sigma,
        "z_spec": np.where(known, z, _NO_SPEC_Z),
    }
    return {name: value.astype(np.float32) for name, value in columns.items()}
