"""Models in the database: trained, stored in chunks, checked, rebuilt bit by bit, promoted, scored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from galbase.ingest.labels import write_labels
from galbase.ml import experiment, model_store
from galbase.ml.backend import make_deterministic
from galbase.ml.dataset import image_files, load_inputs
from galbase.ml.evaluation import evaluate
from galbase.ml.experiment import run_training
from galbase.ml.fractions import parse_fractions
from galbase.ml.inference import infer
from galbase.ml.jobs import predict
from galbase.ml.model_file import read_model_file, write_model_file
from galbase.ml.model_plots import write_plots
from galbase.ml.model_store import find_model, read_artifact
from galbase.ml.networks.build import build
from galbase.ml.predictor import load_model
from galbase.ml.recipe import Recipe
from galbase.ml.refresh import plan
from galbase.ml.report import write_report
from galbase.ml.request import TrainingRequest
from galbase.ml.sample import load_sample
from galbase.ml.scaling import LabelScaler
from galbase.ml.training_set import Draw, create_training_set, find_training_set, members
from galbase.ml.weights import fill_weights, weights_to_bytes
from galbase.schema.errors import GalbaseError
from galbase.schema.jobs import cluster

MODEL = "round-tiny"


def request(name: str, **changes: Any) -> TrainingRequest:
    values: dict[str, Any] = {
        "name": name, "family": "galeffnet", "mode": "improved", "preset": "tiny", "training_set": "round", "seed": 1,
        "epochs": 6, "options": {}, "weights_path": None, "run_id": None,
    }  # fmt: skip
    return TrainingRequest(**{**values, **changes})


@pytest.fixture(scope="module")
def trained(filled: tuple[Any, Any]) -> tuple[Any, dict[str, Any]]:
    archive, _ = filled
    with archive.connect() as connection:
        create_training_set(connection, "round", "galeffnet", seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_store, "CHUNK_BYTES", 100_000)
        epochs: list[tuple[str, int]] = []
        result = run_training(archive.url, request(MODEL), lambda part, epoch, _losses: epochs.append((part, epoch)))
    assert epochs == [("network", k) for k in range(6)]
    return archive, result


def test_the_network_learns_and_its_figures_are_stored(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, result = trained
    scores = result["test"]["log_mstar_fib"]
    assert scores["network"]["sigma"] < 0.6 * scores["mean"]["sigma"]
    assert 0.5 < scores["network"]["coverage_68"] < 0.86
    assert "boosted_trees" not in scores  # these galaxies have no catalogue photometry
    assert sum(result["n"].values()) <= 700
    with archive.connect() as connection:
        metrics, state, trained_on = connection.execute(
            "SELECT metrics, state, trained_on FROM archive.model WHERE name = %s", (MODEL,)
        ).fetchone()
    assert metrics["test"] == result["test"]
    assert (state, trained_on) == ("candidate", "simulation")


def test_a_rebuilt_model_is_the_same_bit_by_bit(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        n_chunk = connection.execute("SELECT count(*) FROM archive.model_artifact WHERE name = 'weights'").fetchone()[0]
        model = load_model(connection, record)
        weights = read_artifact(connection, record.model_id, "weights")
        assert find_model(connection, str(record.model_id)) == record
    assert n_chunk > 5
    assert hashlib.sha256(weights).hexdigest() == record.weights_sha256
    assert weights_to_bytes(model.network) == weights


def test_gpm_resnet_trains_in_the_archive_in_both_modes(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    for mode, loss in (("improved", "pinball"), ("as-published", "mse")):
        name = f"gpm-{mode}"
        result = run_training(archive.url, request(name, family="gpm_resnet", mode=mode, epochs=4))
        assert result["training"]["loss"] == loss
        losses = result["history"]["loss"]
        assert losses[-1] < 0.7 * losses[0]
        # no dropout stands before the head, so that Monte Carlo passes do not differ
        assert result["test"]["log_mstar_fib"]["network"]["mc_err_median"] == 0
        with archive.connect() as connection:
            record = find_model(connection, name)
            model = load_model(connection, record)
        assert hashlib.sha256(weights_to_bytes(model.network)).hexdigest() == record.weights_sha256


def test_a_flipped_byte_is_refused(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        connection.execute(
            "UPDATE archive.model_artifact SET data = set_byte(data, 70000, get_byte(data, 70000) # 1) "
            "WHERE model_id = %s AND name = 'weights' AND chunk = 2",
            (record.model_id,),
        )
        with pytest.raises(GalbaseError, match="damaged"):
            load_model(connection, record)
        connection.rollback()
        other = b"another file of weights"
        connection.execute("DELETE FROM archive.model_artifact WHERE name = 'weights'")
        model_store._write_artifact(connection, record.model_id, "weights", other)
        with pytest.raises(GalbaseError, match="not those it was registered with"):
            load_model(connection, record)
        connection.rollback()


def test_a_training_goes_on_from_a_models_file(trained: tuple[Any, dict[str, Any]], tmp_path: Path) -> None:
    archive, first = trained
    path = tmp_path / "round.safetensors"
    with archive.connect() as connection:
        digest = write_model_file(connection, MODEL, path)
        before = find_model(connection, MODEL)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    start = {"weights_path": str(path), "weights_sha256": digest}
    result = run_training(archive.url, request("round-on", epochs=1, learning_rate=3e-4, seed=2, **start))
    assert result["pretrained"] == {"sha256": digest, "model": MODEL, "cpu_seconds": first["seconds"]["cpu"]}
    assert result["training"]["learning_rate"] == 3e-4
    # One epoch from random weights ends far above.
    assert result["history"]["loss"][0] < 0.7 * first["history"]["loss"][0]
    with archive.connect() as connection:
        after = find_model(connection, "round-on")
    assert after.calibration["scaler"] == before.calibration["scaler"]
    assert after.calibration["recipe"] == before.calibration["recipe"]

    with pytest.raises(GalbaseError, match="has SHA-256"):
        run_training(archive.url, request("other", weights_path=str(path), weights_sha256="0" * 64))
    with pytest.raises(GalbaseError, match="are of family 'galeffnet', 'gpm_resnet' is asked"):
        run_training(archive.url, request("other", family="gpm_resnet", **start))
    with pytest.raises(GalbaseError, match="are of mode 'improved'"):
        run_training(archive.url, request("other", mode="as-published", **start))
    with archive.connect() as connection, pytest.raises(GalbaseError, match="exists already"):
        write_model_file(connection, MODEL, path)
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(weights_to_bytes(build("galeffnet", "tiny", {})))
    with pytest.raises(GalbaseError, match="no model of galbase"):
        read_model_file(bare)
    bare.write_bytes(b"\x80\x04pickled")
    with pytest.raises(GalbaseError, match="safetensors"):
        read_model_file(bare)


def test_only_the_networks_own_arrays_are_taken() -> None:
    network = build("galeffnet", "tiny", {})
    weights = weights_to_bytes(network)
    again = build("galeffnet", "tiny", {})
    fill_weights(again, weights)
    assert all(
        np.array_equal(a, b) for a, b in zip(network.training.get_weights(), again.training.get_weights(), strict=True)
    )
    with pytest.raises(GalbaseError, match="arrays"):
        fill_weights(build("galeffnet", "small", {}), weights)
    with pytest.raises(GalbaseError, match="array 0"):
        fill_weights(build("galeffnet", "tiny", {"n_band": 1}), weights)
    with pytest.raises(GalbaseError, match="safetensors"):
        fill_weights(again, b"\x80\x04pickled")


def test_training_twice_gives_the_same_weights(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    run_training(archive.url, request("twice-a", epochs=1))
    run_training(archive.url, request("twice-b", epochs=1))
    with archive.connect() as connection:
        digests = connection.execute(
            "SELECT weights_sha256 FROM archive.model WHERE name LIKE 'twice-%' ORDER BY name"
        ).fetchall()
        connection.execute("UPDATE archive.model SET state = 'retired' WHERE name LIKE 'twice-%'")
    assert digests[0] == digests[1]


def test_labels_are_scaled_on_the_training_split_alone(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        scaler = LabelScaler.from_mapping(record.calibration["scaler"])
        low, high = connection.execute(
            "SELECT min(g.lgm_fib_p50), max(g.lgm_fib_p50) FROM archive.training_member t "
            "JOIN archive.sdss_galaxy g ON g.source_id = t.source_id + 1 WHERE t.split = 'train'"
        ).fetchone()
    assert (scaler.minimum[0], scaler.maximum[0]) == pytest.approx((low, high), abs=1e-6)


def test_a_set_that_leaves_nothing_to_calibrate_on_is_refused(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    with archive.connect() as connection:
        draw = Draw(fractions=parse_fractions("6:1:3"))
        create_training_set(connection, "as-the-paper", "galeffnet", seed=3, draw=draw)
    with pytest.raises(GalbaseError, match="has 0 images to calibrate on"):
        run_training(archive.url, request("uncalibrated", training_set="as-the-paper"))


def test_shuffled_labels_score_at_chance(trained: tuple[Any, dict[str, Any]]) -> None:
    """Were anything of the test split known to the training, shuffling would not undo it."""
    archive, _ = trained
    with archive.connect() as connection:
        rng = np.random.default_rng(0)
        query = "SELECT source_id, lgm_fib_p50, specsfr_fib_p50 FROM archive.sdss_galaxy"
        values = connection.execute(query).fetchall()
        order = rng.permutation(len(values))
        for (source, _, _), k in zip(values, order, strict=True):
            connection.execute(
                "UPDATE archive.sdss_galaxy SET lgm_fib_p50 = %s, specsfr_fib_p50 = %s WHERE source_id = %s",
                (*values[k][1:], source),
            )
        write_labels(connection, np.array([row[0] for row in values]))
        create_training_set(connection, "shuffled", "galeffnet", seed=3)
    try:
        result = run_training(archive.url, request("shuffled", training_set="shuffled"))
    finally:
        with archive.connect() as connection:
            for source, mass, ssfr in values:
                connection.execute(
                    "UPDATE archive.sdss_galaxy SET lgm_fib_p50 = %s, specsfr_fib_p50 = %s WHERE source_id = %s",
                    (mass, ssfr, source),
                )
            write_labels(connection, np.array([row[0] for row in values]))
            connection.execute("UPDATE archive.model SET state = 'retired' WHERE name = 'shuffled'")
    for scores in result["test"].values():
        assert scores["network"]["sigma"] > 0.9 * scores["mean"]["sigma"]
        assert scores["network"]["r2"] < 0.1


def test_inputs_of_the_archive_are_the_files_pixels(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        ids = [row[0] for row in connection.execute("SELECT observation_id FROM archive.observation").fetchall()]
        files = image_files(connection, ids[100:400:7], record.preprocess_config_id)
    loaded = load_inputs(files, record.preprocess, Recipe("flux"))
    found, image, scalar = loaded.observation_id, loaded.image, loaded.scalar
    import h5py

    with h5py.File(files[0].path) as file:
        pixels = file["images"][files[0].rows[3].row_index]
    y, x = np.mgrid[:64, :64] - 31.5
    inside = (x / 15) ** 2 + (y / 13.5) ** 2 <= 1  # the target's ellipse, enlarged 1.5 times
    expected = np.where(inside, pixels, 0)
    assert found == ids[100:400:7]
    assert np.sinh(4 * image[3]).transpose(2, 0, 1) * 0.01 == pytest.approx(expected, abs=1e-5)
    assert 2 * np.sinh(scalar[3, :3]) == pytest.approx(expected.sum(axis=(1, 2)), rel=1e-4)


def test_inference_is_the_same_from_store_and_memory(trained: tuple[Any, dict[str, Any]]) -> None:
    archive, _ = trained
    make_deterministic(5)
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        first, second = load_model(connection, record), load_model(connection, record)
        row = connection.execute("SELECT name FROM archive.training_set WHERE name = 'round'").fetchone()
        from galbase.ml.training_set import find_training_set

        sample = load_sample(connection, find_training_set(connection, row[0]), first.recipe)
    inputs = first.recipe.inputs(sample.image[:10], sample.scalar[:10])
    ids = [int(each) for each in sample.observation_id[:10]]
    a = infer(first.network, first.scaler, inputs, ids, record.weights_sha256)
    b = infer(second.network, second.scaler, inputs, ids, record.weights_sha256)
    assert np.array_equal(a.value, b.value)
    assert np.array_equal(a.mc_err, b.mc_err)
    assert np.array_equal(a.embedding, b.embedding)


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "../up", MODEL])
def test_names_are_refused_before_the_training(
    trained: tuple[Any, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = trained
    monkeypatch.setattr(experiment, "load_sample", None)
    with pytest.raises(GalbaseError, match=f"model {name!r} exists" if name == MODEL else f"model name {name!r}"):
        run_training(archive.url, request(name, epochs=1))


def test_evaluation_and_report_of_stored_predictions(trained: tuple[Any, dict[str, Any]], tmp_path: Any) -> None:
    archive, result = trained
    with archive.connect() as connection:
        record = find_model(connection, MODEL)
        with pytest.raises(GalbaseError, match="test members have no prediction"):
            evaluate(connection, record)
    # No refresh: it would judge the images anew, whose verdicts are made up here.
    with cluster(None) as client:
        for wanted in plan(archive.config):
            if wanted.model.name == MODEL:
                predict(archive.config, client, wanted)
    with archive.connect() as connection:
        images, split = members(connection, find_training_set(connection, "round"))
        # A catalogue in which the r flux alone tells the mass.
        for image in images:
            flux = 10 ** (image.label[0] - 9)
            connection.execute(
                "INSERT INTO archive.legacysurvey_dr9_object (source_id, type, flux_g, flux_r, flux_z, flux_ivar_g, "
                "flux_ivar_r, flux_ivar_z, shape_r, sersic) VALUES (%s, 'EXP', 1, %s, 2, 100, 100, 100, 1.5, 1)",
                (image.source_id, flux),
            )
        found = evaluate(connection, record)
    mass = found.scores["log_mstar_fib"]
    assert mass["network"]["sigma"] == pytest.approx(result["test"]["log_mstar_fib"]["network"]["sigma"], rel=1e-4)
    assert mass["boosted_trees"]["sigma"] < 0.5 * mass["mean"]["sigma"]
    assert mass["colour_polynomial_3"]["sigma"] < 0.5 * mass["mean"]["sigma"]
    facts = found.held_out["log_mstar_fib"].facts
    n = mass["network"]["n"]
    assert {name: values.shape for name, values in facts.items()} == dict.fromkeys(
        ("mag_r", "sn_r", "radius_arcsec", "z", "type"), (n,)
    )
    label = np.array([image.label[0] for image, part in zip(images, split, strict=True) if part == "test"])
    assert np.sort(facts["sn_r"]) == pytest.approx(np.sort(10 ** (label - 9) * 10), rel=1e-4)
    assert {part["of"] for part in found.strata["log_mstar_fib"]} >= {"predicted", "mag_r", "sn_r", "type"}
    with archive.connect() as connection:
        stored = connection.execute("SELECT metrics FROM api.model_card WHERE model = %s", (MODEL,)).fetchone()[0]
    assert stored["strata"]["log_mstar_fib"] == json.loads(json.dumps(found.strata["log_mstar_fib"]))
    pictures = write_plots(tmp_path / "plots", record, found)
    assert len(pictures) == 7
    assert all(path.stat().st_size > 5000 for path in pictures)
    write_report(tmp_path / "report.html", [(record, found, pictures)])
    page = ElementTree.fromstring((tmp_path / "report.html").read_text().replace("<!doctype html>", "").replace(
        '<meta charset="utf-8">', ""
    ))  # fmt: skip
    assert page.findtext("body/h2") == MODEL
    assert [heading.text for heading in page.findall("body/h3")] == ["log_mstar_fib", "log_ssfr_fib"]
