"""Ingest of SDSS spectra: real files, sources they belong to, and files that must be refused."""

import csv
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.io import fits

from galbase.ingest.catalogue import load_sources, load_survey_rows
from galbase.ingest.readers.sdss_spectrum import read_sdss_spectrum, read_spectrum_pixels
from galbase.ingest.releases import Release, add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import ObservationFlag as Flag

Connection = psycopg.Connection[Any]
LARGEST = 2**64 - 1


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def release(connection: Connection, name: str) -> Release:
    return add_release(connection, name, survey="SDSS")[0]


def rows(connection: Connection, target: Release) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT f.path, s.native_id, s.ra, s.dec, o.flag, o.observation_id, o.source_id, o.modified_at, p.* "
        "FROM archive.observation o JOIN archive.data_file f USING (data_file_id) "
        "JOIN archive.spectrum p USING (observation_id) LEFT JOIN archive.source s USING (source_id) "
        "WHERE o.release_id = %s ORDER BY f.path",
        (target.release_id,),
    ).fetchall()


def write_spec(path: Path, specobjid: Any = "  123", ra: float = 10.0, dec: float = 5.0, **changes: Any) -> Path:
    """A small file in the SDSS data model."""
    n_pixel = changes.pop("n_pixel", 50)
    loglam = changes.pop("loglam", 3.58 + 1e-4 * np.arange(n_pixel))
    coadd = fits.BinTableHDU.from_columns(
        [fits.Column("flux", "E", array=np.ones(n_pixel)), fits.Column("loglam", "E", array=loglam),
         fits.Column("ivar", "E", array=changes.pop("ivar", np.ones(n_pixel)))], name="COADD",
    )  # fmt: skip
    form = "22A" if isinstance(specobjid, str) else "K"
    values = {"Z": 0.1, "Z_ERR": 1e-5, "ZWARNING": 0, "CLASS": "GALAXY", "SUBCLASS": "", "SN_MEDIAN_ALL": 9.0} | changes
    forms = {"Z": "E", "Z_ERR": "E", "ZWARNING": "K", "CLASS": "6A", "SUBCLASS": "21A", "SN_MEDIAN_ALL": "E"}
    columns = [fits.Column(name, forms[name], array=[value]) for name, value in values.items()]
    columns += [fits.Column("SPECOBJID", form, array=[specobjid]), fits.Column("PLUG_RA", "D", array=[ra]),
                fits.Column("PLUG_DEC", "D", array=[dec])]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), coadd, fits.BinTableHDU.from_columns(columns, name="SPECOBJ")]).writeto(
        path, overwrite=True
    )
    return path


def test_real_spectra_against_their_index(connection: Connection, test_data: Path) -> None:
    target = release(connection, "sdss-spectra")
    report = ingest_spectra(connection, target, [test_data / "spectra" / "sdss"])
    assert (report.loaded, report.inserted, report.rejected) == (3, 3, [])
    with (test_data / "spectra" / "index.csv").open() as stream:
        index = {Path(row["file"]).name: row for row in csv.DictReader(stream) if row["file"].startswith("sdss")}
    found = rows(connection, target)
    assert {row[0] for row in found} == set(index)
    for path, native, ra, dec, flag, _, _, _, _, low, high, n_pixel, *rest in found:
        wanted = index[path]
        z, _, z_warning, spectral_class, subclass, sn_median, specobjid = rest
        assert (native, specobjid) == (wanted["specobjid"].strip(), Decimal(wanted["specobjid"].strip()))
        assert (ra, dec) == pytest.approx((float(wanted["plug_ra"]), float(wanted["plug_dec"])), abs=1e-9)
        assert (low, high) == pytest.approx((float(wanted["lam_min"]), float(wanted["lam_max"])), rel=1e-6)
        assert (n_pixel, z_warning) == (int(wanted["npix"]), int(float(wanted["zwarning"])))
        assert z == pytest.approx(float(wanted["z"]), rel=1e-6)
        assert (spectral_class, subclass or "") == (wanted["class"], wanted["subclass"])
        assert sn_median == pytest.approx(float(wanted["sn_median_all"]), rel=1e-6)
        assert flag == Flag.NO_CATALOGUE_SOURCE


def test_second_run_changes_nothing(connection: Connection, test_data: Path) -> None:
    target = release(connection, "twice")
    ingest_spectra(connection, target, [test_data / "sdss-pairs"])
    before = rows(connection, target)
    assert len(before) == 4
    report = ingest_spectra(connection, target, [test_data / "sdss-pairs"])
    assert (report.unchanged, report.wrote) == (4, False)
    assert rows(connection, target) == before


def test_a_spectrum_belongs_to_the_catalogue_row_with_its_id(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "with-catalogue")
    with connection.transaction():
        named, other = load_sources(
            connection, target.release_id, target.release, ["123", "elsewhere"], [10.0, 50.0], [5.0, 5.0], None, None
        ).tolist()
        numbers = np.array([None, LARGEST], dtype=object)
        load_survey_rows(connection, "sdss_galaxy", np.array([named, other]), {"specobjid": numbers})
    write_spec(tmp_path / "a.fits")
    write_spec(tmp_path / "b.fits", str(LARGEST), ra=50.0003)
    write_spec(tmp_path / "c.fits", "124", ra=70.0)
    write_spec(tmp_path / "d.fits", "123", ra=10.1)
    report = ingest_spectra(connection, target, [tmp_path])
    assert [name for name, _ in report.rejected] == ["d.fits"]
    assert "its id '123' is that of a source of the release 358.6 arcsec away" in report.rejected[0][1]
    found = {row[0]: row for row in rows(connection, target)}
    assert (found["a.fits"][6], found["a.fits"][4]) == (named, 0)
    assert (found["b.fits"][6], found["b.fits"][4], found["b.fits"][-1]) == (other, 0, Decimal(LARGEST))
    assert (found["c.fits"][1], found["c.fits"][4]) == ("124", Flag.NO_CATALOGUE_SOURCE)


def test_a_catalogue_loaded_later_takes_the_source_over(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "later-catalogue")
    write_spec(tmp_path / "a.fits")
    ingest_spectra(connection, target, [tmp_path])
    source = rows(connection, target)[0][6]
    with connection.transaction():
        ids = load_sources(connection, target.release_id, target.release, ["123"], [10.0], [5.0], None, None)
    assert ids.tolist() == [source]
    assert ingest_spectra(connection, target, [tmp_path]).unchanged == 1
    row = rows(connection, target)[0]
    assert (row[6], row[4]) == (source, 0)


def test_two_spectra_of_one_object(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "repeated")
    for name in "ab":
        write_spec(tmp_path / f"{name}.fits", n_pixel=50 + ord(name))
    assert ingest_spectra(connection, target, [tmp_path]).rejected == []
    found = rows(connection, target)
    assert len(found) == 2
    assert found[0][6] == found[1][6]


@pytest.mark.parametrize("value", [1453615165823019008, -1, "   1453615165823019008", str(LARGEST)])
def test_ids_are_exact(tmp_path: Path, value: Any) -> None:
    expected = int(value) % 2**64
    assert read_sdss_spectrum(write_spec(tmp_path / "a.fits", value)).specobjid == expected


def test_missing_values_are_none(tmp_path: Path) -> None:
    found = read_sdss_spectrum(write_spec(tmp_path / "a.fits", Z=np.nan, Z_ERR=np.inf, CLASS=" "))
    assert (found.z, found.z_err, found.spectral_class, found.spectral_subclass) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"specobjid": "   "}, "SPECOBJID is"),
        ({"specobjid": "0"}, "not an id"),
        ({"ra": np.nan}, "PLUG_RA=nan"),
        ({"dec": 91.0}, "is no position"),
        ({"loglam": np.full(50, 3.6)}, "wavelengths do not rise"),
        ({"ivar": np.zeros(50)}, "no valid pixel"),
        ({"n_pixel": 0}, "0 wavelengths"),
    ],
)
def test_unusable_spectra_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(GalbaseError, match=reason):
        read_sdss_spectrum(write_spec(tmp_path / "a.fits", **changes))


def test_damaged_files_are_rejected_and_the_others_load(
    connection: Connection, tmp_path: Path, test_data: Path
) -> None:
    target = release(connection, "damaged")
    for file in (test_data / "sdss-pairs" / "spectra").iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    whole = (tmp_path / "spec-0389-51795-0269.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "text.fits").write_text("no FITS")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    for _ in range(2):
        report = ingest_spectra(connection, target, [tmp_path])
        assert [name for name, _ in report.rejected] == ["cut.fits", "text.fits"]
        assert (report.ignored, len(rows(connection, target))) == (1, 4)
    report = ingest_spectra(connection, target, [tmp_path / "image.fits"])
    assert "no spectrum that is known: its extensions are PRIMARY" in report.rejected[0][1]


def test_a_value_that_cannot_be_stored_rejects_only_its_file(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "overflow")
    for name, warning in (("a", 0), ("b", 2**40), ("c", 4)):
        write_spec(tmp_path / f"{name}.fits", str(ord(name)), ZWARNING=warning)
    report = ingest_spectra(connection, target, [tmp_path])
    assert (report.loaded, report.inserted) == (2, 2)
    assert [name for name, _ in report.rejected] == ["b.fits"]
    assert "z_warning" in report.rejected[0][1]
    assert [row[0] for row in rows(connection, target)] == ["a.fits", "c.fits"]
    states = connection.execute(
        "SELECT path, state FROM archive.data_file WHERE release_id = %s ORDER BY 1", (target.release_id,)
    ).fetchall()
    assert states == [("a.fits", "loaded"), ("b.fits", "rejected"), ("c.fits", "loaded")]


def test_pixels_are_those_of_the_file(test_data: Path) -> None:
    path = test_data / "sdss-pairs" / "spectra" / "spec-0389-51795-0269.fits"
    pixels = read_spectrum_pixels(path)
    with fits.open(path) as hdus:
        table = hdus["COADD"].data
        np.testing.assert_array_equal(pixels.flux.astype(np.float32), table["flux"])
        np.testing.assert_array_equal(pixels.ivar.astype(np.float32), table["ivar"])
        np.testing.assert_allclose(np.log10(pixels.wave_angstrom), table["loglam"], atol=1e-7)
