"""FITS cutouts: fluxes with a world coordinate system."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from galbase.ingest.preprocess.pixels import stamp_hdus
from galbase.ingest.readers.image_file import ImageFile
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
    """Read position, pixel scale, bands and size of the cutouts of a file, see `stamp_hdus`; most hold one.

    The position is that of the image's centre. Bands come from keyword BANDS (one letter a plane) or FILTER, and
    are called ``band0`` and so on where the file names none.

    Raises
    ------
    GalbaseError
        If the file is no FITS file, truncated, fails its checksum, holds no such image, or its images differ in bands
        or pixel scale.
    """
    with open_whole(path) as hdus:
        images = stamp_hdus(hdus)
        # Reading the pixels is what shows that they are there.
        found = [(np.shape(hdu.data), hdu.header) for hdu in images]
    if not found:
        raise GalbaseError(f"{path.name} holds no image of (ny, nx) or (n_band, ny, nx) pixels; give such a cutout.")
    for index, (shape, _) in enumerate(found):
        if 0 in shape:
            raise GalbaseError(
                f"{path.name} holds an image without pixels, shape {shape}, number {index}; give cutouts."
            )
    sizes = np.array([(shape[-1], shape[-2]) for shape, _ in found], np.int64)
    skies = [
        _sky(header, width, height, path) for (_, header), (width, height) in zip(found, sizes.tolist(), strict=True)
    ]
    bands = {_bands(header, shape[0] if len(shape) == 3 else 1) for shape, header in found}
    scales = np.array([np.nan if scale is None else scale for _, _, scale in skies])
    if len(bands) > 1 or not np.allclose(scales, scales[0], rtol=1e-3, equal_nan=True):
        raise GalbaseError(
            f"{path.name}: its {len(found)} images differ in bands or pixel scale; give each its own file."
        )
    return ImageFile(
        ra=np.array([np.nan if ra is None else ra for ra, _, _ in skies]),
        dec=np.array([np.nan if dec is None else dec for _, dec, _ in skies]),
        bands=bands.pop(),
        pixel_scale_arcsec=skies[0][2],
        width=int(sizes[0, 0]),
        height=int(sizes[0, 1]),
        is_display=False,
        sizes=sizes if len(sizes) > 1 else None,
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
