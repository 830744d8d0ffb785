"""A simulated survey on disk: same seed same bytes, and files that say what the truth says."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.signal import fftconvolve
from scipy.stats import median_abs_deviation

from galbase.ml.simulate.noise import sky_noise
from galbase.ml.simulate.survey import simulate
from galbase.schema.errors import GalbaseError

SIZE = 420
PIXEL = 0.262


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    out = tmp_path_factory.mktemp("survey") / "sim"
    seen = []
    report = simulate(
        out, SIZE, 7, n_spectra=40, surveys=("legacy", "sdss"), progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (SIZE, SIZE)
    assert report.size == SIZE
    assert report.n_spectrum == 40
    return out


@pytest.fixture(scope="module")
def images(survey):
    with h5py.File(next((survey / "legacysurvey").glob("*.h5"))) as file:
        return {name: file[name][:] for name in file}


@pytest.fixture(scope="module")
def truth(survey):
    return Table.read(survey / "truth.fits")


@pytest.fixture(scope="module")
def sweep(survey):
    return Table.read(survey / "legacysurvey" / "sweep-sim.fits")


@pytest.fixture(scope="module")
def labels(survey):
    return Table.read(survey / "sdss" / "galSpec-sim.fits")


def labelled(truth, labels):
    """Rows of the truth in the order of the labels."""
    where = {int(ident): row for row, ident in enumerate(truth["specobjid"]) if ident >= 0}
    return truth[[where[int(ident)] for ident in labels["SPECOBJID"]]]


def test_same_seed_same_bytes_whatever_the_workers(tmp_path):
    first = simulate(tmp_path / "a", 70, 3, n_spectra=3, workers=1)
    second = simulate(tmp_path / "b", 70, 3, n_spectra=3, workers=3)
    again = simulate(tmp_path / "b", 70, 3, n_spectra=3, workers=2)
    other = simulate(tmp_path / "c", 70, 4, n_spectra=3)
    assert first.files == second.files
    assert first.digest == second.digest == again.digest
    assert first.digest != other.digest
    assert json.loads((tmp_path / "a" / "simulation.json").read_text())["digest"] == first.digest


def test_shards_do_not_change_the_galaxies(tmp_path):
    simulate(tmp_path / "one", 70, 3, n_spectra=0)
    simulate(tmp_path / "many", 70, 3, n_spectra=0, shard_rows=30)
    paths = sorted((tmp_path / "many" / "legacysurvey").glob("*.h5"))
    assert [path.name for path in paths] == [
        "images_npix152_000000000_000000030.h5",
        "images_npix152_000000030_000000060.h5",
        "images_npix152_000000060_000000070.h5",
    ]
    with h5py.File(tmp_path / "one" / "legacysurvey" / "images_npix152_000000000_000000070.h5") as whole:
        for name in whole:
            parts = []
            for path in paths:
                with h5py.File(path) as file:
                    parts.append(file[name][:])
            np.testing.assert_array_equal(np.concatenate(parts), whole[name][:], err_msg=name)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(GalbaseError, match="not empty"):
        simulate(tmp_path, 10, 1)
    simulate(tmp_path / "sim", 5, 1, n_spectra=0)
    with pytest.raises(GalbaseError, match="5 galaxies with seed 1"):
        simulate(tmp_path / "sim", 6, 1, n_spectra=0)
    with pytest.raises(GalbaseError, match="size 0"):
        simulate(tmp_path / "none", 0, 1)


def test_shard_layout(images):
    assert images["images"].shape == (SIZE, 3, 152, 152)
    assert images["images"].dtype == np.float32
    for name in ("flux", "fiberflux", "psfdepth", "psfsize", "transmission"):
        assert images[name].shape == (SIZE, 3)
    one_dimensional = ["ra", "dec", "ebv", "maskbits", "source_type", "release", "brickid", "objid", "inds", "z_spec"]
    for name in [*one_dimensional, *(f"z_phot_{tag}" for tag in ["mean", "median", "std", "l68", "u68", "l95", "u95"])]:
        assert images[name].shape == (SIZE,)
    assert images["ra"].dtype == images["dec"].dtype == np.float64
    assert set(images["source_type"]) <= {b"REX", b"DEV", b"EXP", b"SER"}
    assert np.isfinite(images["images"]).all()
    assert (images["z_spec"] == -99).any()


def test_shard_and_sweep_agree(images, sweep, truth):
    np.testing.assert_array_equal(images["ra"], sweep["RA"])
    np.testing.assert_array_equal(images["flux"][:, 1], sweep["FLUX_R"])
    np.testing.assert_array_equal(images["psfdepth"][:, 2], sweep["PSFDEPTH_Z"])
    np.testing.assert_array_equal(images["brickid"], truth["brickid"])
    ids = set(zip(sweep["RELEASE"], sweep["BRICKID"], sweep["OBJID"], strict=True))
    assert len(ids) == SIZE


def test_sky_noise_follows_the_depth(images):
    """PSF photometry of blank sky scatters by 1 / sqrt(psfdepth), whatever the pixels' correlation."""
    grid = np.arange(-12, 13)
    ratio = []
    for row in range(0, SIZE, 4):
        for band in range(3):
            fwhm = images["psfsize"][row, band] / PIXEL
            scale = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
            profile = (1 + (grid[None, :] ** 2 + grid[:, None] ** 2) / scale**2) ** -3.5
            profile /= profile.sum()
            sky = images["images"][row, band]
            flux = fftconvolve(sky, profile / (profile**2).sum(), mode="valid")
            edge = np.r_[flux[:20].ravel(), flux[-20:].ravel()]
            ratio.append(median_abs_deviation(edge, scale="normal") * np.sqrt(images["psfdepth"][row, band]))
    # sources only add; the emptier half of the stamps shows the noise
    assert np.percentile(ratio, 30) == pytest.approx(1, abs=0.1)


def test_pixels_are_smoothed_by_resampling():
    noise = sky_noise(np.random.default_rng(1), np.array([2.0, 1.0]), 400)
    # Lanczos-3 at every sub-pixel shift
    shift = np.linspace(-0.5, 0.5, 101)[:, None]
    x = np.arange(-3, 4) + shift
    taps = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    taps /= taps.sum(axis=1, keepdims=True)
    kept = (taps**2).sum(axis=1).mean()
    assert noise[0].std() / 2 == pytest.approx(kept, rel=0.01)
    assert noise[1].std() == pytest.approx(kept, rel=0.01)
    blocks = noise[1].reshape(20, 20, 20, 20).sum(axis=(1, 3))
    assert blocks.std() == pytest.approx(20, rel=0.1)


def test_fluxes_are_in_the_images(images, truth):
    at = (np.arange(152) - 75.5) * PIXEL
    distance = np.hypot(at[None, :], at[:, None])
    alone = ~truth["blended"] & (truth["n_neighbour"] == 0) & (truth["half_light_arcsec"] < 1.6)
    assert alone.sum() > 40
    ratio = []
    for row in np.flatnonzero(alone):
        inside = distance < 3 * truth["half_light_arcsec"][row] + 2.0
        total = images["images"][row][:, inside].sum(axis=1)
        ratio.append(total / [truth[f"flux_{band}"][row] for band in "grz"])
    # such an aperture takes in 0.90 (n = 4) to 0.99 (n = 1) of the light, and faint field sources add a little
    middle = np.median(ratio, axis=0)
    assert np.all((middle > 0.93) & (middle < 1.03))
    assert middle[0] / middle[1] == pytest.approx(1, abs=0.03)


def test_catalogue_fluxes_scatter_as_their_errors_say(sweep, truth):
    alone = ~np.asarray(truth["blended"])
    for band in "grz":
        flux, true = np.asarray(sweep[f"FLUX_{band.upper()}"])[alone], np.asarray(truth[f"flux_{band}"])[alone]
        error = np.hypot(np.asarray(sweep[f"FLUX_IVAR_{band.upper()}"])[alone] ** -0.5, 0.0158 * true)
        assert np.std((flux - true) / error) == pytest.approx(1, abs=0.12)
    known = sweep["TYPE"] != "REX"
    radius = np.asarray(sweep["SHAPE_R"] / truth["half_light_arcsec"])
    assert np.median(radius[known & alone]) == pytest.approx(1, abs=0.03)
    e = np.hypot(sweep["SHAPE_E1"], sweep["SHAPE_E2"])
    q = (1 - e) / (1 + e)
    assert np.std((q - truth["q"])[known & alone]) < 0.06


def test_blends(truth, sweep):
    blended = np.asarray(truth["blended"])
    assert 0.07 < blended.mean() < 0.18
    separation = truth["blend_separation_arcsec"][blended] / truth["psf_fwhm_arcsec_r"][blended]
    assert separation.min() >= 0.5
    assert separation.max() <= 4.0
    assert np.isnan(truth["blend_separation_arcsec"].filled(np.nan)[~blended]).all()
    close = blended & (truth["blend_separation_arcsec"] < truth["psf_fwhm_arcsec_r"])
    excess = (sweep["FLUX_R"] / truth["flux_r"])[close] - 1
    np.testing.assert_allclose(excess, truth["blend_flux_ratio"][close], atol=0.15)


def test_label_columns_and_noise(labels, truth):
    address = ["SPECOBJID", "PLATEID", "MJD", "FIBERID", "RA", "DEC"]
    for name in [*address, "Z", "Z_ERR", "Z_WARNING", "SN_MEDIAN", "RELIABLE", "BPTCLASS", "E_BV_SFD"]:
        assert name in labels.colnames
    assert set(labels["SPECTROTYPE"]) == {"GALAXY"}
    assert len(np.unique(labels["SPECOBJID"])) == len(labels)
    assert 0.85 < len(labels) / len(truth) < 0.97
    true = labelled(truth, labels)
    for name, column, low, high in (
        ("LGM_FIB", "log_mstar_fib", 0.06, 0.14),
        ("LGM_TOT", "log_mstar_tot", 0.06, 0.14),
        ("SPECSFR_FIB", "log_ssfr_fib", 0.2, 0.45),
        ("SPECSFR_TOT", "log_ssfr_tot", 0.2, 0.5),
    ):
        value = np.asarray(labels[f"{name}_P50"], float)
        valid = value != -9999
        assert 0.95 < valid.mean() < 1
        miss = (value - true[column])[valid]
        assert low < miss.std() < high
        assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(len(miss))
        error = 0.5 * (labels[f"{name}_P84"] - labels[f"{name}_P16"])[valid]
        assert np.std(miss / error) == pytest.approx(1, abs=0.15)
    assert np.all((labels["OH_P50"] == -9999) | (labels["BPTCLASS"] == 1))
    good = labels["Z_WARNING"] == 0
    assert np.std((labels["Z"] - true["z"])[good] / labels["Z_ERR"][good]) == pytest.approx(1, abs=0.15)


def test_fibres_lie_within_half_an_arcsecond(labels, truth, sweep):
    true = labelled(truth, labels)
    east = (labels["RA"] - true["ra"]) * np.cos(np.radians(true["dec"])) * 3600
    north = (labels["DEC"] - true["dec"]) * 3600
    assert np.std(east) == pytest.approx(0.1, abs=0.02)
    assert np.std(north) == pytest.approx(0.1, abs=0.02)
    assert np.abs((sweep["DEC"] - truth["dec"]) * 3600).max() < 0.3


def d4000(wave, flux, z):
    """Narrow 4000 A break of Balogh et al. 1999, in vacuum wavelengths."""
    rest = wave / (1 + z)
    red, blue = (rest > 4001.1) & (rest < 4101.2), (rest > 3851.1) & (rest < 3951.1)
    return np.mean((flux * wave**2)[red]) / np.mean((flux * wave**2)[blue])


def test_spectra(survey, truth):
    where = {int(ident): row for row, ident in enumerate(truth["specobjid"]) if ident >= 0}
    breaks, rates, seen = [], [], 0
    for path in sorted((survey / "sdss" / "spectra").glob("spec-*.fits")):
        with fits.open(path) as hdus:
            coadd, head, primary = hdus["COADD"].data, hdus["SPECOBJ"].data[0], hdus[0].header
            row = truth[where[int(head["SPECOBJID"])]]
            assert path.name == f"spec-{head['PLATE']:04d}-{head['MJD']:05d}-{head['FIBERID']:04d}.fits"
            assert primary["PLUG_RA"] == pytest.approx(row["ra"], abs=3e-4)
            assert list(coadd.names) == ["flux", "loglam", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model"]
            wave, flux = 10.0 ** coadd["loglam"].astype(float), coadd["flux"].astype(float)
            use = coadd["ivar"] > 0
            pull = (flux - coadd["model"])[use] * np.sqrt(coadd["ivar"][use])
            assert np.std(pull) == pytest.approx(1, abs=0.05)
            if row["log_ssfr_fib"] > -10.2:
                seen += 1
                near = np.abs(wave / (1 + row["z"]) - 6564.61) < 12
                peak = wave[near][np.argmax(coadd["model"][near])] / (1 + row["z"])
                assert peak == pytest.approx(6564.61, abs=1.6)
            breaks.append(d4000(wave, coadd["model"].astype(float), row["z"]))
            rates.append(row["log_ssfr_fib"])
            # synthetic r flux of the fibre, dust of our Galaxy removed: f_lambda to AB nanomaggies at 6420 A
            band = (wave > 5800) & (wave < 7000)
            nanomaggy = np.mean(coadd["model"][band] * 1e-17 * wave[band] ** 2 / 2.998e18) / 3.631e-29
            assert nanomaggy == pytest.approx(row["flux_fib_r"] * 10 ** (0.4 * 2.165 * row["ebv"]), rel=0.12)
    assert seen > 5
    assert np.corrcoef(breaks, rates)[0, 1] < -0.75
    assert max(breaks) > 1.6
    assert min(breaks) < 1.35


def test_spectra_have_the_columns_of_real_ones(survey, test_data):
    real = next((test_data / "sdss-pairs" / "spectra").glob("spec-*.fits"))
    ours = next((survey / "sdss" / "spectra").glob("spec-*.fits"))
    with fits.open(real) as there, fits.open(ours) as here:
        assert here["COADD"].columns.names == there["COADD"].columns.names
        for extension in ("SPECOBJ", "SPZLINE"):
            codes = {column.name: column.format for column in there[extension].columns}
            for column in here[extension].columns:
                assert column.format == codes[column.name], column.name
        assert {"PLUG_RA", "PLUG_DEC", "PLATEID", "MJD", "FIBERID"} <= set(here[0].header)


def test_command(tmp_path):
    command = [str(Path(sys.executable).with_name("galbase")), "simulate", "--out", str(tmp_path / "sim")]
    options = ["--seed", "2", "--spectra", "2", "--json"]
    run = subprocess.run([*command, "--size", "12", *options], capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    assert report["size"] == 12
    assert report["n_spectrum"] == 2
    assert len(report["files"]) == 6
    refused = subprocess.run([*command, "--size", "13", *options], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "holds a simulated survey of 12 galaxies" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_command_options(tmp_path):
    command = [
        str(Path(sys.executable).with_name("galbase")),
        "simulate",
        "--out",
        str(tmp_path / "sim"),
        "--size",
        "6",
    ]
    options = ["--spectra", "0", "--surveys", "sdss", "--shift", "--decorrelate-morphology", "--sky", "pretraining"]
    subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    record = json.loads((tmp_path / "sim" / "simulation.json").read_text())
    assert record["surveys"] == ["sdss"]
    assert record["decorrelated"]
    assert record["sky"] == "pretraining"
    assert record["parameters"]["psf_beta"] == 2.5
    assert not list((tmp_path / "sim" / "legacysurvey").glob("*.h5"))
    refused = subprocess.run([*command, "--surveys", "hst"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "name one or both of legacy, sdss" in refused.stderr
