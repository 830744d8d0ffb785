"""Files of a simulated survey: streaming tables, both surveys' images, spectra with lines, labels; resumed runs."""

import json

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.signal import fftconvolve
from scipy.stats import median_abs_deviation

from galbase.ingest.readers.sdss_spectrum import read_sdss_spectrum, read_spectrum_pixels
from galbase.ingest.readers.ssl_legacysurvey import read_shard
from galbase.ml.simulate import shard as shard_module
from galbase.ml.simulate.filters import nanomaggies
from galbase.ml.simulate.fits_stream import FitsTableWriter
from galbase.ml.simulate.parameters import SurveyParameters, shifted
from galbase.ml.simulate.survey import simulate
from galbase.schema.errors import GalbaseError

SIZE = 300
SDSS_PIXEL = 0.396


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    out = tmp_path_factory.mktemp("survey") / "sim"
    report = simulate(out, SIZE, 21, n_spectra=120, surveys=("legacy", "sdss"))
    assert report.n_spectrum == 120
    return out


@pytest.fixture(scope="module")
def truth(survey):
    return Table.read(survey / "truth.fits")


@pytest.fixture(scope="module")
def sdss(survey):
    with h5py.File(next((survey / "sdss").glob("images_npix128_*.h5"))) as file:
        return {name: file[name][:] for name in file}


def test_streamed_tables_equal_those_of_astropy(tmp_path):
    rng = np.random.default_rng(1)
    columns = {
        "ID": np.arange(7, dtype=np.int64) << 40,
        "RA": rng.random(7),
        "NAME": np.array([f"g{k}" for k in range(7)], "S5"),
        "GOOD": rng.random(7) > 0.5,
        "FLUX": rng.random((7, 3)).astype(np.float32),
        "N": np.arange(7, dtype=np.int16),
    }
    for sizes in ((7,), (3, 4), (0, 7), (2, 0, 5)):
        with FitsTableWriter(tmp_path / "t.fits", "TRUTH", {"RA": "deg"}) as writer:
            start = 0
            for size in sizes:
                writer.append({name: value[start : start + size] for name, value in columns.items()})
                start += size
        with fits.open(tmp_path / "t.fits", checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus[1].name == "TRUTH"
            assert hdus[1].columns["RA"].unit == "deg"
        assert (tmp_path / "t.fits").stat().st_size % 2880 == 0
        table = Table.read(tmp_path / "t.fits")
        for name, value in columns.items():
            np.testing.assert_array_equal(np.asarray(table[name]).astype(value.dtype), value, err_msg=name)
    with FitsTableWriter(tmp_path / "t.fits", "TRUTH") as writer:
        writer.append({"A": np.zeros(2)})
        with pytest.raises(GalbaseError, match="the first had"):
            writer.append({"B": np.zeros(2)})


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    whole = simulate(tmp_path / "whole", 60, 5, n_spectra=6, shard_rows=20)
    made, render = [], shard_module.render_rows

    def fails(block, start, *rest):
        made.append(start)
        if start == 40:
            raise KeyboardInterrupt
        return render(block, start, *rest)

    monkeypatch.setattr(shard_module, "render_rows", fails)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "cut", 60, 5, n_spectra=6, shard_rows=20, workers=1)
    assert not (tmp_path / "cut" / "simulation.json").exists()
    assert not (tmp_path / "cut" / "truth.fits").exists()
    assert len(list((tmp_path / "cut" / "legacysurvey").iterdir())) == 2
    monkeypatch.setattr(shard_module, "render_rows", lambda *a: made.append(a[1]) or render(*a))
    with pytest.raises(GalbaseError, match="differs in shard_rows"):
        simulate(tmp_path / "cut", 60, 5, n_spectra=6, shard_rows=30)
    made.clear()
    again = simulate(tmp_path / "cut", 60, 5, n_spectra=6, shard_rows=20)
    assert made == [40]
    assert again.digest == whole.digest
    assert again.n_spectrum == whole.n_spectrum == 6
    assert again.n_labelled == whole.n_labelled
    assert not (tmp_path / "cut" / "parts").exists()
    # a whole survey is made again from nothing, and is the same
    assert simulate(tmp_path / "cut", 60, 5, n_spectra=6, shard_rows=20).digest == whole.digest


def test_legacy_files_do_not_depend_on_the_other_survey(tmp_path):
    one = simulate(tmp_path / "one", 20, 8, n_spectra=2)
    both = simulate(tmp_path / "both", 20, 8, n_spectra=2, surveys=("legacy", "sdss"))
    assert one.files.items() < both.files.items()
    with pytest.raises(GalbaseError, match="surveys hst"):
        simulate(tmp_path / "none", 20, 8, surveys=("hst",))


def test_sdss_shards_are_read_with_their_bands_and_scale(survey, truth):
    image = read_shard(next((survey / "sdss").glob("*.h5")))
    assert image.bands == ("g", "r", "i")
    assert image.pixel_scale_arcsec == pytest.approx(SDSS_PIXEL)
    assert (image.width, image.height, image.n_row) == (128, 128, SIZE)
    np.testing.assert_array_equal(image.ra, truth["ra"])
    np.testing.assert_allclose(image.psf_fwhm_arcsec[:, 1], truth["sdss_psf_fwhm_arcsec_r"], rtol=1e-6)
    assert np.median(image.psf_fwhm_arcsec[:, 1]) == pytest.approx(1.32, abs=0.05)
    legacy = read_shard(next((survey / "legacysurvey").glob("*.h5")))
    assert legacy.bands == ("g", "r", "z")
    assert legacy.pixel_scale_arcsec == pytest.approx(0.262)


def test_sdss_stamps_hold_the_same_galaxies(sdss, truth):
    """Flux and centroid in gri; the noise is white and as deep as the field."""
    at = (np.arange(128) - 63.5) * SDSS_PIXEL
    distance = np.hypot(at[None, :], at[:, None])
    alone = (
        ~truth["blended"]
        & (truth["n_neighbour"] == 0)
        & (truth["half_light_arcsec"] < 1.6)
        & (truth["sdss_flux_r"] > 30)
    )
    assert alone.sum() > 30
    ratio = []
    for row in np.flatnonzero(alone):
        inside = distance < 3 * truth["half_light_arcsec"][row] + 2.0
        total = sdss["images"][row][:, inside].sum(axis=1)
        ratio.append(total / [truth[f"sdss_flux_{band}"][row] for band in "gri"])
    assert np.all(np.abs(np.median(ratio, axis=0) - 0.97) < 0.05)
    noise = []
    grid = np.arange(-9, 10)
    for row in range(0, SIZE, 4):
        scale = sdss["psfsize"][row, 1] / SDSS_PIXEL / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
        profile = (1 + (grid[None, :] ** 2 + grid[:, None] ** 2) / scale**2) ** -3.5
        profile /= profile.sum()
        flux = fftconvolve(sdss["images"][row, 1], profile / (profile**2).sum(), mode="valid")
        edge = np.r_[flux[:16].ravel(), flux[-16:].ravel()]
        noise.append(median_abs_deviation(edge, scale="normal") * np.sqrt(sdss["psfdepth"][row, 1]))
    assert np.percentile(noise, 30) == pytest.approx(1, abs=0.1)
    # 5 sigma at 22.7 in r
    depth = 22.5 - 2.5 * np.log10(5 / np.sqrt(sdss["psfdepth"][:, 1]))
    assert np.median(depth) == pytest.approx(22.7, abs=0.1)


def test_spectra_are_read_and_their_lines_tell_the_metallicity(survey, truth):
    """Lines measured on the noise-free spectrum have SPZLINE's areas, and R23 of these gives the metallicity drawn."""
    where = {int(ident): row for row, ident in enumerate(truth["specobjid"]) if ident >= 0}
    found, drawn, nii = [], [], []
    for path in sorted((survey / "sdss" / "spectra").glob("spec-*.fits")):
        spectrum = read_sdss_spectrum(path)
        row = truth[where[spectrum.specobjid]]
        pixels = read_spectrum_pixels(path)
        assert spectrum.sn_median == pytest.approx(row["sn_median"], rel=0.25)
        with fits.open(path) as hdus:
            model, lines = hdus["COADD"].data["model"].astype(float), hdus["SPZLINE"].data
            area = dict(zip(lines["LINENAME"], lines["LINEAREA"], strict=True))
        # through the r filter it is the fibre's flux, but for the Galactic dust
        dust = 10 ** (0.4 * 2.285 * row["ebv"])
        r_flux = nanomaggies(pixels.wave_angstrom, 1e-17 * model, "sdss2010-r")
        assert r_flux == pytest.approx(row["sdss_flux_fib_r"] * dust, rel=0.012)
        assert area["H_alpha"] == pytest.approx(row["line_ha_fib"], rel=1e-4)
        if not (row["log_ssfr_fib"] > -10.2 and not row["active_nucleus"]):
            continue
        rest = pixels.wave_angstrom / (1 + row["z"])
        near = (rest > 4990) & (rest < 5026)
        beside = ((rest > 4975) & (rest < 4990)) | ((rest > 5026) & (rest < 5040))
        excess = np.trapezoid((model - np.median(model[beside]))[near], pixels.wave_angstrom[near])
        continuum = np.median(model[beside])
        # features of the stars under the line count for less than an Angstrom of continuum
        assert excess == pytest.approx(area["[O_III] 5007"], abs=1.0 * continuum + 0.03 * area["[O_III] 5007"])
        decrement = area["H_alpha"] / area["H_beta"] / 2.86
        # Calzetti et al. 2000: k(Hbeta) - k(Halpha) = 1.27; k([O II]) = 5.8, k([O III]) = 4.46, k(Hbeta) = 4.60
        colour_excess = 2.5 * np.log10(decrement) / 1.27
        oii = (area["[O_II] 3725"] + area["[O_II] 3727"]) * 10 ** (0.4 * colour_excess * (5.8 - 4.60))
        oiii = (area["[O_III] 4959"] + area["[O_III] 5007"]) * 10 ** (0.4 * colour_excess * (4.46 - 4.60))
        x = np.log10((oii + oiii) / area["H_beta"])
        found.append(9.185 - 0.313 * x - 0.264 * x**2 - 0.321 * x**3)
        drawn.append(row["oh12"])
        nii.append(np.log10(area["[N_II] 6583"] / area["H_alpha"]))
    assert len(found) > 12
    # old stars' LINER-like light and two dust columns blur what one H II region would give exactly
    miss = np.array(found) - drawn
    assert abs(np.median(miss)) < 0.05
    assert median_abs_deviation(miss, scale="normal") < 0.08
    assert np.corrcoef(nii, drawn)[0, 1] > 0.8


def test_stellar_population_labels(survey, truth):
    with fits.open(survey / "sdss" / "stellarpop-sim.fits") as hdus:
        names = [column.name for column in hdus[1].columns]
        unit = {column.name: column.unit for column in hdus[1].columns}
    assert names == ["SPECOBJID", "RA", "DEC", "LOG_AGE", "LOG_AGE_ERR", "MH", "MH_ERR"]
    assert unit == {"SPECOBJID": None, "RA": "deg", "DEC": "deg"} | dict.fromkeys(names[3:])
    # astropy reads it without a warning
    table = Table.read(survey / "sdss" / "stellarpop-sim.fits")
    assert "yr" in table.meta["TCOMM4"]
    where = {int(ident): row for row, ident in enumerate(truth["specobjid"]) if ident >= 0}
    true = truth[[where[int(ident)] for ident in table["SPECOBJID"]]]
    assert len(table) == (truth["specobjid"] >= 0).sum()
    pulls = []
    for name, column in (("LOG_AGE", "log_age_fib"), ("MH", "mh_fib")):
        miss = np.asarray(table[name] - true[column])
        pulls.append(miss / table[f"{name}_ERR"])
        assert np.std(pulls[-1]) == pytest.approx(1, abs=0.12)
        assert abs(np.mean(miss)) < 4 * np.std(miss) / np.sqrt(len(miss))
        poor, good = true["sn_median"] < 8, true["sn_median"] > 15
        assert np.std(miss[poor]) > 1.4 * np.std(miss[good])
    # Worthey 1994: older by mistake is metal-poorer by mistake
    assert np.corrcoef(pulls)[0, 1] == pytest.approx(-0.5, abs=0.13)


def test_the_record_says_what_was_simulated(survey, tmp_path):
    record = json.loads((survey / "simulation.json").read_text())
    assert record["version"] == "2"
    assert record["surveys"] == ["legacy", "sdss"]
    assert not record["decorrelated"]
    assert record["parameters"]["psf_beta"] == 3.5
    assert {"populations", "lines", "filters", "log_age_error, mh_error"} <= set(record["references"])
    simulate(
        tmp_path / "shift", 60, 21, n_spectra=0, surveys=("legacy", "sdss"), parameters=shifted(SurveyParameters())
    )
    moved = json.loads((tmp_path / "shift" / "simulation.json").read_text())["parameters"]
    assert moved["psf_beta"] == 2.5
    assert moved["psf_fwhm_arcsec"] == pytest.approx(
        [1.25 * value for value in record["parameters"]["psf_fwhm_arcsec"]]
    )
    there = Table.read(tmp_path / "shift" / "truth.fits")
    same = simulate(tmp_path / "same", 60, 21, n_spectra=0)
    assert same.size == 60
    here = Table.read(tmp_path / "same" / "truth.fits")
    # the sky is the same, its image is not
    for name in ("z", "log_mstar_tot", "flux_r", "sersic", "ra"):
        np.testing.assert_array_equal(here[name], there[name])
    for prefix, band in (("", "r"), ("sdss_", "i")):
        wider = there[f"{prefix}psf_fwhm_arcsec_{band}"] / here[f"{prefix}psf_fwhm_arcsec_{band}"]
        assert np.median(wider) == pytest.approx(1.25, abs=0.04)
        depth = there[f"{prefix}psf_depth_{band}"] / here[f"{prefix}psf_depth_{band}"]
        np.testing.assert_allclose(depth, 10 ** (-0.8 * 0.5), rtol=1e-5)
