"""True aperture quantities, and the MPA-JHU-like catalogue that measures them with errors."""

from dataclasses import dataclass

import healpy
import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sky import Sky
from galbase.ml.simulate.structure import Structure, aperture_fraction

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INVALID = -9999.0
FIRST_PLATE = 3000
_FIBRES = 640
_RUN2D = 26
_QUANTILES = (("P2P5", -1.96), ("P16", -1.0), ("P50", 0.0), ("P84", 1.0), ("P97P5", 1.96))


@dataclass(frozen=True, eq=False)
class FibreTruth:
    """Noise-free quantities in the spectroscopic fibre; arrays are (n,) unless said otherwise.

    Attributes
    ----------
    log_mstar_fib, log_ssfr_fib : float64
        Stellar mass [log Msun] and specific star formation rate [log 1/yr] in a 3 arcsec aperture through the PSF.
    flux_fib : (n, 3) float64
        Flux through the fibre in g, r, z [nanomaggy], without Galactic extinction.
    component_fraction : (n, 2) float64
        Share of bulge and of disc inside.
    """

    log_mstar_fib: FloatArray
    log_ssfr_fib: FloatArray
    flux_fib: FloatArray
    component_fraction: FloatArray


def fibre_truth(population: Population, structure: Structure, parameters: SurveyParameters) -> FibreTruth:
    """Take mass, star formation and light through the fibre, each component in proportion to its light inside."""
    fraction = aperture_fraction(structure, parameters.fibre_diameter_arcsec, parameters.fibre_seeing_arcsec)
    mass = (fraction * population.component_mass).sum(axis=1)
    sfr = (fraction * population.component_sfr).sum(axis=1)
    flux = (fraction[:, :, None] * population.flux).sum(axis=1)
    return FibreTruth(np.log10(mass), np.log10(sfr / mass), flux, fraction)


@dataclass(frozen=True, eq=False)
class Targeting:
    """Which galaxies have a spectrum, and its address; arrays are (n,) and -1 or NaN where there is none.

    Attributes
    ----------
    plate, mjd, fiberid, specobjid : int64
        SDSS address and id.
    ra, dec : float64
        Fibre position [deg].
    """

    plate: IntArray
    mjd: IntArray
    fiberid: IntArray
    specobjid: IntArray
    ra: FloatArray
    dec: FloatArray

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Mask of the galaxies with a spectrum."""
        return self.plate >= 0


def specobjid(plate: IntArray, mjd: IntArray, fiberid: IntArray) -> IntArray:
    """SDSS specObjID: plate << 50 | fibre << 38 | (mjd - 50000) << 24 | run2d << 10."""
    packed: IntArray = (plate << 50) | (fiberid << 38) | ((mjd - 50000) << 24) | (_RUN2D << 10)
    return packed


def draw_targeting(sky: Sky, seed: int, parameters: SurveyParameters) -> Targeting:
    """Give most galaxies a fibre; plates fill up in the order of the sky."""
    rng = np.random.default_rng([seed, 7])
    n = len(sky.ra)
    observed = np.flatnonzero(rng.random(n) < parameters.labelled_fraction)
    pixel = healpy.ang2pix(32, sky.ra[observed], sky.dec[observed], lonlat=True, nest=True)
    order = observed[np.lexsort((observed, pixel))]
    address = [np.full(n, -1, np.int64) for _ in range(4)]
    plate, mjd, fiberid, ident = address
    plate[order] = FIRST_PLATE + np.arange(len(order)) // _FIBRES
    mjd[order] = 52000 + plate[order] % 3000
    fiberid[order] = 1 + np.arange(len(order)) % _FIBRES
    ident[order] = specobjid(plate[order], mjd[order], fiberid[order])
    scatter = parameters.fibre_position_scatter_arcsec / 3600 * rng.standard_normal((2, n))
    ra = np.mod(sky.ra + scatter[0] / np.cos(np.radians(sky.dec)), 360.0)
    dec = sky.dec + scatter[1]
    missing = plate < 0
    ra[missing] = dec[missing] = np.nan
    return Targeting(plate, mjd, fiberid, ident, ra, dec)


def signal_to_noise(flux_fib_r: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Median S/N a pixel in r, about 14 at fibre magnitude 18.2 as in SDSS DR7, with plate-to-plate scatter."""
    magnitude = 22.5 - 2.5 * np.log10(flux_fib_r)
    signal: FloatArray = np.clip(14 * 10 ** (-0.36 * (magnitude - 18.2)), 1.5, 60)
    return signal * 10 ** (0.08 * rng.standard_normal(len(signal)))


def _measured(
    rng: np.random.Generator, truth: FloatArray, error: FloatArray, name: str, valid: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """Columns NAME_P2P5 ... NAME_P97P5 and NAME_AVG around truth plus noise; the quoted error is itself uncertain."""
    centre = truth + error * rng.standard_normal(len(truth))
    quoted = error * np.exp(0.1 * rng.standard_normal(len(truth)))
    columns = {f"{name}_{tag}": centre + step * quoted for tag, step in _QUANTILES}
    columns[f"{name}_AVG"] = centre
    return {key: np.where(valid, value, INVALID).astype(np.float32) for key, value in columns.items()}


def mpa_jhu_table(
    population: Population,
    fibre: FibreTruth,
    targeting: Targeting,
    sky: Sky,
    seed: int,
    parameters: SurveyParameters,
) -> dict[str, NDArray[np.generic]]:
    """Catalogue columns of the galaxies with a spectrum, named as in galSpecInfo and galSpecExtra.

    Invalid values are -9999, as in the real files. The galaxies come in the order of their specObjID.

    Returns
    -------
    dict of str to (n_spectrum,) arrays
    """
    rng = np.random.default_rng([seed, 8])
    n_all = len(population)
    transmission = 10 ** (-0.4 * parameters.extinction[1] * sky.ebv)
    sn = signal_to_noise(fibre.flux_fib[:, 1] * transmission, rng)
    forming = population.log_ssfr_tot > -11.0
    valid = rng.random(n_all) > 0.015
    low, high = parameters.ssfr_label_error_dex
    ssfr_error = low + (high - low) * np.clip((-10.8 - fibre.log_ssfr_fib) / 0.9, 0, 1)
    faint = np.clip(10 / sn, 0.7, 2.0) ** 0.5
    mass_error = parameters.mass_label_error_dex * faint
    emission = np.clip((fibre.log_ssfr_fib + 11.3) / 0.8, 0, 1) * np.clip(sn / 8, 0, 1)
    luck = rng.random(n_all)
    agn = (rng.random(n_all) < 0.12) & (population.log_mstar_tot > 10.3)
    bpt = np.where(luck < emission, 1, np.where(luck < 0.5 + 0.5 * emission, 2, -1))
    bpt = np.where(agn, np.where(forming, 3, np.where(luck < 0.3, 4, 5)), bpt)
    warning = np.where(rng.random(n_all) < 0.008, 4, 0)
    z_err = 1.5e-5 * faint * np.exp(0.2 * rng.standard_normal(n_all))
    z = population.z + z_err * rng.standard_normal(n_all)
    z = np.where(warning > 0, rng.uniform(0.005, 0.4, n_all), z)

    log_mass, log_ssfr = population.log_mstar_tot, population.log_ssfr_tot
    columns: dict[str, NDArray[np.generic]] = {
        "SPECOBJID": targeting.specobjid,
        "PLATEID": targeting.plate.astype(np.int32),
        "MJD": targeting.mjd.astype(np.int32),
        "FIBERID": targeting.fiberid.astype(np.int32),
        "RA": targeting.ra,
        "DEC": targeting.dec,
        "TARGETTYPE": np.full(n_all, b"GALAXY", "S8"),
        "SPECTROTYPE": np.full(n_all, b"GALAXY", "S8"),
        "SUBCLASS": np.where(forming & (emission > 0.5), b"STARFORMING", b"").astype("S16"),
        "RELEASE": np.full(n_all, b"sim", "S8"),
        "Z": z.astype(np.float32),
        "Z_ERR": z_err.astype(np.float32),
        "Z_WARNING": warning.astype(np.int32),
        "SN_MEDIAN": sn.astype(np.float32),
        "E_BV_SFD": sky.ebv.astype(np.float32),
        "RELIABLE": (rng.random(n_all) > 0.02).astype(np.int32),
        "BPTCLASS": bpt.astype(np.int32),
    }
    columns |= _measured(rng, population.oh12, np.full(n_all, parameters.oh_label_error_dex), "OH", valid & (bpt == 1))
    columns |= _measured(rng, log_mass, mass_error, "LGM_TOT", valid)
    columns |= _measured(rng, fibre.log_mstar_fib, mass_error, "LGM_FIB", valid)
    columns |= _measured(rng, log_mass + log_ssfr, ssfr_error + 0.05, "SFR_TOT", valid)
    columns |= _measured(rng, fibre.log_mstar_fib + fibre.log_ssfr_fib, ssfr_error, "SFR_FIB", valid)
    columns |= _measured(rng, log_ssfr, ssfr_error + 0.05, "SPECSFR_TOT", valid)
    columns |= _measured(rng, fibre.log_ssfr_fib, ssfr_error, "SPECSFR_FIB", valid)
    rows = np.flatnonzero(targeting.observed)
    rows = rows[np.argsort(targeting.specobjid[rows], kind="stable")]
    return {name: value[rows] for name, value in columns.items()}
