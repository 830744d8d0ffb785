"""What is taken from an image to see what it was worth: bands, and resolution.

Bands: GalEffNet paper, section 4.3.1, and GPM-ResNet paper, section 4.5, after Wu & Boada 2019 (MNRAS 484, 4683): one
band is copied to all three channels; of two the middle channel is the mean. Resolution: GalEffNet section 4.3.2 and
GPM-ResNet section 4.4, by bilinear interpolation of the displayed stamp; of fluxes by the area of each new pixel, which
keeps the flux.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.stamp import FramedTarget
from galbase.ingest.preprocess.stretch import WAVELENGTH_ORDER
from galbase.schema.errors import GalbaseError, UsageError

Float32 = npt.NDArray[np.float32]


def parse_bands(text: str) -> tuple[str, ...]:
    """Bands from ``g,r``, in order of wavelength.

    Raises
    ------
    UsageError
        If they are not one or two different ones of g, r, i, z.
    """
    names = [name.strip() for name in text.split(",")]
    if not 1 <= len(names) <= 2 or len(set(names)) != len(names) or not set(names) <= set(WAVELENGTH_ORDER):
        raise UsageError(
            f"--bands {text!r} is not one or two different ones of {', '.join(WAVELENGTH_ORDER)}, such as g,r; without "
            "it all bands are used."
        )
    return tuple(band for band in WAVELENGTH_ORDER if band in names)


def check_resolution(side: int, shown_px: int, network_px: int = 1) -> None:
    """Refuse a resolution that what is shown of stamps does not have, or that is less than the network needs.

    Raises
    ------
    UsageError
    """
    if not network_px <= side <= shown_px:
        raise UsageError(
            f"--resolution {side} is not from {network_px} to {shown_px}, the side in px of what this network sees of "
            "the training set's stamps."
        )


def with_bands(target: FramedTarget, bands: Sequence[str]) -> FramedTarget:
    """A target with some of its bands alone, in their order in the image.

    Raises
    ------
    GalbaseError
        If the image does not have one.
    """
    missing = [band for band in bands if band not in target.bands]
    if missing:
        raise GalbaseError(
            f"an image has bands {', '.join(target.bands)} and no {missing[0]}, which this model reads; of display "
            "images the bands are named at `galbase ingest images --bands`."
        )
    kept = [index for index, band in enumerate(target.bands) if band in bands]
    return replace(target, pixels=target.pixels[..., kept], bands=tuple(target.bands[index] for index in kept))


def area_resampled(flux: Float32, side: int) -> Float32:
    """Fluxes a pixel ``(n, n, n_band)`` on `side` x `side` pixels of the same sky; each flux goes where its area goes.

    Parameters
    ----------
    flux : (n, n, n_band) float32
    side : int
        At most n. Where it divides n, squares of pixels are added up.

    Raises
    ------
    UsageError
        If it is not from 1 to n.
    """
    n = flux.shape[0]
    if not 1 <= side <= n:
        raise UsageError(f"an image of {n} pixels a side cannot be resampled to {side}.")
    if side == n:
        return flux
    # Share of each old pixel (columns) in each new one (rows).
    edge = np.arange(side + 1) * (n / side)
    low, high = edge[:-1, None], edge[1:, None]
    old = np.arange(n)[None, :]
    share = np.clip(np.minimum(high, old + 1) - np.maximum(low, old), 0, 1)
    return np.asarray(np.einsum("yv,vub,xu->yxb", share, flux.astype(np.float64), share, optimize=True), np.float32)


def bilinear_resampled(display: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """A displayed stamp ``(n, n, 3)`` on `side` x `side` pixels by bilinear interpolation, as published.

    The papers name no smoothing before it; without any, pixels between those that are asked are not seen.
    """
    import cv2

    if display.shape[0] == side:
        return display
    return np.asarray(cv2.resize(display, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
