"""Stamps cut out of a frame: where they lie, what they cover, and their pixels; pure functions of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.survey_frame import FrameGroup, world_to_pixel
from galbase.schema.errors import GalbaseError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def stamp_origin(pixel: Floats, size_px: int) -> Ints:
    """First pixel of stamps of `size_px` round positions `pixel`, both counted from 0.

    The position lies in the middle pixel of an odd size, and within half a pixel of the middle of an even one, as in
    astropy's Cutout2D.
    """
    return np.ceil(pixel - size_px / 2).astype(np.int64)


def edge_distance(x: Floats, y: Floats, shape: tuple[int, int]) -> Floats:
    """Pixels from positions to the nearest edge of a frame (ny, nx); negative outside, -inf for NaN."""
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        found = np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))
    return np.where(np.isfinite(found), found, -np.inf)


def cut(plane: npt.NDArray[np.float32], x0: Ints, y0: Ints, size_px: int) -> npt.NDArray[np.float32]:
    """Stamps (n, size_px, size_px) of a frame, NaN beyond its edges."""
    ny, nx = plane.shape
    made = np.full((len(x0), size_px, size_px), np.nan, np.float32)
    for row, (left, low) in enumerate(zip(x0.tolist(), y0.tolist(), strict=True)):
        right, top = min(left + size_px, nx), min(low + size_px, ny)
        first_x, first_y = max(left, 0), max(low, 0)
        if right > first_x and top > first_y:
            made[row, first_y - low : top - low, first_x - left : right - left] = plane[first_y:top, first_x:right]
    return made


def coverage(stamps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fraction of each stamp's pixels that hold a value in every band; stamps are (n, n_band, ny, nx)."""
    held = np.isfinite(stamps).all(axis=1)
    return np.asarray(held.mean(axis=(1, 2)), np.float32)


def band_origins(
    group: FrameGroup, ra: Floats, dec: Floats, size_px: int, max_offset_px: float
) -> list[tuple[Ints, Ints]]:
    """First pixels (x0, y0), each (n,), of the stamps in each band's frame.

    Bands on the same grid, or on grids a whole number of pixels apart, are cut alike. On other grids the nearest whole
    pixels are taken, as long as no corner of a stamp is more than `max_offset_px` off: pixels are never resampled.

    Raises
    ------
    GalbaseError
        If the grids differ by more.
    """
    reference = group.frames[0]
    x, y = world_to_pixel(reference.wcs(), ra, dec)
    x0, y0 = stamp_origin(x, size_px), stamp_origin(y, size_px)
    origins = [(x0, y0)]
    corners = [(dx, dy) for dx in (0, size_px - 1) for dy in (0, size_px - 1)]
    for frame in group.frames[1:]:
        if _same_grid(reference.wcs(), frame.wcs()):
            origins.append((x0, y0))
            continue
        there_x, there_y = world_to_pixel(frame.wcs(), ra, dec)
        shift_x, shift_y = np.rint(there_x - x).astype(np.int64), np.rint(there_y - y).astype(np.int64)
        worst = 0.0
        for dx, dy in corners:
            sky = reference.wcs().celestial.pixel_to_world(x0 + dx, y0 + dy).icrs
            corner_x, corner_y = world_to_pixel(frame.wcs(), sky.ra.deg, sky.dec.deg)
            off = np.hypot(corner_x - (x0 + dx + shift_x), corner_y - (y0 + dy + shift_y))
            worst = max(worst, float(np.max(off, initial=0.0)))
        if not worst <= max_offset_px:
            raise GalbaseError(
                f"{frame.path.name} and {reference.path.name} are {worst:.2f} pixels off each other within a stamp; "
                "pixels are not resampled. Resample the frames to one grid, cut one band, or allow it with "
                "--max-band-offset-px."
            )
        origins.append((x0 + shift_x, y0 + shift_y))
    return origins


def _same_grid(one: Any, other: Any) -> bool:
    return bool(one.celestial.wcs.compare(other.celestial.wcs, tolerance=1e-9)) and one.sip is None is other.sip
