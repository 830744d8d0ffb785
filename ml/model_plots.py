"""All pictures of an evaluated model, written to a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galbase.ml.evaluation import Evaluation
from galbase.ml.model_store import ModelRecord
from galbase.ml.plots.curves import plot_curves
from galbase.ml.plots.mass_metallicity import plot_mass_metallicity
from galbase.ml.plots.parts import plot_parts
from galbase.ml.plots.prediction import plot_prediction
from galbase.ml.plots.uncertainty import plot_uncertainty


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
