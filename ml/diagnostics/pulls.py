"""Labels minus truth, in units of the errors that the catalogues quote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, NotInSurveyError, enough
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import new_figure, save

FloatArray = NDArray[np.float64]

_CLAIM = "an honest error bar: pulls are standard normal"
# label of galSpec: truth
_GALSPEC = {
    "lgm_fib": "log_mstar_fib", "lgm_tot": "log_mstar_tot", "specsfr_fib": "log_ssfr_fib",
    "specsfr_tot": "log_ssfr_tot", "oh": "oh12",
}  # fmt: skip
_STELLARPOP = {"log_age": "log_age_fib", "mh": "mh_fib"}


def label_pulls(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Pulls of the galSpec and stellar population tables; their mean is 0 and their spread 1 if errors are honest."""
    truth, labels = survey.truth, survey.labels
    row = survey.truth_of(labels)
    pulls: dict[str, FloatArray] = {}
    for label, name in _GALSPEC.items():
        error = 0.5 * (labels[f"{label}_p84"] - labels[f"{label}_p16"])
        pulls[label] = (labels[f"{label}_p50"] - truth[name][row]) / error
    sound = labels["z_warning"] == 0
    pulls["z"] = np.where(sound, (labels["z"] - truth["z"][row]) / labels["z_err"], np.nan)
    try:
        table = survey.stellarpop
        stellar_row = survey.truth_of(table)
        for label, name in _STELLARPOP.items():
            pulls[label] = (table[label] - truth[name][stellar_row]) / table[f"{label}_err"]
    except NotInSurveyError:
        if "log_age_fib" in truth:
            raise
    pulls = {name: value[np.isfinite(value)] for name, value in pulls.items()}
    count = len(pulls)
    figure, grid = new_figure(13, 3.2 * (-(-count // 4)), -(-count // 4), 4, sharex=True, squeeze=False)
    edges = np.linspace(-5, 5, 51)
    middle = 0.5 * (edges[1:] + edges[:-1])
    checks = []
    for axes, (name, pull) in zip(grid.flat, pulls.items(), strict=False):
        enough(f"pulls of {name}", len(pull), 50)
        axes.hist(pull, edges, density=True, color="tab:blue", alpha=0.6)
        axes.plot(middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), color="tab:red")
        spread = 0.5 * float(np.subtract(*np.quantile(pull, [0.84, 0.16])))
        axes.set_title(f"{name}: median {np.median(pull):+.2f}, spread {spread:.2f}", fontsize=10)
        n, sampling = len(pull), 1.25 / np.sqrt(len(pull))
        checks.append(Check(f"pull of {name}, median", float(np.median(pull)), 0.0, 0.05 + 3 * sampling, _CLAIM, n))
        checks.append(Check(f"pull of {name}, half of 16-84 %", spread, 1.0, 0.08 + 3 * sampling, _CLAIM, n))
    for axes in list(grid.flat)[count:]:
        axes.axis("off")
    for axes in list(grid.flat)[:count]:
        axes.set_xlabel("(label - truth) / quoted error")
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    figure.suptitle("Labels against truth; the curve is the standard normal distribution")
    save(figure, plots / "label_pulls.png")
    return checks
