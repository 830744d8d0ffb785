"""Pixels read from files that this test writes by other means."""

import hashlib
import struct
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from PIL import Image

from galbase.ingest.preprocess.pixels import pixel_hash, read_cutouts, rows_per_unit, wcs_scale_arcsec
from galbase.schema.errors import GalbaseError

RNG = np.random.default_rng(5)


def test_hdf5_rows_bands_and_scale(tmp_path: Path) -> None:
    images = RNG.normal(size=(7, 3, 20, 24)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = images
    cutouts = read_cutouts(tmp_path / "a.h5", "hdf5", 2, 5)
    assert cutouts.pixels.shape == (3, 20, 24, 3)
    for i in range(3):
        for band in range(3):
            np.testing.assert_array_equal(cutouts.pixels[i, :, :, band], images[2 + i, band])
    assert (cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display) == (("g", "r", "z"), 0.262, False)
    for start, stop in ((0, 8), (-1, 2), (3, 3)):
        with pytest.raises(GalbaseError, match="has 7 images"):
            read_cutouts(tmp_path / "a.h5", "hdf5", start, stop)


def test_hdf5_attributes_override_and_unnamed_bands_are_numbered(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((1, 3, 8, 8), np.float32)
        file.attrs["bands"] = "gri"
        file.attrs["pixel_scale_arcsec"] = 0.396
    cutouts = read_cutouts(tmp_path / "a.h5", "hdf5")
    assert (cutouts.bands, cutouts.pixel_scale_arcsec) == (("g", "r", "i"), 0.396)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"] = np.zeros((1, 2, 8, 8), np.float32)
    assert read_cutouts(tmp_path / "b.h5", "hdf5").bands == ("band0", "band1")


def test_units_are_whole_chunks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", shape=(1000, 1, 4, 4), chunks=(100, 1, 4, 4), dtype="f4")
    assert rows_per_unit(tmp_path / "a.h5", "hdf5") == 300
    assert rows_per_unit(tmp_path / "a.h5", "hdf5", 100) == 100
    assert rows_per_unit(tmp_path / "missing.h5", "hdf5") == 256
    assert rows_per_unit(tmp_path / "a.jpg", "jpeg") == 256


def test_png_colours_grey_and_transparency(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(rgba[..., :3]).save(tmp_path / "rgb.png")
    Image.fromarray(rgba[..., 0]).save(tmp_path / "grey.png")
    for name in ("rgba.png", "rgb.png"):
        cutouts = read_cutouts(tmp_path / name, "png")
        np.testing.assert_array_equal(cutouts.pixels[0], rgba[..., :3])
        assert (cutouts.bands, cutouts.pixel_scale_arcsec, cutouts.is_display) == (("R", "G", "B"), None, True)
    grey = read_cutouts(tmp_path / "grey.png", "png")
    np.testing.assert_array_equal(grey.pixels[0, ..., 0], rgba[..., 0])
    assert grey.bands == ("grey",)


def png_16(path: Path, values: np.ndarray) -> None:
    """A 16-bit RGB PNG by the format's definition: Pillow cannot write one."""
    ny, nx, _ = values.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", nx, ny, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_16_bit_png_keeps_its_depth(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (8, 9, 3))
    png_16(tmp_path / "deep.png", values)
    cutouts = read_cutouts(tmp_path / "deep.png", "png")
    np.testing.assert_allclose(cutouts.pixels[0], values / 257, rtol=1e-6)


def test_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    cutouts = read_cutouts(tmp_path / "a.jpg", "jpeg")
    assert np.abs(cutouts.pixels[0] - smooth).mean() < 3
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert read_cutouts(tmp_path / "cmyk.jpg", "jpeg").pixels.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("extension", [False, True])
def test_fits_cutout_with_wcs(tmp_path: Path, extension: bool) -> None:
    planes = RNG.normal(size=(3, 12, 10)).astype(np.float32)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [5.5, 6.5]
    wcs.wcs.cd = np.array([[-0.6, 0.8], [0.8, 0.6]]) * 0.262 / 3600
    header = wcs.to_header()
    header["BANDS"] = "grz"
    image = fits.ImageHDU(planes, header) if extension else fits.PrimaryHDU(planes, header)
    fits.HDUList([fits.PrimaryHDU(), image] if extension else [image]).writeto(tmp_path / "a.fits")
    cutouts = read_cutouts(tmp_path / "a.fits", "fits")
    np.testing.assert_array_equal(cutouts.pixels[0].transpose(2, 0, 1), planes)
    assert cutouts.pixels.dtype == np.float32
    assert cutouts.pixels.dtype.isnative
    assert (cutouts.bands, cutouts.is_display) == (("g", "r", "z"), False)
    assert cutouts.pixel_scale_arcsec == pytest.approx(0.262, rel=1e-9)
    assert read_cutouts(tmp_path / "a.fits", "fits-image").bands == ("g", "r", "z")


def test_fits_single_band_without_wcs(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((5, 6), np.int16), fits.Header({"FILTER": "r DECam SDSS"})).writeto(tmp_path / "a.fits")
    cutouts = read_cutouts(tmp_path / "a.fits", "fits")
    assert (cutouts.pixels.shape, cutouts.bands, cutouts.pixel_scale_arcsec) == ((1, 5, 6, 1), ("r",), None)


def test_scale_of_a_real_frame_agrees_with_astropy(test_data: Path) -> None:
    with fits.open(test_data / "sdss-frame" / "frame-g-002583-1-0042.fits.bz2") as hdus:
        header = hdus[0].header
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.mean(proj_plane_pixel_scales(WCS(header).celestial)) * 3600
    assert wcs_scale_arcsec(header) == pytest.approx(expected, rel=1e-4)
    assert wcs_scale_arcsec(header) == pytest.approx(0.396, rel=1e-3)


def test_scale_needs_celestial_axes_in_degrees() -> None:
    celestial = {"CTYPE1": "RA---TAN", "CDELT1": -0.1, "CDELT2": 0.1}
    assert wcs_scale_arcsec(celestial) == pytest.approx(360)
    assert wcs_scale_arcsec({**celestial, "CTYPE1": "LINEAR"}) is None
    assert wcs_scale_arcsec({**celestial, "CUNIT1": "arcsec"}) is None
    assert wcs_scale_arcsec({"CTYPE1": "RA---TAN"}) is None
    assert wcs_scale_arcsec({**celestial, "CDELT1": 0.0}) is None


def test_damaged_missing_and_foreign_files_are_refused_clearly(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "text.h5").write_text("not an image")
    (tmp_path / "text.fits").write_text("not an image")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spectra"] = np.zeros(4)
    for name, fmt, message in (
        ("half.jpg", "jpeg", "cannot read"),
        ("text.png", "png", "cannot read"),
        ("text.h5", "hdf5", "cannot read"),
        ("text.fits", "fits", "cannot read"),
        ("empty.fits", "fits", "holds no image"),
        ("other.h5", "hdf5", "cannot read"),
        ("missing.png", "png", "is not there"),
        ("whole.jpg", "tiff", "choose one of hdf5"),
    ):
        with pytest.raises(GalbaseError, match=message):
            read_cutouts(tmp_path / name, fmt)
    with pytest.raises(GalbaseError, match="one image, row 0; rows 1 to 2"):
        read_cutouts(whole, "jpeg", 1, 2)


def test_pixel_hash_covers_values_and_shape() -> None:
    pixels = RNG.normal(size=(4, 6, 3)).astype(np.float32)
    expected = hashlib.sha256(b"(4, 6, 3)" + pixels.tobytes()).hexdigest()[:32]
    assert pixel_hash(pixels) == expected
    assert pixel_hash(np.asfortranarray(pixels)) == expected
    assert pixel_hash(pixels.reshape(6, 4, 3)) != expected
    changed = pixels.copy()
    changed[0, 0, 0] = np.nextafter(changed[0, 0, 0], np.float32(9))
    assert pixel_hash(changed) != expected
