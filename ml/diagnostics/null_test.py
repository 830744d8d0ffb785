"""The null test: does morphology tell of physical properties what the catalogue's photometry does not?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, enough
from galbase.ml.diagnostics.colours import true_magnitudes
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import new_figure, save
from galbase.ml.splits import sky_block

FloatArray = NDArray[np.float64]

PROPERTIES = ("log_mstar_tot", "log_ssfr_tot", "oh12", "log_age_tot")
_ALSO = ("log_mstar_fib", "log_ssfr_fib", "log_age_fib")
_FOLDS = 5
_MOST = 20_000


def residual_ranks(features: FloatArray, target: FloatArray, fold: NDArray[np.int64]) -> FloatArray:
    """Ranks, from -0.5 to 0.5, of what boosted trees of other folds leave of a target.

    Parameters
    ----------
    features : (n, n_feature) float64
    target : (n,) float64
    fold : (n,) int64
        Each is predicted by trees that saw the other folds alone.
    """
    from scipy.stats import rankdata
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    rest = np.empty(len(target))
    # on data this small the threads mostly wait for each other: on a busy machine for minutes
    with threadpool_limits(1):
        for k in np.unique(fold):
            model: Any = HistGradientBoostingRegressor(
                learning_rate=0.08, max_iter=150, max_leaf_nodes=15, min_samples_leaf=20, random_state=int(k)
            )
            model.fit(features[fold != k], target[fold != k])
            rest[fold == k] = target[fold == k] - model.predict(features[fold == k])
    ranks: FloatArray = rankdata(rest) / len(rest) - 0.5
    return ranks


def _structure(survey: SurveyFiles) -> dict[str, FloatArray]:
    truth = survey.truth
    return {
        "size": np.log10(truth["half_light_arcsec"]),
        "Sersic index": np.log10(truth["sersic"]),
        "axis ratio": truth["q"],
        "bulge/total r": truth["bulge_to_total_r"],
    }


def null_test(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Rank correlations of structure and properties once photometry and redshift have had their say.

    In a survey with decorrelated morphology all vanish within their sampling error; in a normal one some must not.
    The photometry is noise-free: given measured fluxes, morphology that goes with the true colours would tell
    something of them, and through them of the properties, even in a null survey.
    """
    truth, mag = survey.truth, true_magnitudes(survey)
    features = np.column_stack([mag["r"], mag["g"] - mag["r"], mag["r"] - mag["z"], truth["z"]])
    names = [name for name in (*PROPERTIES, *_ALSO) if name in truth]
    alone = np.isfinite(features).all(axis=1) & ~truth.raw("blended").astype(bool)
    rows = np.flatnonzero(alone)[:_MOST]
    enough("null test", len(rows), 800)
    fold = _folds(sky_block(truth["ra"][rows], truth["dec"][rows]))
    structure = {name: residual_ranks(features[rows], value[rows], fold) for name, value in _structure(survey).items()}
    properties = {name: residual_ranks(features[rows], truth[name][rows], fold) for name in names}
    # Spearman's coefficient of n independent pairs scatters by 1 / sqrt(n - 1)
    error = 1 / np.sqrt(len(rows) - 1)
    matrix = np.array([[np.corrcoef(s, p)[0, 1] for s in structure.values()] for p in properties.values()])
    figure, axes = new_figure(8, 0.6 * len(names) + 2.2)
    limit = max(0.15, float(np.abs(matrix).max()))
    shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    figure.colorbar(shown, ax=axes, label="partial rank correlation")
    axes.set_xticks(range(len(structure)), list(structure))
    axes.set_yticks(range(len(names)), names)
    for y in range(len(names)):
        for x in range(len(structure)):
            value = matrix[y, x]
            axes.text(
                x, y, f"{value:+.3f} ({value / error:+.1f}$\\sigma$)", ha="center", va="center", fontsize=8,
                color="white" if abs(value) > 0.6 * limit else "black",
            )  # fmt: skip
    kind = "decorrelated morphology (null test)" if survey.decorrelated else "normal survey"
    axes.set_title(f"{kind}: given true g, r, z fluxes and redshift, n = {len(rows)}", fontsize=10)
    save(figure, plots / "null_test.png")
    total = matrix[[k for k, name in enumerate(names) if name in PROPERTIES]]
    largest = float(np.abs(total).max() / error)
    n = len(rows)
    if survey.decorrelated:
        # the largest of 16 normal deviates exceeds 3.7 once in 300 times
        worst = float(np.sqrt(np.mean((total / error) ** 2)))
        return [
            Check("null test: largest partial correlation [sigma]", largest, 0.0, 3.7, "independence", n),
            Check("null test: rms partial correlation [sigma]", worst, 1.0, 0.6, "independence", n),
        ]
    return [
        Check(
            "morphology tells of properties beyond photometry, largest [sigma]", largest, 5.0, 0.0,
            "structure follows star formation: Wuyts et al. 2011, ApJ 742, 96; Bell et al. 2012, ApJ 753, 167", n,
            "above",
        )
    ]  # fmt: skip


def _folds(block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each object: whole sky blocks, in random order."""
    blocks = np.unique(block)
    order = np.random.default_rng(7).permutation(len(blocks))
    return np.asarray(order[np.searchsorted(blocks, block)] % _FOLDS, dtype=np.int64)
