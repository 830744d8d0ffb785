"""The table of `science.py`: means over the seeds, and each bar beside what was measured."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import numpy as np

FAMILIES = ("galeffnet", "gpm_resnet")
STARS = ("mmlforgalam_m1", "mmlforgalam_m3", "mmlforgalam_fused", "mmlforgalam_simulated")
MODES = ("as-published", "improved")
AFRESH = "afresh"
BUDGET_CPU_S = 1200
# Below this share of the trees' sigma the gap to the ceiling is none that could be closed.
_LEAST_GAP = 0.005
# Of a family and variant, what its sigma is told as a share of less than.
_LESS_THAN = {
    ("mmlforgalam_fused", ""): {"image": ("mmlforgalam_m3", ""), "spectra": ("mmlforgalam_m1", "")},
    ("mmlforgalam_simulated", ""): {"image_afresh": ("mmlforgalam_m3", AFRESH)},
}


def table(lines: list[dict[str, Any]]) -> None:
    """One JSON line for each survey, family and property: means over the seeds, and which bars are met."""
    runs: dict[tuple[str, str, str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        for prop, found in line["property"].items():
            runs[line["survey"], line["family"], prop, line["mode"], line["variant"]].append({**found, "line": line})
    for (survey, family, prop, mode, variant), found in sorted(runs.items()):
        twin = runs.get((survey, family, prop, "as-published", variant), [])
        cpu_s = max(each["line"]["cpu_s"] for each in found)
        summary: dict[str, Any] = {
            "survey": survey, "family": family, "property": prop, "mode": mode, "variant": variant,
            "n_seed": len(found),
            **_against(found, twin if mode == "improved" else [], "", survey == "null"),
            **_against(found, twin if mode == "improved" else [], "_truth", survey == "null"),
            **{
                name: round(float(np.mean([each["network"][name] for each in found])), 3)
                for name in ("mae", "nmad", "f_out", "r2", "coverage_68", "coverage_90", "coverage_95")
            },
            "n_test": found[0]["network"]["n"], "cpu_s": round(cpu_s), "within_budget": cpu_s <= BUDGET_CPU_S,
        }  # fmt: skip
        others = _LESS_THAN.get((family, variant), {})
        for name, (other, of_variant) in others.items():
            beside = runs.get((survey, other, prop, mode, of_variant), [])
            if beside:
                ratio = _sigmas(found, "network").mean() / _sigmas(beside, "network").mean()
                summary[f"less_than_{name}"] = round(float(1 - ratio), 3)
        if "shift" in found[0]:
            summary["shift_sigma"] = round(float(_sigmas(found, "shift").mean()), 4)
            summary["outside"] = round(float(np.mean([each["line"]["outside"] for each in found])), 3)
            summary["shift_outside"] = round(float(np.mean([each["line"]["shift_outside"] for each in found])), 3)
        sys.stdout.write(json.dumps({"benchmark": "science", **summary}) + "\n")


def _against(
    found: list[dict[str, Any]], twin: list[dict[str, Any]], reference: str, is_null: bool
) -> dict[str, float | int]:
    """Sigmas over the seeds, and bars, against the labels (reference ``""``) or against the truth (``"_truth"``)."""
    sigma = _sigmas(found, "network" + reference)
    trees, ceiling = (float(_sigmas(found, who + reference).mean()) for who in ("trees", "ceiling"))
    summary: dict[str, float | int] = {
        "sigma": round(float(sigma.mean()), 4), "spread": round(float(sigma.std()), 4), "trees": round(trees, 4),
        "ceiling": round(ceiling, 4),
    }  # fmt: skip
    if trees - ceiling > _LEAST_GAP * trees:
        summary["gap_closed"] = round(float((trees - sigma.mean()) / (trees - ceiling)), 3)
    if twin:
        own, other = (_sigmas(each, "common" + reference).mean() for each in (found, twin))
        summary["less_than_twin"] = round(float(1 - own / other), 3)
        summary["n_common"] = int(found[0]["common"]["n"])
    of_photometry = {name: _sigmas(found, name + reference) for name in ("photometry", "dense")}
    summary |= {name: round(float(each.mean()), 4) for name, each in of_photometry.items() if len(each)}
    if is_null:
        summary["gain_over_catalogue"] = round(float(1 - sigma.mean() / trees), 3)
        if len(of_photometry["dense"]):
            summary["gain_over_dense"] = round(float(1 - sigma.mean() / of_photometry["dense"].mean()), 3)
    return {name + reference: value for name, value in summary.items()}


def _sigmas(found: list[dict[str, Any]], predictor: str) -> Any:
    return np.array([each[predictor]["sigma"] for each in found if predictor in each])
