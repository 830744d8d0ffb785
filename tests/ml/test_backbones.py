"""Backbones of the papers' comparisons: they are what they are called, and take weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.networks.backbones import BACKBONES, MISSING, load_backbone
from galbase.ml.networks.build import backbone_of, build, check_family_options
from galbase.schema.errors import GalbaseError, UsageError

# Weights without top, those that are not trained included, and channels of the last maps: Keras' documentation of its
# applications, less the classification layer of (channels + 1) x 1000.
PUBLISHED = {
    "efficientnet_b0": (4_049_571, 1280),
    "efficientnet_b1": (6_575_239, 1280),
    "efficientnet_b2": (7_768_569, 1408),
    "efficientnet_b3": (10_783_535, 1536),
    "efficientnet_v2_b3": (12_930_622, 1536),
    "efficientnet_v2_s": (20_331_360, 1280),
    "resnet50": (23_587_712, 2048),
    "resnet101": (42_658_176, 2048),
    "resnet152": (58_370_944, 2048),
    "mobilenet_v2": (2_257_984, 1280),
    "densenet121": (7_037_504, 1024),
    "densenet169": (12_642_880, 1664),
    "densenet201": (18_321_984, 1920),
}


def test_all_are_counted() -> None:
    assert set(PUBLISHED) == set(BACKBONES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_backbone_is_the_one_of_its_name(name: str) -> None:
    family = "galeffnet" if name.startswith("efficientnet") or name == "resnet50" else "gpm_resnet"
    network = build(family, "paper", {"backbone": name, "size_px": 32, "n_level": 7, "pixel_range": "unit"})
    assert (network.backbone.count_params(), network.n_feature) == PUBLISHED[name]
    assert network.embedding_dim == {"galeffnet": 1024, "gpm_resnet": 1000}[family]
    assert network.input_shapes == {"image": (32, 32, 3)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", lambda rgb: rgb[..., ::-1] - np.array([103.939, 116.779, 123.68])),
        ("mobilenet_v2", lambda rgb: rgb / 127.5 - 1),
        ("densenet121", lambda rgb: (rgb / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])),
    ],
)
def test_images_are_given_as_the_weights_of_imagenet_were_trained(name: str, expected: object) -> None:
    """By the means and deviations of ImageNet that the networks' authors subtract, not by Keras' function."""
    network = build("gpm_resnet", "paper", {"backbone": name, "size_px": 32})
    rgb = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    first = next(each for each in network.training.layers if each.weights)
    probe = keras.Model(network.backbone.input, first.input)
    # Padding, where there is some before the first convolution, is of what is to be seen.
    seen = np.asarray(probe.predict_on_batch({"image": rgb}))
    margin = (seen.shape[1] - 32) // 2
    inner = seen[:, margin : margin + 32, margin : margin + 32]
    assert inner == pytest.approx(expected(rgb), abs=1e-3)  # type: ignore[operator]


# Keras reads variables in a way that numpy 2 warns of, when it writes files.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v2"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_come_from_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    make_deterministic(7)
    maker = getattr(keras.applications, BACKBONES[name].maker)
    published = maker(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / f"{name}{suffix}"
    if suffix == ".h5":
        import h5py
        from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, published)
    else:
        published.save_weights(path)
    network = build("gpm_resnet", "paper", {"backbone": name, "size_px": 64})
    load_backbone(network, name, path)
    ours, theirs = network.backbone.get_weights(), published.get_weights()
    assert len(ours) == len(theirs)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    with pytest.raises(GalbaseError, match="does not fit the backbone"):
        load_backbone(network, "resnet50", path)
    with pytest.raises(GalbaseError, match="does not fit the backbone"):
        load_backbone(network, name, tmp_path / "none.h5")
    path.write_bytes(b"\x80\x04\x95pickled")
    with pytest.raises(GalbaseError, match="does not fit the backbone"):
        load_backbone(network, name, path)


@pytest.mark.parametrize("name", MISSING)
def test_what_keras_does_not_have_is_said(name: str) -> None:
    with pytest.raises(UsageError, match="Keras has no backbone"):
        check_family_options("galeffnet", "paper", {"backbone": name})


def test_backbones_that_cannot_be_had_are_refused_before_anything_is_built() -> None:
    for family, preset, name, said in (
        ("galeffnet", "paper", "vgg", "no backbone 'vgg'; use one of efficientnet_b3, efficientnet_b0"),
        ("gpm_resnet", "tiny", "resnet50", "is one of preset paper"),
        ("mmlforgalam_m3", "paper", "resnet50", "has no choice of backbones"),
        ("gpm_resnet", "huge", "resnet50", "no preset 'huge'"),
    ):
        with pytest.raises(UsageError, match=said):
            check_family_options(family, preset, {"backbone": name})
    check_family_options("galeffnet", "tiny", {"backbone": "efficientnet_b3"})
    assert backbone_of("galeffnet", "paper", {}) == "efficientnet_b3"
    for family, preset, options in (
        ("gpm_resnet", "paper", {}),
        ("galeffnet", "tiny", {}),
        ("mmlforgalam_m1", "paper", {}),
    ):
        with pytest.raises(UsageError, match="has one of its own"):
            backbone_of(family, preset, options)
    with pytest.raises(UsageError, match="32 pixels at least, not 16"):
        build("gpm_resnet", "paper", {"backbone": "resnet50", "size_px": 16})
    with pytest.raises(UsageError, match="takes 3 channels"):
        build("gpm_resnet", "paper", {"backbone": "resnet50", "n_band": 1})
