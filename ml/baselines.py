"""What a network must beat: the mean, published relations, colour polynomials, boosted trees on the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]
# Columns of `catalogue_features` for the bands g, r and z.
FEATURES = (
    "mag_g", "mag_r", "mag_z", "g_r", "r_z", "flux_err_g", "flux_err_r", "flux_err_z", "radius_arcsec", "sersic",
    "axis_ratio", "type",
)  # fmt: skip
TYPES = ("PSF", "REX", "EXP", "DEV", "COMP", "SER")
ZERO_POINT = 22.5  # AB magnitude of a nanomaggy; features do without
_SOFTENING = 0.1  # nanomaggies
_POGSON = 1.0857362


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
    type_names: Sequence[str] = TYPES,
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
    magnitude = -_POGSON * (np.arcsinh(fluxes / (2 * _SOFTENING)) + np.log(_SOFTENING))
    colour = magnitude[:, :-1] - magnitude[:, 1:]
    codes = {name: float(code) for code, name in enumerate(type_names)}
    category = np.array([codes.get(name.strip().upper(), np.nan) if name else np.nan for name in type_name])
    structure = np.column_stack([np.asarray(x, dtype=np.float64) for x in (radius_arcsec, sersic_index, axis_ratio)])
    return np.column_stack([magnitude, colour, errors, structure, category])


def signal_to_noise(magnitude: npt.ArrayLike, flux_err: npt.ArrayLike) -> Array:
    """Flux over its error, from an asinh magnitude and the error in nanomaggies of `catalogue_features`."""
    exponent = -np.asarray(magnitude, dtype=np.float64) / _POGSON - np.log(_SOFTENING)
    return np.asarray(2 * _SOFTENING * np.sinh(exponent) / np.asarray(flux_err, dtype=np.float64))


def colour_polynomial(train: npt.ArrayLike, label: npt.ArrayLike, test: npt.ArrayLike, order: int) -> Array:
    """Least-squares polynomial in two colours with all terms up to `order` (GPM-ResNet's baseline, orders 2 and 3).

    Parameters
    ----------
    train, test : (n, 2) array_like of float
        Colours g - r and r - z; where one is not finite, the mean of the training labels is predicted.
    label : (n,) array_like of float
        Training labels.
    order : int

    Raises
    ------
    GalbaseError
        If fewer training rows than terms have colours.
    """
    colours, labels = np.asarray(train, dtype=np.float64), np.asarray(label, dtype=np.float64)
    asked = np.asarray(test, dtype=np.float64)
    usable = np.isfinite(colours).all(axis=1)
    middle, width = colours[usable].mean(axis=0), colours[usable].std(axis=0)

    def terms(values: Array) -> Array:
        x, y = ((values - middle) / width).T
        return np.column_stack([x**i * y**j for i in range(order + 1) for j in range(order + 1 - i)])

    design = terms(colours[usable])
    if len(design) < design.shape[1]:
        raise GalbaseError(f"{len(design)} training rows have colours, a polynomial of order {order} needs more.")
    solution = np.linalg.lstsq(design, labels[usable], rcond=None)[0]
    found = np.full(len(asked), labels.mean())
    known = np.isfinite(asked).all(axis=1)
    # Beyond the colours it was fitted on a polynomial runs away.
    low, high = colours[usable].min(axis=0), colours[usable].max(axis=0)
    found[known] = terms(np.clip(asked[known], low, high)) @ solution
    return found


def mass_metallicity(log_mstar: npt.ArrayLike) -> Array:
    """12 + log10(O/H) of the mass-metallicity relation: -1.492 + 1.847 x - 0.08026 x^2, x = log10(M* / Msun).

    Tremonti et al. 2004, ApJ 613, 898, eq. 3, given for 8.5 < x < 11.5; outside, the value at the nearer end.
    """
    x = np.clip(np.asarray(log_mstar, dtype=np.float64), 8.5, 11.5)
    return np.asarray(-1.492 + 1.847 * x - 0.08026 * x**2)


def boosted_trees(
    train: npt.ArrayLike, label: npt.ArrayLike, test: npt.ArrayLike, *, category: int | None, seed: int
) -> Array:
    """Predictions of gradient-boosted trees (scikit-learn's HistGradientBoostingRegressor).

    Parameters
    ----------
    train, test : (n, n_feature) array_like of float
        Features; NaN is missing.
    label : (n,) array_like of float
        Training labels.
    category : int or None
        Column that holds a category; None for none.
    seed : int
        Seed of the early-stopping split.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    features, labels = np.asarray(train, dtype=np.float64), np.asarray(label, dtype=np.float64)
    asked = np.asarray(test, dtype=np.float64)
    # Of a column with one value nothing can be learnt, and scikit-learn cannot cut it into bins.
    varied = [k for k in range(features.shape[1]) if len(np.unique(features[np.isfinite(features[:, k]), k])) > 1]
    if not varied:
        return mean_prediction(labels, len(asked))
    code = None if category is None else category % features.shape[1]
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
        categorical_features=[varied.index(code)] if code in varied else None,
        random_state=seed,
    )
    model.fit(features[:, varied], labels)
    return np.asarray(model.predict(asked[:, varied]), dtype=np.float64)
