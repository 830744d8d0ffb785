"""GalEffNet's preprocessing (Zhong et al. 2024, section 2.2): one verdict an image.

Grey image, iterative threshold, contours, ellipses, the target's mask, its size, and two checks for blends.
Where the paper and its code disagree, `PreprocessConfig` says which is followed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from galbase.ingest.preprocess.frame import Frame, Rgb, cut_stamp, display_rgb, frame_image
from galbase.ingest.preprocess.pixels import Cutouts
from galbase.ingest.preprocess.stretch import displayable, dr2_rgb, grey_of, three_channels
from galbase.ingest.preprocess.threshold import iterative_threshold
from galbase.schema.flags import PreprocessFlag

# Raise when the same input and configuration give another verdict or stamp; stored rows are then stale.
ALGORITHM_VERSION = 1

# Nanomaggies a pixel that no sky has (a star of magnitude 0 on one pixel): overflow, treated as not finite.
LARGEST_VALUE = 1e9

# These flags inform; every other one keeps the image out.
INFORMATIVE = PreprocessFlag.PIXEL_SCALE_UNKNOWN | PreprocessFlag.ELLIPSE_OUTSIDE_STAMP


@dataclass(frozen=True)
class Verdict:
    """What preprocessing says of one image; a measure is None where the image did not get that far.

    Parameters
    ----------
    flag : PreprocessFlag
        Why the image is out, and what limits the verdict.
    kept : bool
        Whether the method keeps the image.
    ellipse : Ellipse or None
        The target before enlargement, in pixels of the image as given.
    radius_px, radius_arcsec : float or None
        Radius of the minimum enclosing circle in pixels of the image as given, and in arcsec where the
        pixel scale is known.
    threshold, background_rms : float or None
        Grey levels, 0 to 255.
    n_contour, n_source, n_region : int or None
        Contours; sources after deblending; regions at the second threshold.
    stamp : (stamp_px, stamp_px, 3) uint8 or None
        R, G, B of the target, black outside the mask; None if there is no target.
    """

    flag: PreprocessFlag
    kept: bool = False
    ellipse: Ellipse | None = None
    radius_px: float | None = None
    radius_arcsec: float | None = None
    threshold: float | None = None
    n_contour: int | None = None
    n_source: int | None = None
    n_region: int | None = None
    background_rms: float | None = None
    stamp: npt.NDArray[np.uint8] | None = None


def preprocess_cutout(
    cutout: npt.NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    config: PreprocessConfig,
) -> Verdict:
    """Judge one image and cut its masked stamp.

    Fluxes are stretched by `dr2_rgb`; display colours are used as they are. An image larger than `image_px`
    is cropped about its centre, but a display image of unknown pixel scale is shrunk to it
    (`display_resize`). Criteria in arcsec, the size limit among them, are not applied where the pixel scale
    is unknown; such a verdict carries PIXEL_SCALE_UNKNOWN. Pixels that are not finite count as sky, unless
    they lie where the target should be.

    Parameters
    ----------
    cutout : (ny, nx, n_band) float32
        Nanomaggies a pixel, or display values in [0, 255] in the order R, G, B (one channel is copied).
    bands : sequence of str
        Band of each plane; read for fluxes only.
    pixel_scale_arcsec : float or None
    is_display : bool
    config : PreprocessConfig

    Returns
    -------
    Verdict
        Always: no image raises.

    Raises
    ------
    ValueError
        If the array has not three axes, or as many planes as `bands`.
    """
    pixels = np.asarray(cutout, np.float32)
    if pixels.ndim != 3 or pixels.shape[2] != len(bands):
        raise ValueError(f"a cutout is (ny, nx, n_band) with {len(bands)} bands; its shape is {pixels.shape}")
    flag = PreprocessFlag(0)
    if pixel_scale_arcsec is None:
        flag |= PreprocessFlag.PIXEL_SCALE_UNKNOWN
    if not (len(bands) in (1, 2, 3) if is_display else displayable(bands)):
        return Verdict(flag | PreprocessFlag.BANDS_UNKNOWN)
    if pixels.size == 0:
        return Verdict(flag | PreprocessFlag.IMAGE_TOO_SMALL)
    frame = frame_image(pixels, pixel_scale_arcsec, is_display, config)
    if min(frame.pixels.shape[:2]) < config.stamp_px:
        flag |= PreprocessFlag.IMAGE_TOO_SMALL
    # NaN compares as False.
    finite = np.abs(frame.pixels) < LARGEST_VALUE
    if not finite.all():
        if not _centre(finite, config).all():
            flag |= PreprocessFlag.NON_FINITE
        frame = replace(frame, pixels=np.where(finite, frame.pixels, np.float32(0)))
    flux = None if is_display else frame.pixels
    rgb = display_rgb(frame.pixels) if flux is None else np.asarray(dr2_rgb(flux, bands), np.float32)
    grey = np.asarray(grey_of(rgb, config.grey_order), np.float64)
    if grey.min() == grey.max():
        flag |= PreprocessFlag.CONSTANT_IMAGE
    if flag & ~INFORMATIVE:
        return Verdict(flag)
    with_bands = None if flux is None else (flux, tuple(bands))
    return _judge(frame, rgb, grey, with_bands, flag, pixel_scale_arcsec, config)


def preprocess_batch(cutouts: Cutouts, config: PreprocessConfig) -> list[Verdict]:
    """`preprocess_cutout` of every image, in order; a verdict does not depend on the other images."""
    return [
        preprocess_cutout(pixels, cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display, config)
        for pixels in cutouts.pixels
    ]


def _judge(
    frame: Frame,
    rgb: Rgb,
    grey: npt.NDArray[np.float64],
    flux: tuple[Rgb, tuple[str, ...]] | None,
    flag: PreprocessFlag,
    scale: float | None,
    config: PreprocessConfig,
) -> Verdict:
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
    flag |= _size_flag(radius * frame.factor, scale, config) | _stamp_flag(enlarged, grey.shape, config)

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


def _centre(finite: npt.NDArray[np.bool_], config: PreprocessConfig) -> npt.NDArray[np.bool_]:
    """The pixels in which the target's centre must lie."""
    reach = math.ceil(config.max_centre_distance_px)
    y, x = finite.shape[0] // 2, finite.shape[1] // 2
    return finite[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]


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


def _size_flag(radius_px: float, scale: float | None, config: PreprocessConfig) -> PreprocessFlag:
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


def _stamp_flag(enlarged: Ellipse, shape: tuple[int, ...], config: PreprocessConfig) -> PreprocessFlag:
    half_width, half_height = enlarged.half_extent()
    x0, y0 = (shape[1] - config.stamp_px) // 2, (shape[0] - config.stamp_px) // 2
    inside = (
        enlarged.x - half_width >= x0 - 0.5
        and enlarged.x + half_width <= x0 + config.stamp_px - 0.5
        and enlarged.y - half_height >= y0 - 0.5
        and enlarged.y + half_height <= y0 + config.stamp_px - 0.5
    )
    return PreprocessFlag(0) if inside else PreprocessFlag.ELLIPSE_OUTSIDE_STAMP


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
