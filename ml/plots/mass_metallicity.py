"""The mass-metallicity relation, as labelled and as predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import mass_metallicity
from galbase.ml.plots.figure import density, median_band, new_figure, save

Array = npt.NDArray[np.float64]


def plot_mass_metallicity(path: Path, title: str, log_mstar: Array, oh12: Array, predicted: Array) -> None:
    """Running medians of labels and predictions over mass, beside the relation of Tremonti et al. 2004.

    Parameters
    ----------
    path : Path
        PNG file to write.
    title : str
    log_mstar : (n,) float64
        Labels of the mass, log10(Msun); NaN where there is none.
    oh12, predicted : (n,) float64
        12 + log10(O/H), labels and predictions.
    """
    known = np.isfinite(log_mstar)
    mass, label, found = log_mstar[known], oh12[known], predicted[known]
    figure, axes = new_figure(6, 5)
    low, high = np.quantile(mass, [0.005, 0.995])
    density(axes, mass, found, (float(low), float(high), float(oh12.min()), float(oh12.max())))
    edges = np.linspace(low, high, 13)
    median_band(axes, mass, label, edges, "tab:blue", "labels")
    median_band(axes, mass, found, edges, "tab:orange", "predicted")
    x = np.linspace(max(8.5, low), min(11.5, high), 100)
    axes.plot(x, mass_metallicity(x), color="k", linestyle="--", linewidth=1, label="Tremonti et al. 2004")
    axes.set_xlabel("log M* [Msun], label")
    axes.set_ylabel("12 + log(O/H)")
    axes.set_title(title, fontsize="medium")
    axes.legend(fontsize="small")
    save(figure, path)
