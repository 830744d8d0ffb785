"""What a refresh has to do: for each kept model, images to judge and images to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from galbase.ml.model_store import ModelRecord, kept_models
from galbase.ml.prediction_store import stale_units
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import StaleUnit

if TYPE_CHECKING:
    from galbase.schema.config import Config

STEP_GROUP = "galbase.steps"


@dataclass(frozen=True)
class ModelPlan:
    """What one model lacks.

    Parameters
    ----------
    model : ModelRecord
    n_unjudged : int
        Images that lack a current verdict of its preprocessing.
    units : list of StaleUnit
        Units with judged images whose prediction is missing or outdated.
    """

    model: ModelRecord
    n_unjudged: int
    units: list[StaleUnit]

    @property
    def n_stale(self) -> int:
        """Judged images whose prediction is missing, outdated or no longer wanted."""
        return sum(unit.n_row for unit in self.units)


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did.

    Parameters
    ----------
    judged : int
        Images whose preprocessing verdict was computed.
    kept : int
        Of these, images that were kept.
    predicted : dict of str to int
        Images predicted, by model.
    removed : int
        Images whose obsolete predictions were removed.
    """

    judged: int = 0
    kept: int = 0
    predicted: dict[str, int] = field(default_factory=dict)
    removed: int = 0


def plan(config: Config) -> list[ModelPlan]:
    """What each candidate and each serving model lacks."""
    with connect(config) as connection:
        return [
            ModelPlan(model, n_unjudged(config, model), stale_units(connection, model))
            for model in kept_models(connection)
        ]


def n_unjudged(config: Config, model: ModelRecord) -> int:
    """Number of images that lack a current verdict of the model's preprocessing; 0 for a model that reads none."""
    if model.input_kind == "spectrum":
        return 0
    return int(step_named("preprocess_stale")(config, release=None, preprocess=model.preprocess))


def step_named(name: str) -> Callable[..., Any]:
    """A step of another part, found by entry point: this part must not import ingest's jobs.

    Parameters
    ----------
    name : str
        ``preprocess`` judges images; ``preprocess_stale`` counts those without a current verdict.

    Raises
    ------
    GalbaseError
        If the installation lacks it.
    """
    for entry in entry_points(group=STEP_GROUP):
        if entry.name == name:
            step: Callable[..., Any] = entry.load()
            return step
    raise GalbaseError(f"no step {name!r} in entry-point group {STEP_GROUP!r}; install galbase anew.")
