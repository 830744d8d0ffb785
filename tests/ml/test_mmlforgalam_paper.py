"""MMLforGalAM at its published size: built, stepped twice, and the same to the bit when it is loaded anew."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.networks.build import LEARNS_FROM, READS, build, learns_from, reads
from galbase.ml.networks.mmlforgalam_fused import FusedNetwork, feature_model
from galbase.ml.weights import fill_weights, weights_to_bytes
from galbase.schema.errors import GalbaseError, UsageError


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """The networks of 80 million weights go before the next are built."""
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.mark.parametrize("family", ["mmlforgalam_m1", "mmlforgalam_m3", "mmlforgalam_fused"])
def test_published_size_steps_and_loads_bit_for_bit(family: str) -> None:
    make_deterministic(1)
    network = build(family, "paper", {})
    rng = np.random.default_rng(1)
    inputs = {
        name: (rng.random((2, *shape)) * (255 if name == "image" else 1)).astype(np.float32)
        for name, shape in network.input_shapes.items()
    }
    label = rng.random((2, 2)).astype(np.float32)
    before = weights_to_bytes(network)
    # Without momenta, which would take twice the network's memory again; Adam's are Keras' own.
    network.training.compile(optimizer=keras.optimizers.SGD(1e-4), loss="mse")
    losses = [float(network.training.train_on_batch(inputs, label)) for _ in range(2)]
    assert np.isfinite(losses).all()
    stored = weights_to_bytes(network)
    assert stored != before
    del before
    found = network.training.predict_on_batch(inputs)
    del network
    keras.backend.clear_session()
    gc.collect()
    make_deterministic(2)
    again = build(family, "paper", {})
    fill_weights(again, stored)
    assert np.array_equal(again.training.predict_on_batch(inputs), found)
    assert weights_to_bytes(again) == stored


@pytest.mark.parametrize("family", sorted(READS))
def test_what_a_family_is_said_to_read_is_what_it_reads(family: str) -> None:
    network = build(family, "tiny", {})
    assert set(network.input_shapes) == reads(family)
    assert learns_from(family) == reads(family) | LEARNS_FROM.get(family, set())


@pytest.mark.parametrize("family", ["mmlforgalam_fused", "mmlforgalam_simulated"])
def test_fused_network_is_cut_where_its_dropout_acts(family: str) -> None:
    options: dict[str, Any] = {"n_token": 8, "shortcut": True, "n_scalar": 9, "n_level": 7}
    network = build(family, "tiny", options)
    assert isinstance(network, FusedNetwork)
    rng = np.random.default_rng(0)
    inputs = {name: rng.random((3, *shape)).astype(np.float32) for name, shape in network.input_shapes.items()}
    whole = network.training.predict_on_batch(inputs)
    assert whole.shape == (3, 2, 7)
    feature = network.backbone.predict_on_batch({name: inputs[name] for name in network.backbone_inputs})
    assert feature.shape == (3, network.n_feature)
    value, embedding = network.head.predict_on_batch({"feature": feature, "scalar": inputs["scalar"]})
    assert value == pytest.approx(whole, abs=1e-6)
    assert embedding.shape == (3, network.embedding_dim)
    changed = network.training.predict_on_batch(inputs | {"scalar": inputs["scalar"] + 1})
    assert not np.array_equal(changed, whole)


def test_the_image_reaches_the_output_past_the_attention() -> None:
    """As published it can do so only through the attention's values; a shortcut gives it a way of its own."""
    for residual in (False, True):
        make_deterministic(3)
        network = build("mmlforgalam_m4", "tiny", {"shortcut": residual})
        attention = network.training.get_layer("attention")
        attention.set_weights([np.zeros_like(weight) for weight in attention.get_weights()])
        rng = np.random.default_rng(1)
        inputs = {name: rng.random((2, *shape)).astype(np.float32) for name, shape in network.input_shapes.items()}
        other = inputs | {"image_feature": inputs["image_feature"][::-1].copy()}
        same = np.array_equal(network.training.predict_on_batch(inputs), network.training.predict_on_batch(other))
        assert same is not residual


def test_options_of_fused_networks_are_checked() -> None:
    for family, options in (
        ("mmlforgalam_fused", {"n_token": 7}),
        ("mmlforgalam_simulated", {"n_wave": 100}),
        ("mmlforgalam_simulated", {"size_px": 32}),
    ):
        with pytest.raises(UsageError):
            build(family, "tiny", options)


def test_a_feature_depends_on_the_scalars_that_its_network_reads() -> None:
    model = feature_model(build("mmlforgalam_m3", "tiny", {"n_scalar": 6}))
    inputs = {"image": np.ones((2, 128, 128, 3), np.float32), "scalar": np.eye(2, 6, dtype=np.float32)}
    made = model.predict_on_batch(inputs)
    assert not np.array_equal(made[0], made[1])


def test_weights_of_one_variant_do_not_fill_another() -> None:
    fused, simulated = build("mmlforgalam_fused", "tiny", {}), build("mmlforgalam_simulated", "tiny", {})
    with pytest.raises(GalbaseError, match="arrays"):
        fill_weights(simulated, weights_to_bytes(fused))
