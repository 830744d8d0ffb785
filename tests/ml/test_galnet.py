"""GaLNet: its inputs and outputs, and that it learns what a stamp shows."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.backend import make_deterministic
from galbase.ml.networks.build import build
from galbase.ml.networks.galnet import IMPROVED, PUBLISHED
from galbase.ml.training import TrainingConfig, fit, training_config


def test_inputs_and_outputs_are_the_published_ones() -> None:
    network = build("galnet", "paper", {})
    assert network.input_shapes == {"image": (61, 61, 1), "psf": (25, 25, 1)}
    assert network.properties == PUBLISHED
    assert network.training.output_shape == (None, 7)
    assert 4e6 < network.n_parameter < 8e6
    config = training_config("galnet", "as-published", "paper")
    assert config.loss == "huber"


def test_it_learns_position_and_width_of_gaussians() -> None:
    make_deterministic(2)
    rng = np.random.default_rng(3)
    n = 600
    centre, width = rng.uniform(-3, 3, (n, 2)), rng.uniform(1.5, 5, n)
    y, x = np.mgrid[:61, :61] - 30.0
    grid = (x[None] - centre[:, :1, None]) ** 2 + (y[None] - centre[:, 1:, None]) ** 2
    image = np.exp(-grid / (2 * width[:, None, None] ** 2)).astype(np.float32)[..., None]
    psf = np.ones((n, 25, 25, 1), np.float32)
    label = np.column_stack([(width - 1.5) / 3.5, (centre + 3) / 6]).astype(np.float32)
    network = build("galnet", "tiny", {"properties": ["width", "dx_px", "dy_px"]})
    inputs = {"image": image, "psf": psf}
    part = {name: array[:500] for name, array in inputs.items()}
    rest = {name: array[500:] for name, array in inputs.items()}
    config = TrainingConfig(epochs=12, batch_size=32, learning_rate=2e-3, loss="huber", patience=12, decay="cosine")
    fit(network, (part, label[:500]), (rest, label[500:]), config, 1)
    miss = np.asarray(network.training.predict_on_batch(rest)) - label[500:]
    assert np.abs(miss).mean(axis=0) == pytest.approx([0, 0, 0], abs=0.06)


def test_improved_outputs_have_no_jump_in_angle() -> None:
    assert "pa_deg" not in IMPROVED
    assert len(IMPROVED) == len(PUBLISHED) == 7
    assert build("galnet", "tiny", {"properties": list(IMPROVED)}).properties == IMPROVED
