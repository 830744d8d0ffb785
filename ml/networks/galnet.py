"""GaLNet: parameters of a Sersic profile from a stamp and its PSF.

The GaLNet paper gives the inputs (stamps of 61x61 and PSFs of 25x25 pixels), two convolutional branches that are
fused, and seven outputs, but no widths of layers: those here are ours, pairs of 3x3 convolutions and poolings of 2x2
(Simonyan & Zisserman 2015, arXiv:1409.1556).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galbase.ml.backend import keras
from galbase.ml.networks.gaussian import gaussian_network
from galbase.ml.networks.image_network import feature_network
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions, check_preset

layers = keras.layers

# magnitude, half-light radius, Sersic index, axis ratio, position angle, and the centre's distance from the stamp's
PUBLISHED = ("mag", "re_px", "sersic_n", "q", "pa_deg", "dx_px", "dy_px")
# (e cos 2 PA, e sin 2 PA) has no jump where the angle begins anew, and logarithms make errors of all sizes alike
IMPROVED = ("mag", "log_re_px", "log_sersic_n", "e1", "e2", "dx_px", "dy_px")
# widths of the stamp's and of the PSF's branch, of the dense layers
_SIZES = {
    "tiny": ((8, 16, 32), (4, 8, 16), (64, 64)),
    "small": ((16, 48, 64), (8, 16, 32), (192, 128)),
    "paper": ((32, 64, 128, 256), (16, 32, 64), (1024, 512)),
}
# Half of the arithmetic is in the first two convolutions on 61x61 pixels, and a PSF is at least 1.8 px wide: for a
# processor the stamp's first convolution steps by two, which doubles the stamps learned from in the same time.
_STRIDE = {"tiny": 2, "small": 2, "paper": 1}


@dataclass(frozen=True)
class GalnetOptions(ImageOptions):
    """Options of GaLNet.

    Parameters
    ----------
    properties : tuple of str
        `PUBLISHED` or `IMPROVED`, or any of one's own.
    psf_px : int
        Side of the PSF's image.
    covariance : bool
        Predict a full covariance too: after the values come the numbers of `galbase.ml.networks.gaussian`.
    """

    properties: tuple[str, ...] = PUBLISHED
    size_px: int = 61
    n_band: int = 1
    pixel_range: str = "unit"
    psf_px: int = 25
    covariance: bool = False


def build_galnet(preset: str, options: Mapping[str, Any]) -> Network:
    """Build GaLNet with fresh weights; see `GalnetOptions`.

    Raises
    ------
    UsageError
        If the preset or an option does not exist.
    """
    check_preset("GaLNet", preset)
    chosen = GalnetOptions.from_mapping("GaLNet", options)
    of_stamp, of_psf, dense = _SIZES[preset]
    image = layers.Input((chosen.size_px, chosen.size_px, chosen.n_band), name="image")
    psf = layers.Input((chosen.psf_px, chosen.psf_px, chosen.n_band), name="psf")
    stamp = _branch(image, of_stamp, "stamp", _STRIDE[preset])
    joined = layers.Concatenate(name="fuse")([stamp, _branch(psf, of_psf, "psf")])
    feature = layers.Dense(dense[0], activation="relu", name="dense")(joined)
    inputs = {"image": image, "psf": psf}
    if chosen.covariance:
        return gaussian_network("galnet", inputs, feature, chosen, width=dense[1])
    return feature_network("galnet", inputs, feature, chosen, width=dense[1])


def _branch(maps: Any, widths: tuple[int, ...], name: str, stride: int = 1) -> Any:
    """Pairs of convolutions, each pair followed by a pooling; as a vector. The first convolution may step."""
    for block, width in enumerate(widths):
        for index in range(2):
            first = stride if block == index == 0 else 1
            maps = layers.Conv2D(
                width, 2 * first + 1, strides=first, padding="same", activation="relu",
                name=f"{name}_block{block}_conv{index}",
            )(maps)  # fmt: skip
        maps = layers.MaxPooling2D(2, name=f"{name}_block{block}_pool")(maps)
    return layers.Flatten(name=f"{name}_flatten")(maps)
