"""Training and prediction get the same bits with the stamp cache, without it, and with a damaged one."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from galbase.ingest.jobs import fill_cache
from galbase.ingest.preprocess.config import preset
from galbase.ml.dataset import LoadedInputs, image_files, load_inputs
from galbase.ml.experiment import run_training
from galbase.ml.model_store import find_model
from galbase.ml.recipe import Recipe
from galbase.ml.request import TrainingRequest
from galbase.ml.sample import load_sample
from galbase.ml.training_set import create_training_set, find_training_set
from galbase.schema.cache_folder import cache_folder

PUBLISHED = preset("galeffnet")


@pytest.fixture(scope="module")
def cached(filled: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The archive of round galaxies, with a training set, all stamps cached."""
    archive, galaxies = filled
    config = replace(archive.config, cache_dir=str(tmp_path_factory.mktemp("cache")))
    with archive.connect() as connection:
        create_training_set(connection, "round", "galeffnet", seed=3)
        config_id = connection.execute("SELECT preprocess_config_id FROM archive.preprocess_config").fetchone()[0]
        folder = cache_folder(connection, config)
    assert fill_cache(config, release=None, preprocess=PUBLISHED, workers=1).n_row == 700
    return SimpleNamespace(archive=archive, galaxies=galaxies, folder=folder, config=config, config_id=config_id)


def load(cached: SimpleNamespace, kind: str, cache: Path | None, ids: list[int] | None = None) -> LoadedInputs:
    chosen = cached.galaxies.observation_id[5:650:3] if ids is None else ids
    with cached.archive.connect() as connection:
        files = image_files(connection, chosen, cached.config_id)
    return load_inputs(files, PUBLISHED, Recipe(kind), cache)


def assert_same(a: LoadedInputs, b: LoadedInputs) -> None:
    assert a.observation_id == b.observation_id
    assert a.image.tobytes() == b.image.tobytes()
    assert a.scalar.tobytes() == b.scalar.tobytes()


@pytest.mark.parametrize("kind", ["flux", "display"])
def test_inputs_are_the_same_to_the_bit(cached: SimpleNamespace, kind: str) -> None:
    without, having = load(cached, kind, None), load(cached, kind, cached.folder)
    assert (without.n_cached, having.n_cached) == (0, len(having.observation_id))
    assert len(having.observation_id) == 215
    assert_same(without, having)
    assert having.image.any(axis=(1, 2, 3)).all()


def test_the_survey_file_is_not_opened_where_all_is_cached(cached: SimpleNamespace) -> None:
    hidden = cached.galaxies.path.with_suffix(".hidden")
    expected = load(cached, "flux", None)
    cached.galaxies.path.rename(hidden)
    try:
        assert_same(load(cached, "flux", cached.folder), expected)
    finally:
        hidden.rename(cached.galaxies.path)


@pytest.mark.parametrize("how", ["deleted", "cut", "one bit", "not mounted"])
def test_what_is_lost_or_damaged_is_made_anew(
    cached: SimpleNamespace, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(cached.folder, folder)
    hurt = sorted(folder.glob("*/*"))[1]  # one of three: 256 galaxies each
    content = bytearray(hurt.read_bytes())
    if how == "deleted":
        hurt.unlink()
    elif how == "cut":
        hurt.write_bytes(content[:-100])
    elif how == "one bit":
        content[-1000] ^= 4
        hurt.write_bytes(content)
    else:
        shutil.rmtree(folder)
    expected, found = load(cached, "flux", None), load(cached, "flux", folder)
    assert_same(found, expected)
    assert found.n_cached < 150
    assert (found.n_cached > 0) == (how != "not mounted")
    assert ("stamp cache: " + str(hurt) in caplog.text) == (how != "not mounted")


def test_a_stamp_of_another_verdict_is_not_used(cached: SimpleNamespace) -> None:
    observation = cached.galaxies.observation_id[20]
    with cached.archive.connect() as connection:
        connection.execute(
            "UPDATE archive.preprocess SET ellipse_a = 14, input_hash = 'new verdict' WHERE observation_id = %s",
            (observation,),
        )
    try:
        found = load(cached, "flux", cached.folder)
        expected = load(cached, "flux", None)
    finally:
        with cached.archive.connect() as connection:
            connection.execute(
                "UPDATE archive.preprocess SET ellipse_a = 10, input_hash = 'verdict-1-20' WHERE observation_id = %s",
                (observation,),
            )
    assert observation in found.observation_id
    assert found.n_cached == len(found.observation_id) - 1
    assert_same(found, expected)


def test_changed_pixels_behind_the_archives_back_are_not_seen_and_not_mixed(cached: SimpleNamespace) -> None:
    """The cache holds the pixels that were judged."""
    expected = load(cached, "display", cached.folder)
    with h5py.File(cached.galaxies.path, "r+") as file:
        kept = file["images"][:]
        file["images"][:] = kept * np.float32(2)
    try:
        assert_same(load(cached, "display", cached.folder), expected)
    finally:
        with h5py.File(cached.galaxies.path, "r+") as file:
            file["images"][:] = kept


def test_a_network_trained_from_the_cache_is_the_same_network(cached: SimpleNamespace) -> None:
    weights, counts = [], []
    for name, cache in (("with-cache", cached.folder), ("without-cache", None)):
        asked = TrainingRequest(name, "galeffnet", "improved", "tiny", "round", 1, 1, {}, None, None)
        counts.append(run_training(cached.archive.url, asked, cache=cache)["stamps_from_cache"])
        with cached.archive.connect() as connection:
            weights.append(find_model(connection, name).weights_sha256)
    assert counts[0] > 500
    assert counts[1] == 0
    assert weights[0] == weights[1]
    with cached.archive.connect() as connection:
        sample = load_sample(connection, find_training_set(connection, "round"), Recipe("flux"), cached.folder)
    assert sample.n_cached == len(sample.observation_id) == counts[0]
