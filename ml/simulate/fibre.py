"""True quantities inside the spectroscopic fibre and of the whole galaxy, all from one mixture of populations.

`log_age` and `mh` are means of log10(age/yr) and [M/H] weighted by the light of each population in rest-frame SDSS r
behind its component's dust: what a fit of the spectrum in units of light estimates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.population import Population
from galbase.ml.simulate.sed import break_light, r_luminosity
from galbase.ml.simulate.ssp import ssp_grid
from galbase.ml.simulate.structure import Structure, aperture_fraction

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FibreTruth:
    """Noise-free quantities in the 3 arcsec fibre through the PSF; arrays are (n,) unless said otherwise.

    Attributes
    ----------
    log_mstar_fib, log_ssfr_fib : float64
        Stellar mass [log Msun] and specific star formation rate [log 1/yr].
    log_age_fib, mh_fib, log_age_tot, mh_tot : float64
        Light-weighted age [log yr] and metallicity [log solar], in the fibre and of the whole.
    d4000n_fib, d4000n_tot : float64
        4000 A break of the stars (Balogh et al. 1999).
    flux_fib : (n, 6) float64
        Flux through the fibre in the order of `filters.FILTERS` [nanomaggy], without Galactic extinction.
    line_flux_fib : (n, n_line) float64
        Flux of the lines through the fibre behind the galaxy's dust [erg/s/cm2].
    component_fraction : (n, 2) float64
        Share of bulge and of disc inside.
    """

    log_mstar_fib: FloatArray
    log_ssfr_fib: FloatArray
    log_age_fib: FloatArray
    mh_fib: FloatArray
    log_age_tot: FloatArray
    mh_tot: FloatArray
    d4000n_fib: FloatArray
    d4000n_tot: FloatArray
    flux_fib: FloatArray
    line_flux_fib: FloatArray
    component_fraction: FloatArray


def _mean_populations(light: FloatArray) -> tuple[FloatArray, FloatArray]:
    grid = ssp_grid()
    log_age = np.tile(np.log10(grid.age_yr), len(grid.mh))
    mh = np.repeat(grid.mh, len(grid.age_yr))
    total = light.sum(axis=1)
    return light @ log_age / total, light @ mh / total


def fibre_truth(population: Population, structure: Structure, parameters: SurveyParameters) -> FibreTruth:
    """Take mass, star formation and light through the fibre, each component in proportion to its light inside."""
    fraction = aperture_fraction(structure, parameters.fibre_diameter_arcsec, parameters.fibre_seeing_arcsec)
    mass = (fraction * population.component_mass).sum(axis=1)
    sfr = (fraction * population.component_sfr).sum(axis=1)
    weights = population.ssp_weights()
    light = np.stack([r_luminosity(weights[:, k], population.a_v[:, k]) for k in (0, 1)], axis=1)
    breaks = np.array([break_light(weights[:, k], population.a_v[:, k]) for k in (0, 1)])
    blue_fib, red_fib = np.einsum("kwn,nk->wn", breaks, fraction)
    blue, red = breaks.sum(axis=0)
    sigma = parameters.fibre_seeing_arcsec / 2.354820045
    point = 1 - np.exp(-0.5 * (0.5 * parameters.fibre_diameter_arcsec / sigma) ** 2)
    shares = np.column_stack([fraction, np.full(len(population), point)])
    age_fib, mh_fib = _mean_populations((fraction[:, :, None] * light).sum(axis=1))
    age_tot, mh_tot = _mean_populations(light.sum(axis=1))
    return FibreTruth(
        np.log10(mass), np.log10(sfr / mass), age_fib, mh_fib, age_tot, mh_tot, red_fib / blue_fib, red / blue,
        (fraction[:, :, None] * population.flux).sum(axis=1), (shares[:, :, None] * population.line_flux).sum(axis=1),
        fraction,
    )  # fmt: skip
