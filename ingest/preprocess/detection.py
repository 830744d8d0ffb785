"""Detection in flux space: sources of an image in units of its noise, with sep."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import sep

from galbase.ingest.preprocess.blend import smoothing_kernel
from galbase.ingest.preprocess.coadd import Plane, sky_level, sky_ring
from galbase.ingest.preprocess.config import ImprovedConfig

Region = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

# sep needs two pixels more than an image has to find all of them above the threshold.
_SPARE_PIXELS = 16


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
    level, rms = sky_level(smoothed.ravel()[sky_ring(*image.shape)])
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
