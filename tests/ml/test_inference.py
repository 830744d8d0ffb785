"""Predictions of a row are the same in any batch, and embeddings are fit for a vector index."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.backend import make_deterministic
from galbase.ml.domain import N_REFERENCE, Domain, evenly_spaced, neighbour_distance
from galbase.ml.inference import BATCH_SIZE, infer, normalised
from galbase.ml.networks.build import build
from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.uncertainty import dropout_mask

SCALER = LabelScaler((8.0, -13.0), (12.0, -8.0))


@pytest.fixture(scope="module")
def network() -> Network:
    make_deterministic(3)
    return build("galeffnet", "tiny", {})


def test_a_row_is_the_same_in_any_batch(network: Network) -> None:
    rng = np.random.default_rng(0)
    n = BATCH_SIZE * 2 + 13
    image = rng.uniform(0, 255, (n, 64, 64, 3)).astype(np.float32)
    ids = list(range(1000, 1000 + n))
    whole = infer(network, SCALER, {"image": image}, ids, "key")
    order = rng.permutation(n)[:75]
    part = infer(network, SCALER, {"image": image[order]}, [ids[k] for k in order], "key")
    alone = infer(network, SCALER, {"image": image[:1]}, ids[:1], "key")
    for name in ("value", "mc_err", "embedding"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[order])
        assert np.array_equal(getattr(alone, name)[0], getattr(whole, name)[0])


def test_values_are_the_networks_in_the_propertys_unit(network: Network) -> None:
    image = np.random.default_rng(1).uniform(0, 255, (5, 64, 64, 3)).astype(np.float32)
    found = infer(network, SCALER, {"image": image}, [1, 2, 3, 4, 5], "key")
    raw = network.training.predict_on_batch({"image": image})
    assert found.value == pytest.approx(raw * [4.0, 5.0] + [8.0, -13.0], abs=1e-5)
    assert (found.mc_err > 0).all()
    assert np.linalg.norm(found.embedding, axis=1) == pytest.approx(1, abs=1e-6)
    assert infer(network, SCALER, {"image": image[:0]}, [], "key").value.shape == (0, 2)


def test_mc_error_is_the_spread_of_ten_masked_passes(network: Network) -> None:
    image = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    feature = network.backbone.predict_on_batch({"image": image})
    masks = dropout_mask("key", 77, 10, network.n_feature, network.dropout)
    passes = np.stack([network.head.predict_on_batch({"feature": feature * mask})[0][0] for mask in masks])
    found = infer(network, SCALER, {"image": image}, [77], "key")
    assert found.mc_err[0] == pytest.approx(passes.std(axis=0) * [4.0, 5.0], rel=1e-3)


def test_reference_rows_are_spread_over_all() -> None:
    rows = np.arange(10_000, 20_000)
    chosen = evenly_spaced(rows)
    assert 0.5 * N_REFERENCE < len(chosen) <= N_REFERENCE
    assert len(set(np.diff(chosen))) == 1
    assert (chosen[0], rows[-1] - chosen[-1]) <= (10_000, chosen[1] - chosen[0])
    assert np.array_equal(evenly_spaced(rows[:N_REFERENCE]), rows[:N_REFERENCE])


def test_masks_depend_on_model_and_observation() -> None:
    mask = dropout_mask("a", 1, 10, 20_000, 0.2864)
    assert np.array_equal(mask, dropout_mask("a", 1, 10, 20_000, 0.2864))
    assert not np.array_equal(mask, dropout_mask("b", 1, 10, 20_000, 0.2864))
    assert not np.array_equal(mask, dropout_mask("a", 2, 10, 20_000, 0.2864))
    assert (mask == 0).mean() == pytest.approx(0.2864, abs=0.005)
    assert mask.mean() == pytest.approx(1, abs=0.01)


def test_embeddings_that_cannot_be_normalised_are_nan() -> None:
    rows = np.array([[3, 4], [0, 0], [np.inf, 1], [np.nan, 1], [1e38, 1e38]], np.float32)
    found = normalised(rows)
    assert found[0] == pytest.approx([0.6, 0.8])
    assert np.isnan(found[1:4]).all()
    assert np.linalg.norm(found[4]) == pytest.approx(1)
    assert np.isfinite(found[[0, 4]].astype(np.float16)).all()


def test_domain_against_brute_force() -> None:
    rng = np.random.default_rng(5)
    centre = np.ones(16)
    train = normalised((centre + 0.2 * rng.normal(size=(600, 16))).astype(np.float32))
    unseen = normalised((centre + 0.2 * rng.normal(size=(1000, 16))).astype(np.float32))
    distance = np.sort(1 - unseen.astype(float) @ train.astype(float).T, axis=1)[:, :5].mean(axis=1)
    assert neighbour_distance(unseen, train) == pytest.approx(distance, abs=1e-6)
    domain = Domain.fit(train, unseen)
    assert domain.outside(unseen).mean() == pytest.approx(0.01, abs=0.002)
    far = normalised(rng.normal(size=(50, 16)).astype(np.float32))
    assert domain.outside(far).mean() > 0.9
    assert domain.outside(np.full((1, 16), np.nan, np.float32)).all()


def test_a_psf_that_no_training_image_had_is_outside() -> None:
    rng = np.random.default_rng(5)
    rows = normalised((1 + 0.2 * rng.normal(size=(5000, 16))).astype(np.float32))
    widths = rng.uniform((1.2, 1.1, 1.0), (1.6, 1.5, 1.4), (5000, 3)).astype(np.float32)
    widths[:3] = 40.0  # A mistake in a catalogue does not make every blur familiar.
    widths[3:50] = np.nan
    domain = Domain.fit(rows, rows, widths)
    assert domain.psf_range == pytest.approx(np.array([[1.2, 1.1, 1.0], [1.6, 1.5, 1.4]]), abs=0.005)
    alike = Domain.fit(rows, rows).outside(rows)
    added = domain.outside(rows, widths) & ~alike
    assert added[:3].sum() + alike[:3].sum() == 3
    assert added.mean() < 0.008
    assert np.array_equal(domain.outside(rows), alike)
    for broad in ((1.7, 1.3, 1.2), (1.4, 1.3, 0.9)):
        assert domain.outside(rows, np.tile(np.float32(broad), (5000, 1))).all()
    unknown = np.full((5000, 3), np.nan, np.float32)
    assert np.array_equal(domain.outside(rows, unknown), alike)
    assert Domain.fit(rows, rows, unknown).psf_range is None
