"""The sky of an image, measured before anything is masked, and all its bands as one image in units of its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.blend import smoothing_kernel
from galbase.ingest.preprocess.stretch import WAVELENGTH_ORDER

Plane = npt.NDArray[np.float32]

# The sky is measured where the Chebyshev distance from the middle exceeds this share of the shorter side.
_RING_FROM = 1 / 3
_CLIP_SIGMA, _N_CLIP = 2.5, 2
# Distance of the quartiles of normal noise in units of its rms, whole and clipped at 2.5 sigma.
_QUARTILES, _QUARTILES_CLIPPED = 1.3490, 1.3294
# Display values are rounded; where a JPEG's sky is black, its noise is not 0 but unknown below this [grey levels].
_LEAST_DISPLAY_RMS = 0.5
# A band whose sky shows no noise at all cannot be weighted by it; its rms counts as this share of its range.
_LEAST_RMS_SHARE = 1e-4
# Below, the weight would overflow.
_LEAST_RMS = 1e-15
_N_RED = 2
_ONE, _ZERO = np.float32(1), np.float32(0)


@dataclass(frozen=True)
class Coadd:
    """All bands as one image, and the redder of them, in units of the noise of a pixel; the sky is 0.

    Parameters
    ----------
    every, red : (..., ny, nx) float32
        Mean of the bands weighted by inverse variance of the sky, divided by its rms; `red` is of the two reddest
        bands, in which star-forming regions stand out least.
    rms : (...) float
        The rms of `every`, nanomaggies a pixel or display values.
    """

    every: Any
    red: Any
    rms: Any


@lru_cache(maxsize=8)
def sky_ring(ny: int, nx: int) -> npt.NDArray[np.intp]:
    """Positions in the flattened image of the pixels that the sky is measured on."""
    y, x = np.mgrid[:ny, :nx]
    far = np.maximum(np.abs(y - (ny - 1) / 2), np.abs(x - (nx - 1) / 2)) >= _RING_FROM * min(ny, nx)
    # Every third pixel: the level is known to 2 % of the rms, at a third of the time.
    return np.flatnonzero(far)[::3]


def sky_level(values: Any, usable: Any = None, xp: Any = np) -> tuple[Any, Any]:
    """Median of the sky and its rms from the quartiles, sources clipped.

    Parameters
    ----------
    values : (..., n) array of float32
    usable : (..., n) array of bool, optional
        Values that count, at least one; all when None.
    xp : module
        Array namespace: numpy, or another with its names.

    Returns
    -------
    level, rms : (...) arrays of float
    """
    if usable is None:
        ordered = xp.sort(values, axis=-1)
        low, high = 0, values.shape[-1]
    else:
        ordered = xp.sort(xp.where(usable, values, np.float32(np.inf)), axis=-1)
        low, high = 0, _count(usable, xp)
    spread = _QUARTILES
    for _ in range(_N_CLIP):
        level, rms = _middle(ordered, low, high, spread, xp)
        reach = _CLIP_SIGMA * rms
        low = _count(ordered < (level - reach)[..., None], xp)
        high = xp.maximum(low + 1, _count(ordered <= (level + reach)[..., None], xp))
        spread = _QUARTILES_CLIPPED
    return _middle(ordered, low, high, spread, xp)


def _count(true: Any, xp: Any) -> Any:
    """How many of the last axis are true; numpy adds floats several times as fast as truths."""
    return xp.array(xp.sum(xp.where(true, _ONE, _ZERO), axis=-1), dtype="int32")


def _middle(ordered: Any, low: Any, high: Any, spread: float, xp: Any) -> tuple[Any, Any]:
    """Median, and distance of the quartiles over `spread`, of the ordered values from `low` up to `high`."""
    n = high - low

    def at(index: Any) -> Any:
        if isinstance(index, int):
            return ordered[..., index]
        return xp.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]

    return at(low + n // 2), (at(low + 3 * n // 4) - at(low + n // 4)) / spread


def coadd(pixels: Any, bands: Sequence[str], is_display: bool, xp: Any = np) -> Coadd:
    """Subtract each band's sky and add the bands.

    Parameters
    ----------
    pixels : (..., ny, nx, n_band) array of float32
        Finite; of each image at least one band is not constant. Pixels that are 0 in all bands have no data and do not
        count as sky.
    bands : sequence of str
        Names of flux bands; a display image's channels are R, G, B.
    is_display : bool
    xp : module
        Array namespace: numpy, or another with its names.
    """
    *leading, ny, nx, n_band = pixels.shape
    flat = xp.reshape(pixels, (*leading, ny * nx, n_band))
    sky = xp.take(flat, sky_ring(ny, nx), axis=-2)
    # The pixels of a band side by side: sums along them are several times as fast.
    sky = xp.stack([sky[..., band] for band in range(n_band)], axis=-2)
    usable = None
    if not is_display:
        with_data = xp.any(sky != 0, axis=-2, keepdims=True)
        with_data = with_data | ~xp.any(with_data, axis=-1, keepdims=True)
        usable = xp.broadcast_to(with_data, sky.shape)
    level, rms = sky_level(sky, usable, xp)
    planes, weights = [], []
    for band in range(n_band):
        plane = pixels[..., band] - level[..., band][..., None, None]
        planes.append(plane)
        if is_display:
            weights.append(1 / xp.maximum(rms[..., band], _LEAST_DISPLAY_RMS) ** 2)
            continue
        widest = xp.maximum(xp.max(plane, axis=(-2, -1)), -xp.min(plane, axis=(-2, -1)))
        noise = xp.maximum(xp.maximum(rms[..., band], _LEAST_RMS_SHARE * widest), _LEAST_RMS)
        weights.append(xp.where(widest == 0, 0.0, noise**-2))
    order = sorted(range(n_band), key=lambda band: -band if is_display else WAVELENGTH_ORDER.index(bands[band]))
    planes, weights = [planes[band] for band in order], [weights[band] for band in order]
    every = _weighted(planes, weights)
    red = every if n_band <= _N_RED else _weighted(planes, _reddest(weights, xp))
    return Coadd(every, red, sum(weights) ** -0.5)


def _reddest(weights: Sequence[Any], xp: Any) -> list[Any]:
    """Weights from blue to red, 0 but for the two reddest of those above 0."""
    chosen = []
    n_redder: Any = 0
    for weight in reversed(weights):
        used = (weight > 0) & (n_redder < _N_RED)
        chosen.append(xp.where(used, weight, 0.0))
        n_redder = n_redder + xp.where(used, 1, 0)
    return chosen[::-1]


def _weighted(planes: Sequence[Any], weights: Sequence[Any]) -> Any:
    total = sum(weights) ** 0.5
    shares = [(weight / total)[..., None, None] for weight in weights]
    return sum(plane * share for plane, share in zip(planes, shares, strict=True))


def with_correlated_noise(image: Coadd, kernel_fwhm_px: float) -> Coadd:
    """The image in units of the noise that detection meets, where that of neighbouring pixels is alike.

    Compression and resampling of display images do that; counted as white, their noise makes sources all over the
    image and draws the target's isophote far into the sky. Smoothed by the detection's kernel, white noise of rms 1 has
    the rms sqrt(sum(kernel^2)); what is found above that is put into the unit.

    Parameters
    ----------
    image : Coadd
        Of one image.
    kernel_fwhm_px : float
    """
    kernel = smoothing_kernel(kernel_fwhm_px)
    smoothed = cv2.filter2D(image.every, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT)
    _, rms = sky_level(smoothed.ravel()[sky_ring(*image.every.shape)])
    factor = max(1.0, float(rms) / float(np.sqrt((kernel**2).sum())))
    return Coadd(image.every / np.float32(factor), image.red / np.float32(factor), image.rms * factor)
