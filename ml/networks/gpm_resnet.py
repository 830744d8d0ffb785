"""GPM-ResNet: gas-phase metallicity from one image.

The network of the GPM-ResNet paper (A&A 694, A271, section 3.1): ResNet-50 (He et al. 2016) with bottlenecks of 1x1,
3x3 and 1x1 convolutions, 3, 4, 6 and 3 of them in four stages, DropBlock (Ghiasi et al. 2018) on each 3x3 and efficient
channel attention (Wang et al. 2020) on each last 1x1, average pooling, and two linear layers with a ReLU. What the
paper leaves open are options, whose defaults are those of the cited papers: size and rate of DropBlock, the kernel of
the attention, and the width of the first linear layer (1000, that of ResNet-50's own). A pooling of 7x7, as it says,
does not fit the 5x5 maps of 152 pixels; all that there is is averaged. The presets `tiny` and `small` keep the shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.backbones import backbone_maps, check_backbone
from galbase.ml.networks.blocks import DropBlock, channel_attention, convolution
from galbase.ml.networks.image_network import image_network, scaled
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions, check_preset
from galbase.schema.errors import UsageError

layers = keras.layers

# widths of the 3x3 convolutions of the stages, bottlenecks of each, width of the stem, of the first linear layer
_STAGES = {
    "tiny": ((8, 16, 32, 64), (1, 1, 1, 1), 16, 128),
    "small": ((16, 32, 64, 96), (2, 2, 2, 2), 32, 512),
    "paper": ((64, 128, 256, 512), (3, 4, 6, 3), 64, 1000),
}
_EXPANSION = 4
OWN_BACKBONE = "gpm_resnet"


@dataclass(frozen=True)
class GpmResNetOptions(ImageOptions):
    """Options of GPM-ResNet beside those of `ImageOptions`; the defaults are the paper's, or of those it cites.

    Parameters
    ----------
    block_rate : float
        Share of a map that DropBlock drops while training.
    block_size : int
        Side of the squares it drops, pixels of the map.
    attention_kernel : int or None
        Channels that a weight of the attention looks at; by the number of channels when None.
    backbone : str
        ``gpm_resnet``, or one of `backbones` in place of stem and bottlenecks, at preset `paper`.
    """

    properties: tuple[str, ...] = ("oh12",)
    size_px: int = 152
    block_rate: float = 0.1
    block_size: int = 7
    attention_kernel: int | None = None
    backbone: str = OWN_BACKBONE


def build_gpm_resnet(preset: str, options: Mapping[str, Any]) -> Network:
    """Build GPM-ResNet with fresh weights; see `GpmResNetOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("GPM-ResNet", preset)
    chosen = GpmResNetOptions.from_mapping("GPM-ResNet", options)
    if not 0 <= chosen.block_rate < 1 or chosen.block_size < 1:
        raise UsageError(
            f"block_rate {chosen.block_rate} is not in [0, 1), or block_size {chosen.block_size} is not positive."
        )
    if chosen.attention_kernel is not None and (chosen.attention_kernel < 1 or chosen.attention_kernel % 2 == 0):
        raise UsageError(f"attention_kernel {chosen.attention_kernel} is not an odd number.")
    check_backbone(chosen.backbone, preset, OWN_BACKBONE)
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    own = chosen.backbone == OWN_BACKBONE
    maps = _residual(image, preset, chosen) if own else backbone_maps(image, chosen.backbone, chosen)
    return image_network("gpm_resnet", image, maps, chosen, width=_STAGES[preset][3])


def _residual(image: Any, preset: str, chosen: GpmResNetOptions) -> Any:
    """Stem and stages of bottlenecks."""
    widths, depths, stem, _ = _STAGES[preset]
    maps = convolution(scaled(image, chosen), stem, 7, 2, "stem")
    maps = layers.Activation("relu", name="stem_relu")(maps)
    maps = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(maps)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            stride = 2 if index == 0 and stage > 0 else 1
            maps = _bottleneck(maps, width, stride, f"stage{stage}_block{index}", chosen)
    return maps


def _bottleneck(maps: Any, width: int, stride: int, name: str, options: GpmResNetOptions) -> Any:
    """1x1, 3x3 with DropBlock, 1x1 with attention, beside a shortcut; the 3x3 halves the map where it is halved."""
    shortcut = maps
    if stride != 1 or maps.shape[-1] != _EXPANSION * width:
        shortcut = convolution(maps, _EXPANSION * width, 1, stride, f"{name}_shortcut")
    inner = layers.Activation("relu", name=f"{name}_relu1")(convolution(maps, width, 1, 1, f"{name}_first"))
    inner = layers.Activation("relu", name=f"{name}_relu2")(convolution(inner, width, 3, stride, f"{name}_second"))
    inner = DropBlock(options.block_rate, options.block_size, name=f"{name}_drop")(inner)
    inner = convolution(inner, _EXPANSION * width, 1, 1, f"{name}_third")
    inner = channel_attention(inner, f"{name}_eca", options.attention_kernel)
    joined = layers.Add(name=f"{name}_add")([inner, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(joined)
