"""All pictures of an evaluated model, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galbase.ml.evaluation import Evaluation
from galbase.ml.model_store import ModelRecord
from galbase.ml.plots.comparison import plot_comparison
from galbase.ml.plots.curves import plot_curves
from galbase.ml.plots.mass_metallicity import plot_mass_metallicity
from galbase.ml.plots.parts import plot_parts
from galbase.ml.plots.prediction import plot_prediction
from galbase.ml.plots.uncertainty import plot_uncertainty
from galbase.ml.side_by_side import Scored, side_by_side


def write_plots(folder: Path, model: ModelRecord, found: Evaluation) -> list[Path]:
    """Predicted against reference, uncertainty and scores in parts of each property; losses; for ``oh12`` the
    mass-metallicity relation.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    model : ModelRecord
    found : Evaluation

    Returns
    -------
    list of Path
        PNG files, named MODEL-PROPERTY-WHAT.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{model.name}, held-out sky, trained on {model.trained_on}"
    written = []
    for name, held_out in found.held_out.items():
        stem = f"{model.name}-{name}"
        plot_prediction(folder / f"{stem}-prediction.png", name, title, held_out)
        plot_uncertainty(folder / f"{stem}-uncertainty.png", name, title, held_out)
        plot_parts(folder / f"{stem}-parts.png", name, title, found.strata[name])
        written += [folder / f"{stem}-{what}.png" for what in ("prediction", "uncertainty", "parts")]
    if "oh12" in found.held_out and np.isfinite(found.log_mstar).any():
        path = folder / f"{model.name}-mass-metallicity.png"
        of = found.held_out["oh12"]
        plot_mass_metallicity(path, title, found.log_mstar, of.true, of.quantiles["q50"])
        written.append(path)
    if found.history:
        path = folder / f"{model.name}-losses.png"
        plot_curves(path, f"{model.name}, losses on scaled labels", found.history)
        written.append(path)
    return written


def write_comparison(folder: Path, models: Sequence[Scored]) -> list[Path]:
    """Scores of models of one training set side by side, a picture a property.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    models : sequence of (ModelRecord, Evaluation)

    Returns
    -------
    list of Path
        PNG files, named side-by-side-PROPERTY.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rows in side_by_side(models).items():
        path = folder / f"side-by-side-{name}.png"
        plot_comparison(path, name, f"{name}, {rows[0].metrics['n']:.0f} objects on held-out sky", rows)
        written.append(path)
    return written
