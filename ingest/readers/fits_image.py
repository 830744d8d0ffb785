"""FITS cutouts: fluxes with a world coordinate system."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from galbase.ingest.readers.image_file import UNKNOWN, ImageFile
from galbase.ingest.readers.whole_fits import fits_outline, open_whole
from galbase.schema.errors import GalbaseError

SUFFIXES = (".fits", ".fit", ".fts")
COMPRESSIONS = (".gz", ".bz2", ".fz")


def is_fits_name(path: Path) -> bool:
    """Whether a file's name says that it is FITS, compressed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def holds_no_image(path: Path) -> bool:
    """Whether a FITS file can be read and holds tables only."""
    outline = fits_outline(path)
    return outline is not None and not any(has_pixels for _, has_pixels in outline)


def read_fits_image(path: Path) -> ImageFile:
    """Read position, pixel scale, bands and size of a cutout: the first image (ny, nx) or (n_band, ny, nx).

    The position is that of the image's centre. Bands come from keyword BANDS (one letter a plane) or FILTER, and
    are called ``band0`` and so on where the file names none.

    Raises
    ------
    GalbaseError
        If the file is no FITS file, truncated, fails its checksum, or holds no such image.
    """
    with open_whole(path) as hdus:
        for hdu in hdus:
            if hdu.is_image and len(hdu.shape) in (2, 3):
                shape, header = np.shape(hdu.data), hdu.header
                break
        else:
            raise GalbaseError(
                f"{path.name} holds no image of (ny, nx) or (n_band, ny, nx) pixels; give such a cutout."
            )
    if 0 in shape:
        raise GalbaseError(f"{path.name} holds an image without pixels, shape {shape}; give a cutout.")
    n_plane = shape[0] if len(shape) == 3 else 1
    height, width = shape[-2:]
    ra, dec, scale = _sky(header, width, height, path)
    return ImageFile(
        ra=UNKNOWN if ra is None else np.array([ra]),
        dec=UNKNOWN if dec is None else np.array([dec]),
        bands=_bands(header, n_plane),
        pixel_scale_arcsec=scale,
        width=width,
        height=height,
        is_display=False,
    )


def _sky(header: Any, width: int, height: int, path: Path) -> tuple[float | None, float | None, float | None]:
    """Position of the centre, degrees ICRS, and pixel scale, arcsec; None without celestial axes."""
    from astropy.wcs import WCS, FITSFixedWarning
    from astropy.wcs.utils import proj_plane_pixel_scales

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
            if not wcs.has_celestial:
                return None, None, None
            celestial = wcs.celestial
            centre = celestial.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
            scales = proj_plane_pixel_scales(celestial) * 3600
    except (ValueError, TypeError, ArithmeticError) as error:
        raise GalbaseError(f"{path.name}: its world coordinates cannot be read: {error}.") from error
    # The geometric mean keeps the pixel's area where the axes' scales differ.
    scale = float(math.sqrt(scales[0] * scales[1]))
    ra, dec = float(centre.ra.deg), float(centre.dec.deg)
    if not (math.isfinite(ra) and math.isfinite(dec) and math.isfinite(scale) and scale > 0):
        raise GalbaseError(f"{path.name}: its world coordinates give ra={ra}, dec={dec}, {scale} arcsec a pixel.")
    return ra, dec, scale


def _bands(header: Any, n_plane: int) -> tuple[str, ...]:
    letters = str(header.get("BANDS", "")).strip()
    if len(letters) == n_plane:
        return tuple(letters)
    name = str(header.get("FILTER", "")).split()
    if n_plane == 1 and name:
        return (name[0],)
    return tuple(f"band{plane}" for plane in range(n_plane))
