"""Plots of a model on held-out sky."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from galbase.ml.evaluation import HeldOut
from galbase.ml.metrics import point_metrics


def plot_prediction(path: Path, name: str, title: str, held_out: HeldOut) -> None:
    """Predicted against true with the density of points, and residuals below with the calibrated 68 % interval.

    Parameters
    ----------
    path : Path
        PNG file to write.
    name : str
        Property.
    title : str
    held_out : HeldOut
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    true, predicted = held_out.true, held_out.quantiles["q50"]
    score = point_metrics(true, predicted)
    figure = Figure(figsize=(6, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    shown = axes[0].hexbin(true, predicted, gridsize=45, mincnt=1, cmap="viridis", extent=(low, high, low, high))
    figure.colorbar(shown, ax=axes[0], label="images")
    axes[0].plot([low, high], [low, high], color="tab:red", linewidth=1)
    axes[0].set_ylabel(f"predicted {name}")
    axes[0].set_title(title)
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
    figure.savefig(path, dpi=120)
