"""GPM-ResNet: the published architecture, its two modules by hand, and the small networks of its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.networks.blocks import DropBlock, channel_attention, eca_kernel
from galbase.ml.networks.build import build
from galbase.schema.errors import UsageError


def trained(network: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.training.trainable_weights)


def test_paper_preset_is_resnet_50_with_attention_and_two_linear_layers() -> None:
    network = build("gpm_resnet", "paper", {})
    # ResNet-50 without its linear layer has 23,508,032 weights (torchvision's documentation: 25,557,032 with it, of
    # which 2,049,000 are that layer); attention looks at 5, 5, 5 and 7 channels in 3, 4, 6 and 3 bottlenecks.
    assert trained(network) == 23_508_032 + (3 * 5 + 4 * 5 + 6 * 5 + 3 * 7) + 2_049_000 + 1001
    assert network.n_feature == 2048
    assert network.input_shapes == {"image": (152, 152, 3)}
    assert network.properties == ("oh12",)
    names = [each.name for each in network.training.layers]
    assert sum(name.endswith("_drop") for name in names) == 16
    assert sum(name.endswith("_eca_conv") for name in names) == 16
    for stage, (side, width) in enumerate(((38, 256), (19, 512), (10, 1024), (5, 2048))):
        last = max(name for name in names if name.startswith(f"stage{stage}_") and name.endswith("_add"))
        assert network.training.get_layer(last).output.shape == (None, side, side, width)


@pytest.mark.parametrize(("n_channel", "kernel"), [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)])
def test_attention_looks_at_as_many_channels_as_its_paper_says(n_channel: int, kernel: int) -> None:
    assert eca_kernel(n_channel) == kernel


def test_attention_by_hand() -> None:
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(2, 6, 5, 8)).astype(np.float32)
    image = keras.layers.Input((6, 5, 8))
    model = keras.Model(image, channel_attention(image, "eca", 3))
    kernel = np.array([0.5, -1.0, 2.0], np.float32)
    model.get_layer("eca_conv").set_weights([kernel.reshape(3, 1, 1)])
    mean = np.pad(maps.mean(axis=(1, 2)), ((0, 0), (1, 1)))
    weight = 1 / (1 + np.exp(-sum(kernel[k] * mean[:, k : k + 8] for k in range(3))))
    assert model.predict_on_batch(maps) == pytest.approx(maps * weight[:, None, None, :], abs=1e-5)


def test_dropblock_drops_squares_at_its_rate_and_keeps_the_mean() -> None:
    make_deterministic(3)
    maps = np.ones((40, 38, 38, 16), np.float32)
    layer = DropBlock(0.1, 7)
    kept = np.asarray(layer(maps, training=True))
    assert np.array_equal(np.asarray(layer(maps, training=False)), maps)
    dropped = kept == 0
    # squares overlap, so that a little less than the rate is dropped
    assert 0.085 < dropped.mean() < 0.1
    assert kept.mean() == pytest.approx(1, abs=1e-4)
    # every dropped pixel lies in a whole dropped square
    from scipy.ndimage import binary_opening

    assert all(
        np.array_equal(binary_opening(dropped[n, ..., c], np.ones((7, 7))), dropped[n, ..., c])
        for n in range(5)
        for c in range(16)
    )
    # channels and images differ
    assert not np.array_equal(dropped[0, ..., 0], dropped[0, ..., 1])
    assert not np.array_equal(dropped[0, ..., 0], dropped[1, ..., 0])
    small = np.asarray(DropBlock(0.5, 7)(np.ones((200, 5, 5, 1), np.float32), training=True))
    assert set(np.unique((small == 0).mean(axis=(1, 2)))) == {0.0, 1.0}


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_small_presets_have_the_same_shape(preset: str) -> None:
    options = {"properties": ["oh12", "log_mstar_fib"], "pixel_range": "unit", "n_scalar": 6, "size_px": 64}
    network = build("gpm_resnet", preset, options)
    assert network.training.output_shape == (None, 2)
    assert network.head_inputs == ("scalar",)
    assert network.backbone_inputs == ("image",)
    assert network.n_parameter < 3e6
    rng = np.random.default_rng(0)
    inputs = {"image": rng.random((4, 64, 64, 3), np.float32), "scalar": rng.random((4, 6), np.float32)}
    whole = network.training.predict_on_batch(inputs)
    feature = network.backbone.predict_on_batch({"image": inputs["image"]})
    value, embedding = network.head.predict_on_batch({"feature": feature, "scalar": inputs["scalar"]})
    assert value == pytest.approx(whole, abs=1e-5)
    assert embedding.shape == (4, network.embedding_dim)


@pytest.mark.parametrize(
    "options",
    [{"block_rate": 1.0}, {"block_size": 0}, {"attention_kernel": 4}, {"properties": []}, {"backbone": "resnet34"}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        build("gpm_resnet", "tiny", options)
