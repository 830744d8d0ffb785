"""Draw galaxies: redshift, mass, star formation, metallicity, dust, and a bulge and a disc with their light."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from galbase.ml.simulate.cosmology import (
    HUBBLE_KM_S_MPC,
    LIGHT_SPEED_KM_S,
    OMEGA_MATTER,
    age_of_universe,
    comoving_distance,
)
from galbase.ml.simulate.filters import FILTERS, SDSS_R
from galbase.ml.simulate.history import draw_history
from galbase.ml.simulate.nebular import LINES, line_luminosities
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.sed import line_fluxes, line_nanomaggies, stellar_fluxes
from galbase.ml.simulate.ssp import metallicity_weights, ssp_grid

FloatArray = NDArray[np.float64]

_PROPOSAL_BATCH = 8192
# populations of the grid from 1.1 Gyr on
_OLD = 6


@dataclass(frozen=True, eq=False)
class Population:
    """Galaxies of a magnitude-limited sample, noise-free; every array is (n,) unless said otherwise.

    Attributes
    ----------
    z : float64
        Redshift.
    log_mstar_tot, log_ssfr_tot : float64
        Stellar mass [log Msun], specific star formation rate [log 1/yr], of the whole galaxy.
    quenched : bool
        Off the main sequence by the quenched fraction's draw.
    log_density : float64
        log10(1 + overdensity) of the surroundings.
    oh12 : float64
        12 + log(O/H) of the gas, Tremonti et al. 2004 scale.
    excitation, nitrogen : float64
        Offsets of the lines from the mean of their metallicity [dex] (see `nebular.star_forming_ratios`).
    log_zstar : float64
        Stellar metallicity [log solar] that bulge and disc lie around.
    bulge_mass_fraction : float64
        Bulge share of the stellar mass.
    component_mass, component_sfr : (n, 2) float64
        Bulge and disc [Msun], [Msun/yr].
    component_mh : (n, 2) float64
        Stellar metallicity of bulge and disc [log solar].
    formed : (n, 2, n_age) float64
        Mass formed in bulge and disc by age of the grid of populations [Msun].
    a_v : (n, 2) float64
        Attenuation of the stars of bulge and disc in V [mag].
    nucleus : float64
        Halpha luminosity of an active nucleus before dust [erg/s], 0 where there is none.
    line_flux : (n, 3, n_line) float64
        Flux of the lines of bulge, disc and nucleus behind their dust [erg/s/cm2], in the order of `nebular.LINES`.
    flux : (n, 2, 6) float64
        Flux of bulge and disc in the order of `filters.FILTERS` [nanomaggy], lines included, the nucleus' in the
        bulge, without Galactic extinction.
    q_disc, q_bulge : float64
        Axis ratios as projected.
    """

    z: FloatArray
    log_mstar_tot: FloatArray
    log_ssfr_tot: FloatArray
    quenched: NDArray[np.bool_]
    log_density: FloatArray
    oh12: FloatArray
    excitation: FloatArray
    nitrogen: FloatArray
    log_zstar: FloatArray
    bulge_mass_fraction: FloatArray
    component_mass: FloatArray
    component_sfr: FloatArray
    component_mh: FloatArray
    formed: FloatArray
    a_v: FloatArray
    nucleus: FloatArray
    line_flux: FloatArray
    flux: FloatArray
    q_disc: FloatArray
    q_bulge: FloatArray

    def __len__(self) -> int:
        return len(self.z)

    def ssp_weights(self) -> FloatArray:
        """Mass formed in each population of the grid: (n, 2, n_mh * n_age) [Msun]."""
        return ssp_weights(self.formed, self.component_mh)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Population":
        """The galaxies at an index or mask."""
        return Population(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def ssp_weights(formed: FloatArray, mh: FloatArray) -> FloatArray:
    """Mass formed by population of the grid: (..., n_mh * n_age) for formed (..., n_age) and metallicity (...)."""
    weights = metallicity_weights(mh)[..., :, None] * formed[..., None, :]
    return weights.reshape(*formed.shape[:-1], -1)


def draw_population(size: int, seed: int, parameters: SurveyParameters, block: int = 0) -> Population:
    """Draw a magnitude-limited sample.

    Parameters
    ----------
    size : int
        Number of galaxies.
    seed : int
        Seed; proposals come in fixed batches, so the draw depends on nothing else.
    parameters : SurveyParameters
        Distributions.
    block : int
        Number of the block of galaxies, each a sample of its own.
    """
    parts: list[Population] = []
    count = 0
    for part in _accepted(seed, block, parameters):
        parts.append(part)
        count += len(part)
        if count >= size:
            break
    joined = Population(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Population)}
    )
    return joined.take(np.arange(size))


def _accepted(seed: int, block: int, parameters: SurveyParameters) -> Iterator[Population]:
    batch = 0
    while True:
        rng = np.random.default_rng([seed, 1, block, batch])
        proposal = _propose(rng, parameters)
        r_mag = 22.5 - 2.5 * np.log10(_with_light(proposal, slice(SDSS_R, SDSS_R + 1)).flux.sum(axis=(1, 2)))
        # counts grow as 10^0.6m: thinning by the same power keeps the faint tail flat in magnitude
        tail = parameters.faint_fraction * 10 ** (-0.6 * (r_mag - parameters.r_limit))
        chance = np.where(r_mag < parameters.r_limit, 1.0, np.where(r_mag < parameters.r_faint, tail, 0.0))
        keep = (rng.random(len(r_mag)) < chance) & (r_mag > parameters.r_bright)
        yield _with_light(proposal.take(keep), slice(0, len(FILTERS)))
        batch += 1


def _with_light(galaxies: Population, filters: slice) -> Population:
    """The galaxies with the flux of their stars, gas and nucleus in some of the filters."""
    n = len(galaxies)
    none = np.zeros(n)
    sources = [(galaxies.component_sfr[:, k], galaxies.formed[:, k, _OLD:].sum(axis=1), none, k) for k in (0, 1)]
    sources.append((none, none, galaxies.nucleus, 0))
    lines = np.stack(
        [
            line_fluxes(
                line_luminosities(sfr, galaxies.oh12, old, nucleus, galaxies.excitation, galaxies.nitrogen),
                galaxies.z,
                galaxies.a_v[:, part],
            )
            for sfr, old, nucleus, part in sources
        ],
        axis=1,
    )
    weights = galaxies.ssp_weights()
    flux = np.stack([stellar_fluxes(weights[:, k], galaxies.z, galaxies.a_v[:, k], filters) for k in (0, 1)], axis=1)
    for source, (*_, part) in enumerate(sources):
        flux[:, part] += line_nanomaggies(lines[:, source], galaxies.z, filters)
    return replace(galaxies, line_flux=lines, flux=flux)


def _mass_limit(z: FloatArray, parameters: SurveyParameters) -> FloatArray:
    """Lowest log mass that can be brighter than the faint limit at z: M/L_r of 0.15, blue k-correction."""
    modulus = 5 * np.log10(comoving_distance(z) * (1 + z)) + 25
    absolute = parameters.r_limit + 0.3 - modulus - 0.5 * z
    limit: FloatArray = np.maximum(-0.4 * (absolute - 4.65) + np.log10(0.15), parameters.log_mass_min)
    return limit


def _draw_z_and_mass(rng: np.random.Generator, parameters: SurveyParameters) -> tuple[FloatArray, FloatArray]:
    """Redshift and mass from dN = phi(M) dV, above the lowest mass that the survey can see."""
    z_edge = np.linspace(parameters.z_min, parameters.z_max, 241)
    m_edge = np.linspace(parameters.log_mass_min, parameters.log_mass_max, 201)
    z, m = 0.5 * (z_edge[1:] + z_edge[:-1]), 0.5 * (m_edge[1:] + m_edge[:-1])
    hubble = HUBBLE_KM_S_MPC * np.sqrt(OMEGA_MATTER * (1 + z) ** 3 + 1 - OMEGA_MATTER)
    volume = comoving_distance(z) ** 2 * LIGHT_SPEED_KM_S / hubble
    x = 10 ** (m - parameters.schechter_log_mass)
    terms = zip(parameters.schechter_phi, parameters.schechter_alpha, strict=True)
    phi = np.sum([p * x ** (a + 1) * np.exp(-x) for p, a in terms], axis=0)
    weight = volume[:, None] * phi[None, :] * (m_edge[None, 1:] > _mass_limit(z, parameters)[:, None])
    chosen = rng.choice(weight.size, size=_PROPOSAL_BATCH, p=weight.ravel() / weight.sum())
    row, column = np.divmod(chosen, len(m))
    z_drawn = z_edge[row] + rng.random(_PROPOSAL_BATCH) * (z_edge[1] - z_edge[0])
    m_drawn = m_edge[column] + rng.random(_PROPOSAL_BATCH) * (m_edge[1] - m_edge[0])
    return z_drawn, m_drawn


def _quenched_fraction(log_mass: FloatArray, log_density: FloatArray, parameters: SurveyParameters) -> FloatArray:
    """Peng et al. 2010, eq. 3 and 7 with the SDSS values of table 2."""
    by_mass = 1 - np.exp(-(10 ** (parameters.quench_mass_slope * (log_mass - parameters.quench_log_mass))))
    by_density = 1 - np.exp(-(10 ** (parameters.quench_density_slope * (log_density - parameters.quench_log_density))))
    fraction: FloatArray = parameters.quench_purity * (by_mass + by_density - by_mass * by_density)
    return fraction


def _draw_log_ssfr(
    rng: np.random.Generator, log_mass: FloatArray, quenched: NDArray[np.bool_], parameters: SurveyParameters
) -> FloatArray:
    n = len(log_mass)
    sequence = (parameters.main_sequence_slope - 1) * log_mass + parameters.main_sequence_zero
    forming = sequence + parameters.main_sequence_scatter * rng.standard_normal(n)
    dead = (
        parameters.quenched_log_ssfr - 0.25 * (log_mass - 10.5) + parameters.quenched_scatter * rng.standard_normal(n)
    )
    green = sequence - rng.uniform(0.6, 1.5, n)
    ssfr = np.where(quenched, dead, forming)
    ssfr = np.where(rng.random(n) < parameters.green_valley_fraction, green, ssfr)
    result: FloatArray = np.clip(ssfr, -13.0, -8.3)
    return result


def _gas_metallicity(rng: np.random.Generator, log_mass: FloatArray, log_ssfr: FloatArray) -> FloatArray:
    """Tremonti et al. 2004, eq. 3, with a mild anticorrelation with star formation and 0.09 dex scatter."""
    mass = np.clip(log_mass, 8.5, 11.5)
    mean = -1.492 + 1.847 * mass - 0.08026 * mass**2
    offset = np.clip(log_ssfr - (-0.24 * log_mass - 7.64), -0.3, 0.6)
    scatter = 0.09 + 0.05 * np.clip(10 - log_mass, 0, 1)
    metallicity: FloatArray = mean - 0.12 * offset + scatter * rng.standard_normal(len(mass))
    return metallicity


def _stellar_metallicity(
    rng: np.random.Generator, log_mass: FloatArray, quenched: NDArray[np.bool_], parameters: SurveyParameters
) -> tuple[FloatArray, FloatArray]:
    """Stellar metallicity and its distance from the median of its mass, in units of the scatter.

    Median and scatter of Gallazzi et al. 2005, table 2, cut (not piled up) where the grid of populations ends. Dead
    galaxies of low mass are richer in metals than the median of all (Peng et al. 2015, Nature 521, 192, figure 2), so
    that theirs rises slowly with mass, and they scatter less: that table's scatter holds the errors of single spectra,
    and Gallazzi et al. 2006 find for early types an intrinsic one that explains a narrow red sequence.
    """
    mass = np.array([8.91, 9.51, 10.12, 10.51, 10.91, 11.11, 11.51, 11.91])
    median = np.array([-0.60, -0.60, -0.37, -0.03, 0.07, 0.10, 0.13, 0.15])
    scatter = np.array([0.35, 0.35, 0.33, 0.22, 0.14, 0.12, 0.10, 0.10])
    dead = parameters.quenched_metallicity + parameters.quenched_metallicity_slope * (log_mass - 10.5)
    centre = np.where(quenched, dead, np.interp(log_mass, mass, median))
    width = np.interp(log_mass, mass, scatter) * np.where(quenched, parameters.quenched_metallicity_scatter, 1.0)
    grid = ssp_grid().mh
    low, high = ndtr((grid[0] - centre) / width), ndtr((grid[-1] - centre) / width)
    offset: FloatArray = ndtri(low + (high - low) * rng.random(len(log_mass)))
    return centre + width * offset, offset


def _histories(
    rng: np.random.Generator,
    log_mass: FloatArray,
    z: FloatArray,
    quenched: NDArray[np.bool_],
    zstar_offset: FloatArray,
    mass: FloatArray,
    ssfr: FloatArray,
    parameters: SurveyParameters,
) -> FloatArray:
    """Mass formed by age in bulge and disc: (n, 2, n_age) [Msun]. Massive galaxies and bulges begin earlier.

    Means are those at z = 0.1; galaxies seen earlier are younger by the time between.
    Of dead galaxies of one mass the metal-rich ones stopped later: that is why the red sequence is narrow.
    """
    n = len(log_mass)
    latest = age_of_universe(z) - 0.3e9
    younger = (age_of_universe(np.array([0.1])) - age_of_universe(z)) / 1e9
    parts = []
    for part in (0, 1):
        mean = (9.5 + 1.0 * (log_mass - 10.5)) if part == 0 else (6.5 + 2.0 * (log_mass - 10.0))
        mean = np.where(quenched, (7.2 if part == 0 else 6.6) + 0.3 * (log_mass - 10.5), mean) - younger
        scatter, tau = (1.5, 1.2) if part == 0 else (2.0, 6.0)
        # metal-rich dead galaxies began later as well as stopped later
        correlation = parameters.quenching_metallicity_correlation * quenched
        early = np.sqrt(1 - correlation**2) * rng.standard_normal(n) - correlation * zstar_offset
        onset = np.clip(mean + scatter * early, 2.5, 12.8) * 1e9
        decline = tau * np.where(quenched & (part == 1), 0.4, 1.0) * np.exp(0.4 * rng.standard_normal(n)) * 1e9
        low, high = (1.8, 6.0) if part == 0 else (1.2, 5.0)
        rank = ndtr(np.sqrt(1 - correlation**2) * rng.standard_normal(n) - correlation * zstar_offset)
        stopped = low * (high / low) ** rank * 1e9 * quenched
        bump = np.clip(np.where(quenched, 0.3, 1.0) * 0.15 * rng.exponential(size=n), 0, 0.6)
        when = np.exp(rng.uniform(np.log(1.1), np.log(6.0), n)) * 1e9
        onset = np.minimum(onset, latest)
        parts.append(draw_history(rng, mass[:, part], ssfr[:, part], onset, decline, stopped, bump, when))
    return np.stack(parts, axis=1)


def _nucleus(rng: np.random.Generator, log_mass: FloatArray, parameters: SurveyParameters) -> FloatArray:
    """Halpha of active nuclei [erg/s]: a share of the massive galaxies, log-normal about 10^40 (Hao et al. 2005)."""
    n = len(log_mass)
    active = (rng.random(n) < parameters.agn_fraction) & (log_mass > parameters.agn_log_mass_min)
    luminosity = 10 ** (parameters.agn_log_halpha + parameters.agn_scatter * rng.standard_normal(n))
    return np.where(active, luminosity, 0.0)


def _propose(rng: np.random.Generator, parameters: SurveyParameters) -> Population:
    z, log_mass = _draw_z_and_mass(rng, parameters)
    n = len(z)
    log_density = 0.4 + 0.6 * rng.standard_normal(n)
    quenched = rng.random(n) < _quenched_fraction(log_mass, log_density, parameters)
    log_ssfr = _draw_log_ssfr(rng, log_mass, quenched, parameters)
    oh12 = _gas_metallicity(rng, log_mass, log_ssfr)
    log_zstar, zstar_offset = _stellar_metallicity(rng, log_mass, quenched, parameters)

    # bulge share grows with mass and as star formation fades, and falls with the distance from the main sequence (Wuyts
    # et al. 2011, ApJ 742, 96; Bluck et al. 2014, MNRAS 441, 599); a third of the dead ones are pure spheroids
    fading = np.clip((-10.3 - log_ssfr) / 1.5, 0, 1)
    sequence = (parameters.main_sequence_slope - 1) * log_mass + parameters.main_sequence_zero
    excess = np.clip(log_ssfr - sequence, -0.7, 0.7) * (fading < 0.5)
    mean = 0.08 + 0.17 * np.clip(log_mass - 9.6, 0, 1.5) + 0.30 * fading - 0.15 * excess
    bulge = np.clip(mean + 0.14 * rng.standard_normal(n), 0.0, 0.95)
    spheroid = rng.random(n) < fading * np.clip(0.2 + 0.5 * (log_mass - 10.4), 0.1, 0.85)
    bulge = np.where(spheroid, 1.0, np.where(bulge < 0.02, 0.0, bulge))

    ssfr = 10**log_ssfr
    bulge_ssfr = np.where(spheroid, ssfr, ssfr * 10 ** rng.uniform(-1.2, -0.3, n))
    disc_ssfr = np.where(spheroid, 0.0, (ssfr - bulge * bulge_ssfr) / np.maximum(1 - bulge, 0.05))
    share = np.column_stack([bulge, 1 - bulge])
    component_mass = share * 10 ** log_mass[:, None]
    component_ssfr = np.column_stack([bulge_ssfr, disc_ssfr])

    cos_i = rng.random(n)
    thickness = np.clip(0.22 + 0.05 * rng.standard_normal(n), 0.12, 0.4)
    q_disc = np.sqrt(cos_i**2 * (1 - thickness**2) + thickness**2)
    q_inner = np.sqrt(cos_i**2 * (1 - 0.65**2) + 0.65**2)
    q_bulge = np.where(spheroid, np.clip(0.76 + 0.14 * rng.standard_normal(n), 0.35, 1.0), q_inner)

    # dust follows the gas: more in massive star-forming discs, and through an inclined disc (Maller et al. 2009)
    face_on = (0.25 + 0.45 * np.clip(log_mass - 9.5, 0, 1.3)) * np.exp(0.45 * rng.standard_normal(n))
    a_v_disc = (1 - parameters.dust_fading * fading) * face_on * (1 + 0.9 * np.log10(1 / q_disc) / 0.5 * 0.8)
    a_v = np.column_stack([np.where(spheroid, 0.06 * rng.exponential(size=n), 0.8 * a_v_disc), a_v_disc])
    a_v = np.clip(a_v, 0, 3)

    gradient = parameters.metallicity_gradient * (1 + 0.5 * rng.standard_normal(n))
    grid = ssp_grid().mh
    component_mh = np.clip(log_zstar[:, None] + gradient[:, None] * np.array([0.5, -0.5]), grid[0], grid[-1])
    formed = _histories(rng, log_mass, z, quenched, zstar_offset, component_mass, component_ssfr, parameters)
    nucleus = _nucleus(rng, log_mass, parameters)
    excitation = parameters.excitation_scatter_dex * rng.standard_normal(n)
    nitrogen = parameters.nitrogen_scatter_dex * rng.standard_normal(n) - 0.3 * excitation
    dark = np.zeros((n, 3, len(LINES)))
    return Population(
        z, log_mass, log_ssfr, quenched, log_density, oh12, excitation, nitrogen, log_zstar, bulge, component_mass,
        component_mass * component_ssfr, component_mh, formed, a_v, nucleus, dark, dark[:, :2, :0], q_disc, q_bulge,
    )  # fmt: skip
