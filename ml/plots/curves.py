"""How a network learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from galbase.ml.plots.figure import new_figure, save


def plot_curves(path: Path, title: str, history: Mapping[str, Sequence[float]]) -> None:
    """Losses of training and validation split by epoch.

    Parameters
    ----------
    path : Path
        PNG file to write.
    title : str
    history : mapping of str to sequence of float
        ``loss`` and ``val_loss`` an epoch.
    """
    figure, axes = new_figure(5.5, 3.8)
    for key, label in (("loss", "training"), ("val_loss", "validation")):
        if key in history:
            axes.plot(range(1, len(history[key]) + 1), history[key], label=label)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_title(title, fontsize="medium")
    axes.legend()
    save(figure, path)
