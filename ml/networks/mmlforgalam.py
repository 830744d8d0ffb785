"""MMLforGalAM: age and metallicity of the stars from a spectrum and an image, or either.

Four networks (MMLforGalAM paper, section 3; what its text leaves open is as in its published code):

- M1, from the spectrum: eight convolutions of 3 in four blocks, each with a pooling of 3, dense 4171, 2048 and 1024
  (the spectral feature), and the outputs; alone it is the spectra-only model.
- M2, from the image to the spectral feature: four convolutions of 3x3 with poolings of 2x2, dropout 0.3, dense 1024 and
  1024 linear.
- M3, from the image: four blocks of three convolutions, dense 2048 and 1024 (the image feature), and the outputs; alone
  it is the image-only model.
- M4, from both features: attention of eight heads in which the spectral feature asks and the image feature answers,
  residual, layer normalisation, dropout, dense 2048, 1024, 512 and 128, dropout 0.2, and the outputs.

With one key, as published, softmax is 1 and the attention is a linear map; `n_token` cuts the features into as many
tokens, so that the weights mean something. The presets `tiny` and `small` keep the shapes with fewer channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.image_network import feature_network, scaled
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions, check_preset
from galbase.schema.errors import UsageError

layers = keras.layers

PROPERTIES = ("log_age", "mh")
N_WAVE = 4171
# channels of the blocks of M1, of M2 and M3, widths of M1's, M2's and M3's dense layers (the last is the feature)
_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((4, 8, 16, 16), (8, 16, 24, 32), (64, 64, 64), (64, 64), (64, 64)),
    "small": ((8, 16, 32, 64), (16, 32, 64, 96), (512, 256, 256), (256, 256), (256, 256)),
    "paper": ((16, 32, 64, 128), (32, 64, 128, 256), (4171, 2048, 1024), (1024, 1024), (2048, 1024)),
}
_FUSED = {"tiny": (64, 64, 32, 32), "small": (512, 256, 128, 64), "paper": (2048, 1024, 512, 128)}
CONV_L2 = 1e-3
M2_LEAST_PX, M3_LEAST_PX = 46, 16


@dataclass(frozen=True)
class SpectrumOptions(ImageOptions):
    """Options of M1.

    Parameters
    ----------
    n_wave, n_channel : int
        Points of the spectrum: 4171, every Angstrom from 3830 to 8000, as published; and values at each, 1.
    conv_l2 : float
        L2 penalty of the convolutions. The published one holds M1 so far back that it fits neither spectra that it has
        seen nor others: a hundredth of it has a quarter less scatter (7,900 simulated spectra).
    """

    properties: tuple[str, ...] = PROPERTIES
    n_wave: int = N_WAVE
    n_channel: int = 1
    conv_l2: float = CONV_L2


@dataclass(frozen=True)
class StarsImageOptions(ImageOptions):
    """Options of M2 and M3.

    Parameters
    ----------
    conv_l2 : float
        L2 penalty of M3's convolutions.
    """

    properties: tuple[str, ...] = PROPERTIES
    size_px: int = 128
    conv_l2: float = CONV_L2


@dataclass(frozen=True)
class FusionOptions(ImageOptions):
    """Options of M4.

    Parameters
    ----------
    n_token : int
        Tokens into which either feature is cut; 1 as published.
    n_head : int
        Heads of the attention.
    shortcut : bool
        Give both features to the outputs themselves, beside what attention and dense layers make of them; not so as
        published, where the normalisation takes away how strong a spectrum's features are.
    stacked : bool
        Add what fusion finds to M1's own outputs, beginning with nothing, so that an image that tells nothing takes
        nothing away; not so as published.
    """

    properties: tuple[str, ...] = PROPERTIES
    n_token: int = 1
    n_head: int = 8
    shortcut: bool = False
    stacked: bool = False


def feature_width(preset: str) -> int:
    """Width of the spectral and of the image feature."""
    return _SIZES[preset][2][-1]


def build_m1(preset: str, options: Mapping[str, Any]) -> Network:
    """Build M1 with fresh weights; its embedding is the spectral feature.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = SpectrumOptions.from_mapping("MMLforGalAM's M1", options)
    widths, _, dense, _, _ = _SIZES[preset]
    spectrum = layers.Input((chosen.n_wave, chosen.n_channel), name="spectrum")
    maps = spectrum
    penalty = keras.regularizers.L2(chosen.conv_l2)
    for block, width in enumerate(widths):
        for index in range(2):
            maps = layers.Conv1D(
                width, 3, activation="relu", kernel_regularizer=penalty, name=f"block{block}_conv{index}"
            )(maps)
        maps = layers.MaxPooling1D(3, name=f"block{block}_pool")(maps)
    feature = layers.Flatten(name="flatten")(maps)
    for index, width in enumerate(dense[:-1]):
        feature = layers.Dense(width, activation="relu", name=f"dense{index}")(feature)
    return feature_network("mmlforgalam_m1", {"spectrum": spectrum}, feature, chosen, width=dense[-1])


def build_m2(preset: str, options: Mapping[str, Any]) -> Any:
    """Build M2 with fresh weights: a Keras model from ``{"image": ...}`` to the spectral feature.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = StarsImageOptions.from_mapping("MMLforGalAM's M2", options)
    if chosen.size_px < M2_LEAST_PX:
        raise UsageError(
            f"M2 halves its image four times and needs {M2_LEAST_PX} pixels, not {chosen.size_px}; make larger stamps "
            "(--option stamp_px=128)."
        )
    _, widths, spectral, dense, _ = _SIZES[preset]
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    maps = scaled(image, chosen)
    for block, width in enumerate(widths):
        maps = layers.Conv2D(width, 3, activation="relu", name=f"block{block}_conv")(maps)
        maps = layers.MaxPooling2D(2, name=f"block{block}_pool")(maps)
    feature = layers.Dropout(0.3, name="dropout")(layers.Flatten(name="flatten")(maps))
    feature = layers.Dense(dense[0], activation="relu", name="dense")(feature)
    feature = layers.Dense(spectral[-1], name="spectral_feature")(feature)
    return keras.Model({"image": image}, feature, name="mmlforgalam_m2")


def build_m3(preset: str, options: Mapping[str, Any]) -> Network:
    """Build M3 with fresh weights; its embedding is the image feature.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = StarsImageOptions.from_mapping("MMLforGalAM's M3", options)
    _, widths, _, _, dense = _SIZES[preset]
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    maps = scaled(image, chosen)
    penalty = keras.regularizers.L2(chosen.conv_l2)
    for block, width in enumerate(widths):
        for index in range(3):
            maps = layers.Conv2D(
                width, 3, padding="same", activation="relu", kernel_regularizer=penalty,
                name=f"block{block}_conv{index}",
            )(maps)  # fmt: skip
        maps = layers.MaxPooling2D(2, name=f"block{block}_pool")(maps)
    feature = layers.Dense(dense[0], activation="relu", name="dense0")(layers.Flatten(name="flatten")(maps))
    return feature_network("mmlforgalam_m3", {"image": image}, feature, chosen, width=dense[1])


def build_m4(preset: str, options: Mapping[str, Any]) -> Network:
    """Build M4 with fresh weights, from the features of the same preset's M1 (or M2) and M3.

    Raises
    ------
    UsageError
        If the preset or an option does not exist, or the features cannot be cut into so many tokens.
    """
    check_preset("MMLforGalAM", preset)
    chosen = FusionOptions.from_mapping("MMLforGalAM's M4", options)
    width = feature_width(preset)
    if chosen.n_token < 1 or width % chosen.n_token or chosen.n_head < 1:
        raise UsageError(f"n_token {chosen.n_token} does not divide the {width} features, or n_head is not positive.")
    spectral = layers.Input((width,), name="spectral_feature")
    image = layers.Input((width,), name="image_feature")
    tokens = (chosen.n_token, width // chosen.n_token)
    asks = layers.Reshape(tokens, name="spectral_tokens")(spectral)
    answers = layers.Reshape(tokens, name="image_tokens")(image)
    attention = layers.MultiHeadAttention(chosen.n_head, max(1, tokens[1] // chosen.n_head), name="attention")
    fused = layers.Add(name="residual")([attention(asks, answers), asks])
    fused = layers.LayerNormalization(name="norm")(layers.Reshape((width,), name="fused")(fused))
    feature = layers.Dropout(0.2, name="fused_dropout")(fused)
    # The last dense layer reads the scalars, where there are some: then it is the head's.
    widths = _FUSED[preset][:-1] if chosen.n_scalar else _FUSED[preset]
    for index, dense in enumerate(widths):
        feature = layers.Dense(dense, activation="relu", name=f"dense{index}")(feature)
    if chosen.shortcut:
        feature = layers.Concatenate(name="shortcut")([feature, spectral, image])
    inputs = {"spectral_feature": spectral, "image_feature": image}
    kept = None
    if chosen.stacked:
        kept = layers.Input((len(chosen.properties) * max(1, chosen.n_level),), name="spectral_output")
        inputs["spectral_output"] = kept
    last = _FUSED[preset][-1] if chosen.n_scalar else None
    return feature_network("mmlforgalam_m4", inputs, feature, chosen, width=last, dropout=0.2, kept=kept)
