"""Who has a spectrum, and the MPA-JHU-like catalogue that measures the galaxies with errors."""

from dataclasses import dataclass

import healpy
import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.fibre import FibreTruth
from galbase.ml.simulate.filters import SDSS_R
from galbase.ml.simulate.nebular import H_ALPHA, H_BETA, NII_B, OIII_B
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sky import Sky

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INVALID = -9999.0
FIRST_PLATE = 266
PLATES_PER_BLOCK = 4
FIBRES_PER_PLATE = 640
_RUN2D = 26
_QUANTILES = (("P2P5", -1.96), ("P16", -1.0), ("P50", 0.0), ("P84", 1.0), ("P97P5", 1.96))


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

    def in_order(self) -> IntArray:
        """Rows of the galaxies with a spectrum, in the order of specObjID."""
        rows = np.flatnonzero(self.observed)
        ordered: IntArray = rows[np.argsort(self.specobjid[rows], kind="stable")]
        return ordered


def specobjid(plate: IntArray, mjd: IntArray, fiberid: IntArray) -> IntArray:
    """SDSS specObjID: plate << 50 | fibre << 38 | (mjd - 50000) << 24 | run2d << 10."""
    packed: IntArray = (plate << 50) | (fiberid << 38) | ((mjd - 50000) << 24) | (_RUN2D << 10)
    return packed


def draw_targeting(sky: Sky, seed: int, block: int, parameters: SurveyParameters) -> Targeting:
    """Give most galaxies of a block a fibre; each block has plates of its own, which fill in the order of the sky."""
    rng = np.random.default_rng([seed, 7, block])
    n = len(sky.ra)
    observed = np.flatnonzero(rng.random(n) < parameters.labelled_fraction)
    pixel = healpy.ang2pix(32, sky.ra[observed], sky.dec[observed], lonlat=True, nest=True)
    order = observed[np.lexsort((observed, pixel))]
    address = [np.full(n, -1, np.int64) for _ in range(4)]
    plate, mjd, fiberid, ident = address
    plate[order] = FIRST_PLATE + PLATES_PER_BLOCK * block + np.arange(len(order)) // FIBRES_PER_PLATE
    mjd[order] = 52000 + plate[order] % 3000
    fiberid[order] = 1 + np.arange(len(order)) % FIBRES_PER_PLATE
    ident[order] = specobjid(plate[order], mjd[order], fiberid[order])
    scatter = parameters.fibre_position_scatter_arcsec / 3600 * rng.standard_normal((2, n))
    ra = np.mod(sky.ra + scatter[0] / np.cos(np.radians(sky.dec)), 360.0)
    dec = sky.dec + scatter[1]
    missing = plate < 0
    ra[missing] = dec[missing] = np.nan
    return Targeting(plate, mjd, fiberid, ident, ra, dec)


def draw_signal_to_noise(fibre: FibreTruth, sky: Sky, seed: int, block: int) -> FloatArray:
    """Median S/N a pixel in r of everyone's spectrum, had they one: (n,).

    About 14 at fibre magnitude 18.2 as in SDSS DR7, between 4 and 40 for nine in ten, with plate-to-plate scatter.
    """
    rng = np.random.default_rng([seed, 11, block])
    magnitude = 22.5 - 2.5 * np.log10(fibre.flux_fib[:, SDSS_R] * sky.transmission[:, SDSS_R])
    signal: FloatArray = np.clip(14 * 10 ** (-0.36 * (magnitude - 18.2)), 1.5, 60)
    return signal * 10 ** (0.08 * rng.standard_normal(len(signal)))


def bpt_class(lines: FloatArray, error: FloatArray) -> IntArray:
    """Class of emission lines as the MPA-JHU catalogue codes it (Brinchmann et al. 2004).

    Parameters
    ----------
    lines : (n, n_line) float64
        Fluxes.
    error : (n,) float64
        Error of each, in the same unit.

    Returns
    -------
    (n,) int64
        -1 unclassifiable, 1 star forming, 2 star forming at low S/N, 3 composite, 4 active nucleus, 5 LINER at low
        S/N. Borders: Kauffmann et al. 2003 (MNRAS 346, 1055, eq. 1), Kewley et al. 2001 (ApJ 556, 121, eq. 5).
    """
    n2 = np.log10(lines[:, NII_B] / lines[:, H_ALPHA])
    o3 = np.log10(lines[:, OIII_B] / lines[:, H_BETA])
    detected = lines / error[:, None]
    good = np.all(detected[:, [NII_B, H_ALPHA, OIII_B, H_BETA]] > 3, axis=1)
    with np.errstate(divide="ignore"):
        star_forming = (n2 < 0.05) & (o3 < 0.61 / (n2 - 0.05) + 1.3)
        composite = (n2 < 0.47) & (o3 < 0.61 / (n2 - 0.47) + 1.19)
    full = np.where(star_forming, 1, np.where(composite, 3, 4))
    weak = np.where((detected[:, NII_B] > 3) & (detected[:, H_ALPHA] > 3) & (n2 > -0.2), 5, 2)
    weak = np.where(detected[:, H_ALPHA] > 2, weak, -1)
    result: IntArray = np.where(good, full, weak)
    return result


def line_error(fibre: FibreTruth, z: FloatArray, signal_to_noise: FloatArray) -> FloatArray:
    """Error of a line's flux: the continuum's noise over the 8 pixels of a line at Halpha: (n,) [erg/s/cm2]."""
    wave = 6200.0
    continuum = fibre.flux_fib[:, SDSS_R] * 3.6307805e-29 * 2.99792458e18 / wave**2
    pixel = wave * np.log(10) * 1e-4
    error: FloatArray = continuum / signal_to_noise * pixel * np.sqrt(8 * (1 + z))
    return error


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
    signal_to_noise: FloatArray,
    seed: int,
    block: int,
    parameters: SurveyParameters,
) -> dict[str, NDArray[np.generic]]:
    """Catalogue columns of the galaxies with a spectrum, named as in galSpecInfo and galSpecExtra.

    Invalid values are -9999, as in the real files. The galaxies come in the order of their specObjID.

    Returns
    -------
    dict of str to (n_spectrum,) arrays
    """
    rng = np.random.default_rng([seed, 8, block])
    n_all = len(population)
    sn = signal_to_noise
    valid = rng.random(n_all) > 0.015
    low, high = parameters.ssfr_label_error_dex
    ssfr_error = low + (high - low) * np.clip((-10.8 - fibre.log_ssfr_fib) / 0.9, 0, 1)
    faint = np.clip(10 / sn, 0.7, 2.0) ** 0.5
    mass_error = parameters.mass_label_error_dex * faint
    error = line_error(fibre, population.z, sn)
    lines = fibre.line_flux_fib + error[:, None] * rng.standard_normal(fibre.line_flux_fib.shape)
    bpt = bpt_class(np.maximum(lines, 0.01 * error[:, None]), error)
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
        "SUBCLASS": np.select([bpt == 1, bpt == 4], [b"STARFORMING", b"AGN"], b"").astype("S16"),
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
    rows = targeting.in_order()
    return {name: value[rows] for name, value in columns.items()}
