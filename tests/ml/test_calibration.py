"""Split-conformal quantiles against their guarantee and against order statistics."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.calibration import LEVELS, ConformalBins, bin_edges, calibrate, conformal_quantile
from galbase.ml.metrics import interval_metrics
from galbase.schema.errors import GalbaseError


def test_ranks_by_hand() -> None:
    residual = np.arange(1.0, 100.0)  # 99 residuals: rank (99 + 1) * level
    assert conformal_quantile(residual, 0.05) == 5
    assert conformal_quantile(residual, 0.95) == 95
    assert conformal_quantile(residual, 0.025) == 2
    assert conformal_quantile(residual, 0.975) == 98
    assert conformal_quantile(residual, 0.5) == 50
    with pytest.raises(GalbaseError, match="too few"):
        conformal_quantile(np.arange(10.0), 0.025)


@pytest.mark.parametrize("n", [80, 137, 400])
def test_coverage_holds_for_skewed_residuals_on_average(n: int) -> None:
    rng = np.random.default_rng(n)
    found = []
    for _ in range(200):
        predicted = rng.normal(10, 1, n + 500)
        true = predicted + rng.gamma(2.0, 0.1, predicted.size) - 0.1
        quantiles = calibrate(true[:n], predicted[:n]).quantiles(predicted[n:])
        found.append(interval_metrics(true[n:], quantiles))
    for level in (68, 90, 95):
        mean = np.mean([row[f"coverage_{level}"] for row in found])
        # At least the nominal level, at most two ranks of n above it.
        assert level / 100 - 0.006 <= mean <= level / 100 + 2 / n + 0.006


def test_bins_of_the_predicted_value() -> None:
    rng = np.random.default_rng(2)
    predicted = rng.uniform(0, 2, 4000)
    true = predicted + np.where(predicted < 1, 0.1, 0.5) * rng.normal(size=4000)
    fitted = calibrate(true, predicted, edges=(1.0,))
    quantiles = fitted.quantiles([0.5, 1.5])
    half = (quantiles["q84"] - quantiles["q16"]) / 2
    assert half == pytest.approx([0.1, 0.5], rel=0.08)
    assert sum(fitted.n) == 4000


def test_quantiles_are_ordered_and_survive_json() -> None:
    import json

    rng = np.random.default_rng(3)
    fitted = calibrate(rng.normal(size=100), rng.normal(size=100))
    again = ConformalBins.from_mapping(json.loads(json.dumps(fitted.to_mapping())))
    assert again == fitted
    values = np.array([again.quantiles([1.0, 2.0])[name] for name in LEVELS])
    assert (np.diff(values, axis=0) >= 0).all()


def test_too_few_to_calibrate_on() -> None:
    with pytest.raises(GalbaseError, match="79 objects"):
        calibrate(np.zeros(79), np.zeros(79))


def test_conformalised_quantile_regression_keeps_the_widths_it_is_given() -> None:
    # The true quantiles of a spread that depends on something the predicted value does not tell, as good as known.
    rng = np.random.default_rng(7)
    normal = np.array([-1.959964, -1.644854, -0.994458, 0.0, 0.994458, 1.644854, 1.959964])  # scipy.stats.norm.ppf
    spread = rng.choice([0.1, 0.4], 6000)
    true = 10 + spread * rng.normal(size=6000)
    predicted = 10.05 + 0.7 * spread[:, None] * normal  # off by a shift, and too narrow
    fitted = calibrate(true[:3000], predicted[:3000])
    quantiles = fitted.quantiles(predicted[3000:])
    for level, nominal in ((68, 0.68), (90, 0.9), (95, 0.95)):
        assert interval_metrics(true[3000:], quantiles)[f"coverage_{level}"] == pytest.approx(nominal, abs=0.025)
    assert np.median(quantiles["q50"]) == pytest.approx(10, abs=0.01)
    half = (quantiles["q84"] - quantiles["q16"]) / 2
    wide, narrow = half[spread[3000:] == 0.4].mean(), half[spread[3000:] == 0.1].mean()
    assert wide - narrow == pytest.approx(0.7 * 0.3 * 0.994458, rel=0.02)
    with pytest.raises(GalbaseError, match=r"shape \(10, 5\), neither \(n,\) nor \(n, 7\)"):
        fitted.quantiles(np.zeros((10, 5)))


def test_crossed_quantiles_are_sorted() -> None:
    rng = np.random.default_rng(8)
    predicted = np.repeat(rng.normal(size=(500, 1)), 7, axis=1)
    predicted[:250] += np.linspace(-1, 1, 7)
    fitted = calibrate(rng.normal(size=500), predicted)
    values = np.array([fitted.quantiles(-predicted)[name] for name in LEVELS])
    assert (np.diff(values, axis=0) >= 0).all()


@pytest.mark.parametrize(("n", "n_bin"), [(90, 1), (499, 1), (500, 2), (1249, 4), (9000, 5)])
def test_bins_hold_equally_many(n: int, n_bin: int) -> None:
    predicted = np.random.default_rng(n).gamma(2, size=n)
    edges = bin_edges(predicted)
    counts = np.bincount(np.searchsorted(edges, predicted, side="right"), minlength=n_bin)
    assert len(edges) == n_bin - 1
    assert counts.min() >= n // n_bin - 1
    assert bin_edges(np.zeros(n)) in ((), (0.0,))
