"""Refresh: computes what is stale, touches nothing else, by real preprocessing and a real network."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import psycopg
import pytest

from galbase.ingest.jobs import run_preprocess
from galbase.ingest.preprocess.config import preset
from galbase.ml import jobs
from galbase.ml.backend import make_deterministic
from galbase.ml.calibration import LEVELS, calibrate
from galbase.ml.domain import Domain
from galbase.ml.inference import normalised
from galbase.ml.model_store import find_model, register_model
from galbase.ml.networks.build import build
from galbase.ml.prediction_store import stale_units
from galbase.ml.predictor import NewNetworkModel
from galbase.ml.promotion import promote
from galbase.ml.recipe import Recipe
from galbase.ml.refresh import n_unjudged, plan
from galbase.ml.scaling import LabelScaler
from galbase.ml.weights import weights_to_bytes
from galbase.schema import files
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import PredictionFlag
from galbase.schema.jobs import cluster

KEYS = {
    "preprocess": "observation_id, preprocess_config_id",
    "prediction": "model_id, property_id, observation_id",
    "embedding": "model_id, observation_id",
}


def shard(path: Path, seed: int, n: int) -> None:
    """Images of bright smooth galaxies; every tenth is a blank that preprocessing rejects."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:152, :152] - 76.0
    images = rng.normal(0, 1e-5, (n, 3, 152, 152))
    for i in range(n):
        if i % 10 != 9:
            galaxy = rng.uniform(0.03, 0.1) * np.exp(-(x**2 + 1.5 * y**2) / rng.uniform(60, 90))
            images[i] += galaxy * np.array([0.5, 1.0, 1.5])[:, None, None]
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images.astype(np.float32), chunks=(1, 3, 152, 152))


def add_images(archive: Any, path: Path, release: str, n: int, simulated: bool = True, seed: int = 1) -> list[int]:
    """Register `n` new images without positions, as ingest does."""
    shard(path, seed, n)
    with archive.connect() as connection:
        release_id = connection.execute(
            "INSERT INTO archive.data_release (release, survey, simulated) VALUES (%s, 'trial', %s) "
            "RETURNING release_id",
            (release, simulated),
        ).fetchone()[0]
        file_id = files.record_file(
            connection, release_id=release_id, root_id=files.register_root(connection, path.parent), path=path.name,
            format="hdf5", facts=files.file_facts(path), options_hash="", state="loaded", n_row=n,
        )  # fmt: skip
        found = []
        for row in range(n):
            observation = connection.execute(
                "INSERT INTO archive.observation (kind, release_id, data_file_id, row_index) "
                "VALUES ('image', %s, %s, %s) RETURNING observation_id",
                (release_id, file_id, row),
            ).fetchone()[0]
            connection.execute(
                "INSERT INTO archive.image (observation_id, bands, pixel_scale_arcsec, width, height, is_display) "
                "VALUES (%s, '{g,r,z}', 0.262, 152, 152, false)",
                (observation,),
            )
            found.append(observation)
    return found


def add_model(connection: psycopg.Connection[Any], name: str, seed: int) -> int:
    """Register an untrained network with a made-up calibration: refresh asks only that it predicts."""
    config_id = connection.execute("SELECT preprocess_config_id FROM archive.preprocess_config").fetchone()[0]
    set_id = connection.execute(
        "INSERT INTO archive.training_set (name, selection, seed, preprocess_config_id, label_origin, simulated, "
        "n_member, hash) VALUES (%s, 'galeffnet', 1, %s, 'mpa-jhu', true, 0, '') RETURNING training_set_id",
        (name, config_id),
    ).fetchone()[0]
    make_deterministic(seed)
    options = {"properties": ["log_mstar_fib", "log_ssfr_fib"], "pixel_range": "unit", "n_scalar": 6}
    network = build("galeffnet", "tiny", options)
    rng = np.random.default_rng(seed)
    residual = calibrate(rng.normal(0, 0.2, 300), np.zeros(300))
    reference = normalised(np.abs(rng.normal(size=(50, network.embedding_dim))).astype(np.float32))
    return register_model(
        connection,
        NewNetworkModel(
            name=name, family="galeffnet", mode="improved", preset="tiny", options=options,
            preprocess_config_id=config_id, training_set_id=set_id, run_id=None, trained_on="simulation",
            weights=weights_to_bytes(network), scaler=LabelScaler((8.0, -13.0), (12.0, -8.0)),
            recipe=Recipe("flux", (0.0,) * 6, (1.0,) * 6),
            conformal={"log_mstar_fib": residual, "log_ssfr_fib": residual}, domain=Domain(reference, 2.0), metrics={},
        ),
    )  # fmt: skip


def rows(archive: Any, query: str) -> list[tuple[Any, ...]]:
    with archive.connect() as connection:
        return list(connection.execute(query).fetchall())


def stamps(archive: Any) -> dict[str, dict[tuple[Any, ...], Any]]:
    """Time stamp of every row that a refresh may write."""
    return {
        table: {row[:-1]: row[-1] for row in rows(archive, f"SELECT {key}, modified_at FROM archive.{table}")}  # noqa: S608
        for table, key in KEYS.items()
    }


@pytest.fixture(scope="module")
def refreshed(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Forty images, judged, with a model that has predicted them."""
    folder = tmp_path_factory.mktemp("images")
    add_images(archive, folder / "first.h5", "first", 40)
    run_preprocess(archive.config, release="first", preprocess=preset("galeffnet"), workers=1)
    with archive.connect() as connection:
        model_id = add_model(connection, "first-model", 1)
    report = jobs.refresh(archive.config)
    return SimpleNamespace(archive=archive, folder=folder, model_id=model_id, report=report)


def test_kept_images_get_predictions_and_embeddings(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    ((n_kept,),) = rows(archive, "SELECT count(*) FROM archive.preprocess WHERE kept")
    assert 30 <= n_kept <= 36
    assert (refreshed.report.judged, refreshed.report.predicted) == (0, {"first-model": n_kept})
    found = rows(
        archive,
        "SELECT p.observation_id, value, err, mc_err, q025, q05, q16, q50, q84, q95, q975, p.flag, k.kept "
        "FROM archive.prediction p JOIN archive.preprocess k USING (observation_id)",
    )
    assert len(found) == 2 * n_kept
    for _, value, err, mc_err, *quantiles, flag, kept in found:
        assert kept
        assert flag == 0
        assert quantiles == sorted(quantiles)
        assert len(quantiles) == len(LEVELS)
        assert value == quantiles[3]
        assert err == pytest.approx((quantiles[4] - quantiles[2]) / 2, rel=1e-4)
        assert mc_err > 0
    lengths = rows(archive, "SELECT l2_norm(vec::halfvec(128)) FROM archive.embedding")
    assert len(lengths) == n_kept
    assert [row[0] for row in lengths] == pytest.approx([1.0] * n_kept, abs=2e-3)
    ((definition,),) = rows(archive, "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
    assert "halfvec_ip_ops" in definition


def test_fifty_new_images_and_nothing_else(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    before = stamps(archive)
    new = add_images(archive, refreshed.folder / "second.h5", "second", 50, simulated=False, seed=2)
    (waiting,) = plan(archive.config)
    assert waiting.n_unjudged == 50
    report = jobs.refresh(archive.config)
    assert report.judged == 50
    assert report.predicted == {"first-model": report.kept}
    assert 40 <= report.kept <= 45
    after = stamps(archive)
    for table, old in before.items():
        assert {key: after[table][key] for key in old} == old
    assert len(after["preprocess"]) - len(before["preprocess"]) == 50
    assert len(after["prediction"]) - len(before["prediction"]) == 2 * report.kept
    assert len(after["embedding"]) - len(before["embedding"]) == report.kept
    flags = rows(archive, f"SELECT DISTINCT flag FROM archive.prediction WHERE observation_id >= {min(new)}")  # noqa: S608
    assert flags == [(int(PredictionFlag.SIMULATION_TRAINED),)]

    again = jobs.refresh(archive.config)
    assert (again.judged, again.predicted, again.removed) == (0, {}, 0)
    assert stamps(archive) == after


def test_a_changed_verdict_is_predicted_anew_and_a_rejected_one_removed(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    kept = [row[0] for row in rows(archive, "SELECT observation_id FROM archive.preprocess WHERE kept ORDER BY 1")]
    with archive.connect() as connection:
        model = find_model(connection, "first-model")
        connection.execute(
            "UPDATE archive.preprocess SET ellipse_a = ellipse_a + 1, input_hash = 'other' WHERE observation_id = %s",
            (kept[0],),
        )
        connection.execute("UPDATE archive.preprocess SET kept = false WHERE observation_id = %s", (kept[1],))
        connection.commit()
        assert sum(unit.n_row for unit in stale_units(connection, model)) == 2
    before = stamps(archive)
    # Preprocessing would undo the change by hand: only predictions are refreshed here.
    with archive.connect() as connection:
        (wanted,) = [each for each in plan(archive.config) if each.units]
    with cluster(None, threads=2) as client:
        report = jobs.predict(archive.config, client, wanted)
    assert (report.n_row, report.n_removed) == (2, 1)
    after = stamps(archive)
    changed = {key for key in before["embedding"] if after["embedding"].get(key) != before["embedding"][key]}
    assert changed == {(refreshed.model_id, kept[0]), (refreshed.model_id, kept[1])}
    assert (refreshed.model_id, kept[1]) not in after["embedding"]
    assert not rows(archive, f"SELECT 1 FROM archive.prediction WHERE observation_id = {kept[1]}")  # noqa: S608
    with archive.connect() as connection:
        connection.execute("UPDATE archive.preprocess SET kept = true WHERE observation_id = %s", (kept[1],))
    jobs.refresh(archive.config)


def test_values_do_not_depend_on_which_rows_are_stale(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    query = "SELECT observation_id, property_id, value, mc_err FROM archive.prediction ORDER BY 1, 2"
    whole = rows(archive, query)
    with archive.connect() as connection:
        connection.execute("DELETE FROM archive.embedding WHERE observation_id % 7 = 3")
        connection.execute("DELETE FROM archive.prediction WHERE observation_id % 7 = 3")
    report = jobs.refresh(archive.config)
    assert 0 < report.predicted["first-model"] < len(whole) / 2
    assert rows(archive, query) == whole


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM archive.prediction WHERE observation_id = %s",
        "DELETE FROM archive.prediction WHERE observation_id = %s AND property_id = "
        "(SELECT property_id FROM archive.property WHERE name = 'log_ssfr_fib')",
        "DELETE FROM archive.embedding WHERE observation_id = %s",
        "UPDATE archive.prediction SET input_hash = 'old' WHERE observation_id = %s",
    ],
)
def test_any_lost_or_old_row_is_made_anew(refreshed: SimpleNamespace, query: str) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    whole = stamps(archive)
    ((chosen,),) = rows(archive, "SELECT max(observation_id) FROM archive.preprocess WHERE kept")
    with archive.connect() as connection:
        assert connection.execute(query.encode(), (chosen,)).rowcount > 0
    assert jobs.refresh(archive.config).predicted == {"first-model": 1}
    after = stamps(archive)
    for table, old in whole.items():
        assert after[table].keys() == old.keys()
        assert {key for key in old if after[table][key] != old[key]} <= {key for key in old if chosen in key}


def test_promotion_waits_for_the_last_row(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    with archive.connect() as connection:
        first = find_model(connection, "first-model")
        assert promote(connection, first, n_unjudged(archive.config, first)) == ["log_mstar_fib", "log_ssfr_fib"]
        add_model(connection, "second-model", 2)
        connection.commit()
        second = find_model(connection, "second-model")
        with pytest.raises(GalbaseError, match="half-filled"):
            promote(connection, second, 0)
        connection.rollback()
    report = jobs.refresh(archive.config)
    assert set(report.predicted) == {"second-model"}
    with archive.connect() as connection:
        with pytest.raises(GalbaseError, match="1 images are not preprocessed"):
            promote(connection, second, 1)
        promote(connection, second, n_unjudged(archive.config, second))
        connection.commit()
        served = connection.execute("SELECT DISTINCT model_id FROM archive.served_model").fetchall()
        states = dict(connection.execute("SELECT name, state FROM archive.model").fetchall())
        assert served == [(second.model_id,)]
        assert states == {"first-model": "retired", "second-model": "current"}
        with pytest.raises(GalbaseError, match="retired"):
            promote(connection, find_model(connection, "first-model"), 0)
        # As it was, for the other tests.
        connection.execute("UPDATE archive.model SET state = 'candidate' WHERE name = 'first-model'")
        connection.execute("DELETE FROM archive.served_model")
        connection.execute("UPDATE archive.model SET state = 'retired' WHERE name = 'second-model'")


def test_two_refreshes_at_once_write_each_row_once(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    whole = stamps(archive)
    with archive.connect() as connection:
        connection.execute("DELETE FROM archive.embedding")
        connection.execute("DELETE FROM archive.prediction")
    failures: list[BaseException] = []
    (wanted,) = [each for each in plan(archive.config) if each.units]

    def run(client: Any) -> None:
        try:
            jobs.predict(archive.config, client, wanted)
        except BaseException as error:
            failures.append(error)

    with cluster(None, threads=4) as client:
        threads = [threading.Thread(target=run, args=(client,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    found = stamps(archive)
    assert found["prediction"].keys() == {key for key in whole["prediction"] if key[0] == refreshed.model_id}
    ((n_doubled,),) = rows(
        archive,
        "SELECT count(*) FROM (SELECT 1 FROM archive.prediction GROUP BY model_id, property_id, observation_id "
        "HAVING count(*) > 1) AS doubled",
    )
    assert n_doubled == 0


def test_a_missing_file_fails_its_unit_and_the_others_are_done(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    with archive.connect() as connection:
        connection.execute("DELETE FROM archive.embedding")
        connection.execute("DELETE FROM archive.prediction")
    hidden = refreshed.folder / "hidden.h5"
    (refreshed.folder / "first.h5").rename(hidden)
    try:
        # With their stamps cached, predictions would not need the file.
        with pytest.raises(GalbaseError, match=r"1 of 2 units failed, the first first\.h5"):
            jobs.refresh(replace(archive.config, cache_dir="none"))
    finally:
        hidden.rename(refreshed.folder / "first.h5")
    releases = rows(
        archive,
        "SELECT DISTINCT r.release FROM archive.embedding JOIN archive.observation USING (observation_id) "
        "JOIN archive.data_release r USING (release_id)",
    )
    assert releases == [("second",)]
    jobs.refresh(archive.config)
    assert jobs.refresh(archive.config).predicted == {}


def test_predictions_from_the_cache_need_no_survey_file_and_are_the_same(refreshed: SimpleNamespace) -> None:
    archive = refreshed.archive
    jobs.refresh(archive.config)
    query = "SELECT observation_id, property_id, value, mc_err FROM archive.prediction ORDER BY 1, 2"
    whole = rows(archive, query)
    hidden = refreshed.folder / "hidden.h5"
    (refreshed.folder / "first.h5").rename(hidden)
    try:
        for cache_dir in (None, "none"):
            with archive.connect() as connection:
                connection.execute("DELETE FROM archive.embedding")
                connection.execute("DELETE FROM archive.prediction")
            jobs.refresh(replace(archive.config, cache_dir=cache_dir))
            assert rows(archive, query) == whole
            # Without the cache the stamps are made from it.
            if hidden.exists():
                hidden.rename(refreshed.folder / "first.h5")
    finally:
        if hidden.exists():
            hidden.rename(refreshed.folder / "first.h5")
