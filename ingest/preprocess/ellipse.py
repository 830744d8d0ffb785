"""Contours of a binary image, the ellipses that fit them, the target among them, and its mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

# Workers are one process a core; OpenCV's own threads would only compete with them.
cv2.setNumThreads(1)
CANNY_LOW, CANNY_HIGH = 30, 90
MIN_FIT_POINTS = 5


@dataclass(frozen=True)
class Ellipse:
    """An ellipse on the pixel grid.

    Parameters
    ----------
    x, y : float
        Centre, pixels; (0, 0) is the centre of the first pixel, x along columns.
    a, b : float
        Semi-major and semi-minor axis, pixels.
    theta : float
        Angle of the major axis from +x towards +y, degrees in [0, 180).
    """

    x: float
    y: float
    a: float
    b: float
    theta: float

    def contains(self, x: npt.ArrayLike, y: npt.ArrayLike, axis_aligned: bool = False) -> npt.NDArray[np.bool_]:
        """Whether points lie inside or on the edge; `axis_aligned` forgets the angle, as published."""
        dx, dy = np.asarray(x, np.float64) - self.x, np.asarray(y, np.float64) - self.y
        if axis_aligned:
            # OpenCV's first axis is the minor one: with the angle forgotten it lies along x.
            return np.asarray((dx / self.b) ** 2 + (dy / self.a) ** 2 <= 1)
        cos, sin = math.cos(math.radians(self.theta)), math.sin(math.radians(self.theta))
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        return np.asarray((along / self.a) ** 2 + (across / self.b) ** 2 <= 1)

    def enlarged(self, factor: float) -> Ellipse:
        """The ellipse with both axes times `factor`."""
        return Ellipse(self.x, self.y, self.a * factor, self.b * factor, self.theta)

    def half_extent(self) -> tuple[float, float]:
        """Half width and half height of the bounding box, pixels."""
        cos, sin = math.cos(math.radians(self.theta)), math.sin(math.radians(self.theta))
        return math.hypot(self.a * cos, self.b * sin), math.hypot(self.a * sin, self.b * cos)

    def distance(self, x: float, y: float) -> float:
        """Distance of the centre from a point, pixels."""
        return math.hypot(self.x - x, self.y - y)


def find_contours(binary: npt.NDArray[np.bool_], of: str = "edges") -> list[npt.NDArray[np.int32]]:
    """Outer contours in a binary image, all their points.

    Parameters
    ----------
    binary : (ny, nx) bool
    of : {'edges', 'regions'}
        Contours of Canny's edges (thresholds 30 and 90 of 255), or of the regions themselves.

    Returns
    -------
    list of (n, 1, 2) int32
        Points (x, y) of each contour.
    """
    drawn = np.where(binary, 255, 0).astype(np.uint8)
    if of == "edges":
        drawn = np.asarray(cv2.Canny(drawn, CANNY_LOW, CANNY_HIGH), np.uint8)
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return list(contours)


def fit_ellipses(contours: Sequence[npt.NDArray[np.int32]]) -> list[Ellipse]:
    """Least-squares ellipses of the contours that allow one (OpenCV's fitEllipse).

    Contours of fewer than five points, and fits without finite axes above zero, have none.
    """
    ellipses = []
    for contour in contours:
        if len(contour) < MIN_FIT_POINTS:
            continue
        # Points on a line are shaken at random until they allow an ellipse: always alike, whatever was fitted before.
        cv2.setRNGSeed(0)
        (x, y), (width, height), angle = cv2.fitEllipse(contour)
        # OpenCV gives the full axes, the shorter first, and the angle of the first from +x.
        minor, major, theta = (width, height, angle + 90) if width <= height else (height, width, angle)
        if math.isfinite(x + y + minor + major + angle) and minor > 0:
            ellipses.append(Ellipse(float(x), float(y), major / 2, minor / 2, float(theta % 180)))
    return ellipses


def draw_mask(shape: tuple[int, int], ellipse: Ellipse, drawing: str = "exact") -> npt.NDArray[np.bool_]:
    """Pixels inside an ellipse.

    Parameters
    ----------
    shape : (ny, nx)
    ellipse : Ellipse
    drawing : {'exact', 'truncated'}
        Pixels whose centre satisfies the ellipse's equation; or OpenCV's filled ellipse with centre, axes
        and angle cut to integers, as in the published code.

    Returns
    -------
    (ny, nx) bool
    """
    if drawing == "exact":
        mask = np.zeros(shape, np.bool_)
        columns, rows = (
            _span(*span) for span in zip((ellipse.x, ellipse.y), ellipse.half_extent(), shape[::-1], strict=True)
        )
        mask[rows, columns] = ellipse.contains(np.arange(shape[1])[None, columns], np.arange(shape[0])[rows, None])
        return mask
    canvas = np.zeros(shape, np.uint8)
    angle = int((ellipse.theta - 90) % 180)
    cv2.ellipse(canvas, (int(ellipse.x), int(ellipse.y)), (int(ellipse.b), int(ellipse.a)), angle, 0, 360, 255, -1)
    return np.asarray(canvas > 0)


def _span(centre: float, half: float, n: int) -> slice:
    """Pixels of an axis of `n` that a bounding box covers, and one more on either side against rounding."""
    first, last = math.floor(centre - half) - 1, math.ceil(centre + half) + 1
    return slice(min(max(0, first), n), max(0, min(n, last + 1)))


def enclosing_radius(region: npt.NDArray[np.bool_]) -> float | None:
    """Radius in pixels of the minimum circle around the pixel centres of the largest connected region.

    Returns
    -------
    float or None
        None if no pixel is set. Regions are 8-connected.
    """
    n_label, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    if n_label < 2:
        return None
    largest = int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) + 1
    rows, columns = np.nonzero(labels == largest)
    _, radius = cv2.minEnclosingCircle(np.column_stack((columns, rows)).astype(np.int32))
    return float(radius)
