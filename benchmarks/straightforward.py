"""GalEffNet's preprocessing as one would write it from the paper, with OpenCV, astropy and photutils as they come.

Nothing here is shared with galbase but the display stretch's constants of the paper; it is the peer that benchmarks and
tests compare speed and verdicts with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from astropy.convolution import convolve
from photutils.background import Background2D, MedianBackground
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources, make_2dgaussian_kernel

Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlainVerdict:
    """What the method decides of a stamp; None where there is no target.

    Parameters
    ----------
    radius_px : float or None
    n_source, n_region : int or None
    kept : bool
    """

    radius_px: float | None = None
    n_source: int | None = None
    n_region: int | None = None
    kept: bool = False


def stretch(flux: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """R, G, B of g, r, z fluxes: the Legacy Survey viewer's dr2_rgb, as its published code computes it."""
    scaled = [flux[..., i] * scale + 0.03 for i, scale in enumerate((6.0, 3.4, 2.2))]
    mean = sum(np.maximum(plane, 0.0) for plane in scaled) / 3
    factor = np.arcsinh(20.0 * mean) / 20.0**0.5 / np.where(mean == 0.0, 1e-6, mean)
    return np.stack([np.clip(plane * factor, 0.0, 1.0) for plane in reversed(scaled)], axis=-1).astype(np.float32)


def threshold_of(grey: Image) -> float:
    """Half the sum of the two classes' means, until it stays."""
    threshold = (grey.max() + grey.min()) / 2
    while True:
        updated = (grey[grey >= threshold].mean() + grey[grey < threshold].mean()) / 2
        # Rounding in the means' order of summation must not keep it from ending.
        if abs(updated - threshold) < 1e-12:
            return float(updated)
        threshold = updated


def sources(grey: Image, with_catalogues: bool) -> int:
    """Sources of the masked grey image: photutils' background, detection and deblending.

    Parameters
    ----------
    with_catalogues : bool
        As the published code: a SourceCatalog after detection and another after deblending, for their number of rows.
    """
    background = Background2D(grey, (50, 50), filter_size=(3, 3), bkg_estimator=MedianBackground())
    data = grey - background.background
    smoothed = convolve(data, make_2dgaussian_kernel(3.0, size=5))
    segments = detect_sources(smoothed, 1.5 * background.background_rms, 10)
    if segments is None:
        return 0
    if with_catalogues:
        SourceCatalog(data, segments, convolved_data=smoothed).to_table()
    parts = deblend_sources(smoothed, segments, 10, n_levels=90, contrast=1e-6, progress_bar=False)
    if with_catalogues:
        return len(SourceCatalog(data, parts, convolved_data=smoothed).to_table())
    return int(parts.n_labels)


def judge_plainly(flux: npt.NDArray[np.float32], regions: bool = False, with_catalogues: bool = False) -> PlainVerdict:
    """The paper's text, step by step, on one stamp.

    Parameters
    ----------
    flux : (ny, nx, 3) float32
        g, r, z at 0.262 arcsec a pixel.
    regions : bool
        Outline the regions above threshold instead of their Canny edges.
    with_catalogues : bool
        See `sources`.
    """
    rgb = stretch(flux)
    grey = (rgb[..., 0] * 0.299 + rgb[..., 1] * 0.587 + rgb[..., 2] * 0.114).astype(np.float64)
    threshold = threshold_of(grey)
    binary = np.where(grey > threshold, 255, 0).astype(np.uint8)
    drawn = binary if regions else cv2.Canny(binary, 30, 90)
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    y0, x0 = grey.shape[0] / 2, grey.shape[1] / 2
    found = []
    for contour in contours:
        if len(contour) >= 5:
            (x, y), axes, angle = cv2.fitEllipse(contour)
            if math.isfinite(x + y + sum(axes) + angle) and min(axes) / 2 > 3:
                found.append((math.hypot(x - x0, y - y0), x, y, axes, angle))
    if not found:
        return PlainVerdict()
    distance, x, y, axes, angle = min(found, key=lambda each: each[0])
    if distance >= 5:
        return PlainVerdict()
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = (columns - x) * cos + (rows - y) * sin, (rows - y) * cos - (columns - x) * sin
    mask = (along / (0.75 * axes[0])) ** 2 + (across / (0.75 * axes[1])) ** 2 <= 1
    n_label, labels, stats, _ = cv2.connectedComponentsWithStats(((binary > 0) & mask).astype(np.uint8))
    if n_label < 2:
        return PlainVerdict()
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    _, radius = cv2.minEnclosingCircle(np.argwhere(labels == largest)[:, ::-1].astype(np.int32))
    masked = np.where(mask, grey, 0.0)
    n_source = sources(masked, with_catalogues)
    _, _, stats, _ = cv2.connectedComponentsWithStats((masked > threshold_of(masked)).astype(np.uint8))
    n_region = int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] > 3))
    kept = radius < 23 and n_source == 1 and n_region <= 2
    return PlainVerdict(float(radius), n_source, n_region, kept)
