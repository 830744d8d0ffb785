"""Samples: their size, their repeatability, and how flat a uniform one is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.batches import TrainingBatches
from galbase.ml.networks.network import Network
from galbase.ml.sampling import random_sample, tail_weights, uniform_sample
from galbase.ml.training import TrainingConfig, fit
from galbase.schema.errors import GalbaseError

CONFIG = TrainingConfig(epochs=20, batch_size=50, learning_rate=0.01, decay="cosine", patience=20)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(1, 500), st.integers(0, 2**32), st.integers(1, 30))
def test_a_uniform_sample_is_as_flat_as_the_values_allow(n: int, size: int, seed: int, n_bin: int) -> None:
    # From 0 to n_bin, and on the middles of the bins: no rounding at an edge tells otherwise than the histogram.
    middle = np.random.default_rng(seed).normal(n_bin / 2, n_bin / 6, n).clip(0, n_bin - 1).astype(int) + 0.5
    grid = np.concatenate([[0.0], middle, [n_bin]])
    rows = uniform_sample(grid, size, seed, n_bin)
    assert len(rows) == len(set(rows.tolist())) == min(n + 2, size)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, uniform_sample(grid, size, seed, n_bin))
    if size >= n + 2:
        return
    edges = np.arange(n_bin + 1)
    there, drawn = np.histogram(grid, edges)[0], np.histogram(grid[rows], edges)[0]
    # A bin that could have given more has given as many as any other, but for one.
    assert drawn[drawn < there].min(initial=n + 2) >= drawn.max() - 1


def test_the_shape_of_a_skewed_label_is_gone() -> None:
    rng = np.random.default_rng(1)
    value = np.clip(rng.normal(8.9, 0.2, 200_000), 8.0, 9.2)
    drawn = value[uniform_sample(value, 25_000, 1)]
    there, got = (np.histogram(each, 10, (8.0, 9.2))[0] for each in (value, drawn))
    assert len(drawn) == 25_000
    # The thin tail is taken whole, and the rest is flat, where the label itself was not.
    np.testing.assert_array_equal(got[:2], there[:2])
    assert got[4:].max() < 1.03 * got[4:].min()
    assert there[4:].max() > 3 * there[4:].min()


def test_a_random_sample_keeps_the_shape() -> None:
    value = np.random.default_rng(1).normal(0, 1, 50_000)
    rows = random_sample(len(value), 10_000, 3)
    assert value[rows].std() == pytest.approx(1, abs=0.02)
    assert (rows != random_sample(len(value), 10_000, 4)).any()
    np.testing.assert_array_equal(random_sample(5, 9, 0), np.arange(5))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(GalbaseError, match="needs finite labels"):
        uniform_sample([1.0, float("nan"), 2.0], 2, 0)
    np.testing.assert_array_equal(uniform_sample([3.0, 3.0, 3.0], 2, 0).size, 2)


def test_weights_make_a_skewed_label_flat() -> None:
    rng = np.random.default_rng(2)
    label = np.clip(rng.normal(8.9, 0.2, (200_000, 1)), 8.0, 9.4)
    weight = tail_weights(label, 1.0)
    assert weight.mean() == pytest.approx(1, abs=1e-4)
    flat = np.histogram(label[:, 0], 12, (8.5, 9.3), weights=weight)[0]
    there = np.histogram(label[:, 0], 12, (8.5, 9.3))[0]
    # Smoothing leaves a sixth.
    assert flat.max() < 1.2 * flat.min()
    assert there.max() > 5 * there.min()
    # No row outweighs a hundred others, and half the power is the square root.
    assert weight.max() / weight.min() == pytest.approx(100, rel=0.05)
    root = tail_weights(label, 0.5)
    assert root / root.max() == pytest.approx(np.sqrt(weight / weight.max()), rel=1e-4)


def test_weights_of_two_properties_are_the_mean_of_theirs() -> None:
    rng = np.random.default_rng(3)
    label = rng.normal(size=(5000, 2))
    each = [tail_weights(label[:, [k]], 0.5) for k in (0, 1)]
    assert tail_weights(label, 0.5) == pytest.approx(np.mean(each, axis=0), rel=1e-5)
    assert (tail_weights(label, 0.0) == 1).all()
    with pytest.raises(GalbaseError, match="finite"):
        tail_weights([[1.0], [np.nan]], 0.5)


def test_weights_stay_with_their_rows_and_reach_the_loss() -> None:
    rng = np.random.default_rng(4)
    value = rng.random((64, 1)).astype(np.float32)
    weight = rng.random(64).astype(np.float32)
    batches = TrainingBatches({"scalar": value}, value, 16, 1, augment=True, weight=weight)
    for index in range(len(batches)):
        inputs, label, given_weight = batches[index]
        rows = [int(np.flatnonzero(value[:, 0] == each)[0]) for each in label[:, 0]]
        assert np.array_equal(inputs["scalar"], label)
        assert np.array_equal(given_weight, weight[rows])

    def fitted(power: float) -> float:
        """What a network that sees nothing of the label predicts for it: the weighted median."""
        make_deterministic(1)
        scalar = keras.Input((1,), name="scalar")
        model = keras.Model({"scalar": scalar}, keras.layers.Dense(1)(scalar))
        network = Network(model, model, model, 1, 1, 0.0, {"scalar": (1,)}, ("x",))
        skewed = (rng_label**4)[:, None].astype(np.float32)
        rows = ({"scalar": np.ones((len(skewed), 1), np.float32)}, skewed)
        fit(network, rows, rows, replace(CONFIG, tail_weight=power), 1)
        return float(model.predict_on_batch({"scalar": np.ones((1, 1), np.float32)})[0, 0])

    rng_label = np.linspace(0, 1, 2000)
    assert fitted(0.0) == pytest.approx(0.5**4, abs=0.03)
    assert fitted(1.0) > 0.25
