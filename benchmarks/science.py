"""The four methods on one frozen simulated survey: every method, mode and seed with the same budget, beside its bars.

``make science``, or ``python benchmarks/science.py --folder build/science --size 20000 --seeds 1 2 3``. Resumable: a
line in ``results.jsonl`` is a finished run, and is not run again; a table ends it. Runs may be chosen by ``--only``, a
part of their key such as ``main-galeffnet-improved``. Figures that were measured are kept in
``benchmarks/science_results.jsonl``, with the commit that each was measured at; ``--table`` tells their table.

Improved networks start from one that learned from a pretraining survey, disjoint in sky and seed, with the same seed;
its CPU-seconds count. On the null survey they start afresh: its images tell nothing of what others do.

Bars (CPU-seconds are those of a whole run, training, calibration and scoring included, at most 1200): an improved model
closes 30 % of the gap between boosted trees on the catalogue and the ceiling (the same trees on the true structure),
has 10 % less sigma than its as-published twin on the galaxies that both were tested on, no gain over the catalogue on
the null survey (beside it: trees on the catalogue and the fluxes and colours within circles on the image, which are
better photometry and no morphology), and flags the shifted survey out of domain more often.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from science_archive import PRETRAINING as PRETRAINING_SURVEY
from science_archive import PRETRAINING_STARS, SURVEYS, Survey, prepare, training_set
from science_score import elsewhere, score

from galbase.ml.jobs import train
from galbase.ml.model_file import write_model_file
from galbase.ml.request import TrainingRequest
from galbase.ml.training_set import find_training_set
from galbase.schema.cache_folder import cache_folder
from galbase.schema.database import connect

FAMILIES = ("galeffnet", "gpm_resnet")
STARS = ("mmlforgalam_m1", "mmlforgalam_m3", "mmlforgalam_fused", "mmlforgalam_simulated")
MODES = ("as-published", "improved")
BUDGET_CPU_S = 1200
# Epochs of the pretraining, and of the training from there at a third of the rate.
PRETRAINING = {
    "galeffnet": (7, 7), "gpm_resnet": (10, 12), "mmlforgalam_m1": (20, 12), "mmlforgalam_m3": (10, 10),
    "mmlforgalam_fused": (8, 8),
}  # fmt: skip
RATE_AFTER = 3e-4
# On the null survey as many steps as both have together.
NULL_EPOCHS = {"galeffnet": 18, "gpm_resnet": 30}
MEASURED = Path(__file__).with_name("science_results.jsonl")


def main() -> None:
    """Run what is missing, then tell the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/science"))
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--spectra", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--epochs", type=int, default=None, help="instead of the preset's")
    parser.add_argument("--surveys", nargs="+", default=list(SURVEYS))
    parser.add_argument("--only", default="", help="part of the keys of the runs to do")
    parser.add_argument("--table", action="store_true", help=f"tell what {MEASURED.name} holds, and run nothing")
    asked = parser.parse_args()
    if asked.table:
        _table([json.loads(line) for line in _lines(MEASURED)])
        return
    folder: Path = asked.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    surveys = {each.name: each for each in prepare(folder, asked.size, asked.spectra, 1, tuple(asked.surveys))}
    results = folder / "results.jsonl"
    known = {json.loads(line)["key"]: json.loads(line) for line in _lines(results)}
    for name, family, mode in _plan(asked.spectra > 0):
        for seed in asked.seeds:
            key = f"{name}-{family}-{mode}-{asked.preset}-{seed}"
            if name in surveys and key not in known and asked.only in key:
                known[key] = _run(surveys, name, family, mode, seed, key, asked)
                with results.open("a") as stream:
                    stream.write(json.dumps(known[key]) + "\n")
    _table(list(known.values()))


def _plan(with_spectra: bool) -> list[tuple[str, str, str]]:
    """Survey, family and mode of the runs."""
    runs = [("main", family, mode) for family in FAMILIES for mode in MODES]
    runs += [("null", family, "improved") for family in FAMILIES]
    if with_spectra:
        runs += [("main", family, mode) for family in STARS for mode in MODES]
    return runs


def _commit() -> str:
    """Short hash of the commit that runs; ``+`` after it where files differ from it."""
    asked = ["git", "describe", "--always", "--abbrev=10", "--dirty=+"]
    return subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _run(
    surveys: dict[str, Survey], name: str, family: str, mode: str, seed: int, key: str, asked: argparse.Namespace
) -> dict[str, Any]:
    """Train and score one model."""
    survey = surveys[name]
    request = TrainingRequest(
        name=key, family=family, mode=mode, preset=asked.preset, training_set=training_set(survey, family, mode),
        seed=seed, epochs=asked.epochs or (NULL_EPOCHS[family] if name == "null" else None), options={},
        weights_path=None, run_id=None,
    )  # fmt: skip
    before = PRETRAINING_STARS if family in STARS else PRETRAINING_SURVEY
    if (name, mode) == ("main", "improved") and family in PRETRAINING and before in surveys:
        request = _pretrained(surveys[before], request)
    trained = _trained(survey, request)
    cpu_s = trained["seconds"]["cpu"] + (trained["pretrained"] or {}).get("cpu_seconds", 0.0)
    twin_set = training_set(survey, family, MODES[1 - MODES.index(mode)])
    with connect(survey.config) as connection:
        frozen = find_training_set(connection, request.training_set).hash
        scores = score(connection, key, survey, twin_set, _cache(connection, survey))
        if "shift" in surveys and name == "main" and family in FAMILIES:
            other = surveys["shift"]
            other_set = training_set(other, family, mode)
            with connect(other.config) as there:
                found = elsewhere(connection, key, there, other_set, _cache(there, other))
            scores["shift_outside"] = found["outside"]
            for prop, values in found["property"].items():
                scores["property"][prop]["shift"] = values
    line = {
        "key": key, "survey": name, "family": family, "mode": mode, "seed": seed, "preset": asked.preset,
        "n": trained["n"], "cpu_s": round(cpu_s, 1), "pretrained": trained["pretrained"],
        "epochs": len(trained["history"]["loss"]), "n_parameter": trained["n_parameter"], "commit": _commit(),
        "training_set": frozen, **scores,
    }  # fmt: skip
    if "simulated_feature" in trained:
        line["simulated_feature"] = trained["simulated_feature"]
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return line


def _trained(survey: Survey, request: TrainingRequest) -> dict[str, Any]:
    """Metrics of a model, trained unless it is there: a run may have ended between its training and its line."""
    with connect(survey.config) as connection:
        stored = connection.execute("SELECT metrics FROM archive.model WHERE name = %s", (request.name,)).fetchone()
    return stored[0] if stored else train(survey.config, request)


def _pretrained(survey: Survey, request: TrainingRequest) -> TrainingRequest:
    """The request to go on from a network that learned from the pretraining survey."""
    before, after = PRETRAINING[request.family]
    path = survey.folder.parent / f"pretrained-{request.name}.safetensors"
    if not path.exists():
        first = replace(
            request, name=f"pretraining-{request.name}", epochs=request.epochs or before,
            training_set=training_set(survey, request.family, request.mode),
        )  # fmt: skip
        _trained(survey, first)
        with connect(survey.config) as connection:
            write_model_file(connection, first.name, path)
    return replace(request, weights_path=str(path), epochs=request.epochs or after, learning_rate=RATE_AFTER)


def _cache(connection: psycopg.Connection[Any], survey: Survey) -> Path:
    return cache_folder(connection, survey.config) or survey.config.data_dir / "no-cache"


def _table(lines: list[dict[str, Any]]) -> None:
    """One JSON line for each survey, family and property: means over the seeds, and which bars are met."""
    runs: dict[tuple[str, str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        for prop, found in line["property"].items():
            runs[line["survey"], line["family"], prop, line["mode"]].append({**found, "line": line})
    for (survey, family, prop, mode), found in sorted(runs.items()):
        twin = runs.get((survey, family, prop, "as-published"), [])
        cpu_s = max(each["line"]["cpu_s"] for each in found)
        summary: dict[str, Any] = {
            "survey": survey, "family": family, "property": prop, "mode": mode, "n_seed": len(found),
            **_against(found, twin if mode == "improved" else [], "", survey == "null"),
            **_against(found, twin if mode == "improved" else [], "_truth", survey == "null"),
            **{
                name: round(float(np.mean([each["network"][name] for each in found])), 3)
                for name in ("mae", "nmad", "f_out", "r2", "coverage_68", "coverage_90", "coverage_95")
            },
            "n_test": found[0]["network"]["n"], "cpu_s": round(cpu_s), "within_budget": cpu_s <= BUDGET_CPU_S,
        }  # fmt: skip
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
        "ceiling": round(ceiling, 4), "gap_closed": round(float((trees - sigma.mean()) / (trees - ceiling)), 3),
    }  # fmt: skip
    if twin:
        own, other = (_sigmas(each, "common" + reference).mean() for each in (found, twin))
        summary["less_than_twin"] = round(float(1 - own / other), 3)
        summary["n_common"] = int(found[0]["common"]["n"])
    measured = _sigmas(found, "photometry" + reference)
    if len(measured):
        summary["photometry"] = round(float(measured.mean()), 4)
    if is_null:
        summary["gain_over_catalogue"] = round(float(1 - sigma.mean() / trees), 3)
    return {name + reference: value for name, value in summary.items()}


def _sigmas(found: list[dict[str, Any]], predictor: str) -> Any:
    return np.array([each[predictor]["sigma"] for each in found if predictor in each])


if __name__ == "__main__":
    main()
