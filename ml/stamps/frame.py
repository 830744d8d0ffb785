"""A survey frame: its pixels, sky, noise and sources."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.write import file_digest
from galbase.schema.errors import GalbaseError

Float32Array = NDArray[np.float32]

# an image with sides this long is a frame, a shorter one a PSF
FRAME_MIN_PX = 256
_SKY_MESH_PX = 64
_SMOOTHING_FWHM_PX = 3.0
# of the smoothed noise: 0.02 % of independent elements cross it by chance, so that blank sky stays unbiased
_THRESHOLD_SIGMA = 3.5
_SOURCE_MIN_PX = 5
_GROWTH_PX = 4
_NANOMAGGY_ZERO_POINT = 22.5


@dataclass(frozen=True)
class FrameSource:
    """One detection: its label in `Frame.labels`, centre [px], S/N, and area [px]."""

    label: int
    x: float
    y: float
    snr: float
    area: int


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame after detection.

    Attributes
    ----------
    name, digest : str
        File name, and SHA-256 of the file.
    data : (ny, nx) float32
        Pixels less the sky [the file's unit]; 0 where `good` is False.
    sky, rms : (ny, nx) float32
        Large-scale sky that was taken off, and noise a pixel [the file's unit].
    good : (ny, nx) bool
        Pixels with a value.
    labels : (ny, nx) int32
        0, or the source a pixel belongs to.
    covered : (ny, nx) bool
        Pixels of a source or near one, and pixels without a value.
    sources : list of FrameSource
    pixel_scale_arcsec : float, optional
        From the WCS; None where the file has none.
    zero_point : float, optional
        22.5 where the file's unit is nanomaggy; None otherwise.
    wcs : astropy.wcs.WCS, optional
        None where the file has none.
    """

    name: str
    digest: str
    data: Float32Array
    sky: Float32Array
    rms: Float32Array
    good: NDArray[np.bool_]
    labels: NDArray[np.int32]
    covered: NDArray[np.bool_]
    sources: list[FrameSource]
    pixel_scale_arcsec: float | None
    zero_point: float | None
    wcs: Any | None


def open_images(path: Path) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Image extensions of a FITS file with their names; gzip and bzip2 are unpacked.

    Raises
    ------
    GalbaseError
        If the file cannot be read as FITS or holds no image.
    """
    for name, data, _ in _image_hdus(path):
        yield name, data


def _image_hdus(path: Path) -> Iterator[tuple[str, NDArray[np.floating], Any]]:
    from astropy.io import fits

    if not path.is_file():
        raise GalbaseError(f"{path} is not a file; give a FITS image.")
    found = False
    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            warnings.simplefilter("ignore")  # headers of old cameras break rules that do not matter here
            for number, hdu in enumerate(hdus):
                if isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)) and hdu.data is not None:
                    if hdu.data.ndim < 2:
                        continue
                    found = True
                    yield f"{path.name}[{number}]", np.asarray(hdu.data, dtype=np.float64), hdu.header
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise GalbaseError(f"{path} cannot be read as a FITS image: {error}") from error
    if not found:
        raise GalbaseError(f"{path} holds no FITS image.")


def read_frame(path: Path) -> Frame:
    """Read the first two-dimensional image of a FITS file, take off its sky, and detect its sources.

    Parameters
    ----------
    path : Path
        FITS file, also compressed with gzip or bzip2; with or without WCS.

    Raises
    ------
    GalbaseError
        If there is no image, or it is smaller than a stamp.
    """
    for name, data, header in _image_hdus(path):
        if data.ndim == 2:
            if min(data.shape) < _SKY_MESH_PX:
                raise GalbaseError(
                    f"{name} has {data.shape[1]}x{data.shape[0]} px; a frame of at least {_SKY_MESH_PX} px a side is "
                    "needed."
                )
            return _detect(name, file_digest(path), data, header)
    raise GalbaseError(f"{path} holds no two-dimensional image.")


def _detect(name: str, digest: str, data: NDArray[np.floating], header: Any) -> Frame:
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MADStdBackgroundRMS, MedianBackground
    from scipy import ndimage

    # surveys write exact zeros or NaN where a frame has no data
    good = np.isfinite(data) & (data != 0) if np.count_nonzero(data == 0) > 0.001 * data.size else np.isfinite(data)
    if np.count_nonzero(good) < 0.1 * data.size:
        raise GalbaseError(f"{name} has values in {np.count_nonzero(good)} of {data.size} px; give another frame.")
    filled = np.where(good, data, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # meshes without good pixels are interpolated over, which is wanted
        mesh = Background2D(
            filled, _SKY_MESH_PX, mask=~good, filter_size=3, sigma_clip=SigmaClip(3.0, maxiters=10),
            bkg_estimator=MedianBackground(), bkgrms_estimator=MADStdBackgroundRMS(), exclude_percentile=80.0,
        )  # fmt: skip
    sky = np.asarray(mesh.background, dtype=np.float64)
    rms = np.asarray(mesh.background_rms, dtype=np.float64)
    if not (rms > 0).all():
        raise GalbaseError(f"{name} has no noise: its pixels scatter by 0 in places. Blank sky cannot be cut from it.")
    less_sky = np.where(good, data - sky, 0.0)
    smooth = ndimage.gaussian_filter(less_sky / rms, _SMOOTHING_FWHM_PX / 2.3548, truncate=3.0)
    spread = 1.4826 * np.median(np.abs(smooth[good]))
    labels, n = ndimage.label(smooth > _THRESHOLD_SIGMA * spread, structure=np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=n + 1)
    kept = np.flatnonzero((area >= _SOURCE_MIN_PX) & (np.arange(n + 1) > 0))
    translate = np.zeros(n + 1, np.int32)
    translate[kept] = np.arange(1, len(kept) + 1)
    labels = translate[labels]
    index = np.arange(1, len(kept) + 1)
    covered = ~good
    sources: list[FrameSource] = []
    if len(kept):
        flux = ndimage.sum_labels(less_sky, labels, index)
        noise = np.sqrt(ndimage.sum_labels(rms**2, labels, index))
        centre = ndimage.center_of_mass(np.maximum(less_sky, 0), labels, index)
        sources = [
            FrameSource(int(k), float(c[1]), float(c[0]), float(f / s), int(area[label]))
            for k, c, f, s, label in zip(index, centre, flux, noise, kept, strict=True)
        ]
        # wings reach farther the brighter the source: half its radius more, and four pixels
        distance, (row, column) = ndimage.distance_transform_edt(labels == 0, return_indices=True)
        reach = np.r_[0.0, _GROWTH_PX + 0.5 * np.sqrt(area[kept] / np.pi)]
        covered |= distance <= reach[labels[row, column]]
    scale, wcs = _pixel_scale(header)
    unit = str(header.get("BUNIT", "")).strip().lower()
    zero_point = _NANOMAGGY_ZERO_POINT if unit in ("nanomaggy", "nanomaggies", "nmgy") else None
    return Frame(
        name, digest, less_sky.astype(np.float32), sky.astype(np.float32), rms.astype(np.float32), good, labels,
        covered, sources, scale, zero_point, wcs,
    )  # fmt: skip


def _pixel_scale(header: Any) -> tuple[float | None, Any | None]:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header).celestial
        except (ValueError, TypeError, KeyError):
            return None, None
        if not wcs.has_celestial:
            return None, None
        scale = float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs)))) * 3600
    return (scale, wcs) if 1e-3 < scale < 60 else (None, None)
