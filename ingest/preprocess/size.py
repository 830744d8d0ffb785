"""Size of the target against the method's limit and the stamp."""

from __future__ import annotations

import math

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.schema.flags import PreprocessFlag


def size_flag(radius_px: float, scale: float | None, config: PreprocessConfig) -> PreprocessFlag:
    """Whether the target's radius (pixels of the image as given) lies on the right side of the limit."""
    if scale is None:
        return PreprocessFlag(0)
    # At the reference scale the published limit is 23 px, not the 22.9 that 6 arcsec make.
    if math.isclose(scale, config.reference_scale_arcsec, rel_tol=1e-3):
        below = radius_px < config.max_radius_px
    else:
        below = radius_px * scale < config.max_radius_arcsec
    if below == (config.radius_rule == "below"):
        return PreprocessFlag(0)
    return PreprocessFlag.TARGET_TOO_SMALL if below else PreprocessFlag.TARGET_TOO_LARGE


def stamp_flag(enlarged: Ellipse, shape: tuple[int, ...], config: PreprocessConfig) -> PreprocessFlag:
    """Whether the stamp's edge cuts the enlarged ellipse; `shape` is that of the frame the ellipse lies in."""
    half_width, half_height = enlarged.half_extent()
    x0, y0 = (shape[1] - config.stamp_px) // 2, (shape[0] - config.stamp_px) // 2
    inside = (
        enlarged.x - half_width >= x0 - 0.5
        and enlarged.x + half_width <= x0 + config.stamp_px - 0.5
        and enlarged.y - half_height >= y0 - 0.5
        and enlarged.y + half_height <= y0 + config.stamp_px - 0.5
    )
    return PreprocessFlag(0) if inside else PreprocessFlag.ELLIPSE_OUTSIDE_STAMP
