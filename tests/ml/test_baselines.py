"""Baselines: what they are told and what they find."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.baselines import (
    FEATURES,
    boosted_trees,
    catalogue_features,
    colour_polynomial,
    mass_metallicity,
    mean_prediction,
    signal_to_noise,
)
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


def test_colour_polynomials_find_a_polynomial() -> None:
    rng = np.random.default_rng(1)
    colours = rng.uniform(0.2, 1.5, (400, 2))
    colours[:2] = [[0.2, 1.5], [1.5, 0.2]]
    x, y = colours.T
    label = 8 + x - 0.5 * y**2 + 0.3 * x * y + 0.2 * x**3
    found = colour_polynomial(colours[:300], label[:300], colours[300:], 3)
    assert found == pytest.approx(label[300:], abs=1e-9)
    assert np.abs(colour_polynomial(colours[:300], label[:300], colours[300:], 2) - label[300:]).max() > 1e-3
    # Beyond the training's colours the nearest of them counts; without colours the mean does.
    edge = colour_polynomial(colours, label, [[colours[:, 0].max(), 1.0], [90.0, 1.0], [np.nan, 1.0]], 3)
    assert edge[0] == edge[1]
    assert edge[2] == pytest.approx(label.mean())
    with pytest.raises(GalbaseError, match="5 training rows have colours"):
        colour_polynomial(colours[:5], label[:5], colours, 3)


def test_the_mass_metallicity_relation() -> None:
    # Tremonti et al. 2004, Table 3: medians of 12 + log(O/H) at log M*.
    mass = [8.57, 9.07, 9.51, 10.02, 10.53, 11.03, 11.25]
    median = [8.44, 8.61, 8.79, 8.97, 9.07, 9.11, 9.12]
    assert mass_metallicity(mass) == pytest.approx(median, abs=0.06)
    assert mass_metallicity([7.0, 13.0]) == pytest.approx(mass_metallicity([8.5, 11.5]))


def test_signal_to_noise_from_features() -> None:
    flux, error = np.array([[0.5, 30.0, 900.0]]), np.array([[0.1, 0.2, 3.0]])
    features = catalogue_features(flux, error, [1.0], [1.0], [1.0], ["REX"])
    assert features.shape[1] == len(FEATURES)
    row = dict(zip(FEATURES, features[0], strict=True))
    found = [signal_to_noise(row[f"mag_{band}"], row[f"flux_err_{band}"]) for band in "grz"]
    assert found == pytest.approx([5.0, 150.0, 300.0])
    assert (row["type"], row["radius_arcsec"]) == (1.0, 1.0)


def test_trees_do_without_columns_of_one_value() -> None:
    rng = np.random.default_rng(2)
    features = np.column_stack([np.ones(600), rng.normal(size=600), np.full(600, np.nan), np.zeros(600)])
    predicted = boosted_trees(features[:500], features[:500, 1], features[500:], category=-1, seed=1)
    assert np.std(predicted - features[500:, 1]) < 0.3
    constant = boosted_trees(np.ones((50, 2)), rng.normal(size=50), np.ones((4, 2)), category=-1, seed=1)
    assert len(set(constant.tolist())) == 1
