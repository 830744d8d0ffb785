"""Figures on the Agg canvas, and what several of them draw alike."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure that needs no display, and its axes.

    Parameters
    ----------
    width, height : float
        Size [inch].
    rows, columns : int
        Grid of axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Any, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def density(axes: Any, x: FloatArray, y: FloatArray, extent: tuple[float, float, float, float]) -> None:
    """Shades of the logarithm of the number of objects, within (x low, x high, y low, y high)."""
    axes.hexbin(x, y, gridsize=55, extent=extent, bins="log", mincnt=1, cmap="Greys", linewidths=0.1)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])


def running(
    x: FloatArray, y: FloatArray, edges: FloatArray, least: int = 12
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Median and 16th and 84th percentile of y in bins of x.

    Returns
    -------
    middle, median, low, high : (n_bin,) float64
        Only bins with at least `least` objects.
    """
    rows = []
    for left, right in pairwise(edges):
        inside = y[(x >= left) & (x < right) & np.isfinite(y)]
        if len(inside) >= least:
            rows.append([0.5 * (left + right), *np.quantile(inside, [0.5, 0.16, 0.84])])
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3]


def median_band(axes: Any, x: FloatArray, y: FloatArray, edges: FloatArray, colour: str, label: str) -> None:
    """Draw the running median with its 16-84 % range."""
    middle, median, low, high = running(x, y, edges)
    axes.plot(middle, median, color=colour, linewidth=2, label=label)
    axes.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0)
