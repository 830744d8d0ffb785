"""Backbones that the papers compare theirs with, as Keras has them.

GalEffNet paper, Table 1: ResNet-50, -101 and -152 (He et al. 2016; the table's 151 is none of theirs), EfficientNet-B0
to -B3 (Tan & Le 2019) and EfficientNetV2-S (Tan & Le 2021), of which the published code loads V2-B3. GPM-ResNet paper,
section 4.2: ResNet, MobileNet (Sandler et al. 2018: V2), EfficientNet, and DenseNet (Huang et al. 2018).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions
from galbase.schema.errors import GalbaseError, UsageError

layers = keras.layers
# The least that five halvings leave a pixel of.
LEAST_PX = 32


@dataclass(frozen=True)
class Backbone:
    """An architecture of `keras.applications`.

    Parameters
    ----------
    maker : str
        Its function.
    module : str or None
        Module whose `preprocess_input` makes of values 0-255 what its ImageNet weights were trained on; None where the
        network does so itself.
    """

    maker: str
    module: str | None = None


BACKBONES: dict[str, Backbone] = {
    "efficientnet_b0": Backbone("EfficientNetB0"),
    "efficientnet_b1": Backbone("EfficientNetB1"),
    "efficientnet_b2": Backbone("EfficientNetB2"),
    "efficientnet_b3": Backbone("EfficientNetB3"),
    "efficientnet_v2_b3": Backbone("EfficientNetV2B3"),
    "efficientnet_v2_s": Backbone("EfficientNetV2S"),
    "resnet50": Backbone("ResNet50", "resnet"),
    "resnet101": Backbone("ResNet101", "resnet"),
    "resnet152": Backbone("ResNet152", "resnet"),
    "mobilenet_v2": Backbone("MobileNetV2", "mobilenet_v2"),
    "densenet121": Backbone("DenseNet121", "densenet"),
    "densenet169": Backbone("DenseNet169", "densenet"),
    "densenet201": Backbone("DenseNet201", "densenet"),
}
# Of the papers' tables, what Keras does not have.
MISSING = ("resnet34", "swin", "vit")


def check_backbone(name: str, preset: str, own: str) -> None:
    """Refuse a backbone that does not exist, or that a preset does not read.

    Parameters
    ----------
    name, preset : str
    own : str
        Backbone of the published network, the default.

    Raises
    ------
    UsageError
    """
    if name in MISSING:
        raise UsageError(f"Keras has no backbone {name!r}, which a paper compares with; use one of {_known(own)}.")
    if name != own and name not in BACKBONES:
        raise UsageError(f"no backbone {name!r}; use one of {_known(own)}.")
    if name != own and preset != "paper":
        raise UsageError(
            f"backbone {name!r} is one of preset paper, and preset {preset} has its own small one; give --preset paper "
            "or no --backbone."
        )


def backbone_maps(image: Any, name: str, options: ImageOptions) -> Any:
    """Maps of a backbone with fresh weights.

    Parameters
    ----------
    image : (n, size_px, size_px, n_band) tensor
        Of values as the options say.
    name : str
        A key of `BACKBONES`.
    options : ImageOptions

    Raises
    ------
    UsageError
        If the image has not three channels, or too few pixels.
    """
    if options.n_band != 3:
        raise UsageError(f"{name} takes 3 channels, not {options.n_band}; copy or average the bands first.")
    if options.size_px < LEAST_PX:
        raise UsageError(f"{name} takes images of {LEAST_PX} pixels at least, not {options.size_px}.")
    backbone = BACKBONES[name]
    pixels = image if options.pixel_range == "uint8" else layers.Rescaling(255.0, name="to_uint8_range")(image)
    if backbone.module is not None:
        pixels = getattr(keras.applications, backbone.module).preprocess_input(pixels)
    return getattr(keras.applications, backbone.maker)(include_top=False, weights=None, input_tensor=pixels).output


def load_backbone(network: Network, name: str, path: Path) -> None:
    """Fill a network's backbone from a Keras weights file without top.

    The file is read as HDF5 arrays by a network of `keras.applications` alone, whose layers it was written from: in
    ours there are others around them, and Keras would leave out what it does not find. It holds no code.

    Parameters
    ----------
    network : Network
        Whose backbone is that of `backbone_maps`.
    name : str
        A key of `BACKBONES`.
    path : Path
        ``.weights.h5``, or ``.h5`` as Keras publishes weights of ImageNet.

    Raises
    ------
    GalbaseError
        If the file is missing or does not fit.
    """
    alone = getattr(keras.applications, BACKBONES[name].maker)(
        include_top=False, weights=None, input_shape=(LEAST_PX, LEAST_PX, 3)
    )
    try:
        with warnings.catch_warnings():
            # Where layers are missing in the file, that is a warning of Keras, and they would keep what they had.
            warnings.simplefilter("error", UserWarning)
            alone.load_weights(str(path))
    except (OSError, RuntimeError, ValueError, KeyError, UserWarning) as error:
        raise GalbaseError(f"--weights {path} does not fit the backbone {name}: {str(error)[:200]}") from error
    network.backbone.set_weights(alone.get_weights())


def _known(own: str) -> str:
    return ", ".join(dict.fromkeys((own, *BACKBONES)))
