"""What a configuration sees in an image, for pictures: colours, outlines, ellipses, mask, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse, draw_mask, find_contours, fit_ellipses
from galbase.ingest.preprocess.frame import Frame, Rgb, display_rgb, finite_pixels, frame_image
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.stretch import displayable, dr2_rgb, grey_of
from galbase.ingest.preprocess.target import find_target
from galbase.ingest.preprocess.threshold import iterative_threshold
from galbase.ingest.preprocess.verdict import Verdict
from galbase.schema.flags import PreprocessFlag

Mask = npt.NDArray[np.bool_]
# x and y of the points of a closed line, (n, 2).
Line = npt.NDArray[np.float64]
# Flags with which a method stops before it looks for anything.
_UNSEEN = (
    PreprocessFlag.NON_FINITE
    | PreprocessFlag.CONSTANT_IMAGE
    | PreprocessFlag.IMAGE_TOO_SMALL
    | PreprocessFlag.BANDS_UNKNOWN
)
# Planes that have no colours are shown in grey between these percentiles.
_GREY_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Overlay:
    """What one configuration sees in one image; lines, ellipses and mask are in pixels of the frame, whose first one
    has its centre at (0, 0).

    Parameters
    ----------
    config : PreprocessConfig
    verdict : Verdict
        That of `preprocess_cutout`.
    frame : Frame
        The part of the image that is judged.
    colours : (ny, nx, 3) float32
        R, G, B of the frame in [0, 1].
    own : sequence of (n, 2) float64
        Outlines of the target: the contour that the ellipse was fitted to, or of method improved its segment.
    others : sequence of (n, 2) float64
        Outlines of everything else: other contours, or other sources' segments.
    ellipse, enlarged : Ellipse or None
        The target, and what the mask reaches to.
    mask : (ny, nx) bool or None
        What is left of the frame.
    """

    config: PreprocessConfig
    verdict: Verdict
    frame: Frame
    colours: Rgb
    own: Sequence[Line]
    others: Sequence[Line]
    ellipse: Ellipse | None
    enlarged: Ellipse | None
    mask: Mask | None


def see(
    cutout: npt.NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    config: PreprocessConfig,
) -> Overlay:
    """What a configuration sees in an image; the arguments are those of `preprocess_cutout`.

    Raises
    ------
    ValueError
        As `preprocess_cutout` does.
    """
    pixels = np.asarray(cutout, np.float32)
    verdict = preprocess_cutout(pixels, bands, pixel_scale_arcsec, is_display, config)
    frame = frame_image(pixels, pixel_scale_arcsec, is_display, config) if pixels.size else Frame(pixels, 0.0, 0.0, 1.0)
    colours = image_colours(frame.pixels, bands, is_display)
    own: list[Line] = []
    others: list[Line] = []
    ellipse = None if verdict.ellipse is None else frame.from_image(verdict.ellipse)
    enlarged = None if ellipse is None else ellipse.enlarged(config.enlargement)
    mask: Mask | None = None
    if not verdict.flag & _UNSEEN:
        if isinstance(config, ImprovedConfig):
            own, others, mask = _segments(finite_pixels(frame.pixels), bands, is_display, config)
        else:
            own, others = _contours(colours, ellipse, config)
            if enlarged is not None:
                ny, nx = colours.shape[:2]
                mask = draw_mask((ny, nx), enlarged, config.mask_drawing)
    return Overlay(config, verdict, frame, colours, own, others, ellipse, enlarged, mask)


def image_colours(pixels: Rgb, bands: Sequence[str], is_display: bool) -> Rgb:
    """R, G, B in [0, 1] of any image: display colours, the stretch `dr2_rgb` of fluxes, or the first plane in grey if
    the bands have no colours. Pixels that are not finite are as sky.

    Parameters
    ----------
    pixels : (ny, nx, n_band) float32
    bands : sequence of str
    is_display : bool

    Returns
    -------
    (ny, nx, 3) float32
    """
    finite = finite_pixels(pixels)
    if finite.size == 0:
        return np.zeros((1, 1, 3), np.float32)
    if is_display and finite.shape[2] <= 3:
        return display_rgb(finite)
    if not is_display and displayable(bands):
        return np.asarray(dr2_rgb(finite, bands), np.float32)
    low, high = np.percentile(finite[..., 0], _GREY_PERCENTILES)
    grey = np.clip((finite[..., 0] - low) / max(float(high - low), 1e-30), 0, 1)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def _contours(colours: Rgb, ellipse: Ellipse | None, config: PreprocessConfig) -> tuple[list[Line], list[Line]]:
    """Contours as the published methods see them: the target's, and all others."""
    grey = np.asarray(grey_of(colours, config.grey_order), np.float64)
    threshold, _ = iterative_threshold(grey, config.threshold_stop, config.threshold_delta)
    own: list[Line] = []
    others: list[Line] = []
    for contour in find_contours(grey > threshold, config.contours_of):
        fitted = fit_ellipses([contour])
        is_target = ellipse is not None and bool(fitted) and _same(fitted[0], ellipse)
        (own if is_target else others).append(_line(contour))
    return own, others


def _same(one: Ellipse, other: Ellipse) -> bool:
    """Whether two ellipses are one but for the rounding of the way to the image's pixels and back."""
    return bool(np.allclose((one.x, one.y, one.a, one.b), (other.x, other.y, other.a, other.b), atol=1e-6))


def _segments(
    pixels: Rgb, bands: Sequence[str], is_display: bool, config: ImprovedConfig
) -> tuple[list[Line], list[Line], Mask | None]:
    """Outlines of the target's segment and of all others, and the mask, as method improved sees them."""
    target = find_target(pixels, bands, is_display, config)
    labels = target.labels
    own = [] if target.region is None else _outlines(target.region)
    if target.region is not None:
        labels = np.where(target.region, 0, labels)
    others = [line for label in np.unique(labels[labels > 0]) for line in _outlines(labels == label)]
    return own, others, target.mask


def _outlines(region: Mask) -> list[Line]:
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_line(np.asarray(contour, np.int32)) for contour in contours]


def _line(contour: npt.NDArray[np.int32]) -> Line:
    """A closed line through a contour's points."""
    points = contour.reshape(-1, 2).astype(np.float64)
    return np.vstack([points, points[:1]])
