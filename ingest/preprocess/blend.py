"""Is the target one source? Detection with deblending, and the count of regions above a new threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

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
    mesh = Background2D(grey, box, filter_size=(filter_px, filter_px), bkg_estimator=MedianBackground())
    return Background(np.asarray(mesh.background, np.float64), np.asarray(mesh.background_rms, np.float64))


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
    deblended = deblend_sources(
        smoothed, SegmentationImage(labels), n_pixels, n_levels=levels, contrast=contrast, progress_bar=False
    )
    return int(deblended.n_labels)


def count_regions(binary: npt.NDArray[np.bool_], min_pixels: int) -> int:
    """Number of 8-connected regions with more than `min_pixels` pixels."""
    n_label, _, stats, _ = cv2.connectedComponentsWithStats(binary.astype(np.uint8))
    if n_label < 2:
        return 0
    return int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] > min_pixels))
