"""The families of networks: a network is rebuilt from its family, preset and options alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from galbase.ml.networks.galeffnet import build_galeffnet
from galbase.ml.networks.galnet import build_galnet
from galbase.ml.networks.gpm_resnet import build_gpm_resnet
from galbase.ml.networks.mmlforgalam import build_m1, build_m3, build_m4
from galbase.ml.networks.network import Network
from galbase.schema.errors import UsageError

Builder = Callable[[str, Mapping[str, Any]], Network]

FAMILIES: dict[str, Builder] = {
    "galeffnet": build_galeffnet,
    "gpm_resnet": build_gpm_resnet,
    "mmlforgalam_m1": build_m1,
    "mmlforgalam_m3": build_m3,
    "mmlforgalam_m4": build_m4,
    "galnet": build_galnet,
}


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
    if family not in FAMILIES:
        raise UsageError(f"no network family {family!r}; use one of {', '.join(sorted(FAMILIES))}.")
    return FAMILIES[family](preset, options)
