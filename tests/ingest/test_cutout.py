"""Cutouts and spectra written from the survey's files, with the licence and citation of their release."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from PIL import Image

from galbase.ingest.cutout import write_cutout
from galbase.ingest.galaxies import rebuild_galaxies
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.preprocess.stretch import dr2_rgb
from galbase.ingest.releases import add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.ingest.spectrum_output import write_spectrum
from galbase.ingest.stored_observation import find_observation
from galbase.schema.errors import GalbaseError
from tests.ingest.matching import crossmatch

LICENCE, CITATION = "CC-BY-4.0", "Sérsic 1963; Dey et al. 2019, AJ 157, 168, " + "and many others " * 8

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def source_of(connection: Connection, release: str, native_id: str) -> int:
    row = connection.execute(
        "SELECT source_id FROM archive.source JOIN archive.data_release USING (release_id) "
        "WHERE release = %s AND native_id = %s",
        (release, native_id),
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def shard(connection: Connection, tmp_path: Path) -> tuple[int, np.ndarray[Any, Any]]:
    """A source and its fluxes, (3, 152, 152) in bands g, r, z; made anew for each test."""
    release, _ = add_release(connection, tmp_path.name, survey="Legacy", licence=LICENCE, citation=CITATION)
    images = np.random.default_rng(2).gamma(1.0, 0.05, (3, 3, 152, 152)).astype(np.float32)
    images[1, :, 100:, 76] += 5.0
    images[1, 0, 0, 0] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["ra"], file["dec"] = images, [10.0, 150.0, 20.0], [0.0, 60.0, 5.0]
    ingest_images(connection, release, [tmp_path / "a.h5"], ImageOptions())
    return source_of(connection, tmp_path.name, "a.h5:1"), images[1]


def test_fits_holds_the_fluxes_with_coordinates_licence_and_citation(
    connection: Connection, tmp_path: Path, shard: tuple[int, np.ndarray[Any, Any]]
) -> None:
    source, flux = shard
    assert write_cutout(find_observation(connection, source, "image"), tmp_path / "out.fits") == (152, 152)
    with fits.open(tmp_path / "out.fits") as hdus:
        header = hdus[0].header
        np.testing.assert_array_equal(hdus[0].data, flux)
        assert (header["BANDS"], header["BUNIT"], header["LICENCE"]) == ("grz", "nanomaggy", LICENCE)
        assert header["CITATION"] == CITATION.replace("é", "e").strip()
        assert header["SOURCEID"] == str(source)
        centre = WCS(header).celestial.pixel_to_world(75.5, 75.5)
        north = WCS(header).celestial.pixel_to_world(75.5, 85.5)
        east = WCS(header).celestial.pixel_to_world(65.5, 75.5)
    assert (centre.ra.deg, centre.dec.deg) == pytest.approx((150.0, 60.0), abs=1e-9)
    assert centre.separation(north).arcsec == pytest.approx(2.62, abs=1e-6)
    assert centre.position_angle(north).wrap_at(180 * units.deg).deg == pytest.approx(0, abs=1e-6)
    assert centre.position_angle(east).deg == pytest.approx(90, abs=0.01)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_show_north_up(
    connection: Connection, tmp_path: Path, shard: tuple[int, np.ndarray[Any, Any]], suffix: str
) -> None:
    source, flux = shard
    out = tmp_path / f"out{suffix}"
    write_cutout(find_observation(connection, source, "image"), out)
    with Image.open(out) as picture:
        colours = np.asarray(picture.convert("RGB"), float)
        terms = picture.text if suffix == ".png" else picture.info["comment"].decode()
    expected = np.rint(dr2_rgb(np.nan_to_num(flux).transpose(1, 2, 0), "grz") * 255)[::-1]
    assert np.abs(colours - expected).mean() <= (0 if suffix == ".png" else 10)
    assert colours[:50, 76].mean() > colours[60:, 76].mean() + 50
    text = "\n".join(f"{key}: {value}" for key, value in terms.items()) if suffix == ".png" else terms
    assert f"licence: {LICENCE}" in text
    assert f"citation: {CITATION.strip()}" in text


def test_display_images_are_copied_pixel_by_pixel(connection: Connection, tmp_path: Path, test_data: Path) -> None:
    release, _ = add_release(connection, "gz", survey="GZ")
    folder = test_data / "gz-coords-sample" / "images" / "galaxy_zoo_decals"
    ingest_images(connection, release, [folder], ImageOptions(position_from_name=True))
    name = "J081412.47+220853.0.png"
    image = find_observation(connection, source_of(connection, "gz", name), "image")
    write_cutout(image, tmp_path / "out.png")
    with Image.open(folder / name) as original, Image.open(tmp_path / "out.png") as copy:
        np.testing.assert_array_equal(np.asarray(copy), np.asarray(original.convert("RGB")))
        assert copy.text["licence"] == "not stated"
    write_cutout(image, tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        assert hdus[0].data.shape == (3, 424, 424)
        assert "BUNIT" not in hdus[0].header
        assert "CTYPE1" not in hdus[0].header


def test_fits_cutouts_keep_their_own_coordinates(connection: Connection, tmp_path: Path) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [30.0, -10.0], [11.0, 5.0]
    wcs.wcs.cd = [[0.0, 1e-4], [1e-4, 0.0]]
    header = wcs.to_header()
    header["FILTER"] = "r"
    pixels = np.arange(200, dtype=np.float32).reshape(10, 20)
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "in.fits")
    release, _ = add_release(connection, "own-wcs", survey="test")
    ingest_images(connection, release, [tmp_path / "in.fits"], ImageOptions())
    image = find_observation(connection, source_of(connection, "own-wcs", "in.fits"), "image")
    write_cutout(image, tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        np.testing.assert_array_equal(hdus[0].data, pixels)
        found = WCS(hdus[0].header).pixel_to_world(3, 7)
    assert found.separation(wcs.pixel_to_world(3, 7)).arcsec < 1e-6


def test_unnamed_bands_cannot_be_pictured(connection: Connection, tmp_path: Path) -> None:
    release, _ = add_release(connection, "unnamed", survey="test")
    fits.PrimaryHDU(np.ones((3, 20, 20), np.float32)).writeto(tmp_path / "1.5_2.5.fits")
    ingest_images(connection, release, [tmp_path / "1.5_2.5.fits"], ImageOptions(position_from_name=True))
    image = find_observation(connection, source_of(connection, "unnamed", "1.5_2.5.fits"), "image")
    with pytest.raises(GalbaseError, match="bands band0,band1,band2 cannot be shown"):
        write_cutout(image, tmp_path / "out.png")
    write_cutout(image, tmp_path / "out.fits")


@pytest.fixture
def pairs(archive: Any, connection: Connection, test_data: Path, tmp_path: Path) -> tuple[int, Path]:
    """A source of an image whose galaxy has a spectrum, and the spectrum's file."""
    folder = tmp_path / "pairs"
    for part in ("images", "spectra"):
        (folder / part).mkdir(parents=True)
        for file in (test_data / "sdss-pairs" / part).iterdir():
            shutil.copyfile(file, folder / part / file.name)
    names = [f"{tmp_path.name}-{part}" for part in ("images", "spectra")]
    images, spectra = (add_release(connection, name, survey="SDSS", citation=CITATION)[0] for name in names)
    ingest_images(connection, images, [folder / "images"], ImageOptions(position_from_name=True))
    ingest_spectra(connection, spectra, [folder / "spectra"])
    crossmatch(archive.config, *names, 1.0)
    rebuild_galaxies(connection)
    return (
        source_of(connection, names[0], "5.79056_-0.60395.jpg"),
        folder / "spectra" / "spec-0390-51900-0104.fits",
    )


def test_a_spectrum_is_found_through_the_galaxy(connection: Connection, pairs: tuple[int, Path]) -> None:
    source, file = pairs
    stored = find_observation(connection, source, "spectrum")
    assert (stored.asked_id, stored.file, stored.native_id) == (source, file, "439129582847682560")
    assert stored.source_id != source
    assert find_observation(connection, stored.source_id, "image").source_id == source


def test_spectra_in_three_formats(connection: Connection, tmp_path: Path, pairs: tuple[int, Path]) -> None:
    source, file = pairs
    stored = find_observation(connection, source, "spectrum")
    for suffix in (".fits", ".csv", ".png"):
        assert write_spectrum(stored, tmp_path / f"out{suffix}") == 3842
    with fits.open(file) as hdus:
        original = Table(hdus["COADD"].data)
    written = Table.read(tmp_path / "out.fits", hdu=1)
    np.testing.assert_array_equal(written["flux"], original["flux"].astype(float))
    np.testing.assert_allclose(written["wave_angstrom"], 10.0 ** original["loglam"].astype(float))
    assert written["wave_angstrom"].unit == units.Angstrom
    assert written["flux"].unit == units.Unit("1e-17 erg / (s cm2 Angstrom)")
    assert written.meta["Z"] == pytest.approx(0.0851567, abs=1e-6)
    assert written.meta["CITATION"].startswith("Sersic 1963; Dey et al. 2019")
    with (tmp_path / "out.csv").open(encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    assert f"# citation: {CITATION.strip()}" in [line.rstrip() for line in lines]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    np.testing.assert_array_equal([float(row["ivar"]) for row in rows], original["ivar"].astype(float))
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.text["citation"].strip() == CITATION.strip()
        assert picture.size[0] > 900


def test_refusals(connection: Connection, tmp_path: Path, shard: tuple[int, np.ndarray[Any, Any]]) -> None:
    source, _ = shard
    with pytest.raises(GalbaseError, match="there is no source 12"):
        find_observation(connection, 12, "image")
    with pytest.raises(GalbaseError, match=f"source {source} has no spectrum"):
        find_observation(connection, source, "spectrum")
    image = find_observation(connection, source, "image")
    with pytest.raises(GalbaseError, match=r"must end in \.png"):
        write_cutout(image, tmp_path / "out.tiff")
    with pytest.raises(GalbaseError, match="make the folder"):
        write_cutout(image, tmp_path / "none" / "out.png")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["more"] = np.zeros(9)
    with pytest.raises(GalbaseError, match="was changed since it was ingested"):
        find_observation(connection, source, "image")
    (tmp_path / "a.h5").unlink()
    with pytest.raises(GalbaseError, match="cannot be read"):
        find_observation(connection, source, "image")
