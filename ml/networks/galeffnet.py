"""GalEffNet: stellar mass and specific star formation rate from one image.

The network of the GalEffNet paper: an EfficientNet-B3 backbone (Tan & Le 2019, ICML 97, 6105; the published code
loads EfficientNetV2-B3, Tan & Le 2021), global average pooling, dropout 0.2864, a dense layer of 1024 with ReLU and
L2 1e-3, and one dense output a property. The presets `tiny` and `small` keep that shape with a residual backbone
(He et al. 2016) that a CPU trains in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.blocks import convolution, residual_block
from galbase.ml.networks.image_network import image_network, scaled
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions, check_preset
from galbase.schema.errors import UsageError

layers = keras.layers

BACKBONES = ("efficientnet_b3", "efficientnet_v2_b3")
_RESIDUAL = {"tiny": (16, (24, 48, 96), 1), "small": (24, (24, 48, 96, 192), 2)}
_DENSE_WIDTH = {"tiny": 128, "small": 512, "paper": 1024}


@dataclass(frozen=True)
class GalEffNetOptions(ImageOptions):
    """Options of GalEffNet beside those of `ImageOptions`; the defaults are the paper's.

    Parameters
    ----------
    backbone : str
        ``efficientnet_b3`` (the paper's text) or ``efficientnet_v2_b3`` (its code); read by preset `paper` only.
    dropout : float
        Dropout rate on the pooled features.
    dense_l2 : float
        L2 penalty of the dense layer.
    """

    properties: tuple[str, ...] = ("log_mstar_fib", "log_ssfr_fib")
    backbone: str = "efficientnet_b3"
    dropout: float = 0.2864
    dense_l2: float = 1e-3


def build_galeffnet(preset: str, options: Mapping[str, Any]) -> Network:
    """Build GalEffNet with fresh weights; see `GalEffNetOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("GalEffNet", preset)
    chosen = GalEffNetOptions.from_mapping("GalEffNet", options)
    if chosen.backbone not in BACKBONES:
        raise UsageError(f"no backbone {chosen.backbone!r}; use one of {', '.join(BACKBONES)}.")
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    maps = _efficientnet(image, chosen) if preset == "paper" else _residual(image, preset, chosen)
    return image_network(
        "galeffnet", image, maps, chosen, width=_DENSE_WIDTH[preset], dropout=chosen.dropout, dense_l2=chosen.dense_l2
    )


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
    maps = convolution(scaled(image, options), stem_width, 5, 2, "stem")
    maps = layers.Activation("relu", name="stem_relu")(maps)
    for stage, width in enumerate(widths):
        for index in range(depth):
            maps = residual_block(maps, width, 2 if index == 0 else 1, f"stage{stage}_block{index}")
    return maps
