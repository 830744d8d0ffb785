"""Scores of a model from what stands in the database, on its held-out sky, beside the baselines it must beat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import FEATURES, boosted_trees, colour_polynomial, mass_metallicity, mean_prediction
from galbase.ml.held_out import HeldOut, LabelledSky, labelled_sky, reference_values, stored_quantiles
from galbase.ml.metrics import interval_metrics, point_metrics
from galbase.ml.model_store import ModelRecord
from galbase.ml.strata import strata, stratum_scores

if TYPE_CHECKING:
    import psycopg

Array = npt.NDArray[np.float64]
Scores = dict[str, dict[str, dict[str, float]]]
Strata = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on its held-out sky.

    Parameters
    ----------
    scores : dict
        property -> predictor -> metrics. Predictors are ``network`` and the baselines, fitted on the same training
        split: ``mean``; where the galaxies have a catalogue, ``boosted_trees`` on it and ``colour_polynomial_2`` and
        ``_3``; of ``oh12``, ``mass_metallicity`` on galaxies with a label of their mass.
    strata : dict
        property -> scores of the network in parts of the test set, by predicted value, magnitude, S/N, size, redshift
        and type.
    held_out : dict of str to HeldOut
        By property, for plots.
    log_mstar : (n,) float64
        Labels of the test objects' total mass, log10(Msun); NaN where there is none.
    history : dict of str to list of float
        Losses by epoch.
    """

    scores: Scores
    strata: Strata
    held_out: dict[str, HeldOut]
    log_mstar: Array
    history: dict[str, list[float]]


def evaluate(connection: psycopg.Connection[Any], model: ModelRecord) -> Evaluation:
    """Score the stored predictions of the test split, as a whole and in parts; the caller commits.

    The scores replace ``test`` and ``strata`` in the model's metrics.

    Raises
    ------
    GalbaseError
        If an image of the test split has no prediction, or the training set has changed.
    """
    sky = labelled_sky(connection, model)
    facts = sky.facts()
    seed, history = _of_training(connection, model)
    mass = reference_values(connection, "log_mstar_tot", sky.test_galaxy)
    scores: Scores = {}
    parts: Strata = {}
    held_out: dict[str, HeldOut] = {}
    for k, (name, property_id) in enumerate(model.property_id.items()):
        quantiles = stored_quantiles(connection, model, property_id, sky.test_predicted)
        true = sky.test_label[:, k]
        held_out[name] = HeldOut(true, quantiles, facts)
        scores[name] = {
            "network": {**point_metrics(true, quantiles["q50"]), **interval_metrics(true, quantiles)},
            **baseline_scores(sky, k, seed),
        }
        if name == "oh12":
            known = np.isfinite(mass)
            if known.any():
                scores[name]["mass_metallicity"] = point_metrics(true[known], mass_metallicity(mass[known]))
        asked = {"predicted": quantiles["q50"], **facts}
        parts[name] = [
            stratum_scores(stratum, true, quantiles) for of, values in asked.items() for stratum in strata(of, values)
        ]
    connection.execute(
        "UPDATE archive.model SET metrics = metrics || jsonb_build_object('test', %s::jsonb, 'strata', %s::jsonb) "
        "WHERE model_id = %s",
        (json.dumps(scores), json.dumps(parts), model.model_id),
    )
    return Evaluation(scores, parts, held_out, mass, history)


def baseline_scores(sky: LabelledSky, column: int, seed: int) -> dict[str, dict[str, float]]:
    """Scores of the baselines of one property, fitted on the training split."""
    label, true = sky.train_label[:, column], sky.test_label[:, column]
    found = {"mean": mean_prediction(label, len(true))}
    if sky.train_feature is not None and sky.test_feature is not None:
        found["boosted_trees"] = boosted_trees(sky.train_feature, label, sky.test_feature, category=-1, seed=seed)
        colours = [FEATURES.index("g_r"), FEATURES.index("r_z")]
        for order in (2, 3):
            found[f"colour_polynomial_{order}"] = colour_polynomial(
                sky.train_feature[:, colours], label, sky.test_feature[:, colours], order
            )
    return {name: point_metrics(true, predicted) for name, predicted in found.items()}


def _of_training(connection: psycopg.Connection[Any], model: ModelRecord) -> tuple[int, dict[str, list[float]]]:
    """Seed and losses of a model's training."""
    row = connection.execute(
        "SELECT metrics ->> 'seed', metrics -> 'history' FROM archive.model WHERE model_id = %s", (model.model_id,)
    ).fetchone()
    seed, history = row or (None, None)
    return int(seed or 0), history or {}
