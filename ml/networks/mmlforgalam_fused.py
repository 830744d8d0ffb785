"""MMLforGalAM's networks joined to one: from an image and a spectrum, or from an image alone.

- fused: the spectral feature is M1's of the observed spectrum; M3 gives the image feature, M4 joins them.
- simulated: the spectral feature is what M2 makes of the image; no spectrum is read.

The parts keep their own shapes and are trained one after the other (`ml.fused_training`); the whole is one `Network`,
so that it is stored, loaded and asked like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.image_network import raw_outputs
from galbase.ml.networks.mmlforgalam import (
    CONV_L2,
    N_WAVE,
    FusionOptions,
    build_m1,
    build_m2,
    build_m3,
    build_m4,
    feature_width,
)
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import check_preset
from galbase.schema.errors import UsageError

layers = keras.layers
_OF_IMAGE = ("properties", "size_px", "n_band", "pixel_range", "conv_l2", "n_level")
_OF_SPECTRUM = ("properties", "n_wave", "n_channel", "conv_l2", "n_level")
_OF_FUSION = ("properties", "n_token", "n_head", "shortcut", "stacked", "n_scalar", "scalar_width", "n_level")


@dataclass(frozen=True)
class SimulatedOptions(FusionOptions):
    """Options of the network with simulated spectral features: M4's, and M2's and M3's of the image.

    Parameters
    ----------
    conv_l2 : float
        As of M1 and M3.
    """

    size_px: int = 128
    conv_l2: float = CONV_L2


@dataclass(frozen=True)
class FusedOptions(SimulatedOptions):
    """Options of the network with observed spectra.

    Parameters
    ----------
    n_wave, n_channel : int
        As of M1.
    n_spectral_scalar : int
        So many of the scalars, the last, are the spectrum's, and M1 reads them; 0 for none, as published.
    """

    n_wave: int = N_WAVE
    n_channel: int = 1
    n_spectral_scalar: int = 0


@dataclass(frozen=True, kw_only=True)
class FusedNetwork(Network):
    """A network whose parts can be trained by themselves; they share their variables with the whole.

    Parameters
    ----------
    spectral : keras.Model
        ``{"spectrum"}``, with M1's scalars where it reads some, or ``{"image"}`` for simulated features, to the
        spectral feature; where M4 is stacked, M1's outputs (`told_model`) follow it.
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
    if chosen.n_spectral_scalar > chosen.n_scalar:
        raise UsageError(f"n_spectral_scalar {chosen.n_spectral_scalar} is more than n_scalar {chosen.n_scalar}.")
    first = build_m1(preset, {**_part(chosen, _OF_SPECTRUM), "n_scalar": chosen.n_spectral_scalar})
    spectral = told_model(first) if chosen.stacked else feature_model(first)
    return _joined("mmlforgalam_fused", preset, chosen, spectral, first)


def build_simulated(preset: str, options: Mapping[str, Any]) -> FusedNetwork:
    """Build M2, M3 and M4 as one network; see `SimulatedOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("MMLforGalAM", preset)
    chosen = SimulatedOptions.from_mapping("MMLforGalAM's network of simulated features", options)
    if chosen.stacked:
        raise UsageError("features that are simulated come without outputs of M1 that could be stacked upon.")
    return _joined("mmlforgalam_simulated", preset, chosen, build_m2(preset, _part(chosen, _OF_IMAGE)), None)


def feature_model(network: Network) -> Any:
    """A Keras model from a network's inputs to its embedding; its own outputs' weights are no part of it."""
    return _upon_inputs(network, network.head.output[1], "feature")


def told_model(network: Network) -> Any:
    """A Keras model from a network's inputs to its embedding with its `raw_outputs` behind it."""
    joined = layers.Concatenate(name="told")([network.head.output[1], raw_outputs(network)])
    return _upon_inputs(network, joined, "told")


def _upon_inputs(network: Network, found: Any, name: str) -> Any:
    """A Keras model from a network's inputs to a tensor of its head."""
    name = f"{network.training.name}_{name}"
    inputs = {key: layers.Input(shape, name=key) for key, shape in network.input_shapes.items()}
    feature = network.backbone({key: inputs[key] for key in network.backbone_inputs})
    rest = {key: inputs[key] for key in network.head_inputs}
    head = keras.Model(network.head.input, found, name=f"{name}_head")
    return keras.Model(inputs, head({"feature": feature, **rest}), name=name)


def on_features(network: FusedNetwork) -> Network:
    """M3 and M4 as one network that is given the spectral feature: what is trained when that stays as it is.

    Its inputs are ``image``, ``spectral_feature`` and, where there are some, ``spectral_output`` and ``scalar``.
    """
    shapes = {"image": network.image.input_shapes["image"], **network.fusion.input_shapes}
    shapes.pop("image_feature")
    inputs = {name: layers.Input(shape, name=name) for name, shape in shapes.items()}
    features = {name: inputs[name] for name in network.fusion.backbone_inputs if name in inputs}
    features["image_feature"] = feature_model(network.image)({"image": inputs["image"]})
    seen = [name for name in inputs if name != "scalar"]
    return _network("mmlforgalam_on_features", inputs, features, network.fusion, seen)


def _part(options: FusionOptions, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _joined(
    name: str,
    preset: str,
    options: SimulatedOptions,
    spectral: Any,
    first: Network | None,
) -> FusedNetwork:
    """The whole from its parts; M1 reads the last of the scalars."""
    third = build_m3(preset, _part(options, _OF_IMAGE))
    fourth = build_m4(preset, _part(options, _OF_FUSION))
    read = {"spectrum": layers.Input(first.input_shapes["spectrum"], name="spectrum")} if first else {}
    read["image"] = layers.Input((options.size_px, options.size_px, options.n_band), name="image")
    if options.n_scalar:
        read["scalar"] = layers.Input((options.n_scalar,), name="scalar")
    given = {key: read[key] for key in spectral.input}
    if "scalar" in given:
        given["scalar"] = read["scalar"][:, -int(spectral.input["scalar"].shape[-1]) :]
    features = {
        **told_parts(spectral(given), feature_width(preset)),
        "image_feature": feature_model(third)({"image": read["image"]}),
    }
    whole = _network(name, read, features, fourth, ("image", *(key for key in given if key != "image")))
    return FusedNetwork(**vars(whole), spectral=spectral, first=first, image=third, fusion=fourth)


def told_parts(told: Any, width: int) -> dict[str, Any]:
    """Inputs of M4 from what a spectral model tells, an array or a tensor ``(n, width)`` or wider."""
    parts = {"spectral_feature": told[:, :width]}
    if told.shape[-1] > width:
        parts["spectral_output"] = told[:, width:]
    return parts


def _network(
    name: str, inputs: dict[str, Any], features: dict[str, Any], fusion: Network, seen: Iterable[str]
) -> Network:
    """M4 on features that are made of some of the inputs, those `seen`; its head reads its own."""
    rest = {key: inputs[key] for key in fusion.head_inputs}
    return Network(
        training=keras.Model(inputs, fusion.training({**features, **rest}), name=name),
        backbone=keras.Model({key: inputs[key] for key in seen}, fusion.backbone(features), name="backbone"),
        head=fusion.head,
        n_feature=fusion.n_feature,
        embedding_dim=fusion.embedding_dim,
        dropout=fusion.dropout,
        input_shapes={key: tuple(value.shape[1:]) for key, value in inputs.items()},
        properties=fusion.properties,
        n_level=fusion.n_level,
        n_kept=fusion.n_kept,
    )
