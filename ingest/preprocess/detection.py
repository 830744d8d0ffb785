"""Detection in flux space: sky before any masking, one image of all bands in units of its noise, sources with sep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import sep

from galbase.ingest.preprocess.blend import smoothing_kernel
from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.stretch import WAVELENGTH_ORDER

Plane = npt.NDArray[np.float32]
Region = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

# The sky is measured where the Chebyshev distance from the middle exceeds this share of the shorter side.
_RING_FROM = 1 / 3
_CLIP_SIGMA, _N_CLIP = 2.5, 2
# Distance of the quartiles of normal noise in units of its rms, whole and clipped at 2.5 sigma.
_QUARTILES, _QUARTILES_CLIPPED = 1.3490, 1.3294
# Display values are rounded; where a JPEG's sky is black, its noise is not 0 but unknown below this [grey levels].
_LEAST_DISPLAY_RMS = 0.5
# A band whose sky shows no noise at all cannot be weighted by it; its rms counts as this share of its range.
_LEAST_RMS_SHARE = 1e-4
# sep needs two pixels more than an image has to find all of them above the threshold.
_SPARE_PIXELS = 16
# Below, the weight would overflow.
_LEAST_RMS = 1e-15


@dataclass(frozen=True)
class Coadd:
    """All bands as one image, and the redder of them, in units of the noise of a pixel; the sky is 0.

    Parameters
    ----------
    every, red : (ny, nx) float32
        Mean of the bands weighted by inverse variance of the sky, divided by its rms; `red` is of the two reddest
        bands, in which star-forming regions stand out least.
    rms : float
        The rms of `every`, nanomaggies a pixel or display values.
    """

    every: Plane
    red: Plane
    rms: float


@lru_cache(maxsize=8)
def _ring(ny: int, nx: int) -> npt.NDArray[np.intp]:
    y, x = np.mgrid[:ny, :nx]
    far = np.maximum(np.abs(y - (ny - 1) / 2), np.abs(x - (nx - 1) / 2)) >= _RING_FROM * min(ny, nx)
    # Every third pixel: the level is known to 2 % of the rms, at a third of the time.
    return np.flatnonzero(far)[::3]


def sky_level(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Median of the sky and its rms from the quartiles, sources clipped."""
    ordered = np.sort(values)
    low, high = 0, len(ordered)
    spread = _QUARTILES
    for _ in range(_N_CLIP):
        level, rms = _middle(ordered[low:high], spread)
        low = int(np.searchsorted(ordered, level - _CLIP_SIGMA * rms, side="left"))
        high = max(low + 1, int(np.searchsorted(ordered, level + _CLIP_SIGMA * rms, side="right")))
        spread = _QUARTILES_CLIPPED
    return _middle(ordered[low:high], spread)


def _middle(ordered: npt.NDArray[np.float32], spread: float) -> tuple[float, float]:
    n = len(ordered)
    quartiles = float(ordered[(3 * n) // 4]) - float(ordered[n // 4])
    return float(ordered[n // 2]), quartiles / spread


def coadd(pixels: Plane, bands: Sequence[str], is_display: bool) -> Coadd:
    """Subtract each band's sky and add the bands.

    Parameters
    ----------
    pixels : (ny, nx, n_band) float32
        Finite; at least one band is not constant. Pixels that are 0 in all bands have no data and do not count as sky.
    bands : sequence of str
        Names of flux bands; a display image's channels are R, G, B.
    is_display : bool
    """
    ny, nx, n_band = pixels.shape
    flat = pixels.reshape(-1, n_band)
    sky = flat[_ring(ny, nx)]
    if not is_display:
        with_data = sky.any(axis=1)
        sky = sky[with_data] if with_data.any() else sky
    planes, weights = [], []
    for band in range(n_band):
        level, rms = sky_level(np.ascontiguousarray(sky[:, band]))
        plane = pixels[..., band] - np.float32(level)
        least = _LEAST_DISPLAY_RMS if is_display else _LEAST_RMS_SHARE * float(max(plane.max(), -plane.min()))
        planes.append(plane)
        weights.append(0.0 if least == 0 else 1 / max(rms, least, _LEAST_RMS) ** 2)
    order = sorted(range(n_band), key=lambda band: -band if is_display else WAVELENGTH_ORDER.index(bands[band]))
    red = [band for band in order if weights[band] > 0][-2:]
    every = _weighted(planes, weights, order)
    return Coadd(every, _weighted(planes, weights, red) if len(red) < n_band else every, sum(weights) ** -0.5)


def _weighted(planes: Sequence[Plane], weights: Sequence[float], chosen: Sequence[int]) -> Plane:
    total = sum(weights[band] for band in chosen) ** 0.5
    added = planes[chosen[0]] * np.float32(weights[chosen[0]] / total)
    for band in chosen[1:]:
        added += planes[band] * np.float32(weights[band] / total)
    return np.ascontiguousarray(added, np.float32)


def with_correlated_noise(image: Coadd, kernel_fwhm_px: float) -> Coadd:
    """The image in units of the noise that detection meets, where that of neighbouring pixels is alike.

    Compression and resampling of display images do that; counted as white, their noise makes sources all over the
    image and draws the target's isophote far into the sky. Smoothed by the detection's kernel, white noise of rms 1 has
    the rms sqrt(sum(kernel^2)); what is found above that is put into the unit.
    """
    kernel = smoothing_kernel(kernel_fwhm_px)
    smoothed = cv2.filter2D(image.every, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT)
    _, rms = sky_level(smoothed.ravel()[_ring(*image.every.shape)])
    factor = max(1.0, rms / float(np.sqrt((kernel**2).sum())))
    return Coadd(image.every / np.float32(factor), image.red / np.float32(factor), image.rms * factor)


@dataclass(frozen=True)
class Sources:
    """What sep found.

    Parameters
    ----------
    labels : (ny, nx) int32
        Source 1, 2, ... of each pixel after deblending; 0 is sky.
    regions : (ny, nx) int32
        Connected region of each pixel, before deblending as after; 0 is sky.
    n_region : int
    x, y : (n_source,) int64
        Column and row of each source's peak.
    """

    labels: Labels
    regions: Labels
    n_region: int
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]


def detect(image: Plane, config: ImprovedConfig) -> Sources:
    """Sources above `detect_sigma`, deblended at `deblend_levels` thresholds (sep: Barbary 2016, JOSS 1, 58; Bertin &
    Arnouts 1996, A&AS 117, 393).

    Parameters
    ----------
    image : (ny, nx) float32
        In units of the noise of a pixel.
    config : ImprovedConfig
    """
    # sep's buffer of pixels above the threshold: all of them at most. It is written through at each call, so that sep's
    # own 300,000 pixels would cost a stamp half of its time.
    sep.set_extract_pixstack(image.size + _SPARE_PIXELS)
    # Parts of one deblended region: as many as could lie on the image.
    sep.set_sub_object_limit(max(1024, image.size // config.detect_pixels))
    found, labels = sep.extract(
        image,
        config.detect_sigma,
        err=1.0,
        minarea=config.detect_pixels,
        filter_kernel=smoothing_kernel(config.kernel_fwhm_px),
        filter_type="conv",
        deblend_nthresh=config.deblend_levels,
        deblend_cont=config.deblend_contrast,
        clean=False,
        segmentation_map=True,
    )
    n_region, regions = cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)
    return Sources(
        np.asarray(labels, np.int32),
        np.asarray(regions, np.int32),
        n_region - 1,
        np.asarray(found["xcpeak"], np.int64),
        np.asarray(found["ycpeak"], np.int64),
    )


def faint_region(image: Plane, taken: Region, config: ImprovedConfig) -> Region | None:
    """Diffuse light at the middle that single pixels do not show: the connected region above `faint_sigma` of the image
    smoothed by `faint_kernel_px`, none of whose pixels belong to sources already found.

    Returns
    -------
    (ny, nx) bool or None
        None if no such region comes within `max_centre_distance_px` of the middle.
    """
    smoothed = cv2.GaussianBlur(image, (0, 0), config.faint_kernel_px, borderType=cv2.BORDER_REFLECT)
    level, rms = sky_level(smoothed.ravel()[_ring(*image.shape)])
    bright = (smoothed > level + config.faint_sigma * rms) & ~taken
    _, labels = cv2.connectedComponents(bright.astype(np.uint8), connectivity=8)
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return None
    distance = np.hypot(columns - (image.shape[1] - 1) / 2, rows - (image.shape[0] - 1) / 2)
    nearest = int(np.argmin(distance))
    if distance[nearest] > config.max_centre_distance_px:
        return None
    return np.asarray(labels == labels[rows[nearest], columns[nearest]])
