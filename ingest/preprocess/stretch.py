"""From fluxes to display colours, and from colours to grey."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

# Legacy Survey viewer's scales of its first releases (function dr2_rgb); i from its tenth release.
BAND_SCALE: dict[str, float] = {"g": 6.0, "r": 3.4, "i": 3.0, "z": 2.2}
# Bands from blue to red: the reddest becomes R.
WAVELENGTH_ORDER = ("g", "r", "i", "z")
OFFSET = 0.03
SOFTENING = 20.0
GREY_WEIGHTS = (0.299, 0.587, 0.114)


def dr2_rgb(flux: Any, bands: Sequence[str], xp: ModuleType | Any = np) -> Any:
    """Display colours of the Legacy Survey viewer's `dr2_rgb`.

    With I the mean over the bands of max(0, s*f + m), colour = (s*f + m) * arcsinh(Q I) / (sqrt(Q) I),
    clipped to [0, 1]; s = 6.0, 3.4, 2.2 for g, r, z, m = 0.03, Q = 20 (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    flux : array of float32, shape (..., n_band)
        Fluxes in nanomaggies a pixel, finite. Any leading dimensions.
    bands : sequence of str
        Name of each band: one, two or three of g, r, i, z.
    xp : module
        Array namespace: numpy, or another with its names.

    Returns
    -------
    array of float32, shape (..., 3)
        R, G, B in [0, 1], reddest band first. One band is copied to all three; of two, the middle channel
        is their mean (Zhong et al. 2024, section 4.3.1).

    Raises
    ------
    ValueError
        If a band has no scale, occurs twice, or their number is not 1 to 3.
    """
    names = tuple(bands)
    if not displayable(names):
        raise ValueError(f"bands {names}: one to three different ones of {WAVELENGTH_ORDER} can be displayed")
    ordered = [band for band in WAVELENGTH_ORDER if band in names]
    scaled = [flux[..., names.index(band)] * BAND_SCALE[band] + OFFSET for band in ordered]
    intensity = sum(xp.maximum(plane, 0.0) for plane in scaled) / len(scaled)
    factor = xp.arcsinh(SOFTENING * intensity) / SOFTENING**0.5
    factor = factor / xp.where(intensity == 0.0, 1e-6, intensity)
    planes = [xp.clip(plane * factor, 0.0, 1.0) for plane in reversed(scaled)]
    return xp.stack(three_channels(planes), axis=-1)


def displayable(bands: Sequence[str]) -> bool:
    """Whether `dr2_rgb` has a scale for each of one to three different bands."""
    return 1 <= len(bands) <= 3 and len(set(bands)) == len(bands) and set(bands) <= set(BAND_SCALE)


def three_channels(planes: Sequence[Any]) -> list[Any]:
    """Three planes of one, two or three: a single one is copied, of two the middle is the mean."""
    if len(planes) == 1:
        return [planes[0], planes[0], planes[0]]
    if len(planes) == 2:
        return [planes[0], (planes[0] + planes[1]) / 2, planes[1]]
    return list(planes)


def grey_of(rgb: Any, order: str = "rgb") -> Any:
    """Weighted mean of the colours, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as OpenCV's RGB to grey).

    Parameters
    ----------
    rgb : array of float, shape (..., 3)
    order : {'rgb', 'bgr'}
        'bgr' gives the first channel B's weight, as the published code does.

    Returns
    -------
    array of float, shape (...)
    """
    first, second, third = GREY_WEIGHTS if order == "rgb" else GREY_WEIGHTS[::-1]
    return rgb[..., 0] * first + rgb[..., 1] * second + rgb[..., 2] * third
