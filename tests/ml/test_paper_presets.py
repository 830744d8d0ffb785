"""Published networks of one image at full size: two steps of training, and the same to the bit from their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.networks.build import build
from galbase.ml.training import training_config
from galbase.ml.weights import fill_weights, weights_to_bytes

CASES: list[tuple[str, dict[str, Any]]] = [
    ("galeffnet", {"backbone": "efficientnet_b3"}),
    ("galeffnet", {"backbone": "efficientnet_v2_b3", "n_level": 7, "n_scalar": 6, "pixel_range": "unit"}),
    ("gpm_resnet", {}),
    ("gpm_resnet", {"backbone": "mobilenet_v2", "n_level": 7, "n_scalar": 6, "pixel_range": "unit"}),
]


@pytest.mark.parametrize(("family", "options"), CASES)
def test_two_steps_and_back_from_the_weights(family: str, options: dict[str, Any]) -> None:
    make_deterministic(1)
    network = build(family, "paper", options)
    rng = np.random.default_rng(2)
    inputs = {
        name: rng.uniform(0, 255 if name == "image" and not options.get("n_level") else 1, (2, *shape)).astype("f4")
        for name, shape in network.input_shapes.items()
    }
    label = rng.uniform(0, 1, (2, len(network.properties))).astype(np.float32)
    before = weights_to_bytes(network)
    config = training_config(family, "as-published", "paper")
    # Eagerly: tracing networks of this size takes longer than two steps.
    loss = config.loss if not network.n_level else lambda y, q: keras.ops.mean(keras.ops.abs(y[:, :, None] - q))
    network.training.compile(optimizer=keras.optimizers.Adam(config.learning_rate), loss=loss, run_eagerly=True)
    losses = [float(network.training.train_on_batch(inputs, label)) for _ in range(2)]
    assert np.isfinite(losses).all()
    stored = weights_to_bytes(network)
    assert stored != before
    expected = np.asarray(network.training(inputs, training=False))
    make_deterministic(5)
    again = build(family, "paper", options)
    assert weights_to_bytes(again) != stored
    fill_weights(again, stored)
    assert weights_to_bytes(again) == stored
    assert np.array_equal(np.asarray(again.training(inputs, training=False)), expected)
