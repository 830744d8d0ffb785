"""FITS cutouts: position, scale and bands from their own world coordinates."""

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from galbase.ingest.catalogue import load_sources
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.manifest import read_manifest
from galbase.ingest.readers.fits_image import read_fits_image
from galbase.ingest.releases import add_release
from galbase.schema.errors import GalbaseError
from galbase.schema.files import file_facts, record_file, register_root
from galbase.schema.flags import ObservationFlag as Flag


@pytest.fixture
def connection(archive: Any) -> Iterator[psycopg.Connection[Any]]:
    with archive.connect(autocommit=True) as made:
        yield made


def world(ra: float = 150.0, dec: float = 2.0, side: int = 40, turn: float = 30.0, frame: str = "RA") -> WCS:
    """A tangential projection, turned, 0.262 arcsec a pixel, whose reference is the image's centre."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"] if frame == "RA" else ["GLON-TAN", "GLAT-TAN"]
    made.wcs.crval, made.wcs.crpix = [ra, dec], [(side + 1) / 2, (side + 1) / 2]
    angle, step = np.radians(turn), 0.262 / 3600
    made.wcs.cd = step * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return made


def write(path: Path, planes: int = 3, wcs: WCS | None = None, side: int = 40, **keywords: Any) -> Path:
    shape = (planes, side, side) if planes else (side, side)
    header = fits.Header() if wcs is None else wcs.to_header()
    header.update(keywords)
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=shape).astype(np.float32), header).writeto(path)
    return path


def test_centre_scale_and_bands(tmp_path: Path) -> None:
    found = read_fits_image(write(tmp_path / "a.fits", wcs=world(), BANDS="grz"))
    assert (found.ra[0], found.dec[0]) == pytest.approx((150.0, 2.0), abs=1e-9)
    assert found.pixel_scale_arcsec == pytest.approx(0.262, rel=1e-9)
    assert (found.bands, found.width, found.height, found.is_display) == (("g", "r", "z"), 40, 40, False)


def test_galactic_axes_give_equatorial_positions(tmp_path: Path) -> None:
    found = read_fits_image(write(tmp_path / "a.fits", wcs=world(120.0, -35.0, frame="GLON")))
    expected = SkyCoord(l=120 * units.deg, b=-35 * units.deg, frame="galactic").icrs
    assert SkyCoord(found.ra[0], found.dec[0], unit="deg").separation(expected) < 1e-6 * units.arcsec


@pytest.mark.parametrize(
    ("planes", "keywords", "bands"),
    [
        (0, {"FILTER": "r DECam SDSS c0002"}, ("r",)),
        (0, {"BANDS": "i"}, ("i",)),
        (3, {"BANDS": "gr"}, ("band0", "band1", "band2")),
        (2, {}, ("band0", "band1")),
    ],
)
def test_bands(tmp_path: Path, planes: int, keywords: dict[str, str], bands: tuple[str, ...]) -> None:
    assert read_fits_image(write(tmp_path / "a.fits", planes, **keywords)).bands == bands


def test_without_world_coordinates_nothing_is_known(tmp_path: Path) -> None:
    found = read_fits_image(write(tmp_path / "a.fits"))
    assert np.isnan(found.ra[0])
    assert found.pixel_scale_arcsec is None


def test_compressed_files(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.fits", 0, world()).read_bytes()
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "a.fits.bz2").write_bytes(bz2.compress(plain))
    with fits.open(tmp_path / "a.fits") as hdus:
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header)]).writeto(
            tmp_path / "a.fits.fz"
        )
    for name in ("a.fits.gz", "a.fits.bz2", "a.fits.fz"):
        found = read_fits_image(tmp_path / name)
        assert (found.ra[0], found.dec[0], found.width) == pytest.approx((150.0, 2.0, 40), abs=1e-9)


def test_real_frame(test_data: Path) -> None:
    found = read_fits_image(test_data / "sdss-frame" / "frame-g-002583-1-0042.fits.bz2")
    assert 309.19 < found.ra[0] < 309.35
    assert -1.267 < found.dec[0] < -1.042
    assert found.pixel_scale_arcsec == pytest.approx(0.396, abs=0.001)
    assert (found.bands, found.width, found.height) == (("g",), 2048, 1489)


def damage(path: Path, how: str) -> None:
    if how == "truncated":
        content = write(path, wcs=world()).read_bytes()
        path.write_bytes(content[:-4000])
    elif how == "checksum":
        fits.PrimaryHDU(np.ones((5, 5))).writeto(path, checksum=True)
        content = bytearray(path.read_bytes())
        content[2880] ^= 1
        path.write_bytes(content)
    elif how == "table":
        column = fits.Column("a", "J", array=[1])
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(path)
    else:
        path.write_bytes(b"SIMPLE")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "is cut short in HDU 0"),
        ("checksum", "is damaged"),
        ("table", "holds no image"),
        ("text", "is damaged"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, how: str, reason: str) -> None:
    damage(tmp_path / "a.fits", how)
    with pytest.raises(GalbaseError, match=reason):
        read_fits_image(tmp_path / "a.fits")


def test_ingest_prefers_manifest_then_header_then_name(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    target, _ = add_release(connection, "cutouts", survey="test")
    write(tmp_path / "150.0_2.0.fits", wcs=world(), BANDS="grz")
    write(tmp_path / "20.5_3.5.fits")
    write(tmp_path / "manifest.fits", wcs=world())
    (tmp_path / "m.csv").write_text("file,ra,dec,pixel_scale_arcsec\nmanifest.fits,150.01,2.0,0.5\n")
    options = ImageOptions(
        manifest=read_manifest(tmp_path / "m.csv"),
        position_from_name=True,
        pixel_scale_arcsec=0.3,
        bands=("i", "r", "g"),
    )
    assert ingest_images(connection, target, [tmp_path], options).rejected == []
    found = connection.execute(
        "SELECT s.native_id, s.ra, s.dec, o.flag, round(i.pixel_scale_arcsec::numeric, 6)::float8, i.bands "
        "FROM archive.observation o JOIN archive.source s USING (source_id) "
        "JOIN archive.image i USING (observation_id) ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in found] == ["150.0_2.0.fits", "20.5_3.5.fits", "manifest.fits"]
    assert [row[1:3] for row in found] == [pytest.approx(p, abs=1e-9) for p in ((150, 2), (20.5, 3.5), (150.01, 2))]
    alone = Flag.NO_CATALOGUE_SOURCE
    assert [row[3] for row in found] == [alone, alone | Flag.POSITION_FROM_NAME, alone | Flag.POSITION_DIFFERS]
    assert [row[4] for row in found] == [0.262, 0.3, 0.5]
    assert [row[5] for row in found] == [["g", "r", "z"], ["i", "r", "g"], ["i", "r", "g"]]


def test_a_catalogue_beside_the_images_is_left_alone(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    target, _ = add_release(connection, "beside", survey="test")
    write(tmp_path / "a.fits", wcs=world())
    table = tmp_path / "table.fits"
    Table({"ra": [1.0], "dec": [2.0]}).write(table)
    report = ingest_images(connection, target, [tmp_path], ImageOptions())
    assert (report.loaded, report.ignored, report.rejected) == (1, 1, [])
    with connection.transaction():
        root = register_root(connection, tmp_path)
        number = record_file(
            connection, release_id=target.release_id, root_id=root, path="table.fits", format="fits",
            facts=file_facts(table), options_hash="", state="loaded",
        )  # fmt: skip
        load_sources(connection, target.release_id, "beside", ["a.fits"], [150.0], [2.0], None, number)
    for paths, rejected in (([tmp_path], []), ([table], [("table.fits", "it is loaded as fits already")])):
        assert ingest_images(connection, target, paths, ImageOptions()).rejected == rejected
        recorded = connection.execute(
            "SELECT format, state FROM archive.data_file WHERE data_file_id = %s", (number,)
        ).fetchone()
        assert recorded == ("fits", "loaded")
    flags = connection.execute("SELECT flag FROM archive.observation WHERE release_id = %s", (target.release_id,))
    assert flags.fetchall() == [(0,)]
