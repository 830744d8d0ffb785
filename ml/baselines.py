"""What a network must beat: the mean of the labels, and boosted trees on the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]


def mean_prediction(train_label: npt.ArrayLike, n: int) -> Array:
    """The mean of the training labels, `n` times; its sigma is the spread of the test labels."""
    labels = np.asarray(train_label, dtype=np.float64)
    if labels.size == 0:
        raise GalbaseError("the mean predictor needs at least one training label.")
    return np.full(n, labels.mean())


def catalogue_features(
    flux: npt.ArrayLike,
    flux_err: npt.ArrayLike,
    radius_arcsec: npt.ArrayLike,
    sersic_index: npt.ArrayLike,
    axis_ratio: npt.ArrayLike,
    type_name: Sequence[str | None],
    type_names: Sequence[str] = ("PSF", "REX", "EXP", "DEV", "COMP", "SER"),
) -> Array:
    """Features that a catalogue gives of an object.

    Parameters
    ----------
    flux, flux_err : (n, n_band) array_like of float
        Fluxes and their one sigma errors, nanomaggies; NaN where missing.
    radius_arcsec, sersic_index, axis_ratio : (n,) array_like of float
        Structure of the catalogue's model; NaN where missing.
    type_name : sequence of str or None
        Morphological model of each object.
    type_names : sequence of str
        Models that become numbers, in this order; any other is missing.

    Returns
    -------
    (n, 3 * n_band + 3) ndarray of float
        asinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406), which stay finite at negative flux, their
        neighbours' differences (colours), flux errors, structure and type. The type is a category in the last
        column.
    """
    fluxes, errors = np.asarray(flux, dtype=np.float64), np.asarray(flux_err, dtype=np.float64)
    softening = 0.1
    magnitude = -1.0857362 * (np.arcsinh(fluxes / (2 * softening)) + np.log(softening))
    colour = magnitude[:, :-1] - magnitude[:, 1:]
    codes = {name: float(code) for code, name in enumerate(type_names)}
    category = np.array([codes.get(name.strip().upper(), np.nan) if name else np.nan for name in type_name])
    structure = np.column_stack([np.asarray(x, dtype=np.float64) for x in (radius_arcsec, sersic_index, axis_ratio)])
    return np.column_stack([magnitude, colour, errors, structure, category])


def boosted_trees(
    train: npt.ArrayLike, label: npt.ArrayLike, test: npt.ArrayLike, *, category: int, seed: int
) -> Array:
    """Predictions of gradient-boosted trees (scikit-learn's HistGradientBoostingRegressor).

    Parameters
    ----------
    train, test : (n, n_feature) array_like of float
        Features; NaN is missing.
    label : (n,) array_like of float
        Training labels.
    category : int
        Column that holds a category.
    seed : int
        Seed of the early-stopping split.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    features = np.asarray(train, dtype=np.float64)
    model: Any = HistGradientBoostingRegressor(
        loss="squared_error",
        learning_rate=0.06,
        max_iter=400,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=True,
        validation_fraction=0.12,
        n_iter_no_change=25,
        categorical_features=[category % features.shape[1]],
        random_state=seed,
    )
    model.fit(features, np.asarray(label, dtype=np.float64))
    return np.asarray(model.predict(np.asarray(test, dtype=np.float64)), dtype=np.float64)
