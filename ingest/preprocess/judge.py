"""One image in, one verdict out: what all methods ask of an image, then the method of the configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig
from galbase.ingest.preprocess.frame import LARGEST_VALUE, all_finite, display_rgb, frame_image
from galbase.ingest.preprocess.galeffnet import judge_published
from galbase.ingest.preprocess.improved import judge_improved
from galbase.ingest.preprocess.pixels import Cutouts
from galbase.ingest.preprocess.stretch import displayable, dr2_rgb, grey_of
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.flags import PreprocessFlag

# Raise a method's when the same input and configuration give another verdict or stamp; stored rows are then stale.
ALGORITHM_VERSIONS = {"galeffnet": 1, "improved": 1}


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
    if not all_finite(frame.pixels):
        # NaN compares as False.
        finite = np.abs(frame.pixels) < LARGEST_VALUE
        if not _centre(finite, config).all():
            flag |= PreprocessFlag.NON_FINITE
        frame = replace(frame, pixels=np.where(finite, frame.pixels, np.float32(0)))
    flux = None if is_display else frame.pixels
    if isinstance(config, ImprovedConfig):
        if (frame.pixels == frame.pixels[0, 0]).all():
            flag |= PreprocessFlag.CONSTANT_IMAGE
        if flag & ~INFORMATIVE:
            return Verdict(flag)
        return judge_improved(frame, tuple(bands), is_display, flag, pixel_scale_arcsec, config)
    rgb = display_rgb(frame.pixels) if flux is None else np.asarray(dr2_rgb(flux, bands), np.float32)
    grey = np.asarray(grey_of(rgb, config.grey_order), np.float64)
    if grey.min() == grey.max():
        flag |= PreprocessFlag.CONSTANT_IMAGE
    if flag & ~INFORMATIVE:
        return Verdict(flag)
    with_bands = None if flux is None else (flux, tuple(bands))
    return judge_published(frame, rgb, grey, with_bands, flag, pixel_scale_arcsec, config)


def preprocess_batch(cutouts: Cutouts, config: PreprocessConfig) -> list[Verdict]:
    """`preprocess_cutout` of every image, in order; a verdict does not depend on the other images."""
    return [
        preprocess_cutout(pixels, cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display, config)
        for pixels in cutouts.pixels
    ]


def _centre(finite: npt.NDArray[np.bool_], config: PreprocessConfig) -> npt.NDArray[np.bool_]:
    """The pixels in which the target's centre must lie."""
    reach = math.ceil(config.max_centre_distance_px)
    y, x = finite.shape[0] // 2, finite.shape[1] // 2
    return finite[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
