"""GalEffNet: stellar mass and specific star formation rate from one image.

The network of the GalEffNet paper: an EfficientNet-B3 backbone (Tan & Le 2019, ICML 97, 6105; the published code
loads EfficientNetV2-B3, Tan & Le 2021), global average pooling, dropout 0.2864, a dense layer of 1024 with ReLU and
L2 1e-3, and one dense output a property. The presets `tiny` and `small` keep that shape with a residual backbone
(He et al. 2016) that a CPU trains in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.network import Network
from galbase.schema.errors import UsageError

layers = keras.layers

PRESETS = ("tiny", "small", "paper")
BACKBONES = ("efficientnet_b3", "efficientnet_v2_b3")
_RESIDUAL = {"tiny": (16, (24, 48, 96), 1), "small": (24, (24, 48, 96, 192), 2)}
_DENSE_WIDTH = {"tiny": 128, "small": 512, "paper": 1024}


@dataclass(frozen=True)
class GalEffNetOptions:
    """Options of GalEffNet; the defaults are the paper's.

    Parameters
    ----------
    properties : tuple of str
        One output a property.
    backbone : str
        ``efficientnet_b3`` (the paper's text) or ``efficientnet_v2_b3`` (its code); read by preset `paper` only.
    size_px, n_band : int
        Stamp side in pixels and number of channels.
    pixel_range : str
        ``uint8``: display values 0-255, scaled inside the network; ``unit``: values of order one, used as they are.
    n_scalar : int
        Number of scalar inputs joined to the pooled features; 0 for none, as published.
    dropout : float
        Dropout rate on the pooled features.
    dense_l2 : float
        L2 penalty of the dense layer.
    """

    properties: tuple[str, ...] = ("log_mstar_fib", "log_ssfr_fib")
    backbone: str = "efficientnet_b3"
    size_px: int = 64
    n_band: int = 3
    pixel_range: str = "uint8"
    n_scalar: int = 0
    dropout: float = 0.2864
    dense_l2: float = 1e-3

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> GalEffNetOptions:
        """Options from a mapping as stored in the database.

        Raises
        ------
        UsageError
            If a key or a value is not one of this family's.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"GalEffNet has no option {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        options = cls(**{**values, "properties": tuple(values.get("properties", cls.properties))})
        if options.backbone not in BACKBONES:
            raise UsageError(f"no backbone {options.backbone!r}; use one of {', '.join(BACKBONES)}.")
        if options.pixel_range not in ("uint8", "unit"):
            raise UsageError(f"pixel_range {options.pixel_range!r} is neither 'uint8' nor 'unit'.")
        if not options.properties:
            raise UsageError("GalEffNet needs at least one property to predict.")
        return options

    def to_mapping(self) -> dict[str, Any]:
        """The options as plain values for a JSON column."""
        return {**asdict(self), "properties": list(self.properties)}


def build_galeffnet(preset: str, options: Mapping[str, Any]) -> Network:
    """Build GalEffNet with fresh weights; see `GalEffNetOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    if preset not in PRESETS:
        raise UsageError(f"GalEffNet has no preset {preset!r}; use one of {', '.join(PRESETS)}.")
    chosen = GalEffNetOptions.from_mapping(options)
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    maps = _efficientnet(image, chosen) if preset == "paper" else _residual(image, preset, chosen)
    feature = layers.GlobalAveragePooling2D(name="pool")(maps)
    inputs = {"image": image}
    shapes: dict[str, tuple[int, ...]] = {"image": (chosen.size_px, chosen.size_px, chosen.n_band)}
    scalar = None
    if chosen.n_scalar:
        scalar = layers.Input((chosen.n_scalar,), name="scalar")
        inputs["scalar"] = scalar
        shapes["scalar"] = (chosen.n_scalar,)
    n_feature = int(feature.shape[-1])
    backbone = keras.Model(image, feature, name="backbone")
    head = _head(n_feature, _DENSE_WIDTH[preset], chosen)
    dropped = layers.Dropout(chosen.dropout, name="dropout")(feature)
    head_inputs = {"feature": dropped} if scalar is None else {"feature": dropped, "scalar": scalar}
    output, _ = head(head_inputs)
    return Network(
        training=keras.Model(inputs, output, name="galeffnet"),
        backbone=backbone,
        head=head,
        n_feature=n_feature,
        embedding_dim=_DENSE_WIDTH[preset],
        dropout=chosen.dropout,
        input_shapes=shapes,
        properties=chosen.properties,
    )


def _head(n_feature: int, width: int, options: GalEffNetOptions) -> Any:
    """Dense layer and one output a property, on features that dropout has already thinned."""
    feature = layers.Input((n_feature,), name="feature")
    inputs = {"feature": feature}
    joined = feature
    if options.n_scalar:
        inputs["scalar"] = layers.Input((options.n_scalar,), name="scalar")
        joined = layers.Concatenate(name="join")([feature, inputs["scalar"]])
    embedding = layers.Dense(
        width, activation="relu", kernel_regularizer=keras.regularizers.L2(options.dense_l2), name="embedding"
    )(joined)
    outputs = [layers.Dense(1, name=name)(embedding) for name in options.properties]
    merged = layers.Concatenate(name="property")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, [merged, embedding], name="head")


def _efficientnet(image: Any, options: GalEffNetOptions) -> Any:
    """Backbone of preset `paper`; it scales 0-255 itself."""
    if options.n_band != 3:
        raise UsageError(f"EfficientNet takes 3 channels, not {options.n_band}; copy or average the bands first.")
    pixels = image if options.pixel_range == "uint8" else layers.Rescaling(255.0, name="to_uint8_range")(image)
    maker = {
        "efficientnet_b3": keras.applications.EfficientNetB3,
        "efficientnet_v2_b3": keras.applications.EfficientNetV2B3,
    }[options.backbone]
    return maker(include_top=False, weights=None, input_tensor=pixels).output


def _residual(image: Any, preset: str, options: GalEffNetOptions) -> Any:
    """Stem and stages of residual blocks, halving the map at each stage."""
    stem_width, widths, depth = _RESIDUAL[preset]
    scale = 1.0 / 255.0 if options.pixel_range == "uint8" else 1.0
    maps = layers.Rescaling(scale, name="scale")(image)
    maps = _convolution(maps, stem_width, 5, 2, "stem")
    maps = layers.Activation("relu", name="stem_relu")(maps)
    for stage, width in enumerate(widths):
        for index in range(depth):
            maps = _residual_block(maps, width, 2 if index == 0 else 1, f"stage{stage}_block{index}")
    return maps


def _residual_block(maps: Any, width: int, stride: int, name: str) -> Any:
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, Fig. 2)."""
    shortcut = maps
    if stride != 1 or maps.shape[-1] != width:
        shortcut = _convolution(maps, width, 1, stride, f"{name}_shortcut")
    inner = _convolution(maps, width, 3, stride, f"{name}_first")
    inner = layers.Activation("relu", name=f"{name}_inner_relu")(inner)
    inner = _convolution(inner, width, 3, 1, f"{name}_second")
    joined = layers.Add(name=f"{name}_add")([inner, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(joined)


def _convolution(maps: Any, width: int, kernel: int, stride: int, name: str) -> Any:
    """Convolution and batch normalisation.

    Momentum 0.9: with the few hundred steps of a small training set Keras' 0.99 leaves the moving averages behind.
    """
    maps = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(maps)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(maps)
