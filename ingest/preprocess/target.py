"""The target of an image by method improved: its light, its mask, and what else lies there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.asymmetry import Asymmetry, turn_and_subtract
from galbase.ingest.preprocess.coadd import Coadd, Plane, coadd, with_correlated_noise
from galbase.ingest.preprocess.config import ImprovedConfig
from galbase.ingest.preprocess.detection import Labels, Region, Sources, detect, faint_region
from galbase.ingest.preprocess.ellipse import Ellipse, draw_mask
from galbase.schema.flags import PreprocessFlag

# A peak this much above its surroundings, in noise of a pixel, is no noise: three times the rms of the fine image.
_PEAK_SIGMA = 0.8


@dataclass(frozen=True)
class Target:
    """What was found; the first three are None where there is no target, and `flag` says why.

    Parameters
    ----------
    region : (ny, nx) bool or None
        Its light above the threshold.
    mask : (ny, nx) bool or None
        The region and its faint outskirts, without other sources.
    ellipse : Ellipse or None
        Of the region's area and second moments, before enlargement.
    flag : PreprocessFlag
    n_region, n_source : int
        Connected regions in the image; sources in the target's one.
    blend_score : float or None
    rms : float
        Of the added bands, nanomaggies a pixel or display values.
    labels : (ny, nx) int32
        Source 1, 2, ... of each pixel after deblending; 0 is sky.
    """

    region: Region | None
    mask: Region | None
    ellipse: Ellipse | None
    flag: PreprocessFlag
    n_region: int
    n_source: int
    blend_score: float | None
    rms: float
    labels: Labels


def find_target(pixels: Plane, bands: Sequence[str], is_display: bool, config: ImprovedConfig) -> Target:
    """Find the target of an image and part it from other sources.

    Parameters
    ----------
    pixels : (ny, nx, n_band) float32
        Finite; at least one band is not constant.
    bands : sequence of str
    is_display : bool
    config : ImprovedConfig
    """
    return find_in_coadd(coadd(pixels, bands, is_display), is_display, config)


def find_in_coadd(image: Coadd, is_display: bool, config: ImprovedConfig) -> Target:
    """`find_target` of an image whose bands have been added."""
    if is_display:
        image = with_correlated_noise(image, config.kernel_fwhm_px)
    sources = detect(image.every, config)
    peak = _central_peak(image.red, sources, config)
    if peak is None:
        faint = faint_region(image.every, sources.labels > 0, config)
        if faint is None:
            why = PreprocessFlag.NO_TARGET
            why |= PreprocessFlag.TARGET_OFF_CENTRE if sources.n_region else PreprocessFlag.NO_SOURCE_DETECTED
            return Target(None, None, None, why, sources.n_region, 0, None, float(image.rms), sources.labels)
        return _part(image, sources, faint, faint, None, config)
    x, y = peak
    whole = sources.regions == sources.regions[y, x]
    return _part(image, sources, whole, sources.labels == sources.labels[y, x], peak, config)


def _central_peak(image: Plane, sources: Sources, config: ImprovedConfig) -> tuple[int, int] | None:
    """Column and row of the highest local peak near the middle that lies on a source; the middle itself where a source
    covers it without a peak, as a blend's fainter half or a ring does; None if no source is near.
    """
    ny, nx = image.shape
    reach, y, x = math.ceil(config.max_centre_distance_px), ny // 2, nx // 2
    y0, x0 = max(0, y - reach - 1), max(0, x - reach - 1)
    near = (slice(y0, y + reach + 2), slice(x0, x + reach + 2))
    smoothed = cv2.GaussianBlur(image[near], (5, 5), 0, borderType=cv2.BORDER_REFLECT)
    rows, columns = np.mgrid[near]
    inside = np.hypot(columns - (nx - 1) / 2, rows - (ny - 1) / 2) <= config.max_centre_distance_px
    inside &= sources.labels[near] > 0
    peaks = inside & (smoothed >= cv2.dilate(smoothed, np.ones((3, 3), np.uint8)))
    if peaks.any():
        row, column = np.unravel_index(int(np.argmax(np.where(peaks, smoothed, -np.inf))), peaks.shape)
        return x0 + int(column), y0 + int(row)
    if inside.any():
        distance = np.where(inside, np.hypot(columns - (nx - 1) / 2, rows - (ny - 1) / 2), np.inf)
        row, column = np.unravel_index(int(np.argmin(distance)), distance.shape)
        return x0 + int(column), y0 + int(row)
    return None


def _part(
    image: Coadd,
    sources: Sources,
    whole: Region,
    own: Region,
    peak: tuple[int, int] | None,
    config: ImprovedConfig,
) -> Target:
    """Part the target from the other sources of its connected region."""
    flag = PreprocessFlag(0)
    if peak is None:
        flag |= PreprocessFlag.LOW_SURFACE_BRIGHTNESS
        smoothed = cv2.GaussianBlur(image.red, (0, 0), config.faint_kernel_px)
        y, x = np.unravel_index(int(np.argmax(np.where(whole, smoothed, -np.inf))), whole.shape)
        peak = int(x), int(y)
    sides = turn_and_subtract(image.red, *peak, config)
    score = sides.score(whole, config.core_px)
    if score > config.max_blend_score:
        flag |= PreprocessFlag.BLENDED
    labels = sources.labels
    parts = _own_parts(sources, sides, whole, int(labels[peak[1], peak[0]]), config)
    region = np.asarray(own | np.isin(labels, parts)) if parts else own
    parts += _tails(sides.fine, sources, whole, region, config)
    region = np.asarray(own | np.isin(labels, parts)) if parts else own
    lone = sides.lone_sources(region, config)
    region = region & ~lone
    others = ((labels > 0) | lone) & ~region
    ellipse = _moment_ellipse(region)
    if ellipse.b < config.min_semi_axis_px:
        flag |= PreprocessFlag.TARGET_TOO_SMALL
    within = draw_mask((region.shape[0], region.shape[1]), ellipse.enlarged(config.enlargement))
    if (others & within).any():
        flag |= PreprocessFlag.INTERLOPER_MASKED
    mask = (within | _grown(region, config.interloper_margin_px)) & ~_grown(others, config.interloper_margin_px)
    children = np.unique(labels[whole])
    n_source = max(1, int(np.count_nonzero(children)) - len(parts))
    return Target(region, mask | region, ellipse, flag, sources.n_region, n_source, score, float(image.rms), labels)


def _own_parts(sources: Sources, sides: Asymmetry, whole: Region, own: int, config: ImprovedConfig) -> list[int]:
    """Labels of deblended sources that are clumps and arms of the target: the other side shows the same."""
    parts = []
    for index, (x, y) in enumerate(zip(sources.x, sources.y, strict=True)):
        if index + 1 == own or not whole[y, x]:
            continue
        if sides.shared[y, x] and sides.residual[y, x] < config.interloper_score:
            parts.append(index + 1)
    return parts


def _tails(fine: Plane, sources: Sources, whole: Region, region: Region, config: ImprovedConfig) -> list[int]:
    """Labels of deblended sources beside the target that have no peak of their own: tails, shells and arms, whose light
    is hardly brighter anywhere than where it meets the target. Another source, even a faint one, is.
    """
    beside = sources.labels[whole & ~region]
    if not beside.any():
        return []
    touching = _grown(region, 1)
    tails: list[int] = []
    if config.tail_prominence == 0:
        return tails
    for label in np.unique(beside[beside > 0]):
        child = sources.labels == label
        seam = fine[child & touching]
        if seam.size == 0:
            continue
        brightest = float(seam.max())
        if fine[child].max() < max(config.tail_prominence * brightest, brightest + _PEAK_SIGMA):
            tails.append(int(label))
    return tails


def _grown(region: Region, margin_px: int) -> Region:
    if margin_px == 0:
        return region
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    return np.asarray(cv2.dilate(region.astype(np.uint8), kernel) > 0)


def _moment_ellipse(region: Region) -> Ellipse:
    """The ellipse with the second moments of a region; a filled ellipse has a quarter of its semi-axis squared."""
    moments = cv2.moments(region.astype(np.uint8), binaryImage=True)
    area = moments["m00"]
    # A pixel is not a point: its own second moment is 1/12.
    xx, yy, xy = moments["mu20"] / area + 1 / 12, moments["mu02"] / area + 1 / 12, moments["mu11"] / area
    mean, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    a, b = 2 * math.sqrt(mean + half), 2 * math.sqrt(max(mean - half, 1 / 12))
    theta = math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) % 180
    return Ellipse(moments["m10"] / area, moments["m01"] / area, a, b, theta)


def enclosing_circle(region: Region) -> float:
    """Radius in pixels of the minimum circle around the pixel centres of a region."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points: npt.NDArray[np.int32] = np.concatenate([np.asarray(contour, np.int32) for contour in contours])
    return float(cv2.minEnclosingCircle(points)[1])
