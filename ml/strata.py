"""Parts of a test set: by what is known of an object or predicted of it, never by its true value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import TYPES
from galbase.ml.metrics import INTERVALS, interval_metrics, point_metrics

Array = npt.NDArray[np.float64]
N_STRATUM, LEAST = 5, 1000
# A stratum fails where its coverage is surely this far from nominal.
TOLERANCE, CONFIDENCE = 0.05, 0.99
_FEWEST = 30


@dataclass(frozen=True)
class Stratum:
    """Objects whose quantity `of` lies from `low` to `high`, or whose type is `name`."""

    of: str
    name: str
    low: float
    high: float
    rows: npt.NDArray[np.intp]


def strata(of: str, values: npt.ArrayLike) -> list[Stratum]:
    """Parts of equal number in order of a quantity: five, or as many as have 1,000 objects each, at least one.

    Parameters
    ----------
    of : str
        Name of the quantity; ``type`` is a code of `baselines.TYPES`, and each type a part.
    values : (n,) array_like of float
        Objects without a finite value are in no part.
    """
    known = np.asarray(values, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(known))
    if of == "type":
        parts = [(name, rows[known[rows] == code]) for code, name in enumerate(TYPES)]
        return [Stratum(of, name, np.nan, np.nan, part) for name, part in parts if len(part) >= _FEWEST]
    if len(rows) < _FEWEST:
        return []
    ordered = rows[np.argsort(known[rows], kind="stable")]
    pieces = np.array_split(ordered, min(N_STRATUM, max(1, len(rows) // LEAST)))
    return [
        Stratum(of, f"{known[piece[0]]:.4g} to {known[piece[-1]]:.4g}", known[piece[0]], known[piece[-1]], piece)
        for piece in pieces
    ]


def stratum_scores(stratum: Stratum, true: Array, quantiles: Mapping[str, Array]) -> dict[str, Any]:
    """Scores of a part, and the levels at which its coverage fails (`coverage_fails`)."""
    inside = {name: values[stratum.rows] for name, values in quantiles.items()}
    label = true[stratum.rows]
    coverages = interval_metrics(label, inside)
    failed = [
        level for level in INTERVALS if coverage_fails(coverages[f"coverage_{level}"], len(label), level / 100)
    ]  # fmt: skip
    edges = {} if np.isnan(stratum.low) else {"low": stratum.low, "high": stratum.high}
    return {
        "of": stratum.of,
        "name": stratum.name,
        **edges,
        **point_metrics(label, inside["q50"]),
        **coverages,
        "coverage_fails": failed,
    }


def coverage_fails(coverage: float, n: int, nominal: float) -> bool:
    """Whether the 99 % binomial interval of a measured coverage lies wholly outside 5 points about the nominal one.

    Clopper & Pearson 1934, Biometrika 26, 404.
    """
    from scipy.stats import binomtest

    found = binomtest(round(coverage * n), n).proportion_ci(CONFIDENCE, method="exact")
    return bool(found.low > nominal + TOLERANCE or found.high < nominal - TOLERANCE)
