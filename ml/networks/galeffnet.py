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
from galbase.ml.networks.backbones import backbone_maps, check_backbone
from galbase.ml.networks.blocks import convolution, residual_block
from galbase.ml.networks.image_network import image_network, scaled
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions, check_preset

layers = keras.layers

OWN_BACKBONE = "efficientnet_b3"
_RESIDUAL = {"tiny": (16, (24, 48, 96), 1), "small": (24, (24, 48, 96, 192), 2)}
_DENSE_WIDTH = {"tiny": 128, "small": 512, "paper": 1024}


@dataclass(frozen=True)
class GalEffNetOptions(ImageOptions):
    """Options of GalEffNet beside those of `ImageOptions`; the defaults are the paper's.

    Parameters
    ----------
    backbone : str
        ``efficientnet_b3`` (the paper's text), ``efficientnet_v2_b3`` (its code) or another of `backbones`; at preset
        `paper` only.
    dropout : float
        Dropout rate on the pooled features.
    dense_l2 : float
        L2 penalty of the dense layer.
    """

    properties: tuple[str, ...] = ("log_mstar_fib", "log_ssfr_fib")
    backbone: str = OWN_BACKBONE
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
    check_backbone(chosen.backbone, preset, OWN_BACKBONE)
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    maps = backbone_maps(image, chosen.backbone, chosen) if preset == "paper" else _residual(image, preset, chosen)
    return image_network(
        "galeffnet", image, maps, chosen, width=_DENSE_WIDTH[preset], dropout=chosen.dropout, dense_l2=chosen.dense_l2
    )


def _residual(image: Any, preset: str, options: GalEffNetOptions) -> Any:
    """Stem and stages of residual blocks, halving the map at each stage."""
    stem_width, widths, depth = _RESIDUAL[preset]
    maps = convolution(scaled(image, options), stem_width, 5, 2, "stem")
    maps = layers.Activation("relu", name="stem_relu")(maps)
    for stage, width in enumerate(widths):
        for index in range(depth):
            maps = residual_block(maps, width, 2 if index == 0 else 1, f"stage{stage}_block{index}")
    return maps
