"""A stamp cut again from an image whose target is known, without judging the image anew.

A verdict costs tens of milliseconds, nearly all of them in the blend checks; the stamp itself a few tenths of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse, draw_mask
from galbase.ingest.preprocess.frame import display_rgb, finite_pixels, frame_image, to_8_bits
from galbase.ingest.preprocess.stretch import dr2_rgb
from galbase.ingest.preprocess.target import find_target
from galbase.schema.errors import GalbaseError


@dataclass(frozen=True)
class FramedTarget:
    """The central part of an image and its target's mask.

    Parameters
    ----------
    pixels : (side, side, n_band) float32
        Fluxes in nanomaggies a pixel, or display values in [0, 255]; pixels that are not finite are 0.
    mask : (side, side) bool
        The target's enlarged ellipse; of method improved its segment and outskirts without other sources.
    bands : tuple of str
    is_display : bool
    """

    pixels: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    bands: tuple[str, ...]
    is_display: bool

    @classmethod
    def cut(
        cls,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.bool_],
        bands: Sequence[str],
        is_display: bool,
        config: PreprocessConfig,
    ) -> FramedTarget:
        """The `stamp_px` central pixels of a frame and its mask."""
        ny, nx = pixels.shape[:2]
        side = config.stamp_px
        y0, x0 = (ny - side) // 2, (nx - side) // 2
        inner = pixels[y0 : y0 + side, x0 : x0 + side]
        finite = np.isfinite(inner)
        inner = inner if finite.all() else np.where(finite, inner, np.float32(0))
        return cls(inner, mask[y0 : y0 + side, x0 : x0 + side], tuple(bands), is_display)

    def masked(self) -> FramedTarget:
        """The target with its pixels outside the mask 0: all that a network is shown, and that is cached."""
        return replace(self, pixels=np.where(self.mask[..., None], self.pixels, np.float32(0)))


def frame_target(
    cutout: npt.NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    ellipse: Ellipse,
    config: PreprocessConfig,
) -> FramedTarget:
    """Cut the `stamp_px` central pixels and draw the target's mask on them.

    Parameters
    ----------
    cutout, bands, pixel_scale_arcsec, is_display, config
        As `preprocess_cutout` took them.
    ellipse : Ellipse
        The target before enlargement, in pixels of the image as given: `Verdict.ellipse`. Method improved finds the
        segment again instead, in 5 ms: no ellipse tells of it.

    Raises
    ------
    GalbaseError
        If method improved finds no target: the image is not the one that was judged.
    """
    frame = frame_image(np.asarray(cutout, np.float32), pixel_scale_arcsec, is_display, config)
    if isinstance(config, ImprovedConfig):
        pixels = finite_pixels(frame.pixels)
        found = find_target(pixels, bands, is_display, config)
        if found.mask is None:
            raise GalbaseError("the image has no target any more; run `galbase preprocess` on it again.")
        return FramedTarget.cut(pixels, found.mask, bands, is_display, config)
    ny, nx = frame.pixels.shape[:2]
    mask = draw_mask((ny, nx), frame.from_image(ellipse).enlarged(config.enlargement), config.mask_drawing)
    return FramedTarget.cut(frame.pixels, mask, bands, is_display, config)


def masked_stamp(target: FramedTarget, config: PreprocessConfig) -> npt.NDArray[np.uint8]:
    """The stamp that `preprocess_cutout` makes: R, G, B ``(stamp_px, stamp_px, 3)``, black outside the mask."""
    # Only what is shown is stretched: half of a stamp, or more, is outside the mask.
    n_band = target.pixels.shape[2]
    chosen = np.flatnonzero(target.mask)
    inside = target.pixels.reshape(-1, n_band).take(chosen, axis=0)
    shown = display_rgb(inside) if target.is_display else dr2_rgb(inside, target.bands)
    stamp = np.zeros((target.mask.size, 3), np.uint8)
    if config.mask_space == "flux" and not target.is_display:
        stamp[:] = to_8_bits(dr2_rgb(np.zeros(n_band, np.float32), target.bands))
    stamp[chosen] = to_8_bits(shown)
    return stamp.reshape(*target.mask.shape, 3)
