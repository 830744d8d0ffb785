"""A catalogue of Sersic parameters of images in the archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io.votable import parse_single_table
from typer.testing import CliRunner

from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.releases import add_release
from galbase.ml.calibration import LEVELS
from galbase.ml.commands_galnet import galnet
from galbase.ml.inference import normalised
from galbase.ml.networks.build import build
from galbase.ml.networks.galnet import PUBLISHED
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.calibration import ScaledIntervals
from galbase.ml.sersic.files import DESCRIPTION, WEIGHTS, load_domain, load_galnet, save_galnet
from galbase.ml.sersic.images import sky_noise
from galbase.ml.sersic.measure import GalnetCalibration, measure
from galbase.ml.sersic.training import TrainedGalnet, galnet_options, load_stamp_set
from galbase.ml.sersic.vector import vectors_of_truth
from galbase.ml.stamps.background import SimulatedSky
from galbase.ml.stamps.parameters import StampParameters
from galbase.ml.stamps.simulate import StampSource, draw_block, simulate_stamps
from galbase.schema.errors import GalbaseError, UsageError

N = 24


def write_model(folder: Path, mode: str) -> Path:
    """An untrained network whose say has no weight: what is refined is what the pixels say."""
    options = galnet_options(mode)
    network = build("galnet", "tiny", options)
    low, high = [-9.0, 0.3, 0.0, -0.3, -0.3, -1, -1], [-7.0, 0.9, 0.5, 0.3, 0.3, 1, 1]
    trained = TrainedGalnet(network, LabelScaler(tuple(low), tuple(high)), mode, "tiny", options, {})
    width = {name: ((2 * level - 1,) * 7,) for name, level in LEVELS.items()}
    intervals = ScaledIntervals(width)
    calibrated = GalnetCalibration(1.0, (), (1e-9,), intervals, intervals if mode == "improved" else None, (0.1,) * 7)
    save_galnet(folder, trained, calibrated)
    return folder


@pytest.fixture(scope="module")
def images(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    # the round PSF that a catalogue's images get; one pixel of the tenth is missing, the PSF of the last unknown
    parameters = StampParameters(snr=(150, 300), psf_beta=(3.5, 3.5), psf_ellipticity_max=0.0)
    drawn = draw_block(StampSource(parameters, SimulatedSky(parameters), None, 6), 0).rows(0, N)
    pixels = np.zeros((N, 3, 61, 61), np.float32)
    pixels[:, 1] = drawn.image
    pixels[10, 1, 30, 30] = np.nan
    fwhm = np.repeat(drawn.truth["psf_fwhm_arcsec"][:, None], 3, axis=1).astype(np.float32)
    fwhm[-1] = np.nan
    path = tmp_path_factory.mktemp("shards") / "images.h5"
    with h5py.File(path, "w") as file:
        file["images"] = pixels
        file["ra"], file["dec"] = 150 + 0.1 * np.arange(N), np.full(N, 2.0)
        file["release"], file["brickid"] = np.full(N, 9010, np.int16), np.full(N, 1, np.int32)
        file["objid"], file["psfsize"] = np.arange(N, dtype=np.int32), fwhm
    with archive.connect(autocommit=True) as connection:
        release = add_release(connection, "sersic-images", survey="DESI Legacy Imaging Surveys")[0]
        report = ingest_images(connection, release, [path], ImageOptions())
    assert report is not None
    return dict(drawn.truth)


def test_measured_images_become_a_catalogue(archive: Any, images: dict[str, np.ndarray], tmp_path: Path) -> None:
    model, out = write_model(tmp_path / "m", "improved"), tmp_path / "sersic.vot"
    done = CliRunner().invoke(
        galnet, ["measure", str(model), "--release", "sersic-images", "--out", str(out), "--json"], obj=archive.config
    )
    assert done.exit_code == 0, (done.output, done.exception)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["measured"] == N - 2
    assert said["left_out"] == {"missing pixels": 1, "PSF or pixel scale unknown": 1}
    table = parse_single_table(out).to_table().filled()
    row = np.round((np.asarray(table["ra"]) - 150) / 0.1).astype(int)
    assert sorted(row) == [k for k in range(N - 1) if k != 10]
    assert np.median(np.abs(table["mag"] - images["mag"][row])) < 0.02
    assert np.median(np.abs(np.log10(table["re_arcsec"] / images["re_arcsec"][row]))) < 0.02
    assert np.median(np.abs(table["q"] - images["q"][row])) < 0.03
    assert np.median(table["chi2_reduced"]) == pytest.approx(1, abs=0.05)
    assert str(table["re_arcsec"].unit) == "arcsec"
    assert (table["mag_q16"] < table["mag"]).all()
    assert (table["re_arcsec"] < table["re_arcsec_q84"]).all()


def test_what_cannot_be_measured_is_said(archive: Any, images: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert len(images["mag"]) == N
    published = write_model(tmp_path / "p", "as-published")
    assert len(PUBLISHED) == 7
    arguments = ["measure", str(published), "--release", "sersic-images", "--out", str(tmp_path / "s.csv")]
    refused = CliRunner().invoke(galnet, arguments, obj=archive.config)
    assert isinstance(refused.exception, UsageError)
    assert CliRunner().invoke(galnet, [*arguments, "--no-refine"], obj=archive.config).exit_code == 0
    unknown = CliRunner().invoke(galnet, [*arguments[:3], "none", *arguments[4:], "--no-refine"], obj=archive.config)
    assert isinstance(unknown.exception, GalbaseError)


def test_the_command_trains_a_model(tmp_path: Path) -> None:
    simulate_stamps(tmp_path / "s", 1800, 1)
    arguments = ["train", "--stamps", str(tmp_path / "s"), "--out", str(tmp_path / "m"), "--preset", "tiny"]
    done = CliRunner().invoke(galnet, [*arguments, "--mode", "as-published", "--epochs", "1", "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout.splitlines()[-1])["n_train"] > 1300
    few = CliRunner().invoke(galnet, [*arguments[:4], str(tmp_path / "n"), "--preset", "tiny"])
    assert "stamps to calibrate on; 320 are needed" in str(few.exception)
    again = CliRunner().invoke(galnet, [*arguments, "--epochs", "1"])
    assert "holds a model already" in str(again.exception)


def test_the_command_calibrates_for_another_sky(tmp_path: Path) -> None:
    trained_on, other, model = tmp_path / "s", tmp_path / "o", tmp_path / "m"
    simulate_stamps(trained_on, 1800, 1, parameters=StampParameters(snr=(100.0, 300.0)))
    discs = StampParameters(snr=(8.0, 15.0), re_px=(8.0, 14.0), n=(0.5, 1.0), q=(0.2, 0.5))
    simulate_stamps(other, 3000, 2, parameters=discs)
    arguments = ["train", "--stamps", str(trained_on), "--out", str(model), "--preset", "tiny"]
    done = CliRunner().invoke(galnet, [*arguments, "--mode", "as-published", "--epochs", "2"])
    assert done.exit_code == 0, (done.output, done.exception)
    # as if an earlier version had calibrated it: then it cannot measure, but be calibrated
    record = json.loads((model / DESCRIPTION).read_text())
    trained, before = load_galnet(model)
    (model / DESCRIPTION).write_text(json.dumps(record | {"calibration": {"scale": 1.0}}))
    with pytest.raises(GalbaseError, match=r"m was calibrated by an earlier version.*galnet calibrate"):
        load_galnet(model)
    anew = ["calibrate", str(model), "--stamps", str(other), "--out", str(tmp_path / "n"), "--json"]
    done = CliRunner().invoke(galnet, anew)
    assert done.exit_code == 0, (done.output, done.exception)
    again, after = load_galnet(tmp_path / "n")
    assert (tmp_path / "n" / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()
    data = load_stamp_set(other)
    assert again.metrics["calibrated_on"]["stamps_sha256"] == data.digest != again.metrics["stamps_sha256"]
    rows = data.rows("test")
    assert again.metrics["calibrated_on"]["n"] == 3000 - len(rows)
    noise = np.asarray(data.stamps.column["sky_sigma"], np.float64)[rows]
    truth = vectors_of_truth({name: value[rows] for name, value in data.stamps.column.items()}, data.instrument)
    covered = []
    for calibration in (before, after):
        found = measure(
            trained, calibration, data.stamps.image[rows], data.stamps.psf[rows], noise, data.instrument,
            refinement=False, with_chi2=False,
        )  # fmt: skip
        covered.append(float(((found.quantiles["q16"] <= truth) & (truth <= found.quantiles["q84"])).mean()))
    assert covered[0] < 0.55
    assert covered[1] == pytest.approx(0.68, abs=0.05)
    # the domain is that of the other stamps
    assert load_domain(tmp_path / "n").outside(normalised(found.embedding)).mean() < 0.1
    assert not np.array_equal(load_domain(tmp_path / "n").reference, load_domain(model).reference)
    twice = CliRunner().invoke(galnet, anew)
    assert "holds a model already" in str(twice.exception)


def test_noise_of_a_stamp_ignores_the_galaxy_and_a_neighbour() -> None:
    rng = np.random.default_rng(1)
    stamp = rng.normal(0, 0.02, (61, 61))
    at = np.arange(61) - 30
    stamp += 5 * np.exp(-0.5 * (at[None, :] ** 2 + at[:, None] ** 2) / 6**2)
    stamp += 2 * np.exp(-0.5 * ((at[None, :] - 26) ** 2 + (at[:, None] - 26) ** 2) / 2**2)
    assert sky_noise(stamp.astype(np.float32)) == pytest.approx(0.02, rel=0.05)
