"""The noise-free truth table of a simulated survey."""

import numpy as np

from galbase.ml.simulate.labels import FibreTruth, Targeting
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.photometry import Columns, true_flux
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.scene import Blend
from galbase.ml.simulate.sed import BANDS
from galbase.ml.simulate.sky import RELEASE, Sky
from galbase.ml.simulate.structure import Structure

# FITS has no unit that astropy reads for a logarithm of one: log masses are in log10(Msun), log ssfr in log10(1/yr)
TRUTH_UNITS = {
    "ra": "deg", "dec": "deg", "half_light_arcsec": "arcsec", "half_light_kpc": "kpc", "pa_deg": "deg",
    "blend_separation_arcsec": "arcsec", "a_v_bulge": "mag", "a_v_disc": "mag", "ebv": "mag",
    "bulge_radius_arcsec": "arcsec", "disc_radius_arcsec": "arcsec",
}  # fmt: skip


def truth_columns(
    population: Population,
    structure: Structure,
    fibre: FibreTruth,
    sky: Sky,
    blend: Blend,
    targeting: Targeting,
    n_neighbour: np.ndarray[tuple[int], np.dtype[np.int32]],
    parameters: SurveyParameters,
) -> Columns:
    """Columns of `truth.fits`, one row a galaxy, in the order of the image shards.

    Masses are log10(Msun), specific star formation rates log10(1/yr), `oh12` 12 + log(O/H). Fluxes are as they
    arrive, behind Galactic dust [nanomaggy]; `flux_fib_*` through the 3 arcsec fibre. `specobjid` is -1 where there
    is no spectrum; blend columns are NaN where no neighbour was placed.
    """
    n = len(population)
    transmission = 10 ** (-0.4 * np.outer(sky.ebv, parameters.extinction))
    flux = true_flux(population, sky, parameters)
    flux_fib = fibre.flux_fib * transmission
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
        "log_zstar": population.log_zstar,
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
        "blended": blend.blended,
        "blend_separation_arcsec": blend.separation_arcsec,
        "blend_flux_ratio": blend.flux_ratio,
        "n_neighbour": n_neighbour,
        "ebv": sky.ebv,
    }
    for b, band in enumerate(BANDS):
        columns |= {
            f"flux_{band}": flux[:, b],
            f"flux_fib_{band}": flux_fib[:, b],
            f"bulge_to_total_{band}": structure.bulge_to_total[:, b],
            f"psf_fwhm_arcsec_{band}": sky.psf_fwhm_arcsec[:, b],
            f"psf_depth_{band}": sky.psf_depth[:, b],
        }
    return columns
