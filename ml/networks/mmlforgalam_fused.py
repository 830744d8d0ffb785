"""MMLforGalAM's networks joined to one: from an image and a spectrum, or from an image alone.

- fused: the spectral feature is M1's of the observed spectrum; M3 gives the image feature, M4 joins them.
- simulated: the spectral feature is what M2 makes of the image; no spectrum is read.

The parts keep their own shapes and are trained one after the other (`ml.fused_training`); the whole is one `Network`,
so that it is stored, loaded and asked like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.mmlforgalam import (
    N_WAVE,
    FusionOptions,
    build_m1,
    build_m2,
    build_m3,
    build_m4,
)
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import check_preset

layers = keras.layers
_OF_IMAGE = ("properties", "size_px", "n_band", "pixel_range", "n_level")
_OF_SPECTRUM = ("properties", "n_wave", "n_channel", "n_level")
_OF_FUSION = ("properties", "n_token", "n_head", "shortcut", "n_scalar", "n_level")


@dataclass(frozen=True)
class SimulatedOptions(FusionOptions):
    """Options of the network with simulated spectral features: M4's, and M2's and M3's of the image."""

    size_px: int = 128


@dataclass(frozen=True)
class FusedOptions(SimulatedOptions):
    """Options of the network with observed spectra.

    Parameters
    ----------
    n_wave, n_channel : int
        As of M1.
    """

    n_wave: int = N_WAVE
    n_channel: int = 1


@dataclass(frozen=True, kw_only=True)
class FusedNetwork(Network):
    """A network whose parts can be trained by themselves; they share their variables with the whole.

    Parameters
    ----------
    spectral : keras.Model
        ``{"spectrum"}``, or ``{"image"}`` for simulated features, to the spectral feature.
    first : Network or None
        M1 with its own outputs; None where the features are simulated.
    image : Network
        M3 with its own outputs.
    fusion : Network
        M4, from both features.
    """

    spectral: Any
    first: Network | None
    image: Network
    fusion: Network


def build_fused(preset: str, options: Mapping[str, Any]) -> FusedNetwork:
    """Build M1, M3 and M4 as one network; see `FusedOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = FusedOptions.from_mapping("MMLforGalAM's fused network", options)
    first = build_m1(preset, _part(chosen, _OF_SPECTRUM))
    spectrum = layers.Input((chosen.n_wave, chosen.n_channel), name="spectrum")
    return _joined("mmlforgalam_fused", preset, chosen, feature_model(first), {"spectrum": spectrum}, first)


def build_simulated(preset: str, options: Mapping[str, Any]) -> FusedNetwork:
    """Build M2, M3 and M4 as one network; see `SimulatedOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = SimulatedOptions.from_mapping("MMLforGalAM's network of simulated features", options)
    return _joined("mmlforgalam_simulated", preset, chosen, build_m2(preset, _part(chosen, _OF_IMAGE)), {}, None)


def feature_model(network: Network) -> Any:
    """A Keras model from a network's inputs to its embedding; its own outputs' weights are no part of it.

    Raises
    ------
    ValueError
        If the network reads scalars: its feature would depend on them.
    """
    if network.head_inputs:
        raise ValueError(f"{network.training.name} reads {network.head_inputs}, and has no feature without them")
    embed = keras.Model(network.head.input, network.head.output[1], name=f"{network.training.name}_embedding")
    inputs = {name: layers.Input(shape, name=name) for name, shape in network.input_shapes.items()}
    feature = embed({"feature": network.backbone(inputs)})
    return keras.Model(inputs, feature, name=f"{network.training.name}_feature")


def on_features(network: FusedNetwork) -> Network:
    """M3 and M4 as one network that is given the spectral feature: what is trained when that stays as it is.

    Its inputs are ``image``, ``spectral_feature`` and, where there are some, ``scalar``.
    """
    shapes = {"image": network.image.input_shapes["image"], **network.fusion.input_shapes}
    shapes.pop("image_feature")
    inputs = {name: layers.Input(shape, name=name) for name, shape in shapes.items()}
    features = {
        "spectral_feature": inputs["spectral_feature"],
        "image_feature": feature_model(network.image)({"image": inputs["image"]}),
    }
    return _network("mmlforgalam_on_features", inputs, features, network.fusion)


def _part(options: FusionOptions, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _joined(
    name: str,
    preset: str,
    options: SimulatedOptions,
    spectral: Any,
    inputs: dict[str, Any],
    first: Network | None,
) -> FusedNetwork:
    """The whole from its parts; what is no input of its own is made from the image."""
    third = build_m3(preset, _part(options, _OF_IMAGE))
    fourth = build_m4(preset, _part(options, _OF_FUSION))
    image = layers.Input((options.size_px, options.size_px, options.n_band), name="image")
    read = {**inputs, "image": image}
    if options.n_scalar:
        read["scalar"] = layers.Input((options.n_scalar,), name="scalar")
    features = {
        "spectral_feature": spectral(inputs or {"image": image}),
        "image_feature": feature_model(third)({"image": image}),
    }
    whole = _network(name, read, features, fourth)
    return FusedNetwork(**vars(whole), spectral=spectral, first=first, image=third, fusion=fourth)


def _network(name: str, inputs: dict[str, Any], features: dict[str, Any], fusion: Network) -> Network:
    scalar = {key: value for key, value in inputs.items() if key == "scalar"}
    seen = {key: value for key, value in inputs.items() if key != "scalar"}
    return Network(
        training=keras.Model(inputs, fusion.training({**features, **scalar}), name=name),
        backbone=keras.Model(seen, fusion.backbone(features), name="backbone"),
        head=fusion.head,
        n_feature=fusion.n_feature,
        embedding_dim=fusion.embedding_dim,
        dropout=fusion.dropout,
        input_shapes={key: tuple(value.shape[1:]) for key, value in inputs.items()},
        properties=fusion.properties,
        n_level=fusion.n_level,
    )
