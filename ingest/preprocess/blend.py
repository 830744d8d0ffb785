"""Is the target one source? Detection with deblending, and the count of regions above a new threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from galbase.ingest.preprocess.mesh import spread_mesh

Image = npt.NDArray[np.float64]
KERNEL_PX = 5


@dataclass(frozen=True)
class Background:
    """Level and rms of the background of a grey image, each (ny, nx) float64."""

    level: Image
    rms: Image

    @property
    def typical_rms(self) -> float:
        """Median of the rms map."""
        return float(np.median(self.rms))


def measure_background(grey: Image, box_px: int = 50, filter_px: int = 3) -> Background:
    """Sigma-clipped median and rms in a mesh, median-filtered and interpolated (photutils' Background2D).

    Boxes that lose more than a tenth of their pixels to the clipping do not count, unless all of them do, as where a
    galaxy fills the image; photutils then gives up, and here all count.

    Parameters
    ----------
    grey : (ny, nx) float64
        Finite.
    box_px : int
        Side of a mesh box; the image's side where that is shorter.
    filter_px : int
        Odd width of the median filter over the mesh.
    """
    from photutils.background import Background2D, MedianBackground

    box = (min(box_px, grey.shape[0]), min(box_px, grey.shape[1]))
    options = {"filter_size": (filter_px, filter_px), "bkg_estimator": MedianBackground()}
    try:
        mesh = Background2D(grey, box, **options)
    except ValueError:
        # Pixels are finite and unmasked, so this is the only complaint that it can have.
        mesh = Background2D(grey, box, exclude_percentile=100, **options)
    level, rms = (np.asarray(each, np.float64) for each in (mesh.background_mesh, mesh.background_rms_mesh))
    shape = (grey.shape[0], grey.shape[1])
    return Background(spread_mesh(level, box, shape), spread_mesh(rms, box, shape))


@lru_cache(maxsize=8)
def smoothing_kernel(fwhm_px: float) -> Image:
    """Gaussian of the given FWHM on 5 x 5 pixels, of sum 1 (photutils' make_2dgaussian_kernel)."""
    from photutils.segmentation import make_2dgaussian_kernel

    return np.asarray(make_2dgaussian_kernel(fwhm_px, size=KERNEL_PX).array, np.float64)


def smooth(data: Image, fwhm_px: float) -> Image:
    """Convolution with `smoothing_kernel`, zero beyond the edge."""
    return np.asarray(
        cv2.filter2D(data, cv2.CV_64F, smoothing_kernel(fwhm_px), borderType=cv2.BORDER_CONSTANT), np.float64
    )


def detect(data: Image, threshold: Image, n_pixels: int) -> npt.NDArray[np.int32]:
    """Labels 1, 2, ... of 8-connected regions of at least `n_pixels` pixels above `threshold`, 0 elsewhere.

    The labels are those of photutils' detect_sources, which warns where it finds nothing.
    """
    labels, n_label = ndimage.label(data > threshold, structure=np.ones((3, 3), int))
    large = np.bincount(labels.ravel(), minlength=n_label + 1) >= n_pixels
    large[0] = False
    renumbered = np.where(large, np.cumsum(large), 0)
    return np.asarray(renumbered[labels], np.int32)


def count_sources(
    data: Image, rms: Image, *, sigma: float, n_pixels: int, fwhm_px: float, levels: int, contrast: float
) -> int:
    """Number of sources after detection and multi-threshold watershed deblending (photutils).

    Parameters
    ----------
    data : (ny, nx) float64
        Background-subtracted grey image, masked outside the target.
    rms : (ny, nx) float64
        Background rms; the threshold is `sigma` times it.
    sigma, n_pixels, fwhm_px, levels, contrast
        Threshold in rms, least connected pixels, FWHM of the smoothing, deblending levels and contrast.

    Returns
    -------
    int
        0 if nothing is detected.
    """
    from photutils.segmentation import SegmentationImage, deblend_sources

    smoothed = smooth(data, fwhm_px)
    # A threshold of exactly 0 would let pixels of rounding noise in, and deblending needs positive data.
    labels = detect(smoothed, np.maximum(sigma * rms, 0.0), n_pixels)
    if not labels.any():
        return 0
    n_label = int(labels.max())
    divisible = [k for k in range(1, n_label + 1) if _may_divide(smoothed, labels == k, n_pixels, levels)]
    if not divisible:
        return n_label
    deblended = deblend_sources(
        smoothed, SegmentationImage(labels), n_pixels, labels=divisible, n_levels=levels, contrast=contrast,
        progress_bar=False,
    )  # fmt: skip
    return int(deblended.n_labels)


def _may_divide(data: Image, region: npt.NDArray[np.bool_], n_pixels: int, levels: int) -> bool:
    """Whether a region falls into two parts of at least `n_pixels` pixels at any of the deblending's levels.

    Otherwise photutils finds one source, at ten times the cost. The levels are its own: exponentially spaced between
    the region's least and largest value, or linearly if the least is not positive.
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    inside = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    values = data[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ordered = np.sort(values[inside])
    low, high = ordered[0], ordered[-1]
    if low == high or len(ordered) < 2 * n_pixels:
        return False
    linear = np.linspace(low, high, levels + 2)
    thresholds = linear if low <= 0 else low * (high / low) ** ((linear - low) / (high - low))
    values = np.where(inside, values, -np.inf)
    for threshold in thresholds[1:-1]:
        # Two parts need twice the pixels, and higher levels have fewer.
        if len(ordered) - int(np.searchsorted(ordered, threshold, side="right")) < 2 * n_pixels:
            return False
        _, _, stats, _ = cv2.connectedComponentsWithStats((values > threshold).view(np.uint8), connectivity=8)
        if np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] >= n_pixels) > 1:
            return True
    return False


def count_regions(binary: npt.NDArray[np.bool_], min_pixels: int) -> int:
    """Number of 8-connected regions with more than `min_pixels` pixels."""
    n_label, _, stats, _ = cv2.connectedComponentsWithStats(binary.astype(np.uint8))
    if n_label < 2:
        return 0
    return int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] > min_pixels))
