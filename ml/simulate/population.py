"""Draw galaxies: redshift, mass, star formation, metallicity, dust, and a bulge and a disc with their light."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.sed import HUBBLE_KM_S_MPC, LIGHT_SPEED_KM_S, OMEGA_MATTER, band_fluxes, comoving_distance

FloatArray = NDArray[np.float64]

_PROPOSAL_BATCH = 16384


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
    log_zstar : float64
        Stellar metallicity [log solar].
    bulge_mass_fraction : float64
        Bulge share of the stellar mass.
    component_mass, component_sfr : (n, 2) float64
        Bulge and disc [Msun], [Msun/yr].
    population_mass : (n, 2, 3) float64
        Mass of old, intermediate and young stars in bulge and disc [Msun].
    a_v : (n, 2) float64
        Attenuation of bulge and disc in V [mag].
    flux : (n, 2, 3) float64
        Flux of bulge and disc in g, r, z [nanomaggy], without Galactic extinction.
    q_disc, q_bulge : float64
        Axis ratios as projected.
    """

    z: FloatArray
    log_mstar_tot: FloatArray
    log_ssfr_tot: FloatArray
    quenched: NDArray[np.bool_]
    log_density: FloatArray
    oh12: FloatArray
    log_zstar: FloatArray
    bulge_mass_fraction: FloatArray
    component_mass: FloatArray
    component_sfr: FloatArray
    population_mass: FloatArray
    a_v: FloatArray
    flux: FloatArray
    q_disc: FloatArray
    q_bulge: FloatArray

    def __len__(self) -> int:
        return len(self.z)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Population":
        """The galaxies at an index or mask."""
        return Population(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def draw_population(size: int, seed: int, parameters: SurveyParameters) -> Population:
    """Draw a magnitude-limited sample.

    Parameters
    ----------
    size : int
        Number of galaxies.
    seed : int
        Seed; proposals come in fixed batches, so the draw depends on nothing else.
    parameters : SurveyParameters
        Distributions.
    """
    parts: list[Population] = []
    count = 0
    for part in _accepted(seed, parameters):
        parts.append(part)
        count += len(part)
        if count >= size:
            break
    joined = Population(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Population)}
    )
    return joined.take(np.arange(size))


def _accepted(seed: int, parameters: SurveyParameters) -> Iterator[Population]:
    batch = 0
    while True:
        rng = np.random.default_rng([seed, 1, batch])
        proposal = _propose(rng, parameters)
        r_mag = 22.5 - 2.5 * np.log10(proposal.flux[:, :, 1].sum(axis=1))
        # counts grow as 10^0.6m: thinning by the same power keeps the faint tail flat in magnitude
        tail = parameters.faint_fraction * 10 ** (-0.6 * (r_mag - parameters.r_limit))
        chance = np.where(r_mag < parameters.r_limit, 1.0, np.where(r_mag < parameters.r_faint, tail, 0.0))
        keep = (rng.random(len(r_mag)) < chance) & (r_mag > parameters.r_bright)
        yield proposal.take(keep)
        batch += 1


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
    offset = np.clip(log_ssfr - (-0.24 * log_mass - 7.64), -0.6, 0.6)
    scatter = 0.09 + 0.05 * np.clip(10 - log_mass, 0, 1)
    metallicity: FloatArray = mean - 0.12 * offset + scatter * rng.standard_normal(len(mass))
    return metallicity


def _stellar_metallicity(rng: np.random.Generator, log_mass: FloatArray) -> FloatArray:
    """Median and scatter of Gallazzi et al. 2005, table 2."""
    mass = np.array([8.91, 9.51, 10.12, 10.51, 10.91, 11.11, 11.51, 11.91])
    median = np.array([-0.60, -0.60, -0.37, -0.03, 0.07, 0.10, 0.13, 0.15])
    scatter = np.array([0.35, 0.35, 0.33, 0.22, 0.14, 0.12, 0.10, 0.10])
    drawn: FloatArray = np.interp(log_mass, mass, median) + np.interp(log_mass, mass, scatter) * rng.standard_normal(
        len(log_mass)
    )
    return drawn


def _star_mix(rng: np.random.Generator, mass: FloatArray, ssfr: FloatArray, log_zstar: FloatArray) -> FloatArray:
    """Mass in stars of 300 Myr, of 0.3-3 Gyr and older, for a smooth recent history: (n, 3) [Msun]."""
    young = np.clip(ssfr * 3e8, 0, 0.3)
    recent = np.clip(ssfr * 2.7e9 * 10 ** (0.25 * rng.standard_normal(len(mass))), 0, 0.6)
    # a tail of rejuvenated or recently quenched old galaxies; metal-poor galaxies are younger on the whole
    late = 0.04 * rng.exponential(size=len(mass)) * 10 ** (-0.5 * np.clip(log_zstar, -0.6, 0.2))
    recent = np.clip(recent + late, 0, 0.7)
    old = 1 - young - recent
    return np.column_stack([old, recent, young]) * mass[:, None]


def _propose(rng: np.random.Generator, parameters: SurveyParameters) -> Population:
    z, log_mass = _draw_z_and_mass(rng, parameters)
    n = len(z)
    log_density = 0.4 + 0.6 * rng.standard_normal(n)
    quenched = rng.random(n) < _quenched_fraction(log_mass, log_density, parameters)
    log_ssfr = _draw_log_ssfr(rng, log_mass, quenched, parameters)
    oh12 = _gas_metallicity(rng, log_mass, log_ssfr)
    log_zstar = _stellar_metallicity(rng, log_mass)

    # bulge share grows with mass and as star formation fades; a third of the dead ones are pure spheroids
    fading = np.clip((-10.3 - log_ssfr) / 1.5, 0, 1)
    mean = 0.08 + 0.17 * np.clip(log_mass - 9.6, 0, 1.5) + 0.30 * fading
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
    a_v_disc = (1 - 0.85 * fading) * face_on * (1 + 0.9 * np.log10(1 / q_disc) / 0.5 * 0.8)
    a_v = np.column_stack([np.where(spheroid, 0.06 * rng.exponential(size=n), 0.8 * a_v_disc), a_v_disc])
    a_v = np.clip(a_v, 0, 3)

    tilt = 0.14 * np.clip(log_zstar, -1.0, 0.4) + 0.012 * rng.standard_normal(n)
    stars, flux = np.empty((n, 2, 3)), np.empty((n, 2, 3))
    for part in (0, 1):
        stars[:, part] = _star_mix(rng, component_mass[:, part], component_ssfr[:, part], log_zstar)
        sfr = component_mass[:, part] * component_ssfr[:, part]
        extra = 0.03 if part == 0 else 0.0  # bulges are somewhat more metal-rich
        flux[:, part] = band_fluxes(stars[:, part], sfr, z, a_v[:, part], tilt + extra)
    return Population(
        z, log_mass, log_ssfr, quenched, log_density, oh12, log_zstar, bulge, component_mass,
        component_mass * component_ssfr, stars, a_v, flux, q_disc, q_bulge,
    )  # fmt: skip
