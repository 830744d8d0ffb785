"""FITS files of many stamps: a row an image, each of its own size, judged one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.jobs import run_preprocess
from galbase.ingest.manifest import read_manifest
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.pixels import read_cutouts, rows_per_unit
from galbase.ingest.readers.fits_image import read_fits_image
from galbase.ingest.releases import add_release
from galbase.schema.errors import GalbaseError

SIZES = ((16, 16), (190, 170), (64, 80))


def write(
    path: Path, sizes: tuple[tuple[int, int], ...] = SIZES, names: tuple[str, ...] = (), **keys: Any
) -> list[Any]:
    planes = [np.random.default_rng(i).normal(0, 1, size).astype(np.float32) for i, size in enumerate(sizes)]
    hdus = [fits.PrimaryHDU(planes[0]), *[fits.ImageHDU(plane) for plane in planes[1:]]]
    for hdu, name in zip(hdus[1:], names, strict=False):
        hdu.header["EXTNAME"] = name
    for key, values in keys.items():
        for hdu, value in zip(hdus, values, strict=True):
            hdu.header[key] = value
    fits.HDUList(hdus).writeto(path)
    return planes


def test_a_row_an_image_and_a_verdict_each(archive: Any, tmp_path: Path) -> None:
    planes = write(tmp_path / "stamps.fits")
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "stamps", survey="HST")
        report = ingest_images(connection, release, [tmp_path], ImageOptions(bands=("r",), pixel_scale_arcsec=0.03))
        assert (report.loaded, report.inserted) == (1, 3)
        rows = connection.execute(
            "SELECT o.row_index, i.height, i.width, i.bands, i.pixel_scale_arcsec, o.source_id "
            "FROM archive.observation o JOIN archive.image i USING (observation_id) ORDER BY 1"
        ).fetchall()
    assert rows == [(i, *plane.shape, ["r"], 0.03, None) for i, plane in enumerate(planes)]
    for row, plane in enumerate(planes):
        found = read_cutouts(tmp_path / "stamps.fits", "fits-image", row, row + 1)
        np.testing.assert_array_equal(found.pixels[0, :, :, 0], plane)
    assert rows_per_unit(tmp_path / "stamps.fits", "fits-image") == 1
    judged = run_preprocess(archive.config, release="stamps", preprocess=preset("galeffnet"), workers=1)
    assert (judged.n_unit, judged.n_row) == (3, 3)


def test_named_planes_beside_an_image_are_no_stamps(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", ((8, 8), (8, 8)), names=("INVVAR",))
    assert read_fits_image(tmp_path / "a.fits").n_row == 1


def test_images_of_one_file_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", FILTER=("g", "r", "g"))
    with pytest.raises(GalbaseError, match="its 3 images differ in bands or pixel scale"):
        read_fits_image(tmp_path / "a.fits")
    with pytest.raises(GalbaseError, match="holds 3 images; row 3 was asked for"):
        read_cutouts(tmp_path / "a.fits", "fits-image", 3, 4)
    with pytest.raises(GalbaseError, match="read one by one"):
        read_cutouts(tmp_path / "a.fits", "fits-image", 0, 2)


def test_one_position_cannot_be_that_of_all(archive: Any, tmp_path: Path) -> None:
    write(tmp_path / "s.fits")
    (tmp_path / "m.csv").write_text("file,ra,dec\ns.fits,1,2\n")
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "placed", survey="HST")
        options = ImageOptions(manifest=read_manifest(tmp_path / "m.csv"))
        report = ingest_images(connection, release, [tmp_path / "s.fits"], options)
    assert "s.fits holds 3 images, for which manifest line 2 has one position" in report.rejected[0][1]
