"""Whether intervals hold what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from galbase.ml.calibration import LEVELS
from galbase.ml.held_out import HeldOut
from galbase.ml.plots.figure import new_figure, running, save

Array = npt.NDArray[np.float64]


def pit(true: Array, quantiles: dict[str, Array]) -> Array:
    """Probability integral transform: the predicted distribution's share below the reference value.

    Between the stored quantiles the distribution function is linear; beyond the outermost, whose tails are not stored,
    a value counts in the middle of its tail.

    Parameters
    ----------
    true : (n,) float64
    quantiles : dict of str to (n,) float64

    Returns
    -------
    (n,) ndarray of float64
        Uniform on 0 to 1 where the predicted distributions are right (Dawid 1984, J. R. Stat. Soc. A 147, 278).
    """
    level = np.array(list(LEVELS.values()))
    values = np.column_stack([quantiles[name] for name in LEVELS])
    above = (true[:, None] >= values).sum(axis=1)
    inner = np.clip(above, 1, len(level) - 1)
    rows = np.arange(len(true))
    low, high = values[rows, inner - 1], values[rows, inner]
    share = np.divide(true - low, high - low, out=np.full(len(true), 0.5), where=high > low)
    found = level[inner - 1] + np.clip(share, 0, 1) * (level[inner] - level[inner - 1])
    found[above == 0] = level[0] / 2
    found[above == len(level)] = (1 + level[-1]) / 2
    return np.asarray(found)


def plot_uncertainty(path: Path, name: str, title: str, held_out: HeldOut) -> None:
    """Share below each quantile against its level; the histogram of the PIT; predicted sigma and true scatter by value.

    Parameters
    ----------
    path : Path
        PNG file to write.
    name : str
        Property.
    title : str
    held_out : HeldOut
    """
    true, quantiles = held_out.true, held_out.quantiles
    figure, axes = new_figure(13, 4.2, 1, 3)
    level = np.array(list(LEVELS.values()))
    below = np.array([(true <= quantiles[key]).mean() for key in LEVELS])
    error = np.sqrt(level * (1 - level) / len(true))
    axes[0].plot([0, 1], [0, 1], color="tab:red", linewidth=1)
    axes[0].errorbar(level, below, error, fmt="o", markersize=4, color="tab:blue")
    axes[0].set_xlabel("level of the quantile")
    axes[0].set_ylabel("share of references below")
    edges = np.concatenate([[0.0], level, [1.0]])
    counts, _ = np.histogram(pit(true, quantiles), bins=edges)
    axes[1].stairs(counts / len(true) / np.diff(edges), edges, fill=True, color="tab:blue", alpha=0.6)
    axes[1].axhline(1, color="tab:red", linewidth=1)
    axes[1].set_xlabel("probability integral transform")
    axes[1].set_ylabel("density")
    predicted = quantiles["q50"]
    sigma = (quantiles["q84"] - quantiles["q16"]) / 2
    bins = np.quantile(predicted, np.linspace(0, 1, 11))
    middle, median, low, high = running(predicted, sigma, bins)
    axes[2].plot(middle, median, color="tab:blue", label="predicted: half the 68 % interval")
    axes[2].fill_between(middle, low, high, color="tab:blue", alpha=0.2, linewidth=0)
    middle, _, low, high = running(predicted, true - predicted, bins)
    axes[2].plot(middle, (high - low) / 2, color="tab:orange", label="measured: half of 16 to 84 %")
    axes[2].set_ylim(bottom=0)
    axes[2].set_xlabel(f"predicted {name}")
    axes[2].set_ylabel("sigma")
    axes[2].legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    save(figure, path)
