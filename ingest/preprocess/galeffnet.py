"""GalEffNet's preprocessing (Zhong et al. 2024, section 2.2): one verdict an image.

Grey image, iterative threshold, contours, ellipses, the target's mask, its size, and two checks for blends.
Where the paper and its code disagree, `PreprocessConfig` says which is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess import blend
from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import (
    Ellipse,
    draw_mask,
    enclosing_radius,
    find_contours,
    fit_ellipses,
)
from galbase.ingest.preprocess.frame import Frame, Rgb, cut_stamp
from galbase.ingest.preprocess.size import size_flag, stamp_flag
from galbase.ingest.preprocess.stretch import dr2_rgb, grey_of, three_channels
from galbase.ingest.preprocess.threshold import iterative_threshold
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.flags import PreprocessFlag


def judge_published(
    frame: Frame,
    rgb: Rgb,
    grey: npt.NDArray[np.float64],
    flux: tuple[Rgb, tuple[str, ...]] | None,
    flag: PreprocessFlag,
    scale: float | None,
    config: PreprocessConfig,
) -> Verdict:
    """The verdict on an image that `preprocess_cutout` has checked.

    Parameters
    ----------
    frame : Frame
        Finite pixels.
    rgb, grey : (ny, nx, 3) float32, (ny, nx) float64
        Its colours in [0, 1], and their grey.
    flux : tuple or None
        Its fluxes and bands; None for a display image.
    flag : PreprocessFlag
        What is known already.
    scale : float or None
        Pixel scale, arcsec.
    config : PreprocessConfig
    """
    threshold, _ = iterative_threshold(grey, config.threshold_stop, config.threshold_delta)
    binary = grey > threshold
    contours = find_contours(binary, config.contours_of)
    verdict = Verdict(flag, threshold=threshold * 255, n_contour=len(contours))
    target, why = _choose_target(fit_ellipses(contours), grey.shape, config)
    if target is None:
        return replace(verdict, flag=flag | why)

    enlarged = target.enlarged(config.enlargement)
    mask = draw_mask((grey.shape[0], grey.shape[1]), enlarged, config.mask_drawing)
    radius = enlarged.a if config.radius_of == "ellipse" else enclosing_radius(binary & mask)
    if radius is None:
        return replace(verdict, flag=flag | PreprocessFlag.NO_TARGET)
    flag |= size_flag(radius * frame.factor, scale, config) | stamp_flag(enlarged, grey.shape, config)

    masked_rgb = np.where(mask[..., None], rgb, np.float32(0))
    second = blend_grey = np.where(mask, grey, 0.0)
    if config.mask_space == "flux" and flux is not None:
        masked_flux = np.where(mask[..., None], flux[0], np.float32(0))
        masked_rgb = np.asarray(dr2_rgb(masked_flux, flux[1]), np.float32)
        blend_grey = np.asarray(grey_of(masked_rgb, config.grey_order), np.float64)
        planes = np.stack(three_channels([masked_flux[..., i] for i in range(masked_flux.shape[2])]), axis=-1)
        second = np.asarray(grey_of(planes, config.grey_order), np.float64)
    n_source, rms = _count_sources(grey, blend_grey, mask, config)
    n_region = _count_regions(second, config)
    if n_source > 1:
        flag |= PreprocessFlag.BLENDED
    if n_source == 0:
        flag |= PreprocessFlag.NO_SOURCE_DETECTED
    if n_region > config.second_check_regions:
        flag |= PreprocessFlag.BLENDED_SECOND_CHECK
    return replace(
        verdict,
        flag=flag,
        kept=not flag & ~INFORMATIVE,
        ellipse=frame.to_image(target),
        radius_px=radius * frame.factor,
        radius_arcsec=None if scale is None else radius * frame.factor * scale,
        n_source=n_source,
        n_region=n_region,
        background_rms=rms * 255,
        stamp=cut_stamp(masked_rgb, config.stamp_px),
    )


def _choose_target(
    ellipses: Sequence[Ellipse], shape: tuple[int, ...], config: PreprocessConfig
) -> tuple[Ellipse | None, PreprocessFlag]:
    """The target among the ellipses, or why there is none."""
    if not ellipses:
        return None, PreprocessFlag.NO_CONTOUR
    # The published codes take half the side for the centre, half a pixel beyond the middle.
    x, y = shape[1] / 2, shape[0] / 2
    near = [e for e in ellipses if e.distance(x, y) < config.max_centre_distance_px]
    large = [e for e in ellipses if e.b > config.min_semi_axis_px]
    if config.centre_inside != "not_required":
        axis_aligned = config.centre_inside == "axis_aligned"
        large = [e for e in large if bool(e.contains(x, y, axis_aligned))]
    chosen: Ellipse | None = None
    if large:
        chosen = large[-1] if config.target == "last" else min(large, key=lambda e: e.distance(x, y))
        if chosen.distance(x, y) < config.max_centre_distance_px:
            return chosen, PreprocessFlag(0)
    why = PreprocessFlag.NO_TARGET if chosen is None else PreprocessFlag.TARGET_OFF_CENTRE
    if any(e.b <= config.min_semi_axis_px for e in near):
        why |= PreprocessFlag.TARGET_TOO_SMALL
    return None, why


def _count_sources(
    grey: npt.NDArray[np.float64],
    masked: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
    config: PreprocessConfig,
) -> tuple[int, float]:
    """Sources in the masked image, and the background rms that the detection used."""
    before = config.background == "before_masking"
    seen = grey if before else masked
    background = blend.measure_background(seen, config.background_box_px, config.background_filter)
    data = masked - background.level
    n_source = blend.count_sources(
        np.where(mask, data, 0.0) if before else data,
        background.rms,
        sigma=config.detect_sigma,
        n_pixels=config.detect_pixels,
        fwhm_px=config.kernel_fwhm_px,
        levels=config.deblend_levels,
        contrast=config.deblend_contrast,
    )
    return n_source, background.typical_rms


def _count_regions(masked: npt.NDArray[np.float64], config: PreprocessConfig) -> int:
    if masked.min() == masked.max():
        return 0
    threshold, _ = iterative_threshold(masked, config.threshold_stop, config.threshold_delta)
    n_region = blend.count_regions(masked > threshold, config.second_check_pixels)
    return n_region + 1 if config.second_check_count == "labels" else n_region
