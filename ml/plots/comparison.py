"""Scores of models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from galbase.ml.plots.figure import new_figure, save
from galbase.ml.side_by_side import ComparedModel


def plot_comparison(path: Path, name: str, title: str, models: Sequence[ComparedModel]) -> None:
    """Sigma and MAE of each model; bars are one standard error of the difference to the first.

    Parameters
    ----------
    path : Path
        PNG file to write.
    name : str
        Property.
    title : str
    models : sequence of ComparedModel
    """
    figure, axes = new_figure(6.5, 1.4 + 0.35 * len(models))
    place = list(range(len(models)))
    sigma = [each.metrics["sigma"] for each in models]
    axes.axvline(sigma[0], color="0.6", linewidth=0.8)
    error = [each.sigma_change_err or 0.0 for each in models]
    axes.errorbar(sigma, place, xerr=error, fmt="o", color="tab:blue", capsize=3, label="sigma")
    axes.plot([each.metrics["mae"] for each in models], place, "s", color="tab:green", markersize=5, label="MAE")
    labels = [
        ", ".join(part for part in (each.model, each.bands, each.resolution and f"{each.resolution} px") if part)
        for each in models
    ]
    axes.set_yticks(place, labels, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(f"{name} [dex]")
    axes.set_title(title, fontsize="medium")
    axes.legend(fontsize="small")
    save(figure, path)
