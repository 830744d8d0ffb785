"""Spectra in the manner of MaNGA: axes against astropy's WCS, one spectrum or a row each, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galbase.ingest.readers.log_wavelength import wavelengths
from galbase.ingest.readers.spectra import read_pixels, read_spectra, spectrum_format
from galbase.ingest.readers.spectrum_file import air_to_vacuum
from galbase.ingest.releases import add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.ingest.spectrum_output import write_spectrum
from galbase.ingest.stored_observation import find_observation
from galbase.schema.errors import GalbaseError
from tests.ingest.spectrum_files import write_manga

N = 4563


def one_dimension(path: Path, ivar: bool = True, **keywords: Any) -> Path:
    """A primary image of one dimension with the keywords of its axis, as IRAF and mangadap write templates."""
    primary = fits.PrimaryHDU(np.linspace(1, 2, 500).astype(np.float32))
    for key, value in ({"RA": 10.0, "DEC": 5.0, "OBJECT": "galaxy 1"} | keywords).items():
        primary.header[key] = value
    hdus = [primary, *([fits.ImageHDU(np.full(500, 4.0), name="IVAR")] if ivar else [])]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_one_spectrum_in_the_layout_of_manga(tmp_path: Path) -> None:
    path = write_manga(tmp_path / "m.fits", (N,))
    found = read_spectra(path)
    assert (found.format, found.native_ids, found.n_row) == ("spectrum-stack", ["8485-1901"], 1)
    assert (found.ra[0], found.dec[0]) == (232.5447, 48.690201)
    with fits.open(path) as hdus:
        wave, flux = hdus["WAVE"].data, hdus["FLUX"].data
    assert found.details["wave_min_angstrom"] == [wave[0]]
    assert found.details["wave_max_angstrom"] == [wave[-1]]
    good = np.arange(N) != 3
    assert found.details["sn_median"][0] == pytest.approx(np.median(2 * flux[good].astype(float)))
    pixels = read_pixels(path, "spectrum-stack", 0, wave[0])
    assert pixels.is_vacuum
    assert pixels.flux_unit == "1E-17 erg/s/cm^2/Ang/spaxel"
    np.testing.assert_array_equal(pixels.flux.astype(np.float32), flux)
    np.testing.assert_array_equal(pixels.ivar, np.where(good, 4.0, 0.0))


AXES: dict[str, dict[str, Any]] = {
    "COEFF0": {"COEFF0": 3.58, "COEFF1": 1e-4, "VACUUM": 1},
    "DC-FLAG": {"CRVAL1": 3.58, "CD1_1": 1e-4, "CRPIX1": 1.0, "DC-FLAG": 1, "AIRORVAC": "vac"},
    "DC-FLAG, CDELT1 and CRPIX1": {"CRVAL1": 3.59, "CDELT1": 1e-4, "CRPIX1": 101.0, "DC-FLAG": 1, "VACUUM": True},
    "WAVE-LOG": {"CTYPE1": "WAVE-LOG", "CRVAL1": 3.8e-7, "CDELT1": 8e-11, "CRPIX1": 1.0, "CUNIT1": "m"},
    "WAVE-LOG in Angstrom": {
        "CTYPE1": "WAVE-LOG",
        "CRVAL1": 3800.0,
        "CDELT1": 0.8,
        "CRPIX1": 7.0,
        "CUNIT1": "Angstrom",
    },
    "linear": {"CTYPE1": "WAVE", "CRVAL1": 380.0, "CDELT1": 0.1, "CRPIX1": 1.0, "CUNIT1": "nm"},
    "air": {"CTYPE1": "AWAV", "CRVAL1": 3800.0, "CDELT1": 1.0, "CRPIX1": 1.0, "CUNIT1": "Angstrom"},
}


@pytest.mark.parametrize("case", AXES)
def test_axes_are_what_astropy_or_their_definition_say(tmp_path: Path, case: str) -> None:
    keywords = AXES[case]
    path = one_dimension(tmp_path / "a.fits", **keywords)
    pixels = np.arange(500)
    if "CTYPE1" in keywords:
        header = {key: value for key, value in keywords.items() if key != "VACUUM"} | {"NAXIS": 1, "NAXIS1": 500}
        truth = WCS(fits.Header(header)).wcs_pix2world(pixels, 0)[0] * 1e10
    else:
        start = keywords.get("COEFF0", keywords.get("CRVAL1"))
        truth = 10.0 ** (start + 1e-4 * (pixels + 1 - keywords.get("CRPIX1", 1.0)))
    found = read_spectra(path)
    in_air = case == "air"
    stored = found.details["wave_min_angstrom"][0]
    assert stored == pytest.approx(air_to_vacuum(truth[:1])[0] if in_air else truth[0], rel=1e-9)
    read = read_pixels(path, "spectrum-stack", 0, stored)
    np.testing.assert_allclose(read.wave_angstrom, truth, rtol=1e-9)
    assert read.is_vacuum != in_air
    assert (found.native_ids, found.ra[0]) == (["galaxy 1"], 10.0)


def test_air_to_vacuum_against_published_lines() -> None:
    # NIST Atomic Spectra Database, Ritz wavelengths: [O III] 5006.843 air, 5008.240 vacuum; H alpha, Na D2, [S II].
    air = np.array([5006.843, 6562.819, 5889.951, 6716.440, 3727.092])
    vacuum = np.array([5008.240, 6564.632, 5891.583, 6718.295, 3728.153])
    np.testing.assert_allclose(air_to_vacuum(air), vacuum, atol=0.03)
    assert air_to_vacuum([1500.0]).tolist() == [1500.0]


def test_a_stack_with_a_table_of_ids(archive: Any, tmp_path: Path) -> None:
    path = write_manga(tmp_path / "stack.fits", (4, N))
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("OBJID", "K", array=2**62 + np.arange(4)),
            fits.Column("RA", "D", unit="deg", array=[1.0, 2.0, np.nan, 4.0]),
            fits.Column("DEC", "D", unit="deg", array=[1.0, 2.0, 3.0, 4.0]),
            fits.Column("Z", "E", array=[0.1, np.nan, 0.3, 0.4]),
            fits.Column("ZWARN", "J", array=[0, 4, 0, 0]),
            fits.Column("CLASS", "6A", array=["GALAXY", "", "QSO", "GALAXY"]),
        ],
        name="TARGETS",
    )
    with fits.open(path, mode="append") as hdus:
        hdus.append(table)
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "stack", survey="S")
        report = ingest_spectra(connection, release, [path])
        assert (report.loaded, report.inserted, report.rows_rejected) == (1, 3, 1)
        found = connection.execute(
            "SELECT o.row_index, s.native_id, p.z, p.z_warning, p.spectral_class, o.source_id "
            "FROM archive.observation o JOIN archive.spectrum p USING (observation_id) "
            "JOIN archive.source s USING (source_id) WHERE o.release_id = %s ORDER BY 1",
            (release.release_id,),
        ).fetchall()
        assert [row[:2] for row in found] == [(i, str(2**62 + i)) for i in (0, 1, 3)]
        assert [row[3:5] for row in found] == [(0, "GALAXY"), (4, None), (0, "GALAXY")]
        assert [row[2] for row in found] == [pytest.approx(0.1), None, pytest.approx(0.4)]
        out = tmp_path / "out.csv"
        write_spectrum(find_observation(connection, found[2][5], "spectrum"), out)
    lines = out.read_text().splitlines()
    assert any(
        "flux in 1E-17 erg/s/cm^2/Ang/spaxel, ivar its inverse variance, wavelengths in vacuum" in x for x in lines
    )
    values = np.loadtxt(lines[lines.index("wave_angstrom,flux,ivar") + 1 :], delimiter=",")
    with fits.open(path) as hdus:
        np.testing.assert_allclose(values[:, 1], hdus["FLUX"].data[3], rtol=1e-6)


def test_wavelengths_of_an_unknown_medium_need_the_users_word(archive: Any, tmp_path: Path) -> None:
    path = one_dimension(tmp_path / "a.fits", CRVAL1=3.58, CD1_1=1e-4, **{"DC-FLAG": 1})
    with pytest.raises(GalbaseError, match="does not say whether .* vacuum or air.*--wavelengths vacuum"):
        read_spectra(path)
    assert read_spectra(path, "vacuum").details["wave_min_angstrom"] == [pytest.approx(10**3.58)]
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "medium", survey="S")
        assert ingest_spectra(connection, release, [path], wavelengths_in="air").inserted == 1
        row = connection.execute(
            "SELECT source_id, wave_min_angstrom FROM archive.observation JOIN archive.spectrum USING (observation_id) "
            "WHERE release_id = %s",
            (release.release_id,),
        ).fetchone()
        assert row is not None
        assert row[1] == pytest.approx(air_to_vacuum([10**3.58])[0])
        write_spectrum(find_observation(connection, row[0], "spectrum"), tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        assert hdus[1].header["VACUUM"] is False
        assert hdus[1].data["wave_angstrom"][0] == pytest.approx(10**3.58)


def test_cubes_and_fibres_are_refused_with_the_remedy(tmp_path: Path) -> None:
    cube = write_manga(tmp_path / "manga-8485-1901-LOGCUBE.fits", (60, 7, 5))
    with pytest.raises(GalbaseError, match="cube of 5 x 7 spaxels, which has no spectrum of its own"):
        read_spectra(cube)
    fibres = write_manga(tmp_path / "manga-8485-1901-LOGRSS.fits", (6, 60))
    with fits.open(fibres, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.zeros((6, 60)), name="XPOS"))
        hdus.append(fits.ImageHDU(np.zeros((6, 60)), name="YPOS"))
    with pytest.raises(GalbaseError, match="6 fibres of one integral-field unit"):
        read_spectra(fibres)
    with pytest.raises(GalbaseError, match="6 spectra of 1-209232, but no table of 6 rows"):
        read_spectra(write_manga(tmp_path / "stack.fits", (6, 60)))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    log = {"COEFF0": 3.58, "COEFF1": 1e-4, "VACUUM": 1}
    with pytest.raises(GalbaseError, match="neither an extension IVAR nor"):
        read_spectra(one_dimension(tmp_path / "a.fits", ivar=False, **log))
    with pytest.raises(GalbaseError, match="no position in the header"):
        read_spectra(one_dimension(tmp_path / "b.fits", RA="", **log))
    with pytest.raises(GalbaseError, match="CUNIT1 is 'parsec', no unit of wavelength"):
        read_spectra(one_dimension(tmp_path / "c.fits", CTYPE1="WAVE", CRVAL1=1.0, CDELT1=1.0, CUNIT1="parsec"))
    with pytest.raises(GalbaseError, match="do not rise"):
        read_spectra(one_dimension(tmp_path / "d.fits", COEFF0=3.58, COEFF1=-1e-4, VACUUM=1))
    image = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((8, 8))).writeto(image)
    assert spectrum_format(image) is None


def test_errors_become_inverse_variances(tmp_path: Path) -> None:
    path = one_dimension(tmp_path / "a.fits", ivar=False, COEFF0=3.58, COEFF1=1e-4, VACUUM=1)
    sigma = np.full(500, 0.5)
    sigma[[1, 2]] = 0.0, np.nan
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(sigma, name="ERROR"))
    ivar = read_pixels(path, "spectrum-stack", 0, 10**3.58).ivar
    assert ivar[:4].tolist() == [4.0, 0.0, 0.0, 4.0]


def test_a_list_of_wavelengths_in_another_unit() -> None:
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.array([0.5, 0.6]), name="WAVE")])
    hdus["WAVE"].header["BUNIT"] = "um"
    assert wavelengths(hdus, ["PRIMARY", "WAVE"], {}, 2, "x").tolist() == [5000.0, 6000.0]
