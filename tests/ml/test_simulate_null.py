"""The null test: structure tells nothing of the properties at fixed photometry, where in the real survey it does."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from galbase.ml.simulate.block import Plan, draw_block, tabulate
from galbase.ml.simulate.decorrelate import look_alikes

SIZE = 5120
PROPERTIES = ("log_mstar_fib", "log_mstar_tot", "log_ssfr_fib", "log_ssfr_tot", "oh12", "log_age_fib", "mh_fib")
STRUCTURE = (
    "half_light_arcsec",
    "sersic",
    "q",
    "bulge_to_total_g",
    "bulge_to_total_r",
    "clump_strength",
    "disc_sersic",
)


def drawn(decorrelated):
    plan = Plan(SIZE, 31, decorrelated=decorrelated)
    truth, sweep = [], []
    for number in range(plan.n_block):
        tables = tabulate(plan, draw_block(plan, number))
        truth.append(tables.truth)
        sweep.append(tables.legacy)
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (truth, sweep)]


@pytest.fixture(scope="module")
def normal():
    return drawn(False)


@pytest.fixture(scope="module")
def null():
    return drawn(True)


def local_residual(targets, known):
    """What a plane through the 60 nearest others in `known` leaves of each column: (n, n_target)."""
    place = (known - known.mean(axis=0)) / known.std(axis=0)
    _, near = cKDTree(place).query(place, k=61)
    near = near[:, 1:]
    design = np.concatenate([np.ones((*near.shape, 1)), place[near] - place[:, None, :]], axis=2)
    normal = np.einsum("nki,nkj->nij", design, design) + 1e-9 * np.eye(design.shape[2])
    right = np.einsum("nki,nkt->nit", design, targets[near])
    return targets - np.linalg.solve(normal, right)[:, 0]


def true_photometry(truth):
    """Magnitude and colours before Galactic dust, and redshift."""
    mag = 22.5 - 2.5 * np.log10(np.column_stack([truth[f"flux_{band}"] for band in "grz"]) / _transmission(truth))
    return np.column_stack([mag[:, 1], mag[:, 0] - mag[:, 1], mag[:, 1] - mag[:, 2], truth["z"]])


def _transmission(truth):
    return 10 ** (-0.4 * np.outer(truth["ebv"], (3.214, 2.165, 1.211)))


def partial_correlations(truth):
    """(n_property, n_structure) of the ranks of what photometry and redshift leave of both."""
    values = np.column_stack([_steady(name, truth) for name in (*PROPERTIES, *STRUCTURE)])
    left = local_residual(values, true_photometry(truth))
    ranks = np.argsort(np.argsort(left, axis=0), axis=0)
    n = len(PROPERTIES)
    return np.corrcoef(ranks.T)[:n, n:]


def _steady(name, truth):
    value = np.asarray(truth[name], float)
    return np.log(value) if name.endswith("arcsec") else value


def test_structure_tells_properties_but_not_in_the_null_survey(normal, null):
    real, none = partial_correlations(normal[0]), partial_correlations(null[0])
    # 5,120 galaxies: a chance correlation scatters by 0.014; 49 of them stay below 4 sigma
    assert np.abs(none).max() < 0.06
    assert np.abs(none).mean() < 0.02
    # where morphology follows the physics: size and the fibre's mass, bulges and mass or metallicity, arms and the rate
    # of star formation, inclination and the age seen through dust
    sure = dict(zip(PROPERTIES, np.abs(real).max(axis=1), strict=True))
    assert sure["log_mstar_fib"] > 0.6
    assert sure["log_mstar_tot"] > 0.08
    assert sure["log_ssfr_tot"] > 0.08
    assert sure["log_age_fib"] > 0.12
    assert sure["mh_fib"] > 0.12
    assert np.abs(real).mean() > 3 * np.abs(none).mean()


def test_catalogue_shapes_carry_nothing_beyond_photometry(normal, null):
    """What a user sees: a fit to the catalogue gains by its shapes in the normal survey, and not in the null one."""
    gains = []
    for truth, sweep in (normal, null):
        mag = 22.5 - 2.5 * np.log10(np.column_stack([sweep[f"FLUX_{band}"] for band in "GRZ"]))
        light = np.column_stack([mag[:, 1], mag[:, 0] - mag[:, 1], mag[:, 1] - mag[:, 2], sweep["z_phot_median"]])
        ellipticity = np.hypot(sweep["SHAPE_E1"], sweep["SHAPE_E2"])
        shape = np.column_stack([np.log(sweep["SHAPE_R"]), sweep["SERSIC"], ellipticity])
        left = local_residual(np.column_stack([truth["log_mstar_fib"], shape]), light)
        fit, *_ = np.linalg.lstsq(left[:, 1:], left[:, 0], rcond=None)
        gains.append(1 - np.std(left[:, 0] - left[:, 1:] @ fit) / np.std(left[:, 0]))
    assert gains[0] > 0.2
    assert gains[1] < 0.003


def test_the_null_survey_keeps_light_labels_and_sky(normal, null):
    for name in (*PROPERTIES, "z", "flux_g", "flux_r", "flux_z", "sdss_flux_i", "ra", "dec", "line_ha_fib", "blended"):
        np.testing.assert_array_equal(normal[0][name], null[0][name], err_msg=name)
    own = np.arange(SIZE)
    np.testing.assert_array_equal(normal[0]["structure_donor"], own)
    donor = null[0]["structure_donor"]
    assert np.all(donor != own)
    for name in ("half_light_arcsec", "sersic", "q", "pa_deg", "clump_strength", "bulge_to_total_r"):
        np.testing.assert_array_equal(null[0][name], normal[0][name][donor], err_msg=name)
    # look-alikes look alike
    mag = -2.5 * np.log10(np.column_stack([normal[0][f"flux_{band}"] for band in "grz"]) / _transmission(normal[0]))
    difference = mag[donor] - mag
    assert np.median(np.abs(difference[:, 1])) < 0.15
    assert np.median(np.abs(difference[:, 0] - difference[:, 1])) < 0.04
    # distributions stay
    for name in ("half_light_arcsec", "sersic", "q"):
        here, there = (np.percentile(part[0][name], [10, 50, 90]) for part in (normal, null))
        np.testing.assert_allclose(here, there, rtol=0.08)


def test_look_alikes_are_others():
    rng = np.random.default_rng(1)
    flux = np.repeat(rng.uniform(1, 2, (3, 3)), 2, axis=0)
    for _ in range(5):
        assert np.all(look_alikes(flux, rng) != np.arange(6))
    plan = Plan(1, 1, decorrelated=True)
    assert draw_block(plan, 0).structure.donor[0] == 0
    assert draw_block(Plan(2, 1, decorrelated=True), 0).structure.donor.tolist() == [1, 0]
