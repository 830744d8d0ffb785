"""DESI coadds: a real one, and files in its layout with many targets, opened beside with astropy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.io import fits

from galbase.ingest.readers.desi_spectrum import combine_arms
from galbase.ingest.readers.spectra import read_pixels, read_spectra
from galbase.ingest.releases import Release, add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.ingest.spectrum_output import write_spectrum
from galbase.ingest.stored_observation import find_observation
from galbase.schema.errors import GalbaseError
from tests.ingest.spectrum_files import desi_targets, redshifts_hdu, write_desi

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def stored(connection: Connection, release: Release) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT o.row_index, s.native_id, s.ra, s.dec, p.wave_min_angstrom, p.wave_max_angstrom, p.n_pixel, p.z, "
        "p.z_err, p.z_warning, p.spectral_class, p.sn_median, o.source_id FROM archive.observation o "
        "JOIN archive.spectrum p USING (observation_id) LEFT JOIN archive.source s USING (source_id) "
        "WHERE o.release_id = %s ORDER BY o.observation_id",
        (release.release_id,),
    ).fetchall()


def coadded(path: Path, row: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The arms of one spectrum put together pixel by pixel, by wavelength rounded to 0.01 Angstrom."""
    sums: dict[int, list[float]] = {}
    with fits.open(path) as hdus:
        for arm in "BRZ":
            mask = hdus[f"{arm}_MASK"].data[row]
            for i, wave in enumerate(hdus[f"{arm}_WAVELENGTH"].data):
                weight = 0.0 if mask[i] else float(hdus[f"{arm}_IVAR"].data[row, i])
                item = sums.setdefault(round(float(wave) * 100), [0.0, 0.0])
                item[0] += weight
                item[1] += weight * float(hdus[f"{arm}_FLUX"].data[row, i])
    keys = sorted(sums)
    ivar = np.array([sums[key][0] for key in keys])
    total = np.array([sums[key][1] for key in keys])
    return np.array(keys) / 100, np.where(ivar > 0, total / np.where(ivar > 0, ivar, 1), 0), ivar


def test_the_real_coadd_with_its_redrock_file(connection: Connection, test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "spectra" / "desi"
    release, _ = add_release(connection, "desi-real", survey="DESI")
    report = ingest_spectra(connection, release, [folder])
    assert (report.loaded, report.inserted, report.ignored, report.rejected) == (1, 1, 1, [])
    path = next(folder.glob("coadd-*"))
    with fits.open(path) as hdus, fits.open(next(folder.glob("redrock-*"))) as zs:
        target, best = hdus["FIBERMAP"].data[0], zs["REDSHIFTS"].data[0]
        snr = hdus["SCORES"].data[0]
    [row] = stored(connection, release)
    assert row[1] == str(target["TARGETID"]) == "39633345008634465"
    assert row[2:4] == pytest.approx((target["TARGET_RA"], target["TARGET_DEC"]), abs=1e-12)
    assert row[7:11] == (best["Z"], best["ZERR"], best["ZWARN"], best["SPECTYPE"].strip())
    wave, flux, ivar = coadded(path, 0)
    assert (row[4], row[5], row[6]) == (pytest.approx(wave[0]), pytest.approx(wave[-1]), len(wave))
    assert row[11] == pytest.approx(np.median((flux * np.sqrt(ivar))[ivar > 0]), rel=1e-5)
    # The pipeline's own figures, one an arm, bracket that of all arms together.
    arms = [float(snr[f"MEDIAN_COADD_SNR_{arm}"]) for arm in "BRZ"]
    assert min(arms) < row[11] < max(arms)
    out = tmp_path / "s.fits"
    write_spectrum(find_observation(connection, row[12], "spectrum"), out)
    with fits.open(out) as hdus:
        table, header = hdus["SPECTRUM"].data, hdus["SPECTRUM"].header
        np.testing.assert_allclose(table["wave_angstrom"], wave, atol=1e-6)
        np.testing.assert_allclose(table["flux"], flux, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(table["ivar"], ivar, rtol=1e-6)
        assert header["VACUUM"] is True
        assert hdus["SPECTRUM"].columns["flux"].unit == "10**-17 erg Angstrom-1 s-1 cm-2"


@pytest.mark.parametrize("inside", [True, False])
def test_many_targets_a_file_with_exact_ids(connection: Connection, tmp_path: Path, inside: bool) -> None:
    release, _ = add_release(connection, f"desi-many-{inside}", survey="DESI")
    path = write_desi(tmp_path / "coadd-main-dark-1.fits", 5, redshifts=inside)
    targets = desi_targets(5)
    assert len(set(targets.astype(float))) == 1
    if not inside:
        # Rows of redrock's file need not be in the order of the spectra.
        order = np.array([3, 0, 4, 1, 2])
        fits.HDUList([fits.PrimaryHDU(), redshifts_hdu(targets, order)]).writeto(tmp_path / "redrock-main-dark-1.fits")
    report = ingest_spectra(connection, release, [tmp_path])
    assert (report.loaded, report.inserted, report.rejected) == (1, 5, [])
    found = stored(connection, release)
    assert [(row[0], row[1]) for row in found] == [(i, str(target)) for i, target in enumerate(targets.tolist())]
    assert [row[7] for row in found] == pytest.approx([0.01 * (i + 1) for i in range(5)])
    assert [row[9] for row in found] == [0, 4, 0, 0, 0]
    for row in (0, 4):
        wave, flux, ivar = coadded(path, row)
        pixels = read_pixels(path, "desi-coadd", row, 3600.0)
        np.testing.assert_allclose(pixels.wave_angstrom, wave, atol=1e-6)
        np.testing.assert_allclose(pixels.flux, flux, rtol=1e-5)
        np.testing.assert_allclose(pixels.ivar, ivar, rtol=1e-5)
    assert ingest_spectra(connection, release, [tmp_path]).unchanged == 1


def test_redshifts_that_come_later_are_taken_up(connection: Connection, tmp_path: Path) -> None:
    release, _ = add_release(connection, "desi-later", survey="DESI")
    write_desi(tmp_path / "coadd-main-dark-2.fits", 3)
    ingest_spectra(connection, release, [tmp_path])
    assert [row[7] for row in stored(connection, release)] == [None] * 3
    fits.HDUList([fits.PrimaryHDU(), redshifts_hdu(desi_targets(3))]).writeto(tmp_path / "redrock-main-dark-2.fits")
    report = ingest_spectra(connection, release, [tmp_path])
    assert (report.loaded, report.inserted, report.changed) == (1, 0, 3)
    assert [row[7] for row in stored(connection, release)] == pytest.approx([0.01, 0.02, 0.03])


def test_sky_fibres_and_bad_positions_are_rejected_as_rows(connection: Connection, tmp_path: Path) -> None:
    release, _ = add_release(connection, "desi-rows", survey="DESI")
    ivar = np.ones((6, 2751), np.float32)
    ivar[4] = np.nan
    rows = {
        "OBJTYPE": np.array(["TGT", "SKY", "TGT", "TGT", "TGT", "TGT"]),
        "TARGET_RA": np.array([10.0, 10.1, np.nan, 10.3, 10.4, 10.5]),
        "TARGET_DEC": np.array([0.0, 0.0, 0.0, -91.0, 0.0, 0.0]),
        "B_IVAR": ivar,
    }
    arms = {"B": (3600.0, 2751)}
    report = ingest_spectra(connection, release, [write_desi(tmp_path / "coadd-a.fits", 6, arms=arms, **rows)])
    assert (report.loaded, report.inserted, report.rows_rejected) == (1, 2, 4)
    assert [row[0] for row in stored(connection, release)] == [0, 5]
    reasons = connection.execute(
        "SELECT row_index, native_id, r.reason FROM archive.rejected_row r JOIN archive.data_file USING (data_file_id) "
        "WHERE release_id = %s ORDER BY 1",
        (release.release_id,),
    ).fetchall()
    assert [(row, reason) for row, _, reason in reasons] == [
        (1, "OBJTYPE is SKY: the fibre was on no target"),
        (2, "position TARGET_RA=nan, TARGET_DEC=0.0 is not on the sky"),
        (3, "position TARGET_RA=10.3, TARGET_DEC=-91.0 is not on the sky"),
        (4, "no pixel has a weight"),
    ]
    assert reasons[0][1] == str(desi_targets(6)[1])


def test_an_id_of_another_place_rejects_its_row_only(connection: Connection, tmp_path: Path) -> None:
    release, _ = add_release(connection, "desi-clash", survey="DESI")
    ingest_spectra(connection, release, [write_desi(tmp_path / "coadd-a.fits", 3)])
    moved = np.array([10.0, 50.0, 10.2])
    report = ingest_spectra(connection, release, [write_desi(tmp_path / "coadd-b.fits", 3, TARGET_RA=moved)])
    assert (report.inserted, report.rejected) == (2, [])
    reasons = connection.execute(
        "SELECT row_index, r.reason FROM archive.rejected_row r JOIN archive.data_file USING (data_file_id) "
        "WHERE release_id = %s",
        (release.release_id,),
    ).fetchall()
    assert [row for row, _ in reasons] == [1]
    assert "that of a source of the release" in reasons[0][1]
    sources = [row[12] for row in stored(connection, release)]
    assert len(sources) == 5
    assert len(set(sources)) == 3


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "too few ids": ({"TARGETID": desi_targets(3)}, "extension FIBERMAP has 3 rows beside 4 spectra|can not|mismatch"),
    "ids of text": ({"R_FLUX": np.zeros((4, 100), np.float32)}, r"extension R_FLUX has shape \(4, 100\)"),
    "a mask of another shape": ({"Z_MASK": np.zeros((3, 2881), np.int32)}, "extension Z_MASK has shape"),
    "an arm without rows": ({"B_FLUX": np.zeros(2751, np.float32)}, "extension B_FLUX has no rows of pixels"),
    "wavelengths that fall": ({"B_WAVELENGTH": np.linspace(5800, 3600, 2751)}, "B_WAVELENGTH do not rise"),
    "arms on two grids": ({"R_WAVELENGTH": 5760.3 + 0.8 * np.arange(2326)}, "different grids"),
    "no target": ({"OBJTYPE": np.full(4, "SKY")}, "none of its 4 spectra can be loaded; the first: OBJTYPE is SKY"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_extensions_that_do_not_fit_are_named(tmp_path: Path, case: str) -> None:
    changes, message = FAULTS[case]
    if case == "too few ids":
        changes = changes | {"TARGET_RA": np.zeros(3), "TARGET_DEC": np.zeros(3), "OBJTYPE": np.full(3, "TGT")}
        path = write_desi(tmp_path / "coadd.fits", 4)
        with fits.open(path) as hdus:
            kept = fits.BinTableHDU(hdus["FIBERMAP"].data[:3], name="FIBERMAP")
            fits.HDUList([hdus[0], kept, *hdus[2:]]).writeto(tmp_path / "coadd-x.fits")
        path = tmp_path / "coadd-x.fits"
    else:
        path = write_desi(tmp_path / "coadd.fits", 4, **changes)
    with pytest.raises(GalbaseError, match=message):
        read_spectra(path)


def test_a_redrock_file_by_itself_and_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "redrock-a.fits"
    fits.HDUList([fits.PrimaryHDU(), redshifts_hdu(desi_targets(3))]).writeto(path)
    with pytest.raises(GalbaseError, match="redrock's file of redshifts, without spectra; ingest the coadd"):
        read_spectra(path)
    coadd = write_desi(tmp_path / "coadd-a.fits", 3)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(GalbaseError, match="redrock-a.fits is damaged"):
        read_spectra(coadd)


def test_combining_keeps_the_total_weight() -> None:
    rng = np.random.default_rng(3)
    grid = 4000 + 0.8 * np.arange(30)
    one, two = (
        (grid[:20], rng.random((2, 20)), rng.random((2, 20))),
        (grid[12:], rng.random((2, 18)), rng.random((2, 18))),
    )
    wave, flux, ivar = combine_arms([one, two], "x")
    np.testing.assert_allclose(wave, grid)
    assert ivar.sum() == pytest.approx(one[2].sum() + two[2].sum())
    np.testing.assert_allclose((flux * ivar).sum(), (one[1] * one[2]).sum() + (two[1] * two[2]).sum())
