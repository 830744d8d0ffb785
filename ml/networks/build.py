"""The families of networks: a network is rebuilt from its family, preset and options alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from galbase.ml.networks import backbones, galeffnet, gpm_resnet
from galbase.ml.networks.backbones import BACKBONES, check_backbone
from galbase.ml.networks.galeffnet import build_galeffnet
from galbase.ml.networks.galnet import build_galnet
from galbase.ml.networks.gpm_resnet import build_gpm_resnet
from galbase.ml.networks.mmlforgalam import M2_LEAST_PX, M3_LEAST_PX, build_m1, build_m3, build_m4
from galbase.ml.networks.mmlforgalam_fused import build_fused, build_simulated
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import check_preset
from galbase.schema.errors import UsageError

Builder = Callable[[str, Mapping[str, Any]], Network]

FAMILIES: dict[str, Builder] = {
    "galeffnet": build_galeffnet,
    "gpm_resnet": build_gpm_resnet,
    "mmlforgalam_m1": build_m1,
    "mmlforgalam_m3": build_m3,
    "mmlforgalam_m4": build_m4,
    "mmlforgalam_fused": build_fused,
    "mmlforgalam_simulated": build_simulated,
    "galnet": build_galnet,
}

_IMAGE, _SPECTRUM = frozenset({"image"}), frozenset({"spectrum"})
# What a family reads of an observation when it predicts, scalars aside.
READS: dict[str, frozenset[str]] = {
    "galeffnet": _IMAGE,
    "gpm_resnet": _IMAGE,
    "mmlforgalam_m1": _SPECTRUM,
    "mmlforgalam_m3": _IMAGE,
    "mmlforgalam_m4": frozenset({"spectral_feature", "image_feature"}),
    "mmlforgalam_fused": _IMAGE | _SPECTRUM,
    "mmlforgalam_simulated": _IMAGE,
    "galnet": frozenset({"image", "psf"}),
}
# What a family's training reads beside that: simulated spectral features are learned from observed spectra.
LEARNS_FROM: dict[str, frozenset[str]] = {"mmlforgalam_simulated": _SPECTRUM}

# Families whose backbone can be another, with their own.
OWN_BACKBONES = {"galeffnet": galeffnet.OWN_BACKBONE, "gpm_resnet": gpm_resnet.OWN_BACKBONE}

# What mode improved changes in the published networks.
_IMPROVED: dict[str, dict[str, Any]] = {
    "galeffnet": {"scalar_width": 128},
    "gpm_resnet": {"scalar_width": 128},
    "mmlforgalam_m1": {"conv_l2": 1e-5},
    "mmlforgalam_m3": {"conv_l2": 1e-5, "scalar_width": 128},
    "mmlforgalam_fused": {"conv_l2": 1e-5, "n_token": 8, "shortcut": True, "stacked": True, "scalar_width": 128},
    "mmlforgalam_simulated": {"conv_l2": 1e-5, "n_token": 8, "shortcut": True, "scalar_width": 128},
}
# Least side of the images that a family's poolings leave something of; other families see any.
_LEAST_PX = {"mmlforgalam_m3": M3_LEAST_PX, "mmlforgalam_fused": M3_LEAST_PX, "mmlforgalam_simulated": M2_LEAST_PX}
# Squares of pixels that mode improved adds up: galaxies on 128 pixels of 0.4 arcsec are larger than their PSF by so
# much that four times the epochs are worth more than the finest pixels, if that leaves what M2 needs.
_BIN_PX = {"mmlforgalam_m3": 2, "mmlforgalam_fused": 2, "mmlforgalam_simulated": 2}
# Central part of the stamps that mode improved looks at: GalEffNet's 64 pixels, which hold all galaxies within the
# published limit of 23 pixels; what lies outside counts in the scalars. GPM-ResNet sees all at preset `paper`.
_CROP_PX = {"galeffnet": 64, "gpm_resnet": 64}


def improved_options(family: str) -> dict[str, Any]:
    """Options of a family that mode improved sets, where nobody sets them otherwise."""
    return dict(_IMPROVED.get(family, {}))


def improved_bin_px(family: str, preset: str, stamp_px: int) -> int:
    """Side of the squares of pixels that mode improved adds up for a family; 1 at preset ``paper``.

    Parameters
    ----------
    family, preset : str
    stamp_px : int
        Side of the stamps; small ones stay as they are.
    """
    side = 1 if preset == "paper" else _BIN_PX.get(family, 1)
    return side if stamp_px // side >= M2_LEAST_PX else 1


def least_px(family: str, preset: str, options: Mapping[str, Any]) -> int:
    """Least side of the images that a family can be built for, with this preset and these options; 1 for any."""
    if preset == "paper" and options.get("backbone", OWN_BACKBONES.get(family)) in BACKBONES:
        return backbones.LEAST_PX
    return _LEAST_PX.get(family, 1)


def improved_crop_px(family: str, preset: str) -> int:
    """Side of the central part of the stamps that mode improved shows a family; 0 for all."""
    return 0 if (family, preset) == ("gpm_resnet", "paper") else _CROP_PX.get(family, 0)


def reads(family: str) -> frozenset[str]:
    """Inputs of a family at prediction, scalars aside.

    Raises
    ------
    UsageError
        If the family does not exist.
    """
    _known(family)
    return READS[family]


def learns_from(family: str) -> frozenset[str]:
    """Inputs that a family's training needs; errors as in `reads`."""
    return reads(family) | LEARNS_FROM.get(family, frozenset())


def check_family_options(family: str, preset: str, options: Mapping[str, Any]) -> None:
    """Refuse a preset or a backbone that a family does not have, without building anything.

    Raises
    ------
    UsageError
    """
    _known(family)
    check_preset(family, preset)
    if "backbone" not in options:
        return
    if family not in OWN_BACKBONES:
        raise UsageError(f"family {family} has no choice of backbones; {' and '.join(OWN_BACKBONES)} have.")
    check_backbone(str(options["backbone"]), preset, OWN_BACKBONES[family])


def backbone_of(family: str, preset: str, options: Mapping[str, Any]) -> str:
    """Backbone of `keras.applications` that a network has.

    Raises
    ------
    UsageError
        If it has one of its own.
    """
    name = str(options.get("backbone", OWN_BACKBONES.get(family, family)))
    if preset != "paper" or name not in BACKBONES:
        raise UsageError(
            f"--weights are of a backbone of Keras, and {family} at preset {preset} has one of its own; give --preset "
            "paper, and of gpm_resnet a --backbone too."
        )
    return name


def build(family: str, preset: str, options: Mapping[str, Any]) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    preset : str
        Size of the network, ``tiny``, ``small`` or ``paper``.
    options : mapping
        The family's options; unknown ones are refused, missing ones take the family's defaults.

    Raises
    ------
    UsageError
        If the family, the preset or an option does not exist.
    """
    _known(family)
    return FAMILIES[family](preset, options)


def _known(family: str) -> None:
    if family not in FAMILIES:
        raise UsageError(f"no network family {family!r}; use one of {', '.join(sorted(FAMILIES))}.")
