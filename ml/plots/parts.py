"""Scores in parts of a test set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galbase.ml.metrics import INTERVALS
from galbase.ml.plots.figure import new_figure, save

_LABEL = {
    "predicted": "predicted value",
    "mag_r": "r [mag]",
    "sn_r": "S/N in r",
    "radius_arcsec": "radius [arcsec]",
    "z": "redshift",
    "type": "type",
}


def plot_parts(path: Path, name: str, title: str, parts: Sequence[dict[str, Any]]) -> None:
    """Sigma, NMAD and bias, and coverages below, in parts of the test set by each quantity.

    Parameters
    ----------
    path : Path
        PNG file to write.
    name : str
        Property.
    title : str
    parts : sequence of dict
        Of `strata.stratum_scores`.
    """
    kinds = list(dict.fromkeys(part["of"] for part in parts))
    figure, axes = new_figure(2.6 * max(1, len(kinds)), 5.2, 2, max(1, len(kinds)), squeeze=False, sharey="row")
    for column, kind in enumerate(kinds):
        of_kind = [part for part in parts if part["of"] == kind]
        upper, lower = axes[0][column], axes[1][column]
        place = range(len(of_kind))
        for key, colour in (("sigma", "tab:blue"), ("nmad", "tab:green"), ("bias_mean", "tab:red")):
            upper.plot(place, [part[key] for part in of_kind], "o-", markersize=4, color=colour, label=key)
        upper.axhline(0, color="0.6", linewidth=0.8)
        for level, colour in zip(INTERVALS, ("tab:blue", "tab:orange", "tab:purple"), strict=True):
            values = [part[f"coverage_{level}"] for part in of_kind]
            lower.plot(place, values, "o-", markersize=4, color=colour, label=f"{level} %")
            lower.axhline(level / 100, color=colour, linewidth=0.8, linestyle=":")
        lower.set_xticks(list(place), [part["name"] for part in of_kind], rotation=40, ha="right", fontsize="x-small")
        upper.set_xticks(list(place), [f"{part['n']:.0f}" for part in of_kind], fontsize="x-small")
        upper.set_title(_LABEL.get(kind, kind), fontsize="small")
    if kinds:
        axes[0][0].set_ylabel(f"{name} [dex]")
        axes[1][0].set_ylabel("coverage")
        axes[0][0].legend(fontsize="x-small")
        axes[1][0].legend(fontsize="x-small")
    figure.suptitle(title, fontsize="medium")
    save(figure, path)
