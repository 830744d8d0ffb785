"""Baselines: what they are told and what they find."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.baselines import boosted_trees, catalogue_features, mean_prediction
from galbase.schema.errors import GalbaseError


def test_the_mean() -> None:
    assert mean_prediction([1.0, 2.0, 6.0], 2).tolist() == [3.0, 3.0]
    with pytest.raises(GalbaseError):
        mean_prediction([], 2)


def test_bright_fluxes_become_ab_magnitudes_and_colours() -> None:
    features = catalogue_features([[100.0, 1000.0]], [[1.0, 2.0]], [1.5], [4.0], [0.5], ["DEV "])
    assert features.shape == (1, 9 - 0)
    magnitude_offset = features[0, :2] - (-2.5 * np.log10([100.0, 1000.0]))
    assert magnitude_offset == pytest.approx(0, abs=1e-5)
    assert features[0, 2] == pytest.approx(2.5, abs=1e-5)
    assert features[0, 3:].tolist() == [1.0, 2.0, 1.5, 4.0, 0.5, 3.0]
    assert np.isfinite(catalogue_features([[-5.0, 0.0]], [[1, 1]], [1], [1], [1], [None])[0, :-1]).all()
    assert np.isnan(catalogue_features([[1.0, 1.0]], [[1, 1]], [1], [1], [1], ["QSO"])[0, -1])


def test_trees_learn_colour_and_type() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 4))
    features[:, 3] = rng.integers(0, 3, 2000)
    label = features[:, 0] + 0.5 * (features[:, 3] == 1)
    predicted = boosted_trees(features[:1500], label[:1500], features[1500:], category=-1, seed=1)
    assert np.std(predicted - label[1500:]) < 0.2 * np.std(label[1500:])
    again = boosted_trees(features[:1500], label[:1500], features[1500:], category=-1, seed=1)
    assert (predicted == again).all()
