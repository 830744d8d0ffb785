"""The part of an image that is judged, its colours, and the stamp at its centre."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.stretch import three_channels

Rgb = npt.NDArray[np.float32]

# Nanomaggies a pixel that no sky has (a star of magnitude 0 on one pixel): overflow, treated as not finite.
LARGEST_VALUE = 1e9


@dataclass(frozen=True)
class Frame:
    """The part of an image that is judged, and where it lies in the image.

    Parameters
    ----------
    pixels : (ny, nx, n_band) float32
    x0, y0 : float
        The image's pixel at which the frame's first pixel lies.
    factor : float
        Image pixels a frame pixel.
    """

    pixels: Rgb
    x0: float
    y0: float
    factor: float

    def to_image(self, ellipse: Ellipse) -> Ellipse:
        """An ellipse in the pixels of the whole image; a pixel's centre has integer coordinates in both."""
        return Ellipse(
            (ellipse.x + 0.5) * self.factor - 0.5 + self.x0,
            (ellipse.y + 0.5) * self.factor - 0.5 + self.y0,
            ellipse.a * self.factor,
            ellipse.b * self.factor,
            ellipse.theta,
        )

    def from_image(self, ellipse: Ellipse) -> Ellipse:
        """An ellipse of the whole image in the frame's pixels: the inverse of `to_image`."""
        return Ellipse(
            (ellipse.x - self.x0 + 0.5) / self.factor - 0.5,
            (ellipse.y - self.y0 + 0.5) / self.factor - 0.5,
            ellipse.a / self.factor,
            ellipse.b / self.factor,
            ellipse.theta,
        )


def frame_image(pixels: Rgb, scale: float | None, is_display: bool, config: PreprocessConfig) -> Frame:
    """The image brought to at most `image_px` on a side.

    Display images of unknown pixel scale are shrunk (mean of the pixels covered) if `display_resize` says so; all
    others are cropped about their centre.

    Parameters
    ----------
    pixels : (ny, nx, n_band) float32
    scale : float or None
        Pixel scale, arcsec.
    is_display : bool
    config : PreprocessConfig
    """
    ny, nx = pixels.shape[:2]
    side = max(ny, nx)
    if is_display and scale is None and side > config.image_px and config.display_resize == "resize":
        factor = side / config.image_px
        size = (max(1, round(nx / factor)), max(1, round(ny / factor)))
        shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return Frame(shrunk.reshape(size[1], size[0], pixels.shape[2]), 0.0, 0.0, factor)
    y0, x0 = max(0, (ny - config.image_px) // 2), max(0, (nx - config.image_px) // 2)
    return Frame(pixels[y0 : y0 + config.image_px, x0 : x0 + config.image_px], float(x0), float(y0), 1.0)


def finite_pixels(pixels: Rgb) -> Rgb:
    """The pixels, with 0 where they are not finite or beyond `LARGEST_VALUE`."""
    if all_finite(pixels):
        return pixels
    # NaN compares as False.
    return np.where(np.abs(pixels) < LARGEST_VALUE, pixels, np.float32(0))


def all_finite(pixels: Rgb) -> bool:
    """Whether no pixel is NaN, infinite or beyond `LARGEST_VALUE`; pixels without any are."""
    # NaN goes through min and max, and compares as False.
    return pixels.size == 0 or bool(pixels.max() < LARGEST_VALUE and pixels.min() > -LARGEST_VALUE)


def display_rgb(pixels: Rgb) -> Rgb:
    """R, G, B in [0, 1] of display values in [0, 255] with one, two or three channels, the last axis."""
    planes = three_channels([pixels[..., i] for i in range(pixels.shape[-1])])
    return np.asarray(np.clip(np.stack(planes, axis=-1) / np.float32(255), 0, 1), np.float32)


def cut_stamp(rgb: Rgb, side: int) -> npt.NDArray[np.uint8]:
    """The central `side` x `side` pixels of an RGB image in [0, 1], as uint8 0 to 255."""
    y0, x0 = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return to_8_bits(rgb[y0 : y0 + side, x0 : x0 + side])


def to_8_bits(rgb: Rgb) -> npt.NDArray[np.uint8]:
    """Values in [0, 1] as 0 to 255."""
    return np.ascontiguousarray(np.rint(rgb * np.float32(255)).astype(np.uint8))
