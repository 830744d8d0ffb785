"""Parts of a test set, and when their coverage fails."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from galbase.ml.baselines import catalogue_features
from galbase.ml.calibration import LEVELS
from galbase.ml.held_out import LabelledSky
from galbase.ml.plots.uncertainty import pit
from galbase.ml.strata import coverage_fails, strata, stratum_scores


def test_parts_are_of_equal_number_in_order() -> None:
    values = np.random.default_rng(1).gamma(2, size=5003)
    values[:3] = np.nan
    parts = strata("mag_r", values)
    assert [len(part.rows) for part in parts] == [1000] * 5
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(3, 5003))
    for before, after in pairwise(parts):
        assert values[before.rows].max() <= values[after.rows].min()
        assert (before.low, before.high) == (values[before.rows].min(), values[before.rows].max())
    assert [len(part.rows) for part in strata("z", values[:900])] == [897]
    assert [len(part.rows) for part in strata("z", values[:2500])] == [1249, 1248]
    assert strata("z", np.full(500, np.nan)) == []


def test_types_are_parts_of_their_own() -> None:
    codes = np.array([1.0] * 50 + [2.0] * 29 + [5.0] * 40 + [np.nan] * 60)
    assert [(part.name, len(part.rows)) for part in strata("type", codes)] == [("REX", 50), ("SER", 40)]


@pytest.mark.parametrize("n", [100, 1000, 20_000])
def test_coverage_fails_only_where_it_is_surely_far_off(n: int) -> None:
    assert not coverage_fails(0.68, n, 0.68)
    for nominal in (0.68, 0.9):
        # A coverage that is 5 points off fails in at most half a per cent of tries.
        for true in (nominal - 0.05, nominal + 0.05):
            counts = np.arange(n + 1)
            chance = sum(
                binom.pmf(k, n, true) for k in counts[binom.pmf(counts, n, true) > 1e-7]
                if coverage_fails(k / n, n, nominal)
            )  # fmt: skip
            assert chance < 0.0052
    assert coverage_fails(0.5, 1000, 0.68)
    assert coverage_fails(0.8, 1000, 0.68)


def test_scores_of_a_part_say_where_coverage_fails() -> None:
    rng = np.random.default_rng(2)
    predicted = rng.normal(10, 1, 4000)
    true = predicted + np.where(predicted > 10, 0.3, 0.1) * rng.normal(size=4000)
    quantiles = {name: predicted + 0.2 * norm.ppf(level) for name, level in LEVELS.items()}
    found = [stratum_scores(part, true, quantiles) for part in strata("predicted", predicted)]
    assert all(68 in part["coverage_fails"] for part in found)
    assert found[0]["coverage_68"] > 0.9 > 0.6 > found[3]["coverage_68"]
    assert found[0]["sigma"] == pytest.approx(0.1, rel=0.1)


def test_the_integral_transform_of_right_distributions_is_uniform() -> None:
    rng = np.random.default_rng(3)
    centre, width = rng.normal(size=6000), rng.uniform(0.1, 0.5, 6000)
    quantiles = {name: centre + width * norm.ppf(level) for name, level in LEVELS.items()}
    true = centre + width * rng.normal(size=6000)
    found = pit(true, quantiles)
    inner = found[(found > 0.025) & (found < 0.975)]
    assert len(inner) / 6000 == pytest.approx(0.95, abs=0.01)
    assert kstest((inner - 0.025) / 0.95, "uniform").statistic < 0.03
    assert set(found[found < 0.02]) == {0.0125}
    exact = norm.cdf((true - centre) / width)
    assert np.abs(found - exact)[(found > 0.025) & (found < 0.975)].max() < 0.05
    assert pit(np.array([2.0]), {name: np.array([2.0]) for name in LEVELS}).shape == (1,)


def test_parts_by_magnitude_are_of_ab_magnitudes() -> None:
    flux = np.array([[80.0, 100.0, 120.0], [5e3, 1e4, 2e4]])
    error = flux / 50
    feature = catalogue_features(flux, error, [1.0, 2.0], [1.0, 4.0], [0.5, 0.9], ["EXP", "DEV"])
    none = np.empty((0, 1))
    sky = LabelledSky([], [1, 2], [1, 2], none, none, None, feature, np.array([0.1, 0.2]), np.array([1, 2]))
    facts = sky.facts()
    np.testing.assert_allclose(facts["mag_r"], [17.5, 12.5], atol=1e-4)
    np.testing.assert_allclose(facts["sn_r"], 50, rtol=1e-4)
