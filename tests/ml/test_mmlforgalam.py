"""MMLforGalAM: the published architecture of its four networks, and attention by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.networks.build import build
from galbase.ml.networks.mmlforgalam import build_m2, build_m4, feature_width
from galbase.schema.errors import UsageError


def dense(*widths: int) -> int:
    """Weights of dense layers one after the other."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def convolutions(kernel: int, *widths: int) -> int:
    return sum((kernel * a + 1) * b for a, b in pairwise(widths))


def test_m1_is_the_published_network() -> None:
    network = build("mmlforgalam_m1", "paper", {})
    # 4171 bins: two convolutions take 4 off, the pooling a third, four times
    side = 4171
    for _ in range(4):
        side = (side - 4) // 3
    assert side == 49
    assert network.n_parameter == (
        convolutions(3, 1, 16, 16, 32, 32, 64, 64, 128, 128) + dense(side * 128, 4171, 2048, 1024) + 2 * 1025
    )
    assert (network.embedding_dim, network.properties) == (1024, ("log_age", "mh"))


def test_m2_is_the_published_network() -> None:
    model = build_m2("paper", {})
    assert model.count_params() == convolutions(9, 3, 32, 64, 128, 256) + dense(6 * 6 * 256, 1024, 1024)
    assert model.output_shape == (None, 1024)
    assert model.get_layer("dropout").rate == pytest.approx(0.3)
    assert model.get_layer("spectral_feature").activation.__name__ == "linear"


def test_m3_is_the_published_network() -> None:
    network = build("mmlforgalam_m3", "paper", {})
    blocks = (3, *[width for width in (32, 64, 128, 256) for _ in range(3)])
    assert network.n_parameter == convolutions(9, *blocks) + dense(8 * 8 * 256, 2048, 1024) + 2 * 1025
    assert network.input_shapes == {"image": (128, 128, 3)}
    assert network.embedding_dim == 1024


def test_m4_is_the_published_network_with_attention_that_is_trained() -> None:
    network = build("mmlforgalam_m4", "paper", {})
    attention = network.training.get_layer("attention")
    assert len(attention.trainable_weights) == 8
    assert attention.count_params() == 4 * (1024 * 1024 + 1024)
    assert network.n_parameter == attention.count_params() + 2 * 1024 + dense(1024, 2048, 1024, 512, 128) + 2 * 129
    assert network.dropout == pytest.approx(0.2)


def test_attention_by_hand() -> None:
    """Softmax over the image's tokens of the scaled products with the spectrum's, by head."""
    make_deterministic(5)
    network = build("mmlforgalam_m4", "tiny", {"n_token": 4, "n_head": 2})
    rng = np.random.default_rng(1)
    width = feature_width("tiny")
    spectral, image = (rng.normal(size=(3, width)).astype(np.float32) for _ in range(2))
    layer = network.backbone.get_layer("attention")
    query, key, value, out = (
        [np.asarray(part) for part in each.get_weights()]
        for each in (layer._query_dense, layer._key_dense, layer._value_dense, layer._output_dense)
    )
    asks, answers = spectral.reshape(3, 4, -1), image.reshape(3, 4, -1)
    q, k, v = (
        np.einsum("nte,ehd->nthd", tokens, w) + b
        for tokens, (w, b) in ((asks, query), (answers, key), (answers, value))
    )
    score = np.einsum("nthd,nshd->nhts", q, k) / np.sqrt(q.shape[-1])
    weight = np.exp(score) / np.exp(score).sum(axis=-1, keepdims=True)
    assert weight.std() > 1e-3
    fused = np.einsum("nhts,nshd,hde->nte", weight, v, out[0]) + out[1] + asks
    fused = fused.reshape(3, -1)
    wanted = (fused - fused.mean(axis=1, keepdims=True)) / np.sqrt(fused.var(axis=1, keepdims=True) + 1e-3)
    until = keras.Model(network.backbone.input, network.backbone.get_layer("norm").output)
    found = until.predict_on_batch({"spectral_feature": spectral, "image_feature": image})
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_small_presets_fit_together(preset: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 128, 128, 3)).astype(np.float32)
    m1, m3 = build("mmlforgalam_m1", preset, {}), build("mmlforgalam_m3", preset, {})
    m2, m4 = build_m2(preset, {}), build_m4(preset, {"n_token": 8})
    spectrum = rng.random((2, 4171, 1), np.float32)
    _, spectral = m1.head.predict_on_batch({"feature": m1.backbone.predict_on_batch({"spectrum": spectrum})})
    value, seen = m3.head.predict_on_batch({"feature": m3.backbone.predict_on_batch({"image": image})})
    assert value == pytest.approx(m3.training.predict_on_batch({"image": image}), abs=1e-5)
    assert m2.predict_on_batch({"image": image}).shape == spectral.shape == seen.shape
    fused = m4.training.predict_on_batch({"spectral_feature": spectral, "image_feature": seen})
    assert fused.shape == (2, 2)
    assert sum(each.n_parameter for each in (m1, m3, m4)) < 8e6


def test_image_only_reads_scalars_where_there_are_some() -> None:
    network = build("mmlforgalam_m3", "tiny", {"n_scalar": 6, "pixel_range": "unit"})
    assert network.head_inputs == ("scalar",)
    inputs = {"image": np.zeros((2, 128, 128, 3), np.float32), "scalar": np.eye(2, 6, dtype=np.float32)}
    value = network.training.predict_on_batch(inputs)
    assert not np.array_equal(value[0], value[1])


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mmlforgalam_m4", {"n_token": 7}),
        ("mmlforgalam_m4", {"n_head": 0}),
        ("mmlforgalam_m1", {"n_bins": 4171}),
        ("mmlforgalam_m3", {"properties": []}),
    ],
)
def test_options_that_make_no_sense_are_refused(family: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        build(family, "tiny", options)
