"""Models of one training set side by side, on the same held-out objects: what bands, pixels and backbones are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.evaluation import Evaluation
from galbase.ml.metrics import point_metrics
from galbase.ml.model_store import ModelRecord
from galbase.ml.recipe import NONE, Recipe
from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]
Scored = tuple[ModelRecord, Evaluation]
METRICS = ("sigma", "mae", "nmad", "bias_mean", "f_out", "r2")
N_RESAMPLE = 500


@dataclass(frozen=True)
class ComparedModel:
    """A model's score of one property beside others'.

    Parameters
    ----------
    model : str
    mode, backbone, bands, resolution : str
        What it is, and what it was shown: ``all`` bands, side of the image in pixels; empty where it reads none.
    metrics : dict of str to float
        ``n`` and those of `METRICS`, unclipped.
    sigma_change, sigma_change_err : float or None
        Its sigma less that of the first model, and one standard error of that, of the same resampled objects; None of
        the first model.
    """

    model: str
    mode: str
    backbone: str
    bands: str
    resolution: str
    metrics: dict[str, float]
    sigma_change: float | None
    sigma_change_err: float | None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = vars(self)
        return {**{key: value for key, value in values.items() if key != "metrics"}, **self.metrics}


def side_by_side(models: Sequence[Scored]) -> dict[str, list[ComparedModel]]:
    """Scores of models by property, in their order; the first is what others are compared with.

    Parameters
    ----------
    models : sequence of (ModelRecord, Evaluation)
        At least one.

    Raises
    ------
    GalbaseError
        If they were trained on different sets: no object of a test split would be sure to be held out of the other.
    """
    first, found = models[0]
    for model, _ in models[1:]:
        if model.training_set_id != first.training_set_id:
            raise GalbaseError(
                f"models {first.name!r} and {model.name!r} were trained on different sets, and cannot be scored on the "
                "same held-out objects; compare models of one training set."
            )
    tables: dict[str, list[ComparedModel]] = {}
    for name, held_out in found.held_out.items():
        reference = held_out.quantiles["q50"] - held_out.true
        rows = []
        for model, other in models:
            if name not in other.held_out:
                continue
            true, value = other.held_out[name].true, other.held_out[name].quantiles["q50"]
            if not np.array_equal(true, held_out.true):
                raise GalbaseError(f"the labels of {name} changed while models were scored; run the command again.")
            change = None if model is first else sigma_change(value - true, reference)
            rows.append(_compared(model, point_metrics(true, value), change))
        tables[name] = rows
    return tables


def sigma_change(residual: Array, reference: Array, seed: int = 0) -> tuple[float, float]:
    """Standard deviation of residuals less that of others of the same objects, and its standard error.

    The error is that of `N_RESAMPLE` bootstrap samples of objects, the same for both (Efron & Tibshirani 1993,
    chapter 6): what both models find hard does not count.

    Parameters
    ----------
    residual, reference : (n,) float64
    seed : int
        Seed of the samples.
    """
    rng = np.random.default_rng(seed)
    changes = np.empty(N_RESAMPLE)
    for index in range(N_RESAMPLE):
        rows = rng.integers(len(residual), size=len(residual))
        changes[index] = residual[rows].std() - reference[rows].std()
    return float(residual.std() - reference.std()), float(changes.std(ddof=1))


def of_one_set(models: Sequence[Scored]) -> list[list[Scored]]:
    """Models grouped by training set, in their order; groups of at least two."""
    groups: dict[int | None, list[Scored]] = {}
    for each in models:
        groups.setdefault(each[0].training_set_id, []).append(each)
    return [group for group in groups.values() if len(group) > 1]


def _compared(model: ModelRecord, metrics: dict[str, float], change: tuple[float, float] | None) -> ComparedModel:
    recipe = Recipe.from_mapping(model.calibration["recipe"])
    sees = recipe.kind != NONE
    own = f"{model.family} {model.preset}"
    return ComparedModel(
        model.name, model.mode, str(model.options.get("backbone", own)),
        ("".join(recipe.bands) or "all") if sees else "", str(model.options["size_px"]) if sees else "",
        {key: metrics[key] for key in ("n", *METRICS)},
        *(change or (None, None)),
    )  # fmt: skip
