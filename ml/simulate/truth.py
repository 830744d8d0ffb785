"""The noise-free truth table of a simulated survey."""

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.fibre import FibreTruth
from galbase.ml.simulate.filters import LEGACY_BANDS, SDSS_BANDS
from galbase.ml.simulate.fits_stream import Columns
from galbase.ml.simulate.labels import Targeting
from galbase.ml.simulate.nebular import H_ALPHA, H_BETA, NII_B, OII_A, OII_B, OIII_B
from galbase.ml.simulate.photometry import true_flux
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.scene import Blend
from galbase.ml.simulate.sky import RELEASE, Sky
from galbase.ml.simulate.structure import Structure

# FITS has no unit that astropy reads for a logarithm of one: log masses are in log10(Msun), log ssfr in log10(1/yr)
TRUTH_UNITS = {
    "ra": "deg", "dec": "deg", "half_light_arcsec": "arcsec", "half_light_kpc": "kpc", "pa_deg": "deg",
    "blend_separation_arcsec": "arcsec", "a_v_bulge": "mag", "a_v_disc": "mag", "ebv": "mag",
    "bulge_radius_arcsec": "arcsec", "disc_radius_arcsec": "arcsec", "blend_angle_deg": "deg",
} | {f"line_{name}_fib": "10**(-17) erg s-1 cm-2" for name in ("ha", "hb", "oii", "oiii", "nii")}  # fmt: skip


def truth_columns(
    population: Population,
    structure: Structure,
    fibre: FibreTruth,
    sky: Sky,
    blend: Blend,
    targeting: Targeting,
    signal_to_noise: NDArray[np.float64],
    first: int,
) -> Columns:
    """Columns of `truth.fits`, one row a galaxy, in the order of the image shards; `n_neighbour` is added later.

    Masses are log10(Msun), specific star formation rates log10(1/yr), `oh12` 12 + log(O/H) on the scale of Tremonti et
    al. 2004, ages log10(yr) and metallicities log10(solar), both weighted by r light. `_fib` is through the 3 arcsec
    fibre, `_tot` of the whole. Fluxes are as they arrive, behind Galactic dust [nanomaggy], `sdss_` in SDSS filters,
    the others in DECam's; lines are behind the galaxy's own dust alone. `psf_depth` is the inverse variance of a point
    source's flux [1/nanomaggy2]. `specobjid` is -1 where there is no spectrum; blend columns are NaN where no
    neighbour was placed, and its colours and shape are those of row `blend_partner`. `structure_donor` is the row whose
    morphology the galaxy has: its own, but in the null test.

    Parameters
    ----------
    population, structure, fibre, sky, blend, targeting
        The galaxies of one block.
    signal_to_noise : (n,) float64
        Of the spectrum, had everyone one.
    first : int
        Row of the block's first galaxy in the survey.
    """
    n = len(population)
    flux = true_flux(population, sky)
    flux_fib = fibre.flux_fib * sky.transmission
    lines = fibre.line_flux_fib * 1e17
    columns: Columns = {
        "name": np.array(
            [f"{RELEASE}-{brick}-{obj}" for brick, obj in zip(sky.brickid, sky.objid, strict=True)], np.bytes_
        ),
        "release": np.full(n, RELEASE, np.int16),
        "brickid": sky.brickid.astype(np.int32),
        "objid": sky.objid.astype(np.int32),
        "specobjid": targeting.specobjid,
        "ra": sky.ra,
        "dec": sky.dec,
        "z": population.z,
        "log_mstar_tot": population.log_mstar_tot,
        "log_mstar_fib": fibre.log_mstar_fib,
        "log_ssfr_tot": population.log_ssfr_tot,
        "log_ssfr_fib": fibre.log_ssfr_fib,
        "oh12": population.oh12,
        "log_age_fib": fibre.log_age_fib,
        "log_age_tot": fibre.log_age_tot,
        "mh_fib": fibre.mh_fib,
        "mh_tot": fibre.mh_tot,
        "d4000n_fib": fibre.d4000n_fib,
        "d4000n_tot": fibre.d4000n_tot,
        "line_ha_fib": lines[:, H_ALPHA],
        "line_hb_fib": lines[:, H_BETA],
        "line_oii_fib": lines[:, OII_A] + lines[:, OII_B],
        "line_oiii_fib": lines[:, OIII_B],
        "line_nii_fib": lines[:, NII_B],
        "active_nucleus": population.nucleus > 0,
        "sn_median": signal_to_noise,
        "log_density": population.log_density,
        "quenched": population.quenched,
        "bulge_mass_fraction": population.bulge_mass_fraction,
        "a_v_bulge": population.a_v[:, 0],
        "a_v_disc": population.a_v[:, 1],
        "half_light_arcsec": structure.half_light_arcsec,
        "half_light_kpc": structure.half_light_kpc,
        "sersic": structure.sersic,
        "q": structure.q,
        "pa_deg": structure.pa_deg,
        "bulge_sersic": structure.component_sersic[:, 0],
        "disc_sersic": structure.component_sersic[:, 1],
        "bulge_radius_arcsec": structure.component_radius_arcsec[:, 0],
        "disc_radius_arcsec": structure.component_radius_arcsec[:, 1],
        "bulge_q": structure.component_q[:, 0],
        "disc_q": structure.component_q[:, 1],
        "clump_strength": structure.clump_strength,
        "structure_donor": first + structure.donor,
        "blended": blend.blended,
        "blend_separation_arcsec": blend.separation_arcsec,
        "blend_flux_ratio": blend.flux_ratio,
        "blend_angle_deg": np.where(blend.blended, np.degrees(blend.angle_rad), np.nan),
        "blend_partner": np.where(blend.blended, first + blend.partner, -1),
        "ebv": sky.ebv,
    }
    for prefix, bands, offset, seen in (("", LEGACY_BANDS, 0, sky.legacy), ("sdss_", SDSS_BANDS, 3, sky.sdss)):
        for b, band in enumerate(bands):
            columns |= {
                f"{prefix}flux_{band}": flux[:, offset + b],
                f"{prefix}flux_fib_{band}": flux_fib[:, offset + b],
                f"{prefix}bulge_to_total_{band}": structure.bulge_to_total[:, offset + b],
                f"{prefix}psf_fwhm_arcsec_{band}": seen.psf_fwhm_arcsec[:, b],
                f"{prefix}psf_depth_{band}": seen.psf_depth[:, b],
            }
    return columns
