"""Pixels of cutouts from the formats that surveys hand out; positions and the like are read at ingest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

LEGACY_SCALE_ARCSEC = 0.262
LEGACY_BANDS = ("g", "r", "z")
DISPLAY_BANDS = ("R", "G", "B")
ROWS_PER_UNIT = 256
FORMATS = ("hdf5", "hdf5-stamps", "jpeg", "png", "fits", "fits-image")


@dataclass(frozen=True)
class Cutouts:
    """Images of one file.

    Parameters
    ----------
    pixels : (n, ny, nx, n_band) float32
        Fluxes in nanomaggies a pixel, or display values in [0, 255]. May hold NaN.
    bands : tuple of str
        Band of each plane; R, G, B for a display image, ``band0`` and so on where the file names none.
    pixel_scale_arcsec : float or None
        None where the file does not tell.
    is_display : bool
        Display colours instead of calibrated fluxes.
    """

    pixels: npt.NDArray[np.float32]
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool


def read_cutouts(path: Path, fmt: str, row_start: int = 0, row_stop: int = 1) -> Cutouts:
    """Read images `row_start` up to, not including, `row_stop`.

    Parameters
    ----------
    path : Path
    fmt : {'hdf5', 'hdf5-stamps', 'jpeg', 'png', 'fits', 'fits-image'}
        'hdf5' is the layout of ssl-legacysurvey: dataset ``images`` (N, n_band, ny, nx), bands g, r, z at
        0.262 arcsec a pixel; a file attribute ``bands`` or ``pixel_scale_arcsec`` overrides that. Of a FITS file
        `stamp_hdus` are the rows, read one at a time. The other formats hold one image, row 0. Transparency of a PNG
        is ignored; 16-bit values are scaled to [0, 255].
    row_start, row_stop : int

    Raises
    ------
    GalbaseError
        If the file is missing, damaged, not of this format, or has not these rows.
    """
    if fmt not in FORMATS:
        raise GalbaseError(f"format {fmt!r} holds no images; choose one of {', '.join(FORMATS)}.")
    if not path.is_file():
        raise GalbaseError(f"{path} is not there; put it back or ingest it from its new place.")
    if fmt in ("jpeg", "png") and (row_start, row_stop) != (0, 1):
        raise GalbaseError(f"{path} holds one image, row 0; rows {row_start} to {row_stop} were asked for.")
    if fmt.startswith("fits") and row_stop != row_start + 1:
        raise GalbaseError(
            f"{path}: images of a FITS file are read one by one; {row_start} to {row_stop} was asked for."
        )
    try:
        if fmt.startswith("hdf5"):
            return _read_hdf5(path, row_start, row_stop)
        if fmt in ("jpeg", "png"):
            return _read_display(path)
        return _read_fits(path, row_start)
    except (OSError, SyntaxError, KeyError, TypeError) as error:
        raise GalbaseError(f"cannot read {path} as {fmt}: {error}. Fetch the file again.") from error


def pixel_hash(pixels: npt.NDArray[np.float32]) -> str:
    """32 hexadecimal digits of SHA-256 over shape and values of one (ny, nx, n_band) float32 image."""
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels, dtype="<f4").tobytes())
    return digest.hexdigest()[:32]


def rows_per_unit(path: Path, fmt: str, least: int = ROWS_PER_UNIT) -> int:
    """Rows of a unit of work on this file: at least `least`, a whole number of the file's chunks; 1 for FITS, whose
    images may differ in size.

    A file that cannot be opened counts as not chunked; reading its unit then says what is wrong.
    """
    if fmt.startswith("fits"):
        return 1
    if not fmt.startswith("hdf5"):
        return least
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            chunks = file["images"].chunks
    except (OSError, KeyError):
        return least
    return least if chunks is None else math.ceil(least / chunks[0]) * int(chunks[0])


def _read_hdf5(path: Path, row_start: int, row_stop: int) -> Cutouts:
    import h5py

    # Survey files lie on read-only mounts, where HDF5's lock fails.
    with h5py.File(path, "r", locking=False) as file:
        images = file["images"]
        if images.ndim != 4:
            raise GalbaseError(f"{path}: images has shape {images.shape}, not (N, n_band, ny, nx).")
        if not 0 <= row_start < row_stop <= images.shape[0]:
            raise GalbaseError(f"{path} has {len(images)} images; rows {row_start} to {row_stop} were asked for.")
        bands = _named_bands(file.attrs.get("bands"), images.shape[1])
        scale = float(file.attrs.get("pixel_scale_arcsec", LEGACY_SCALE_ARCSEC))
        planes = np.asarray(images[row_start:row_stop], dtype=np.float32)
    if bands is None:
        bands = LEGACY_BANDS if planes.shape[1] == len(LEGACY_BANDS) else _unnamed_bands(planes.shape[1])
    return Cutouts(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), bands, scale, is_display=False)


def _read_display(path: Path) -> Cutouts:
    from PIL import Image

    data = path.read_bytes()
    with Image.open(path, formats=("JPEG", "PNG")) as opened:
        opened.load()  # raises on a truncated file, where OpenCV would return half an image
        depth_16 = opened.format == "PNG" and data[24] == 16
        grey = opened.mode in ("L", "LA", "1", "I;16", "I")
        values = None if depth_16 else np.asarray(opened.convert("L" if grey else "RGB"), np.float32)
    if values is None:
        values = _decode_16_bit(data, path)
    if values.ndim == 2:
        values = values[..., None]
    bands = DISPLAY_BANDS if values.shape[2] == 3 else ("grey",)
    return Cutouts(np.ascontiguousarray(values[None]), bands, None, is_display=True)


def _decode_16_bit(data: bytes, path: Path) -> npt.NDArray[np.float32]:
    import cv2

    # Pillow would silently cut 16-bit colours to 8.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise GalbaseError(f"cannot decode {path} as a 16-bit PNG; convert it to 8 bits.")
    values = decoded.astype(np.float32) * (255 / 65535)
    return np.asarray(values if values.ndim == 2 else values[..., 2::-1], np.float32)


def stamp_hdus(hdus: Iterable[Any]) -> list[Any]:
    """The images of an open FITS file, (ny, nx) or (n_band, ny, nx): all where none of them has a name, as in files of
    stamps; otherwise the first, beside which named ones are weights or masks.
    """
    images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) in (2, 3)]
    return images if all(hdu.name in ("", "PRIMARY") for hdu in images) else images[:1]


def _read_fits(path: Path, row: int) -> Cutouts:
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        images = stamp_hdus(hdus)
        if not images:
            raise GalbaseError(f"{path} holds no image of (ny, nx) or (n_band, ny, nx); give such a cutout.")
        if not 0 <= row < len(images):
            raise GalbaseError(f"{path} holds {len(images)} images; row {row} was asked for.")
        planes, header = np.asarray(images[row].data, dtype=np.float32), images[row].header
    planes = planes[None] if planes.ndim == 2 else planes
    named = _named_bands(header.get("BANDS"), len(planes))
    if named is None and len(planes) == 1 and str(header.get("FILTER", "")).strip():
        named = (str(header["FILTER"]).strip().split()[0],)
    pixels = np.ascontiguousarray(planes.transpose(1, 2, 0)[None])
    return Cutouts(pixels, named or _unnamed_bands(len(planes)), wcs_scale_arcsec(header), is_display=False)


def wcs_scale_arcsec(header: Mapping[str, Any]) -> float | None:
    """Pixel scale from a FITS header's CD or CDELT keywords: the square root of a pixel's area, arcsec.

    Returns
    -------
    float or None
        None without celestial axes in degrees.
    """
    if not str(header.get("CTYPE1", "")).startswith(("RA-", "DEC-", "GLON", "GLAT")):
        return None
    if str(header.get("CUNIT1", "deg")).strip().lower() not in ("deg", "degree", "degrees", ""):
        return None
    if "CD1_1" in header or "CD1_2" in header:
        rows = [[float(header.get(f"CD{i}_{j}", 0.0)) for j in (1, 2)] for i in (1, 2)]
    elif "CDELT1" in header and "CDELT2" in header:
        steps = (float(header["CDELT1"]), float(header["CDELT2"]))
        rows = [[steps[i - 1] * float(header.get(f"PC{i}_{j}", i == j)) for j in (1, 2)] for i in (1, 2)]
    else:
        return None
    area = abs(rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0])
    return math.sqrt(area) * 3600 if math.isfinite(area) and area > 0 else None


def _named_bands(named: Any, n_band: int) -> tuple[str, ...] | None:
    """Bands written as one string of letters, or as several strings, if there is one for each plane."""
    if named is None:
        return None
    if isinstance(named, bytes):
        named = named.decode("ascii", "replace")
    bands = tuple(named.strip()) if isinstance(named, str) else tuple(
        item.decode("ascii", "replace") if isinstance(item, bytes) else str(item) for item in named
    )  # fmt: skip
    return bands if len(bands) == n_band else None


def _unnamed_bands(n_band: int) -> tuple[str, ...]:
    return tuple(f"band{i}" for i in range(n_band))
