"""Scores of a trained model that `science.py` writes: against the baselines, in parts, and on another telescope."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from science_archive import TRUE_VALUE, Survey, true_features, truth_of
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from galbase.ml.baselines import boosted_trees
from galbase.ml.held_out import labelled_sky
from galbase.ml.inference import infer
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_input import find_input, load_input
from galbase.ml.model_store import find_model
from galbase.ml.predictor import LoadedModel, load_model
from galbase.ml.strata import strata, stratum_scores
from galbase.ml.training_set import find_training_set, members

Array = npt.NDArray[np.float64]


def score(connection: psycopg.Connection[Any], name: str, survey: Survey, twin_set: str, cache: Path) -> dict[str, Any]:
    """Scores of a model on the test split of its survey, by property, against its labels and against the truth.

    Parameters
    ----------
    connection : psycopg.Connection
        To the survey's archive.
    name : str
        The model's.
    survey : Survey
        It was trained on.
    twin_set : str
        Training set of its twin of the other mode, whose preprocessing may keep other galaxies: ``common`` are the
        scores on what is in the test split of both.
    cache : Path
        Folder of cached stamps.
    """
    record = find_model(connection, name)
    model = load_model(connection, record)
    sky = labelled_sky(connection, record)
    spectrum_of = dict(
        connection.execute(
            "SELECT observation_id, spectrum_observation_id FROM api.model_input(%s) WHERE observation_id = ANY(%s)",
            (record.model_id, sky.test_predicted),
        ).fetchall()
    )
    quantile, outside = predicted(connection, model, {each: spectrum_of[each] for each in sky.test_predicted}, cache)
    train_truth, test_truth = (truth_of(connection, survey, ids) for ids in (sky.train_id, sky.test_id))
    train, test = true_features(train_truth), true_features(test_truth)
    facts = sky.facts()
    measured = [photometry(connection, model, ids, cache) for ids in (sky.train_id, sky.test_id)]
    images, split = members(connection, find_training_set(connection, twin_set))
    of_twin = {each.observation_id for each, part in zip(images, split, strict=True) if part == "test"}
    common = np.array([each in of_twin for each in sky.test_id])
    scores: dict[str, Any] = {"outside": float(outside.mean()), "property": {}}
    for k, prop in enumerate(record.property_id):
        true = sky.test_label[:, k]
        quantiles = model.conformal[prop].quantiles(quantile[:, k])
        parts = [
            stratum_scores(part, true, quantiles)
            for of, values in {"predicted": quantiles["q50"], **facts}.items()
            for part in strata(of, values)
        ]
        predictions = {
            "network": quantiles["q50"],
            "ceiling": boosted_trees(train, sky.train_label[:, k], test, category=None, seed=1),
        }
        if sky.train_feature is not None and sky.test_feature is not None:
            predictions["trees"] = boosted_trees(
                sky.train_feature, sky.train_label[:, k], sky.test_feature, category=-1, seed=1
            )
            if measured[0] is not None and measured[1] is not None:
                both = zip((sky.train_feature, sky.test_feature), measured, strict=True)
                of_train, of_test = (np.column_stack([image, catalogue]) for catalogue, image in both)
                predictions["photometry"] = boosted_trees(of_train, sky.train_label[:, k], of_test, category=-1, seed=1)
                predictions["dense"] = dense_network(measured[0], sky.train_label[:, k], measured[1], seed=1)
        found: dict[str, Any] = {
            "coverage_fails": [f"{part['of']} {part['name']}" for part in parts if part["coverage_fails"]]
        }
        # Labels are as noisy as a catalogue's; without their noise is what the prediction is worth.
        for reference, values in (("", true), ("_truth", test_truth[TRUE_VALUE[prop]])):
            for who, each in predictions.items():
                found[who + reference] = point_metrics(values, each)
            found["common" + reference] = point_metrics(values[common], quantiles["q50"][common])
        found["network"] |= interval_metrics(true, quantiles)
        scores["property"][prop] = found
    return scores


def elsewhere(
    home: psycopg.Connection[Any], name: str, other: psycopg.Connection[Any], other_set: str, cache: Path
) -> dict[str, Any]:
    """Scores of a model of images on the test split of another survey's training set: by property, and ``outside``."""
    record = find_model(home, name)
    model = load_model(home, record)
    training_set = find_training_set(other, other_set)
    images, split = members(other, training_set)
    label = {each.observation_id: each.label for each, part in zip(images, split, strict=True) if part == "test"}
    ids = sorted(label)
    # The same preprocessing has another number there.
    there = replace(model, record=replace(record, preprocess_config_id=training_set.preprocess_config_id))
    quantile, outside = predicted(other, there, dict.fromkeys(ids), cache)
    scores: dict[str, Any] = {"outside": float(outside.mean()), "property": {}}
    for k, prop in enumerate(record.property_id):
        true = np.array([label[each][k] for each in ids])
        quantiles = model.conformal[prop].quantiles(quantile[:, k])
        scores["property"][prop] = {**point_metrics(true, quantiles["q50"]), **interval_metrics(true, quantiles)}
    return scores


def photometry(
    connection: psycopg.Connection[Any], model: LoadedModel, observation_id: list[int], cache: Path
) -> Array | None:
    """What a model of images is told of them in numbers, ``(n, n_scalar)``; None where it is told nothing.

    Trees on it and the catalogue tell what better photometry alone is worth: on the null survey that is all there is.
    """
    if not model.recipe.reads_psf or model.recipe.input_kind != "image":
        return None
    record = model.record
    files = find_input(connection, dict.fromkeys(observation_id), record.preprocess_config_id, model.recipe)
    loaded = load_input(files, record.preprocess, model.recipe, cache)
    place = {each: row for row, each in enumerate(loaded.observation_id)}
    return np.asarray(loaded.scalar, np.float64)[[place[each] for each in observation_id]]


def dense_network(train: Array, label: Array, test: Array, *, seed: int) -> Array:
    """Predictions of two dense layers (scikit-learn's MLPRegressor) on numbers ``(n, n_feature)``, NaN for missing.

    On thousands of galaxies it reads smooth relations off fluxes better than trees do, so that a network of images is
    known to gain by their shapes only where it beats this one.
    """
    mean, deviation = label.mean(), label.std()
    model: Any = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(),
        MLPRegressor(hidden_layer_sizes=(128, 128), alpha=1.0, max_iter=100, random_state=seed),
    )  # fmt: skip
    with warnings.catch_warnings():
        # It stops after `max_iter` passes whether or not the loss still falls.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, (label - mean) / deviation)
    return np.asarray(model.predict(test), np.float64) * deviation + mean


def predicted(
    connection: psycopg.Connection[Any], model: LoadedModel, spectrum_of: Mapping[int, int | None], cache: Path
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Quantiles ``(n, n_property, 7)`` before calibration, and whether out of domain, of observations and spectra."""
    record = model.record
    files = find_input(connection, spectrum_of, record.preprocess_config_id, model.recipe)
    loaded = load_input(files, record.preprocess, model.recipe, cache)
    inputs = model.recipe.inputs(loaded.image, loaded.scalar, loaded.spectrum)
    ids = loaded.observation_id
    found = infer(model.network, model.scaler, inputs, ids, record.weights_sha256, model.recipe.n_turn)
    place = {each: row for row, each in enumerate(ids)}
    rows = [place[each] for each in spectrum_of]
    return found.quantile[rows], model.domain.outside(found.embedding, model.recipe.psf(loaded.scalar))[rows]
