"""Models of the archive that are ready to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from galbase.ml.calibration import ConformalBins
from galbase.ml.domain import Domain
from galbase.ml.inference import infer
from galbase.ml.model_input import InputFiles, find_input, load_input
from galbase.ml.model_store import ModelRecord, NewModel, read_domain, read_weights
from galbase.ml.networks.network import Network
from galbase.ml.recipe import Recipe
from galbase.ml.scaling import LabelScaler
from galbase.ml.weights import fill_weights
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import numpy as np
    import psycopg

Array = npt.NDArray["np.float64"]
GALNET = "galnet"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Results for n observations.

    Parameters
    ----------
    observation_id : list of int
    quantiles : dict of str to dict of str to (n,) float64
        By property ``q025`` to ``q975``, calibrated, in the properties' units.
    mc_err : (n, n_property) float64 or None
        Standard deviation over Monte Carlo dropout passes; None of models without.
    embedding : (n, dim) float32
        L2-normalised penultimate features; NaN where they cannot be normalised.
    outside : (n,) bool
        Whether they are unlike what the model learned from.
    """

    observation_id: list[int]
    quantiles: dict[str, dict[str, Array]]
    mc_err: Array | None
    embedding: npt.NDArray[np.float32]
    outside: npt.NDArray[np.bool_]


class Predictor(Protocol):
    """A model that can be asked for predictions."""

    @property
    def record(self) -> ModelRecord:
        """Its row of the registry."""

    def find(self, connection: psycopg.Connection[Any], spectrum_of: Mapping[int, int | None]) -> Any:
        """Where the inputs of observations are, each with the spectrum to read for it."""

    def predict(self, files: Any, cache: Path | None = None) -> Predictions:
        """Read what `find` found, with the archive's cache of stamps where there is one, and predict."""


@dataclass(frozen=True, kw_only=True)
class NewNetworkModel(NewModel):
    """A network that learned properties from a training set.

    Parameters
    ----------
    scaler : LabelScaler
    recipe : Recipe
    conformal : dict of str to ConformalBins
        By property.
    """

    scaler: LabelScaler
    recipe: Recipe
    conformal: Mapping[str, ConformalBins]

    @property
    def input_kind(self) -> str:
        """What its recipe reads."""
        return self.recipe.input_kind

    def calibration(self) -> dict[str, Any]:
        """Scaler, recipe and conformal bins."""
        return {
            "scaler": self.scaler.to_mapping(),
            "recipe": self.recipe.to_mapping(),
            "conformal": {name: bins.to_mapping() for name, bins in self.conformal.items()},
        }


@dataclass(frozen=True)
class LoadedModel:
    """A network that learned properties from a training set, ready to predict."""

    record: ModelRecord
    network: Network
    scaler: LabelScaler
    recipe: Recipe
    conformal: dict[str, ConformalBins]
    domain: Domain

    def find(self, connection: psycopg.Connection[Any], spectrum_of: Mapping[int, int | None]) -> InputFiles:
        """As of `Predictor`."""
        return find_input(connection, spectrum_of, self.record.preprocess_config_id, self.recipe)

    def predict(self, files: InputFiles, cache: Path | None = None) -> Predictions:
        """As of `Predictor`.

        Raises
        ------
        GalbaseError
            If a file cannot be read.
        """
        loaded = load_input(files, self.record.preprocess, self.recipe, cache)
        ids, inputs = loaded.observation_id, self.recipe.inputs(loaded.image, loaded.scalar, loaded.spectrum)
        found = infer(self.network, self.scaler, inputs, ids, self.record.weights_sha256, self.recipe.n_turn)
        quantiles = {
            name: self.conformal[name].quantiles(found.quantile[:, k]) for k, name in enumerate(self.record.property_id)
        }
        outside = self.domain.outside(found.embedding, self.recipe.psf(loaded.scalar))
        return Predictions(ids, quantiles, found.mc_err, found.embedding, outside)


def load_predictor(connection: psycopg.Connection[Any], record: ModelRecord) -> Predictor:
    """A model of any kind, with its checked weights.

    Raises
    ------
    GalbaseError
        If the weights or the domain are missing, damaged or another network's.
    """
    if record.family == GALNET:
        from galbase.ml.sersic.archived import load_archived_galnet

        return load_archived_galnet(connection, record)
    return load_model(connection, record)


def load_model(connection: psycopg.Connection[Any], record: ModelRecord) -> LoadedModel:
    """Rebuild a model's network and fill it with its checked weights.

    Raises
    ------
    GalbaseError
        If the weights or the domain are missing, damaged or another network's, or the model is of another kind.
    """
    from galbase.ml.networks.build import build

    if record.family == GALNET:
        raise GalbaseError(f"model {record.name!r} is a GaLNet: it measures images and has no labelled sky.")
    weights = read_weights(connection, record)
    network = build(record.family, record.preset, record.options)
    fill_weights(network, weights)
    calibration = record.calibration
    return LoadedModel(
        record=record,
        network=network,
        scaler=LabelScaler.from_mapping(calibration["scaler"]),
        recipe=Recipe.from_mapping(calibration["recipe"]),
        conformal={name: ConformalBins.from_mapping(bins) for name, bins in calibration["conformal"].items()},
        domain=read_domain(connection, record),
    )
