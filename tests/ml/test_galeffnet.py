"""GalEffNet: the published architecture and the small ones of its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galbase.ml.backend import make_deterministic
from galbase.ml.networks.build import build
from galbase.schema.errors import UsageError


def layer(network: Any, name: str) -> Any:
    """A layer by name from the model that is trained or its head."""
    head = {each.name: each for each in network.head.layers}
    return head[name] if name in head else network.training.get_layer(name)


@pytest.mark.parametrize(
    ("backbone", "n_backbone", "n_channel"),
    [("efficientnet_b3", 10_783_535, 1536), ("efficientnet_v2_b3", 12_930_622, 1536)],
)
def test_paper_preset_is_the_published_network(backbone: str, n_backbone: int, n_channel: int) -> None:
    network = build("galeffnet", "paper", {"backbone": backbone})
    # Counts of Keras' documentation of these backbones, without top: 10.8 and 12.9 million.
    assert network.backbone.count_params() == n_backbone
    assert network.n_feature == n_channel
    assert network.embedding_dim == 1024
    assert network.n_parameter == n_backbone + (n_channel + 1) * 1024 + 2 * 1025
    assert layer(network, "dropout").rate == pytest.approx(0.2864)
    dense = layer(network, "embedding")
    assert dense.activation.__name__ == "relu"
    assert float(dense.kernel_regularizer.l2) == pytest.approx(1e-3)
    assert network.training.output_shape == (None, 2)
    assert network.properties == ("log_mstar_fib", "log_ssfr_fib")


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_small_presets_have_the_same_shape(preset: str) -> None:
    network = build("galeffnet", preset, {"properties": ["oh12"], "pixel_range": "unit", "n_scalar": 3})
    assert network.input_shapes == {"image": (64, 64, 3), "scalar": (3,)}
    assert network.head_inputs == ("scalar",)
    assert network.training.output_shape == (None, 1)
    assert layer(network, "dropout").rate == pytest.approx(0.2864)
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.random((4, 64, 64, 3), np.float32),
        "scalar": rng.random((4, 3), np.float32),
    }
    whole = network.training.predict_on_batch(inputs)
    feature = network.backbone.predict_on_batch({"image": inputs["image"]})
    value, embedding = network.head.predict_on_batch({"feature": feature, "scalar": inputs["scalar"]})
    assert value == pytest.approx(whole, abs=1e-6)
    assert embedding.shape == (4, network.embedding_dim)
    assert (embedding >= 0).all()


def test_uint8_images_are_scaled_inside_the_network() -> None:
    make_deterministic(1)
    display = build("galeffnet", "tiny", {})
    unit = build("galeffnet", "tiny", {"pixel_range": "unit"})
    unit.training.set_weights(display.training.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    assert unit.training.predict_on_batch({"image": image / 255}) == pytest.approx(
        display.training.predict_on_batch({"image": image}), abs=1e-5
    )


@pytest.mark.parametrize(
    ("family", "preset", "options"),
    [
        ("galaxynet", "tiny", {}),
        ("galeffnet", "huge", {}),
        ("galeffnet", "tiny", {"width": 3}),
        ("galeffnet", "paper", {"backbone": "vgg"}),
        ("galeffnet", "tiny", {"pixel_range": "float"}),
        ("galeffnet", "tiny", {"properties": []}),
        ("galeffnet", "paper", {"n_band": 4}),
    ],
)
def test_what_does_not_exist_is_refused(family: str, preset: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        build(family, preset, options)
