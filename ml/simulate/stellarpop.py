"""A catalogue of stellar ages and metallicities as full fits of the spectra would give them: noisy, errors quoted."""

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.fibre import FibreTruth
from galbase.ml.simulate.labels import Targeting
from galbase.ml.simulate.parameters import SurveyParameters

FloatArray = NDArray[np.float64]

# FITS has no unit for a logarithm of one; the comments say what it is of
STELLARPOP_UNITS = {"RA": "deg", "DEC": "deg"}
STELLARPOP_COMMENTS = {
    "LOG_AGE": "log10 of r-light-weighted age in yr, fibre",
    "LOG_AGE_ERR": "1 sigma, dex",
    "MH": "r-light-weighted [M/H], log10 solar, fibre",
    "MH_ERR": "1 sigma, dex",
}


def stellarpop_table(
    fibre: FibreTruth,
    targeting: Targeting,
    signal_to_noise: FloatArray,
    seed: int,
    block: int,
    parameters: SurveyParameters,
) -> dict[str, NDArray[np.generic]]:
    """Columns of the galaxies with a spectrum, in the order of their SPECOBJID.

    The scatter is a floor and a part that falls with S/N, anticorrelated between age and metallicity; the quoted
    errors scatter by 10 % about the true ones. Both quantities are light-weighted in r, in the fibre.

    Parameters
    ----------
    fibre : FibreTruth
        The truth.
    targeting : Targeting
        Who has a spectrum.
    signal_to_noise : (n,) float64
        Median S/N a pixel of the spectrum of every galaxy.
    seed, block : int
        Seed, and number of the block of galaxies.
    parameters : SurveyParameters
        Size of the scatter.
    """
    rng = np.random.default_rng([seed, 12, block])
    n = len(signal_to_noise)
    rho = parameters.age_metallicity_correlation
    normal = rng.standard_normal((2, n))
    normal[1] = rho * normal[0] + np.sqrt(1 - rho**2) * normal[1]
    columns: dict[str, NDArray[np.generic]] = {
        "SPECOBJID": targeting.specobjid, "RA": targeting.ra, "DEC": targeting.dec,
    }  # fmt: skip
    kinds = (
        ("LOG_AGE", fibre.log_age_fib, parameters.log_age_error_dex),
        ("MH", fibre.mh_fib, parameters.mh_error_dex),
    )
    for (name, truth, (floor, at_ten)), noise in zip(kinds, normal, strict=True):
        error = np.hypot(floor, at_ten * 10 / signal_to_noise)
        columns[name] = (truth + error * noise).astype(np.float32)
        columns[f"{name}_ERR"] = (error * np.exp(0.1 * rng.standard_normal(n))).astype(np.float32)
    rows = targeting.in_order()
    return {name: value[rows] for name, value in columns.items()}
