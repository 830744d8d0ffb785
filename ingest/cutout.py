"""Cutouts of stored images, written as PNG, JPEG or FITS with the release's licence and citation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.pixels import read_cutouts, stamp_hdus
from galbase.ingest.preprocess.stretch import displayable, dr2_rgb
from galbase.ingest.stamp_shard import stamp_header
from galbase.ingest.stored_observation import StoredObservation, ascii_text, check_output
from galbase.schema.errors import GalbaseError

SUFFIXES = (".png", ".jpg", ".jpeg", ".fits")


def write_cutout(image: StoredObservation, out: Path) -> tuple[int, int]:
    """Write an image.

    PNG and JPEG show display images as they are, and fluxes with the stretch of the Legacy Survey viewer
    (`dr2_rgb`), north up. FITS holds the planes as they are, with the file's world coordinates, or for a shard those
    of a cutout with north up at the source's position.

    Parameters
    ----------
    image : StoredObservation
        Of kind image.
    out : Path
        File to write; the suffix is the format.

    Returns
    -------
    (width, height) : tuple of int, pixels

    Raises
    ------
    GalbaseError
        If the file cannot be read or written, or its bands cannot be shown in colours.
    """
    suffix = check_output(out, SUFFIXES)
    row = image.row_index
    cutouts = read_cutouts(image.file, image.format, row, row + 1)
    pixels = cutouts.pixels[0]
    try:
        if suffix == ".fits":
            _write_fits(image, pixels, out)
        else:
            _write_picture(image, _display(image, pixels), out, suffix)
    except OSError as error:
        raise GalbaseError(f"{out} cannot be written: {error.strerror or error}.") from error
    return pixels.shape[1], pixels.shape[0]


def _display(image: StoredObservation, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """8-bit colours (ny, nx, 3), first row on top."""
    if image.is_display:
        colours = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        return np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    if not displayable(image.bands):
        raise GalbaseError(
            f"bands {','.join(image.bands)} cannot be shown in colours; write FITS, or name the bands g, r, i, z at "
            "ingest with --bands."
        )
    flux = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    # Arrays of fluxes count rows from the south, pictures from the top.
    return np.asarray(np.rint(dr2_rgb(flux, image.bands) * 255), np.uint8)[::-1]


def _write_picture(image: StoredObservation, colours: npt.NDArray[np.uint8], out: Path, suffix: str) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture = Image.fromarray(np.ascontiguousarray(colours))
    terms = image.terms()
    if suffix == ".png":
        texts = PngInfo()
        for key, value in terms.items():
            texts.add_itxt(key, value)
        picture.save(out, format="PNG", pnginfo=texts)
    else:
        comment = "\n".join(f"{key}: {value}" for key, value in terms.items())
        picture.save(out, format="JPEG", quality=95, subsampling=0, comment=comment.encode())


def _write_fits(image: StoredObservation, pixels: npt.NDArray[np.float32], out: Path) -> None:
    from astropy.io import fits

    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    header = _world_coordinates(image, pixels.shape[1], pixels.shape[0])
    if not image.is_display and image.format != "hdf5-stamps":
        header["BUNIT"] = "nanomaggy"
    header["BANDS"] = ("".join(image.bands), "bands of the planes")
    if image.pixel_scale_arcsec is not None:
        header["PIXSCALE"] = (image.pixel_scale_arcsec, "[arcsec] size of a pixel")
    header["SRC_RA"] = (image.ra, "[deg] position of the source, ICRS")
    header["SRC_DEC"] = (image.dec, "[deg] position of the source, ICRS")
    for key, value in header_terms(image).items():
        header[key] = value
    fits.PrimaryHDU(planes if len(planes) > 1 else planes[0], header).writeto(out, overwrite=True)


def header_terms(observation: StoredObservation) -> dict[str, str]:
    """FITS keywords of source, release, licence and citation."""
    terms = observation.terms()
    keywords = {
        "SOURCEID": terms["source_id"],
        "NATIVEID": terms["native_id"],
        "RELEASE": terms["release"],
        "LICENCE": terms["licence"],
        "CITATION": terms["citation"],
        "URL": terms["url"],
    }
    return {key: ascii_text(value) for key, value in keywords.items()}


def _world_coordinates(image: StoredObservation, width: int, height: int) -> Any:
    """World coordinates of the file itself, or of a shard's cutout; none for a display image, which may be turned."""
    from astropy.io import fits
    from astropy.wcs import WCS

    if image.format == "fits-image":
        with fits.open(image.file, memmap=False) as hdus:
            header = stamp_hdus(hdus)[image.row_index].header
        wcs = WCS(header)
        return wcs.celestial.to_header() if wcs.has_celestial else fits.Header()
    if image.format == "hdf5-stamps":
        return stamp_header(image.file, image.row_index) or fits.Header()
    if image.format != "hdf5" or image.pixel_scale_arcsec is None:
        return fits.Header()
    wcs = WCS(naxis=2)
    step = image.pixel_scale_arcsec / 3600
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [image.ra, image.dec]
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    wcs.wcs.cdelt = [-step, step]
    wcs.wcs.radesys = "ICRS"
    return wcs.to_header()
