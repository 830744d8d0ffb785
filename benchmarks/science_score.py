"""Scores of a trained model that `science.py` writes: against the baselines, in parts, and on another telescope."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from science_archive import Survey, true_features

from galbase.ml.baselines import boosted_trees
from galbase.ml.calibration import LEVELS
from galbase.ml.dataset import image_files, load_inputs
from galbase.ml.held_out import labelled_sky
from galbase.ml.inference import infer
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_store import LoadedModel, find_model, load_model
from galbase.ml.strata import strata, stratum_scores
from galbase.ml.training_set import find_training_set, members

Array = npt.NDArray[np.float64]


def score(
    connection: psycopg.Connection[Any],
    name: str,
    survey: Survey,
    other: Survey | None,
    other_set: str | None,
    cache: Path,
) -> dict[str, Any]:
    """All scores of a model by property.

    Parameters
    ----------
    connection : psycopg.Connection
    name : str
        The model's.
    survey : Survey
        It was trained on.
    other, other_set
        Another survey and its training set, on whose test split the model is scored too; none when None.
    cache : Path
        Folder of cached stamps.
    """
    record = find_model(connection, name)
    model = load_model(connection, record)
    sky = labelled_sky(connection, record)
    train, test = (true_features(connection, survey, ids) for ids in (sky.train_id, sky.test_id))
    quantile, outside = predicted(connection, model, sky.test_id, cache)
    facts = sky.facts()
    scores: dict[str, Any] = {"outside": float(outside.mean()), "property": {}}
    for k, prop in enumerate(record.property_id):
        true = sky.test_label[:, k]
        quantiles = model.conformal[prop].quantiles(quantile[:, k])
        parts = [
            stratum_scores(part, true, quantiles)
            for of, values in {"predicted": quantiles["q50"], **facts}.items()
            for part in strata(of, values)
        ]
        scores["property"][prop] = {
            "network": {**point_metrics(true, quantiles["q50"]), **interval_metrics(true, quantiles)},
            "ceiling": point_metrics(true, boosted_trees(train, sky.train_label[:, k], test, category=0, seed=1)),
            "coverage_fails": [f"{part['of']} {part['name']}" for part in parts if part["coverage_fails"]],
        }
        if sky.train_feature is not None and sky.test_feature is not None:
            trees = boosted_trees(sky.train_feature, sky.train_label[:, k], sky.test_feature, category=-1, seed=1)
            scores["property"][prop]["trees"] = point_metrics(true, trees)
    if other is not None and other_set is not None:
        images, split = members(connection, find_training_set(connection, other_set))
        chosen = {each.observation_id: each.label for each, part in zip(images, split, strict=True) if part == "test"}
        ids = sorted(chosen)
        quantile, outside = predicted(connection, model, ids, cache)
        scores["shift_outside"] = float(outside.mean())
        for k, prop in enumerate(record.property_id):
            true = np.array([chosen[each][k] for each in ids])
            quantiles = model.conformal[prop].quantiles(quantile[:, k])
            scores["property"][prop]["shift"] = {
                **point_metrics(true, quantiles["q50"]), **interval_metrics(true, quantiles),
            }  # fmt: skip
    return scores


def predicted(
    connection: psycopg.Connection[Any], model: LoadedModel, observation_id: Sequence[int], cache: Path
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Quantiles ``(n, n_property, 7)`` before calibration, and whether out of domain, in order of the observations."""
    record = model.record
    files = image_files(connection, list(observation_id), record.preprocess_config_id)
    loaded = load_inputs(files, record.preprocess, model.recipe, cache)
    inputs = model.recipe.inputs(loaded.image, loaded.scalar)
    ids = loaded.observation_id
    found = infer(model.network, model.scaler, inputs, ids, record.weights_sha256, model.recipe.n_turn)
    place = {each: row for row, each in enumerate(ids)}
    rows = [place[each] for each in observation_id]
    assert found.quantile.shape[2] == len(LEVELS)
    return found.quantile[rows], model.domain.outside(found.embedding)[rows]
