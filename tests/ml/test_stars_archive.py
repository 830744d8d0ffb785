"""MMLforGalAM in an archive: every variant trained, registered, predicting what it reads and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from galbase.ingest.jobs import run_preprocess
from galbase.ingest.preprocess.config import preset
from galbase.ml import experiment, jobs, training
from galbase.ml.evaluation import evaluate
from galbase.ml.experiment import run_training
from galbase.ml.model_store import find_model
from galbase.ml.prediction_store import stale_units
from galbase.ml.predictor import load_model
from galbase.ml.promotion import promote
from galbase.ml.refresh import n_unjudged, plan
from galbase.ml.request import TrainingRequest
from galbase.ml.training_set import Draw, create_training_set
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.flags import PredictionFlag
from tests.ml.star_archive import add_spectra

FAMILIES = {
    "mmlforgalam_m1": "spectrum",
    "mmlforgalam_m3": "image",
    "mmlforgalam_fused": "image+spectrum",
    "mmlforgalam_simulated": "image",
}
N, N_LATER = 360, 20
FRACTIONS = {"train": 0.35, "validation": 0.1, "calibration": 0.45, "test": 0.1}


@dataclass(frozen=True)
class Stars:
    """The archive with its galaxies, and what each family's training returned."""

    archive: Any
    galaxies: Any
    folder: Path
    result: dict[str, dict[str, Any]]

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.archive.connect() as connection:
            return list(connection.execute(query.encode(), parameters or None).fetchall())


def request(family: str, training_set: str = "stars", **changed: Any) -> TrainingRequest:
    values = {"mode": "improved", "preset": "tiny", "seed": 1, "epochs": 1, "options": {}, "weights_path": None}
    return TrainingRequest(name=family, family=family, training_set=training_set, run_id=None, **(values | changed))


@pytest.fixture(scope="module")
def stars(archive: Any, tmp_path_factory: pytest.TempPathFactory, make_galaxies: Callable[..., Any]) -> Stars:
    """Galaxies with images, of which the last 20 have no spectrum; four models, and their predictions."""
    folder = tmp_path_factory.mktemp("stars")
    with archive.connect() as connection:
        galaxies = make_galaxies(connection, folder / "round.h5", N, 1)
        make_galaxies(connection, folder / "later.h5", N_LATER, 2)
        config = preset("galeffnet")
        create_training_set(connection, "masses", "galeffnet", seed=1, config=config)
        connection.execute("UPDATE archive.image SET bands = '{g,r,i}'")
    run_preprocess(archive.config, release="round-images", preprocess=config, name="galeffnet", workers=1)
    with archive.connect() as connection:
        add_spectra(connection, folder, galaxies)
        draw = Draw(fractions=FRACTIONS)
        create_training_set(connection, "stars", "mmlforgalam", seed=1, config=config, draw=draw)
    with pytest.MonkeyPatch.context() as patch:
        # Each fold costs a network or two that are traced anew.
        patch.setattr(training, "N_FOLD", 2)
        result = {family: run_training(archive.url, request(family)) for family in FAMILIES}
    jobs.refresh(archive.config)
    return Stars(archive, galaxies, folder, result)


def test_each_family_trains_and_is_registered_with_what_it_reads(stars: Stars) -> None:
    found = dict(stars.rows("SELECT name, input_kind FROM archive.model"))
    assert found == FAMILIES
    for family, result in stars.result.items():
        assert set(result["test"]) == {"log_age", "mh"}
        assert result["test"]["log_age"]["network"]["n"] == result["n"]["test"]
        assert ("stages" in result) == (family in ("mmlforgalam_fused", "mmlforgalam_simulated"))
    simulated = stars.result["mmlforgalam_simulated"]["simulated_feature"]
    assert simulated["n_feature"] > 0
    ((stored,),) = stars.rows(
        "SELECT metrics -> 'simulated_feature' FROM archive.model WHERE name = 'mmlforgalam_simulated'"
    )
    assert stored == simulated


def test_predictions_belong_to_what_is_read_and_nothing_takes_a_spectrum_s_place(stars: Stars) -> None:
    found = {
        (name, kind): count
        for name, kind, count in stars.rows(
            "SELECT m.name, o.kind, count(*) FROM archive.prediction p JOIN archive.model m USING (model_id) "
            "JOIN archive.observation o USING (observation_id) GROUP BY 1, 2"
        )
    }
    ((n_image, n_pair),) = stars.rows(
        "SELECT count(*), count(*) FILTER (WHERE o.data_file_id = (SELECT min(data_file_id) FROM archive.data_file)) "
        "FROM archive.preprocess JOIN archive.observation o USING (observation_id) WHERE kept"
    )
    assert N / 2 < n_pair < n_image
    # Two properties each; the last galaxies have images and no spectra.
    assert found == {
        ("mmlforgalam_m1", "spectrum"): 2 * N,
        ("mmlforgalam_m3", "image"): 2 * n_image,
        ("mmlforgalam_simulated", "image"): 2 * n_image,
        ("mmlforgalam_fused", "image"): 2 * n_pair,
    }
    assert all(each.n_stale == each.n_unjudged == 0 for each in plan(stars.archive.config))
    assert stars.rows("SELECT * FROM api.stale_prediction") == []


def test_stored_predictions_are_those_that_were_scored(stars: Stars) -> None:
    with stars.archive.connect() as connection:
        for family in FAMILIES:
            scores = evaluate(connection, find_model(connection, family)).scores
            for name, found in scores.items():
                scored = stars.result[family]["test"][name]["network"]
                assert found["network"]["sigma"] == pytest.approx(scored["sigma"], rel=1e-4)
                assert found["network"]["n"] == scored["n"]
        connection.rollback()
    ((wrong,),) = stars.rows(
        "SELECT count(*) FROM archive.prediction p JOIN archive.observation o USING (observation_id) "
        "JOIN archive.galaxy_member m ON m.source_id = o.source_id "
        "LEFT JOIN archive.training_member t ON t.galaxy_id = m.galaxy_id AND t.training_set_id = "
        "(SELECT training_set_id FROM archive.training_set WHERE name = 'stars') "
        "WHERE (p.flag & %s <> 0) <> coalesce(t.split IN ('train', 'validation', 'calibration'), false)",
        int(PredictionFlag.IN_TRAINING_SET),
    )
    assert wrong == 0


VALUES = (
    "SELECT m.name, p.observation_id, p.property_id, p.value, p.mc_err FROM archive.prediction p "
    "JOIN archive.model m USING (model_id) ORDER BY 1, 2, 3"
)


def test_values_are_the_same_in_any_batch_and_of_a_model_loaded_anew(stars: Stars) -> None:
    whole = stars.rows(VALUES)
    with stars.archive.connect() as connection:
        connection.execute("DELETE FROM archive.embedding WHERE observation_id % 5 = 2")
        connection.execute("DELETE FROM archive.prediction WHERE observation_id % 5 = 2")
    jobs._load_cached.cache_clear()
    jobs.refresh(stars.archive.config)
    assert stars.rows(VALUES) == whole


def test_a_changed_spectrum_makes_stale_what_reads_it(stars: Stars) -> None:
    ((image, spectrum),) = stars.rows(
        "SELECT observation_id, spectrum_observation_id FROM archive.training_member JOIN archive.training_set "
        "USING (training_set_id) WHERE name = 'stars' ORDER BY 1 LIMIT 1"
    )

    def stale() -> dict[str, int]:
        with stars.archive.connect() as connection:
            return {
                name: sum(unit.n_row for unit in stale_units(connection, find_model(connection, name)))
                for name in FAMILIES
            }

    def seen() -> set[tuple[str, int, str]]:
        query = "SELECT model, observation_id, reason FROM api.stale_prediction"
        return {tuple(row) for row in stars.rows(query)}

    nothing = dict.fromkeys(FAMILIES, 0)
    assert stale() == nothing
    one = nothing | {"mmlforgalam_m1": 1, "mmlforgalam_fused": 1}
    both = {("mmlforgalam_m1", spectrum), ("mmlforgalam_fused", image)}
    ((z,),) = stars.rows("SELECT z FROM archive.spectrum WHERE observation_id = %s", spectrum)
    with stars.archive.connect() as connection:
        connection.execute("UPDATE archive.spectrum SET z = z + 0.01 WHERE observation_id = %s", (spectrum,))
        connection.execute("UPDATE archive.observation SET modified_at = clock_timestamp() WHERE observation_id = %s",
                           (spectrum,))  # fmt: skip
    assert stale() == one
    assert seen() == {(*each, "input changed") for each in both}
    before = stars.rows(VALUES)
    jobs.refresh(stars.archive.config)
    changed = {row[:2] for row, old in zip(stars.rows(VALUES), before, strict=True) if row != old}
    assert changed == both
    # Without a good redshift there is no prediction from wavelengths at rest.
    with stars.archive.connect() as connection:
        connection.execute("UPDATE archive.spectrum SET z_warning = 4 WHERE observation_id = %s", (spectrum,))
    assert stale() == one
    assert seen() == {(*each, "no longer kept") for each in both}
    assert jobs.refresh(stars.archive.config).removed == 2
    assert {row[:2] for row in before} - {row[:2] for row in stars.rows(VALUES)} == both
    with stars.archive.connect() as connection:
        connection.execute("UPDATE archive.spectrum SET z_warning = 0, z = %s WHERE observation_id = %s", (z, spectrum))
    jobs.refresh(stars.archive.config)
    assert stale() == nothing


def test_each_kind_of_input_serves_by_itself(stars: Stars) -> None:
    with stars.archive.connect() as connection:
        for name in ("mmlforgalam_m1", "mmlforgalam_m3", "mmlforgalam_fused"):
            model = find_model(connection, name)
            assert promote(connection, model, n_unjudged(stars.archive.config, model)) == ["log_age", "mh"]
        served = connection.execute(
            "SELECT DISTINCT s.input_kind, m.name FROM archive.served_model s JOIN archive.model m USING (model_id)"
        ).fetchall()
        assert set(served) == {(FAMILIES[name], name) for name in FAMILIES if name != "mmlforgalam_simulated"}
        # A spectrum that has no prediction yet stops a promotion.
        connection.execute("DELETE FROM archive.embedding WHERE observation_id = (SELECT max(observation_id) "
                           "FROM archive.observation WHERE kind = 'spectrum')")  # fmt: skip
        with pytest.raises(GalbaseError, match="half-filled"):
            promote(connection, find_model(connection, "mmlforgalam_m1"), 0)
        connection.rollback()


def test_what_cannot_be_trained_is_refused_before_anything_is_read(
    stars: Stars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "load_sample", lambda *_: pytest.fail("the sample was loaded"))
    for family in ("mmlforgalam_m1", "mmlforgalam_fused", "mmlforgalam_simulated"):
        with pytest.raises(GalbaseError, match="learns from spectra"):
            run_training(stars.archive.url, replace(request(family, "masses"), name="other"))
    with pytest.raises(GalbaseError, match="reads image_feature and spectral_feature"):
        run_training(stars.archive.url, request("mmlforgalam_m4"))
    with pytest.raises(UsageError, match="no network family"):
        run_training(stars.archive.url, request("mmlforgalam_m5"))


def test_weights_are_those_of_the_parts(stars: Stars) -> None:
    """What was stored is the whole: M1 (or M2), M3 and M4, and nothing that only training needed."""
    with stars.archive.connect() as connection:
        model = load_model(connection, find_model(connection, "mmlforgalam_simulated"))
    assert model.recipe.input_kind == "image"
    assert set(model.network.input_shapes) == {"image", "scalar"}
    paths = [variable.path for variable in model.network.training.weights]
    assert any("spectral_feature" in path for path in paths)
    assert not any("Conv1D" in path or "conv1d" in path for path in paths)
    widths = [tuple(variable.shape) for variable in model.network.training.weights]
    assert all(len(shape) != 3 or "attention" in path for shape, path in zip(widths, paths, strict=True))
