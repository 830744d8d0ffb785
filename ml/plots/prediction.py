"""Predicted against reference values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galbase.ml.held_out import HeldOut
from galbase.ml.metrics import point_metrics
from galbase.ml.plots.figure import new_figure, save


def plot_prediction(path: Path, name: str, title: str, held_out: HeldOut) -> None:
    """Predicted against reference with the density of objects, and residuals below with the calibrated 68 % interval.

    Parameters
    ----------
    path : Path
        PNG file to write.
    name : str
        Property.
    title : str
    held_out : HeldOut
    """
    true, predicted = held_out.true, held_out.quantiles["q50"]
    score = point_metrics(true, predicted)
    figure, axes = new_figure(6, 7.5, 2, 1, height_ratios=[3, 1], sharex=True)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    shown = axes[0].hexbin(true, predicted, gridsize=45, mincnt=1, cmap="viridis", extent=(low, high, low, high))
    figure.colorbar(shown, ax=axes[0], label="objects")
    axes[0].plot([low, high], [low, high], color="tab:red", linewidth=1)
    axes[0].set_ylabel(f"predicted {name}")
    axes[0].set_title(title, fontsize="medium")
    axes[0].text(
        0.03,
        0.97,
        f"n {score['n']:.0f}\n$\\sigma$ {score['sigma']:.3f}\nMAE {score['mae']:.3f}\nNMAD {score['nmad']:.3f}\n"
        f"bias {score['bias_mean']:+.3f}\n$f_{{out}}$ {score['f_out']:.3f}",
        transform=axes[0].transAxes,
        va="top",
    )
    axes[1].plot(true, predicted - true, ".", markersize=2, alpha=0.5, color="tab:blue")
    half = float(np.median(held_out.quantiles["q84"] - held_out.quantiles["q16"])) / 2
    axes[1].axhspan(-half, half, color="tab:orange", alpha=0.25, linewidth=0)
    axes[1].axhline(0, color="tab:red", linewidth=1)
    axes[1].set_xlabel(f"reference {name}")
    axes[1].set_ylabel("predicted - reference")
    save(figure, path)
