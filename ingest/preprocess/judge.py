"""One image in, one verdict out: what all methods ask of an image, then the method of the configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.arrays import NUMPY, Arrays
from galbase.ingest.preprocess.coadd import Coadd, coadd
from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig
from galbase.ingest.preprocess.frame import LARGEST_VALUE, Frame, all_finite, display_rgb, frame_image
from galbase.ingest.preprocess.galeffnet import judge_published
from galbase.ingest.preprocess.improved import judge_improved
from galbase.ingest.preprocess.pixels import Cutouts
from galbase.ingest.preprocess.stretch import displayable, dr2_rgb, grey_of
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.flags import PreprocessFlag

# Raise a method's when the same input and configuration give another verdict or stamp; stored rows are then stale.
Pixels = npt.NDArray[np.float32]
Map = Callable[..., Iterable[Verdict]]
ALGORITHM_VERSIONS = {"galeffnet": 1, "improved": 1}


@dataclass(frozen=True)
class _Image:
    """What all images of a batch have in common."""

    bands: tuple[str, ...]
    scale: float | None
    is_display: bool


@dataclass(frozen=True)
class _Checked:
    """An image that its method judges: its frame, finite, and what is known already."""

    frame: Frame
    flag: PreprocessFlag


def preprocess_cutout(
    cutout: Pixels,
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
    return preprocess_images([cutout], bands, pixel_scale_arcsec, is_display, config)[0]


def preprocess_batch(cutouts: Cutouts, config: PreprocessConfig, arrays: Arrays = NUMPY) -> list[Verdict]:
    """`preprocess_images` of every image of a file."""
    return preprocess_images(
        cutouts.pixels, cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display, config, arrays
    )


def preprocess_images(
    cutouts: Sequence[Pixels] | Pixels,
    bands: Sequence[str],
    pixel_scale_arcsec: float | None,
    is_display: bool,
    config: PreprocessConfig,
    arrays: Arrays = NUMPY,
    n_thread: int = 1,
) -> list[Verdict]:
    """`preprocess_cutout` of every image, in order; a verdict does not depend on the other images.

    What is a sum over pixels (sky, noise, colours, grey) is computed for `arrays.batch_size` images at once by
    `arrays`; detection, contours and deblending on the processor, an image a thread.

    Parameters
    ----------
    cutouts : sequence of (ny, nx, n_band) float32
        Of any sizes.
    bands, pixel_scale_arcsec, is_display, config
        As of `preprocess_cutout`, the same for all.
    arrays : Arrays
        Where the pixels are computed.
    n_thread : int
        Threads of the rest.
    """
    image = _Image(tuple(bands), pixel_scale_arcsec, is_display)
    checked = [_check(each, image, config) for each in cutouts]
    verdicts = {row: each for row, each in enumerate(checked) if isinstance(each, Verdict)}
    sizes: dict[tuple[int, ...], list[tuple[int, _Checked]]] = {}
    for row, each in enumerate(checked):
        if isinstance(each, _Checked):
            sizes.setdefault(each.frame.pixels.shape, []).append((row, each))
    with ThreadPoolExecutor(n_thread) if n_thread > 1 else nullcontext() as pool:
        threads: Map = map if pool is None else pool.map
        for same in sizes.values():
            for first in range(0, len(same), arrays.batch_size):
                rows, found = zip(*same[first : first + arrays.batch_size], strict=True)
                if isinstance(config, ImprovedConfig):
                    done = _judge_improved(found, image, config, arrays, threads)
                else:
                    done = _judge_published(found, image, config, arrays, threads)
                verdicts.update(zip(rows, done, strict=True))
    return [verdicts[row] for row in range(len(checked))]


def _check(cutout: Pixels, image: _Image, config: PreprocessConfig) -> _Checked | Verdict:
    """The frame of an image, or the verdict where there is nothing to judge."""
    pixels, n_band = np.asarray(cutout, np.float32), len(image.bands)
    if pixels.ndim != 3 or pixels.shape[2] != n_band:
        raise ValueError(f"a cutout is (ny, nx, n_band) with {n_band} bands; its shape is {pixels.shape}")
    flag = PreprocessFlag(0)
    if image.scale is None:
        flag |= PreprocessFlag.PIXEL_SCALE_UNKNOWN
    if not (n_band in (1, 2, 3) if image.is_display else displayable(image.bands)):
        return Verdict(flag | PreprocessFlag.BANDS_UNKNOWN)
    if pixels.size == 0:
        return Verdict(flag | PreprocessFlag.IMAGE_TOO_SMALL)
    frame = frame_image(pixels, image.scale, image.is_display, config)
    if min(frame.pixels.shape[:2]) < config.stamp_px:
        flag |= PreprocessFlag.IMAGE_TOO_SMALL
    if not all_finite(frame.pixels):
        # NaN compares as False.
        finite = np.abs(frame.pixels) < LARGEST_VALUE
        if not _centre(finite, config).all():
            flag |= PreprocessFlag.NON_FINITE
        frame = replace(frame, pixels=np.where(finite, frame.pixels, np.float32(0)))
    if isinstance(config, ImprovedConfig):
        if (frame.pixels == frame.pixels[0, 0]).all():
            flag |= PreprocessFlag.CONSTANT_IMAGE
        if flag & ~INFORMATIVE:
            return Verdict(flag)
    return _Checked(frame, flag)


def _judge_improved(
    found: Sequence[_Checked], image: _Image, config: ImprovedConfig, arrays: Arrays, threads: Map
) -> list[Verdict]:
    """Verdicts on images of one size."""
    pixels = arrays.to_device(np.stack([each.frame.pixels for each in found]))
    added = coadd(pixels, image.bands, image.is_display, arrays.xp)
    planes = (arrays.to_numpy(part) for part in (added.every, added.red, added.rms))
    coadds = [Coadd(*parts) for parts in zip(*planes, strict=True)]

    def judge(each: _Checked, seen: Coadd) -> Verdict:
        return judge_improved(each.frame, seen, image.bands, image.is_display, each.flag, image.scale, config)

    return list(threads(judge, found, coadds))


def _judge_published(
    found: Sequence[_Checked], image: _Image, config: PreprocessConfig, arrays: Arrays, threads: Map
) -> list[Verdict]:
    """Verdicts on images of one size."""
    pixels = np.stack([each.frame.pixels for each in found])
    shown = display_rgb(pixels) if image.is_display else dr2_rgb(arrays.to_device(pixels), image.bands, arrays.xp)
    greys = np.asarray(arrays.to_numpy(grey_of(shown, config.grey_order)), np.float64)
    colours = np.asarray(arrays.to_numpy(shown), np.float32)

    def judge(each: _Checked, rgb: Pixels, grey: npt.NDArray[np.float64]) -> Verdict:
        flag = each.flag
        if grey.min() == grey.max():
            flag |= PreprocessFlag.CONSTANT_IMAGE
        if flag & ~INFORMATIVE:
            return Verdict(flag)
        flux = None if image.is_display else (each.frame.pixels, image.bands)
        return judge_published(each.frame, rgb, grey, flux, flag, image.scale, config)

    return list(threads(judge, found, colours, greys))


def _centre(finite: npt.NDArray[np.bool_], config: PreprocessConfig) -> npt.NDArray[np.bool_]:
    """The pixels in which the target's centre must lie."""
    reach = math.ceil(config.max_centre_distance_px)
    y, x = finite.shape[0] // 2, finite.shape[1] // 2
    return finite[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
