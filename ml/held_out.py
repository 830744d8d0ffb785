"""What is known of a model's held-out sky: labels, stored predictions, and facts of the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import FEATURES, ZERO_POINT, signal_to_noise
from galbase.ml.calibration import LEVELS
from galbase.ml.model_store import ModelRecord
from galbase.ml.photometry import photometry
from galbase.ml.training_set import find_training_set, members
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Test split of one property.

    Parameters
    ----------
    true : (n,) float64
        Labels.
    quantiles : dict of str to (n,) float64
        ``q025`` to ``q975`` as stored.
    facts : mapping of str to (n,) float64
        What is known of the objects: ``mag_r``, ``sn_r``, ``radius_arcsec``, ``z``, ``type`` (a code of
        `baselines.TYPES`); NaN where it is not known. Empty without a catalogue.
    """

    true: Array
    quantiles: dict[str, Array]
    facts: Mapping[str, Array]


@dataclass(frozen=True)
class LabelledSky:
    """Training and test split of a model's training set, in order of the observations.

    Parameters
    ----------
    train_id, test_id : list of int
        Images.
    test_predicted : list of int
        Observations that the test members' predictions belong to: of a model of spectra, their spectra.
    train_label, test_label : (n, n_property) float64
    train_feature, test_feature : (n, n_feature) float64 or None
        `baselines.catalogue_features`; None without a catalogue.
    test_z : (n,) float64
        Spectroscopic redshift, NaN where there is none.
    test_galaxy : (n,) int64
        Galaxies of the test images.
    """

    train_id: list[int]
    test_id: list[int]
    test_predicted: list[int]
    train_label: Array
    test_label: Array
    train_feature: Array | None
    test_feature: Array | None
    test_z: Array
    test_galaxy: npt.NDArray[np.int64]

    def facts(self) -> dict[str, Array]:
        """Facts of the test objects, as of `HeldOut`."""
        if self.test_feature is None:
            return {}
        column = dict(zip(FEATURES, self.test_feature.T, strict=True))
        return {
            "mag_r": column["mag_r"] + ZERO_POINT,
            "sn_r": signal_to_noise(column["mag_r"], column["flux_err_r"]),
            "radius_arcsec": column["radius_arcsec"],
            "z": self.test_z,
            "type": column["type"],
        }


def labelled_sky(connection: psycopg.Connection[Any], model: ModelRecord) -> LabelledSky:
    """The splits of the set that a model was trained on.

    Raises
    ------
    GalbaseError
        If the training set has changed, or the model has none.
    """
    if model.training_set_id is None:
        raise GalbaseError(
            f"model {model.name!r} learned from simulated stamps and has no labelled sky that it could be scored on; "
            "api.model_card has its losses."
        )
    row = connection.execute(
        "SELECT name FROM archive.training_set WHERE training_set_id = %s", (model.training_set_id,)
    ).fetchone()
    if row is None:
        raise RuntimeError(f"model {model.model_id} has no training set")
    images, split = members(connection, find_training_set(connection, row[0]))
    image = {each.observation_id: each for each in images}
    part = {
        name: sorted(each.observation_id for each, its in zip(images, split, strict=True) if its == name)
        for name in ("train", "test")
    }
    n_train = len(part["train"])
    features = photometry(connection, part["train"] + part["test"])
    galaxy = np.array([image[each].galaxy_id for each in part["test"]], dtype=np.int64)
    predicted = [
        image[each].spectrum_observation_id if model.input_kind == "spectrum" else each for each in part["test"]
    ]
    return LabelledSky(
        train_id=part["train"],
        test_id=part["test"],
        test_predicted=[each for each in predicted if each is not None],
        train_label=np.array([image[each].label for each in part["train"]], dtype=np.float64),
        test_label=np.array([image[each].label for each in part["test"]], dtype=np.float64),
        train_feature=None if features is None else features[:n_train],
        test_feature=None if features is None else features[n_train:],
        test_z=_redshifts(connection, galaxy),
        test_galaxy=galaxy,
    )


def _redshifts(connection: psycopg.Connection[Any], galaxy: npt.NDArray[np.int64]) -> Array:
    known = dict(
        connection.execute(
            "SELECT galaxy_id, z FROM api.galaxy_redshift WHERE galaxy_id = ANY(%s)", (galaxy.tolist(),)
        ).fetchall()
    )
    return np.array([known.get(each, np.nan) for each in galaxy.tolist()], dtype=np.float64)


def reference_values(connection: psycopg.Connection[Any], name: str, galaxy: npt.NDArray[np.int64]) -> Array:
    """The label of another property of galaxies, in their order; NaN where there is none."""
    known = dict(
        connection.execute(
            "SELECT galaxy_id, value FROM api.reference_label(%s) WHERE galaxy_id = ANY(%s)", (name, galaxy.tolist())
        ).fetchall()
    )
    return np.array([known.get(each, np.nan) for each in galaxy.tolist()], dtype=np.float64)


def stored_quantiles(
    connection: psycopg.Connection[Any], model: ModelRecord, property_id: int, observation_id: Sequence[int]
) -> dict[str, Array]:
    """A model's stored quantiles of a property, in order of the observations.

    Raises
    ------
    GalbaseError
        If one has no prediction.
    """
    rows = connection.execute(
        "SELECT q025, q05, q16, q50, q84, q95, q975 FROM archive.prediction "
        "JOIN unnest(%s::bigint[]) WITH ORDINALITY w (observation_id, place) USING (observation_id) "
        "WHERE model_id = %s AND property_id = %s ORDER BY w.place",
        (list(observation_id), model.model_id, property_id),
    ).fetchall()
    if len(rows) != len(observation_id):
        raise GalbaseError(
            f"{len(observation_id) - len(rows)} of {len(observation_id)} test members have no prediction of model "
            f"{model.name!r}; run `galbase refresh` first."
        )
    columns = np.array(rows, dtype=np.float64)
    return {name: columns[:, k] for k, name in enumerate(LEVELS)}
