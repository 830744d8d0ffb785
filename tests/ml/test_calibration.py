"""Split-conformal quantiles against their guarantee and against order statistics."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.calibration import LEVELS, ConformalBins, calibrate, conformal_quantile
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
