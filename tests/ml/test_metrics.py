"""Scores against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.metrics import coverage, interval_metrics, point_metrics
from galbase.schema.errors import GalbaseError


def test_against_hand_values() -> None:
    score = point_metrics([1.0, 2.0, 3.0, 4.0], [1.1, 2.1, 3.1, 5.1])
    assert score["n"] == 4
    assert score["bias_mean"] == pytest.approx(0.35)
    assert score["bias_median"] == pytest.approx(0.1)
    assert score["mae"] == pytest.approx(0.35)
    assert score["sigma"] == pytest.approx(np.std([0.1, 0.1, 0.1, 1.1]))
    assert score["nmad"] == pytest.approx(0.0, abs=1e-12)
    assert score["f_out"] == 0.25
    assert score["r2"] == pytest.approx(1 - (3 * 0.01 + 1.21) / 5)


def test_normal_errors() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(10, 1, 200_000)
    score = point_metrics(true, true + rng.normal(0.05, 0.2, true.size))
    assert score["sigma"] == pytest.approx(0.2, rel=0.01)
    assert score["nmad"] == pytest.approx(0.2, rel=0.01)
    assert score["mae"] == pytest.approx(0.2 * np.sqrt(2 / np.pi), rel=0.05)
    assert score["bias_mean"] == pytest.approx(0.05, abs=0.003)
    assert score["r2"] == pytest.approx(1 - 0.04 - 0.0025, abs=0.003)


def test_the_mean_predictor_has_no_r2() -> None:
    true = np.arange(10.0)
    assert point_metrics(true, np.full(10, true.mean()))["r2"] == pytest.approx(0)


def test_coverage_counts_the_ends() -> None:
    assert coverage([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], [1, 1, 3, 3]) == 0.5
    true = np.linspace(0, 1, 1001)
    bounds = {"q16": 0.16, "q84": 0.84, "q05": 0.05, "q95": 0.95, "q025": 0.025, "q975": 0.975}
    found = interval_metrics(true, {name: np.full(1001, value) for name, value in bounds.items()})
    assert found == pytest.approx({"coverage_68": 0.68, "coverage_90": 0.90, "coverage_95": 0.95}, abs=0.002)


@pytest.mark.parametrize(("true", "predicted"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([1.0], [np.inf])])
def test_refuses_what_cannot_be_scored(true: list[float], predicted: list[float]) -> None:
    with pytest.raises(GalbaseError):
        point_metrics(true, predicted)
