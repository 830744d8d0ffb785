"""Scores of a model from what stands in the database, on its held-out sky."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import boosted_trees, mean_prediction
from galbase.ml.calibration import LEVELS
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_store import ModelRecord
from galbase.ml.photometry import photometry
from galbase.ml.training_set import find_training_set, members
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

TRUTH_ORIGIN = "simulation-truth"
Array = npt.NDArray[np.float64]
Scores = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class HeldOut:
    """Test split of one property.

    Parameters
    ----------
    true : (n,) float64
        Labels.
    quantiles : dict of str to (n,) float64
        ``q025`` to ``q975`` as stored.
    """

    true: Array
    quantiles: dict[str, Array]


def evaluate(connection: psycopg.Connection[Any], model: ModelRecord) -> tuple[Scores, dict[str, HeldOut]]:
    """Score the stored predictions of the test split, beside the baselines; the caller commits.

    The scores replace ``test`` in the model's metrics.

    Returns
    -------
    scores : dict
        property -> predictor (``network``, ``mean``, ``boosted_trees``) -> metrics.
    held_out : dict of str to HeldOut
        By property, for plots.

    Raises
    ------
    GalbaseError
        If an image of the test split has no prediction, or the training set has changed.
    """
    row = connection.execute(
        "SELECT name FROM archive.training_set WHERE training_set_id = %s", (model.training_set_id,)
    ).fetchone()
    if row is None:
        raise RuntimeError(f"model {model.model_id} has no training set")
    training_set = find_training_set(connection, row[0])
    images, split = members(connection, training_set)
    label = {image.observation_id: image.label for image in images}
    part = {
        name: sorted(image.observation_id for image, each in zip(images, split, strict=True) if each == name)
        for name in ("train", "test")
    }
    train_label = np.array([label[each] for each in part["train"]])
    test_label = np.array([label[each] for each in part["test"]])
    features = photometry(connection, part["train"] + part["test"])
    seed = _seed(connection, model)
    scores: Scores = {}
    held_out: dict[str, HeldOut] = {}
    for k, (name, property_id) in enumerate(model.property_id.items()):
        quantiles = _stored_quantiles(connection, model, property_id, part["test"])
        true = test_label[:, k]
        held_out[name] = HeldOut(true, quantiles)
        scores[name] = {
            "network": {**point_metrics(true, quantiles["q50"]), **interval_metrics(true, quantiles)},
            "mean": point_metrics(true, mean_prediction(train_label[:, k], len(true))),
        }
        if features is not None:
            n_train = len(part["train"])
            trees = boosted_trees(features[:n_train], train_label[:, k], features[n_train:], category=-1, seed=seed)
            scores[name]["boosted_trees"] = point_metrics(true, trees)
    connection.execute(
        "UPDATE archive.model SET metrics = metrics || jsonb_build_object('test', %s::jsonb) WHERE model_id = %s",
        (json.dumps(scores), model.model_id),
    )
    return scores, held_out


def _stored_quantiles(
    connection: psycopg.Connection[Any], model: ModelRecord, property_id: int, observation_id: list[int]
) -> dict[str, Array]:
    rows = connection.execute(
        "SELECT q025, q05, q16, q50, q84, q95, q975 FROM archive.prediction WHERE model_id = %s AND property_id = %s "
        "AND observation_id = ANY(%s) ORDER BY observation_id",
        (model.model_id, property_id, observation_id),
    ).fetchall()
    if len(rows) != len(observation_id):
        raise GalbaseError(
            f"{len(observation_id) - len(rows)} of {len(observation_id)} test images have no prediction of model "
            f"{model.name!r}; run `galbase refresh` first."
        )
    columns = np.array(rows, dtype=np.float64)
    return {name: columns[:, k] for k, name in enumerate(LEVELS)}


def _seed(connection: psycopg.Connection[Any], model: ModelRecord) -> int:
    row = connection.execute(
        "SELECT metrics ->> 'seed' FROM archive.model WHERE model_id = %s", (model.model_id,)
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
