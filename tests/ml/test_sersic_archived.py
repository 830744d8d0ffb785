"""GaLNet as a model of the archive: its values stand beside the others', with flags, and are kept up to date."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from psycopg import sql
from typer.testing import CliRunner

from galbase.ingest.galaxies import rebuild_galaxies
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.jobs import run_preprocess
from galbase.ingest.preprocess.config import preset
from galbase.ingest.releases import add_release
from galbase.ml import jobs
from galbase.ml.calibration import LEVELS
from galbase.ml.commands_galnet import galnet
from galbase.ml.domain import Domain
from galbase.ml.evaluation import evaluate
from galbase.ml.model_file import write_model_file
from galbase.ml.model_store import find_model
from galbase.ml.networks.build import build
from galbase.ml.predictor import load_model, load_predictor
from galbase.ml.promotion import promote
from galbase.ml.refresh import plan
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.archived import PROPERTIES, property_quantiles
from galbase.ml.sersic.calibration import ScaledIntervals
from galbase.ml.sersic.files import save_galnet
from galbase.ml.sersic.measure import GalnetCalibration, Measured
from galbase.ml.sersic.training import TrainedGalnet, galnet_options
from galbase.ml.sersic.vector import E1, E2
from galbase.ml.stamps.background import SimulatedSky
from galbase.ml.stamps.parameters import StampParameters
from galbase.ml.stamps.simulate import StampSource, draw_block
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import PredictionFlag

N, SIDE = 40, 152
MISSING, NO_PSF, REAL = 5, 6, range(30, N)
NAME = "galnet-r"


def trained_folder(folder: Path) -> Path:
    """An untrained network whose say has no weight: what is refined is what the pixels say."""
    options = galnet_options("improved")
    low, high = (-9.0, 0.3, 0.0, -0.3, -0.3, -1.0, -1.0), (-7.0, 0.9, 0.5, 0.3, 0.3, 1.0, 1.0)
    network = build("galnet", "tiny", options)
    metrics = {"history": {"loss": [1.0]}}
    trained = TrainedGalnet(network, LabelScaler(low, high), "improved", "tiny", options, metrics)
    intervals = ScaledIntervals({name: ((2 * level - 1,) * 7,) for name, level in LEVELS.items()})
    calibration = GalnetCalibration(1.0, (), (1e-9,), intervals, intervals)
    reference = np.eye(network.embedding_dim, dtype=np.float32)[:8]
    save_galnet(folder, trained, calibration, Domain(reference, 2.0))
    return folder


def write_images(path: Path, stamps: np.ndarray, noise: np.ndarray, fwhm: np.ndarray, rows: range) -> None:
    """A file in the Legacy Survey's form: stamps of 61 px in the middle of 152 px of sky, the same in g, r and z."""
    rng = np.random.default_rng(3)
    pixels = (rng.normal(size=(len(rows), 1, SIDE, SIDE)) * noise[rows, None, None, None]).astype(np.float32)
    start = (SIDE - 61) // 2
    pixels[:, 0, start : start + 61, start : start + 61] = stamps[rows]
    pixels = np.repeat(pixels, 3, axis=1)
    if MISSING in rows:
        pixels[MISSING, 1, start, start] = np.nan
    with h5py.File(path, "w") as file:
        file["images"] = pixels
        file["ra"], file["dec"] = 150 + 0.1 * np.array(rows), np.full(len(rows), 2.0)
        file["release"], file["brickid"] = np.full(len(rows), 9010, np.int16), np.full(len(rows), 1, np.int32)
        file["objid"], file["psfsize"] = np.array(rows, np.int32), fwhm[rows]


@pytest.fixture(scope="module")
def filled(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Simulated galaxies, ten of them in a release that claims to be real, measured and served."""
    folder = tmp_path_factory.mktemp("sersic")
    parameters = StampParameters(
        snr=(150, 300), psf_beta=(3.5, 3.5), psf_ellipticity_max=0.0, re_px=(3.0, 6.0), offset_px=0.5
    )
    drawn = draw_block(StampSource(parameters, SimulatedSky(parameters), None, 6), 0).rows(0, N)
    fwhm = np.repeat(drawn.truth["psf_fwhm_arcsec"][:, None], 3, axis=1).astype(np.float32)
    fwhm[NO_PSF, 1] = np.nan
    config = preset("improved")
    with archive.connect(autocommit=True) as connection:
        for name, rows in (("drawn", range(REAL.start)), ("seen", REAL)):
            path = folder / f"{name}.h5"
            write_images(path, drawn.image, drawn.truth["sky_sigma"], fwhm, rows)
            release = add_release(connection, name, survey="DESI Legacy Imaging Surveys", simulated=name == "drawn")[0]
            ingest_images(connection, release, [path], ImageOptions())
        rebuild_galaxies(connection)
    for name in ("drawn", "seen"):
        run_preprocess(archive.config, release=name, preprocess=config, workers=1)
    model = trained_folder(folder / "model")
    done = CliRunner().invoke(
        galnet, ["register", str(model), "--name", NAME, "--json"], obj=archive.config, catch_exceptions=False
    )
    assert json.loads(done.stdout.splitlines()[-1])["model"] == NAME
    jobs.refresh(archive.config)
    with archive.connect() as connection:
        served = promote(connection, find_model(connection, NAME), 0)
    assert served == list(PROPERTIES)
    return SimpleNamespace(archive=archive, truth=drawn.truth, model=model)


def served(archive: Any) -> dict[int, dict[str, Any]]:
    """What astronomers see, by the number of the galaxy in the files."""
    names = [f"{name}{part}" for name in PROPERTIES for part in ("", "_err", "_q16", "_q50", "_q84", "_flag")]
    query = sql.SQL("SELECT round((ra - 150) * 10)::int, mag_sersic_model, {} FROM api.galaxy_property").format(
        sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with archive.connect() as connection:
        rows = connection.execute(query).fetchall()
    return {row[0]: dict(zip(("model", *names), row[1:], strict=True)) for row in rows}


def test_served_values_are_the_profiles_that_were_drawn(filled: SimpleNamespace) -> None:
    found = served(filled.archive)
    clean = [k for k in range(REAL.start) if found[k]["model"] and k != MISSING]
    assert len(clean) > 0.8 * REAL.start
    truth = filled.truth
    for name, key, limit in (("mag_sersic", "mag", 0.03), ("q_sersic", "q", 0.03)):
        miss = np.array([found[k][name] - truth[key][k] for k in clean])
        assert np.median(np.abs(miss)) < limit
    for name, key in (("re_sersic", "re_arcsec"), ("n_sersic", "n")):
        miss = np.array([np.log10(found[k][name] / truth[key][k]) for k in clean])
        assert np.median(np.abs(miss)) < 0.03
    for k in clean:
        for name in PROPERTIES:
            low, value, high = (found[k][f"{name}_{level}"] for level in ("q16", "q50", "q84"))
            assert low < value < high or (name == "q_sersic" and low <= value <= high)
            assert found[k][name] == value
            assert found[k][f"{name}_err"] == pytest.approx((high - low) / 2, rel=1e-4, abs=1e-5)
            assert found[k][f"{name}_flag"] == 0


def test_values_of_real_images_are_hidden_and_all_are_told(filled: SimpleNamespace) -> None:
    found = served(filled.archive)
    real = [k for k in REAL if found[k]["model"]]
    assert len(real) > 0.7 * len(REAL)
    assert all(found[k]["re_sersic"] is None for k in real)
    assert all(found[k]["re_sersic_flag"] & PredictionFlag.SIMULATION_TRAINED for k in real)
    with filled.archive.connect() as connection:
        rows = connection.execute(
            "SELECT count(*), count(value), count(DISTINCT property) FROM api.prediction_all WHERE model = %s", (NAME,)
        ).fetchone()
        card = connection.execute(
            "SELECT family, training_set, serves FROM api.model_card WHERE model = %s", (NAME,)
        ).fetchone()
        nearest = connection.execute(
            "SELECT count(*) FROM api.nearest_galaxies((SELECT galaxy_id FROM api.galaxy_property "
            "WHERE mag_sersic IS NOT NULL LIMIT 1), 5, model => %s)",
            (NAME,),
        ).fetchone()
    assert rows[0] == rows[1] > 0
    assert rows[2] == len(PROPERTIES)
    assert card == ("galnet", None, list(PROPERTIES))
    assert nearest == (5,)


def test_what_cannot_be_measured_has_no_value_and_a_hole_is_flagged(filled: SimpleNamespace) -> None:
    found = served(filled.archive)
    assert found[NO_PSF]["model"] is None
    assert found[MISSING]["re_sersic_flag"] == PredictionFlag.OUT_OF_DOMAIN
    assert np.isfinite(found[MISSING]["re_sersic"])


def test_only_what_changes_is_measured_again(filled: SimpleNamespace) -> None:
    archive = filled.archive
    before = served(archive)
    assert all(each.n_stale == 0 for each in plan(archive.config))
    with archive.connect() as connection:
        ids = connection.execute(
            "SELECT o.observation_id FROM archive.observation o JOIN archive.source s USING (source_id) "
            "WHERE round((s.ra - 150) * 10) = ANY(%s) ORDER BY s.ra",
            ([1, 2, NO_PSF],),
        ).fetchall()
        for (number,), width in zip(ids, (1.5, 30.0, 1.2), strict=True):
            connection.execute(
                "UPDATE archive.image SET psf_fwhm_arcsec = %s WHERE observation_id = %s", ([width] * 3, number)
            )
    report = jobs.refresh(archive.config)
    assert (report.predicted, report.removed) == ({NAME: 2}, 1)
    after = served(archive)
    changed = {k for k in before if before[k] != after[k]}
    assert changed == {1, 2, NO_PSF}
    assert after[2]["model"] is None
    assert after[NO_PSF]["re_sersic"] is not None


def test_values_do_not_depend_on_what_is_measured_with_them(filled: SimpleNamespace) -> None:
    archive = filled.archive
    with archive.connect() as connection:
        model = load_predictor(connection, find_model(connection, NAME))
        ids = [
            row[0]
            for row in connection.execute("SELECT DISTINCT observation_id FROM archive.prediction ORDER BY 1 LIMIT 7")
        ]
        together = model.predict(model.find(connection, dict.fromkeys(ids)))
        alone = [model.predict(model.find(connection, {each: None})) for each in ids]
    for name in PROPERTIES:
        for level in LEVELS:
            values = dict(zip(together.observation_id, np.float32(together.quantiles[name][level]), strict=True))
            # As they are stored; numpy's logarithms of one number and of several differ in the last bit of a double.
            assert [np.float32(each.quantiles[name][level][0]) for each in alone] == [values[each] for each in ids]


def test_what_needs_a_labelled_sky_says_so(filled: SimpleNamespace, tmp_path: Path) -> None:
    with filled.archive.connect() as connection:
        record = find_model(connection, NAME)
        with pytest.raises(GalbaseError, match="no labelled sky"):
            evaluate(connection, record)
        with pytest.raises(GalbaseError, match="is a GaLNet"):
            load_model(connection, record)
        with pytest.raises(GalbaseError, match="is a GaLNet"):
            write_model_file(connection, NAME, tmp_path / "w.safetensors")


def test_registration_refuses_what_cannot_serve(filled: SimpleNamespace, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(galnet, ["register", *arguments], obj=filled.archive.config)
        assert isinstance(done.exception, GalbaseError)
        return str(done.exception)

    assert "exists already" in refused(str(filled.model), "--name", NAME)
    assert "no image has been preprocessed" in refused(str(filled.model), "--name", "a", "--config", "gpm_resnet")
    assert "no trained GaLNet" in refused(str(tmp_path), "--name", "a")
    for name in ("weights.safetensors", "galnet.json"):
        (tmp_path / name).write_bytes((filled.model / name).read_bytes())
    assert "domain.safetensors" in refused(str(tmp_path), "--name", "a")


def test_quantiles_of_the_axis_ratio_cover_what_they_say() -> None:
    """Ellipticities that scatter as their quantiles say: the axis ratio's quantiles hold as many of the true ones."""
    rng = np.random.default_rng(5)
    n, sigma = 20_000, 0.03
    vector = np.zeros((n, 7))
    e, angle = rng.uniform(0.15, 0.5, n), rng.uniform(0, 2 * np.pi, n)
    vector[:, E1], vector[:, E2] = e * np.cos(angle), e * np.sin(angle)
    normal = dict(zip(LEVELS, (-1.96, -1.6449, -1.0, 0.0, 1.0, 1.6449, 1.96), strict=True))
    measured = vector + rng.normal(0, sigma, vector.shape) * (np.arange(7)[None, :] // 2 % 2 == 1)
    measured[:, E1], measured[:, E2] = (vector[:, k] + rng.normal(0, sigma, n) for k in (E1, E2))
    found = Measured(
        measured, np.full((n, 7), sigma), {level: measured + z * sigma for level, z in normal.items()}, np.zeros(n),
        np.zeros((n, 1), np.float32),
    )  # fmt: skip
    ratio = (1 - e) / (1 + e)
    quantiles = property_quantiles(found, np.full(n, 0.01))["q_sersic"]
    below = {level: float((ratio < value).mean()) for level, value in quantiles.items()}
    for level, wanted in LEVELS.items():
        assert below[level] == pytest.approx(wanted, abs=0.03)
