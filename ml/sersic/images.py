"""Stamps, PSFs and noise from images in the archive, for GaLNet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ml.stamps.parameters import STAMP_PX, StampParameters
from galbase.ml.stamps.psf import FWHM_PX_MAX, FWHM_PX_MIN, moffat_images
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

Float32 = npt.NDArray[np.float32]

# middle of what training PSFs are drawn from
PSF_BETA = 3.5
# the archive's fluxes are nanomaggies
ZERO_POINT = 22.5
_SKY_RADIUS_PX = 25.0
_N_CLIP, _CLIP_SIGMA = 5, 3.0
_BLOCK = 64


@dataclass(frozen=True)
class ImageOfBand:
    """An image of the archive whose PSF and pixel scale are known in one band."""

    observation_id: int
    source_id: int | None
    ra: float | None
    dec: float | None
    path: Path
    format: str
    row_index: int
    plane: int
    pixel_scale_arcsec: float
    psf_fwhm_arcsec: float


@dataclass(frozen=True, eq=False)
class StampsOfImages:
    """Stamps of n images.

    Attributes
    ----------
    images : list of ImageOfBand
    image : (n, 61, 61) float32
        Nanomaggies a pixel.
    psf : (n, 25, 25) float32
    sky_sigma : (n,) float64
        Noise a pixel [nanomaggy].
    missing : (n,) bool
        Whether pixels are missing, which are 0 here, or all are equal.
    """

    images: list[ImageOfBand]
    image: Float32
    psf: Float32
    sky_sigma: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]


_IMAGES = (
    "SELECT o.observation_id, o.source_id, s.ra, s.dec, d.path, f.path, f.format, o.row_index, "
    "array_position(i.bands, %(band)s) - 1, i.pixel_scale_arcsec, "
    "i.psf_fwhm_arcsec[array_position(i.bands, %(band)s)]::float8, i.is_display, i.width, i.height "
    "FROM archive.observation o JOIN archive.image i USING (observation_id) "
    "JOIN archive.data_release r ON r.release_id = o.release_id "
    "JOIN archive.data_file f ON f.data_file_id = o.data_file_id JOIN archive.data_root d USING (data_root_id) "
    "LEFT JOIN archive.source s ON s.source_id = o.source_id "
)


def usable_images(
    connection: psycopg.Connection[Any], release: str, band: str, limit: int | None = None
) -> tuple[list[ImageOfBand], Counter[str]]:
    """Images of a release that GaLNet can be shown, in order of file and row, and why others are left out.

    Raises
    ------
    GalbaseError
        If the release has no images.
    """
    rows = connection.execute(
        _IMAGES + "WHERE r.release = %(release)s ORDER BY f.data_file_id, o.row_index LIMIT %(limit)s",
        {"band": band, "release": release, "limit": limit},
    ).fetchall()
    if not rows:
        raise GalbaseError(f"release {release!r} has no images; `galbase release list` shows what there is.")
    return _usable(rows)


def images_named(
    connection: psycopg.Connection[Any], observation_id: Sequence[int], band: str
) -> tuple[list[ImageOfBand], Counter[str]]:
    """Of some images those that GaLNet can be shown, in order of file and row, and why others are left out."""
    rows = connection.execute(
        _IMAGES + "WHERE o.observation_id = ANY(%(ids)s) ORDER BY f.data_file_id, o.row_index",
        {"band": band, "ids": list(observation_id)},
    ).fetchall()
    return _usable(rows)


def _usable(rows: Sequence[tuple[Any, ...]]) -> tuple[list[ImageOfBand], Counter[str]]:
    found: list[ImageOfBand] = []
    left_out: Counter[str] = Counter()
    for observation, source, ra, dec, root, path, fmt, row, plane, scale, fwhm, is_display, width, height in rows:
        reason = _unusable(plane, scale, fwhm, is_display, min(width, height))
        if reason:
            left_out[reason] += 1
            continue
        found.append(ImageOfBand(observation, source, ra, dec, Path(root) / path, fmt, row, plane, scale, fwhm))
    return found, left_out


def _unusable(plane: int | None, scale: float | None, fwhm: float | None, is_display: bool, side: int) -> str | None:
    if is_display:
        return "display colours"
    if plane is None:
        return "not this band"
    if scale is None or fwhm is None or not np.isfinite(fwhm):
        return "PSF or pixel scale unknown"
    if not FWHM_PX_MIN <= fwhm / scale <= FWHM_PX_MAX:
        return f"PSF not between {FWHM_PX_MIN} and {FWHM_PX_MAX} px"
    return f"smaller than {STAMP_PX} px" if side < STAMP_PX else None


def stamps_of_images(images: list[ImageOfBand], left_out: Counter[str] | None) -> Iterator[StampsOfImages]:
    """Read stamps in blocks.

    Parameters
    ----------
    images : list of ImageOfBand
    left_out : Counter or None
        Counts the images that are left out because pixels of their middle 61x61 are missing or all are equal. None to
        leave none out: a missing pixel is then shown as empty sky, and `StampsOfImages.missing` is set.
    """
    for first in range(0, len(images), _BLOCK):
        kept, pixels, missing = [], [], []
        for each in images[first : first + _BLOCK]:
            plane = read_cutouts(each.path, each.format, each.row_index, each.row_index + 1).pixels[0, ..., each.plane]
            stamp = middle(plane)
            lacks = not np.isfinite(stamp).all() or np.ptp(stamp) == 0
            if lacks and left_out is not None:
                left_out["missing pixels"] += 1
                continue
            kept.append(each)
            pixels.append(np.nan_to_num(stamp, nan=0.0, posinf=0.0, neginf=0.0))
            missing.append(lacks)
        if kept:
            sigma = np.array([sky_noise(stamp) for stamp in pixels])
            psf = np.stack([psf_of(each) for each in kept])
            yield StampsOfImages(kept, np.stack(pixels), psf, sigma, np.array(missing))


def middle(plane: npt.NDArray[np.floating]) -> Float32:
    """The 61x61 px in the middle; of an even side the centre lies half a pixel before the stamp's."""
    top, left = (plane.shape[0] - STAMP_PX) // 2, (plane.shape[1] - STAMP_PX) // 2
    return np.asarray(plane[top : top + STAMP_PX, left : left + STAMP_PX], np.float32)


def sky_noise(stamp: Float32) -> float:
    """Noise a pixel from the stamp's corners and edges, further than 25 px from its middle, sources clipped.

    1.4826 times the median absolute deviation; what is brighter than the median by three of these is left out.
    """
    at = np.arange(STAMP_PX) - STAMP_PX // 2
    values = stamp[np.hypot(at[None, :], at[:, None]) > _SKY_RADIUS_PX].astype(np.float64)
    spread = 0.0
    for _ in range(_N_CLIP):
        centre = float(np.median(values))
        spread = float(1.4826 * np.median(np.abs(values - centre)))
        values = values[values <= centre + _CLIP_SIGMA * spread]
    return max(spread, 1e-12)


def psf_of(image: ImageOfBand) -> Float32:
    """A round Moffat profile of exponent 3.5 with the image's FWHM, averaged over its pixels."""
    parameters = replace(
        StampParameters(), pixel_scale_arcsec=image.pixel_scale_arcsec, psf_fwhm_arcsec=image.psf_fwhm_arcsec,
        psf_fwhm_scatter_arcsec=0.0, psf_beta=(PSF_BETA, PSF_BETA), psf_ellipticity_max=0.0,
    )  # fmt: skip
    # nothing is left to chance: all ranges have no width, and of a round profile the angle does not show
    return np.asarray(moffat_images(np.random.default_rng(0), 1, parameters)[0][0])
