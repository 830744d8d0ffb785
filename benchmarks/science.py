"""The four methods on one frozen simulated survey: every method, mode and seed with the same budget, beside its bars.

``make science``, or ``python benchmarks/science.py --folder build/science --size 20000 --seeds 1 2 3``. Resumable: a
line in ``results.jsonl`` is a finished run, and is not run again; a table ends it. Runs may be chosen by ``--only``, a
part of their key such as ``main-galeffnet-improved``. Figures that were measured are kept in
``benchmarks/science_results.jsonl``, with the commit that each was measured at; ``--table`` tells their table. A
copy of that file in the folder lets another machine go on from it; the runs that were repeated gave the same figures.

Improved networks start from one that learned from a pretraining survey, disjoint in sky and seed, with the same seed;
its CPU-seconds count. On the null survey they start afresh: its images tell nothing of what others do.

Bars (CPU-seconds are those of a whole run, training, calibration and scoring included, at most 1200): an improved model
closes 30 % of the gap between boosted trees on the catalogue and the ceiling (the same trees on the true structure),
has 10 % less sigma than its as-published twin on the galaxies that both were tested on, no gain over the catalogue on
the null survey (beside it what is better photometry and no morphology: trees on the catalogue and the image's fluxes
within circles, and a dense network on these fluxes), and flags the shifted survey out of domain more often.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from science_archive import PRETRAINING as PRETRAINING_SURVEY
from science_archive import PRETRAINING_STARS, SURVEYS, Survey, prepare, training_set
from science_score import elsewhere, score
from science_table import AFRESH, FAMILIES, MODES, STARS, table

from galbase.ml.jobs import train
from galbase.ml.model_file import write_model_file
from galbase.ml.request import TrainingRequest
from galbase.ml.training_set import find_training_set
from galbase.schema.cache_folder import cache_folder
from galbase.schema.database import connect

# Epochs of the pretraining, and of the training from there at a third of the rate.
PRETRAINING = {
    "galeffnet": (7, 7), "gpm_resnet": (30, 20), "mmlforgalam_m1": (20, 12), "mmlforgalam_m3": (8, 8),
    "mmlforgalam_fused": (5, 6),
}  # fmt: skip
RATE_AFTER = 3e-4
# On the null survey, where nothing is gone on from.
NULL_EPOCHS = {"galeffnet": 18, "gpm_resnet": 60}
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
        table([json.loads(line) for line in _lines(MEASURED)])
        return
    folder: Path = asked.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    surveys = {each.name: each for each in prepare(folder, asked.size, asked.spectra, 1, tuple(asked.surveys))}
    results = folder / "results.jsonl"
    known = {json.loads(line)["key"]: json.loads(line) for line in _lines(results)}
    for kind in _plan(asked.spectra > 0):
        for seed in asked.seeds:
            key = f"{kind.key}-{asked.preset}-{seed}"
            if kind.survey in surveys and key not in known and asked.only in key:
                known[key] = _run(surveys, kind, seed, key, asked)
                with results.open("a") as stream:
                    stream.write(json.dumps(known[key]) + "\n")
    table(list(known.values()))


@dataclass(frozen=True)
class Kind:
    """Runs that differ in their seed alone.

    Parameters
    ----------
    survey, family, mode : str
    variant : str
        ``afresh``: not pretrained; else empty.
    """

    survey: str
    family: str
    mode: str
    variant: str = ""

    @property
    def key(self) -> str:
        """Its name in results."""
        return "-".join(part for part in (self.survey, self.family, self.mode, self.variant) if part)

    @property
    def pretraining(self) -> str | None:
        """Survey that it learns from before."""
        starts_there = self.survey == "main" and self.mode == "improved" and self.family in PRETRAINING
        if not starts_there or self.variant == AFRESH:
            return None
        return PRETRAINING_STARS if self.family in STARS else PRETRAINING_SURVEY


def _plan(with_spectra: bool) -> list[Kind]:
    runs = [Kind("main", family, mode) for family in FAMILIES for mode in MODES]
    runs += [Kind("null", family, "improved") for family in FAMILIES]
    if with_spectra:
        runs += [Kind("main", family, mode) for family in STARS for mode in MODES]
        # What simulated features are compared with.
        runs.append(Kind("main", "mmlforgalam_m3", "improved", AFRESH))
    return runs


def _commit() -> str:
    """Short hash of the commit that runs; ``+`` after it where files differ from it."""
    asked = ["git", "describe", "--always", "--abbrev=10", "--dirty=+"]
    return subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _run(surveys: dict[str, Survey], kind: Kind, seed: int, key: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Train and score one model."""
    survey, family, mode = surveys[kind.survey], kind.family, kind.mode
    request = TrainingRequest(
        name=key, family=family, mode=mode, preset=asked.preset, training_set=training_set(survey, family, mode),
        seed=seed, epochs=asked.epochs or (NULL_EPOCHS[family] if kind.survey == "null" else None),
        options={}, weights_path=None, run_id=None,
    )  # fmt: skip
    if kind.pretraining in surveys:
        request = _pretrained(surveys[kind.pretraining], request)
    trained = _trained(survey, request)
    cpu_s = trained["seconds"]["cpu"] + (trained["pretrained"] or {}).get("cpu_seconds", 0.0)
    twin_set = training_set(survey, family, MODES[1 - MODES.index(mode)])
    with connect(survey.config) as connection:
        frozen = find_training_set(connection, request.training_set).hash
        scores = score(connection, key, survey, twin_set, _cache(connection, survey))
        if "shift" in surveys and kind.survey == "main" and family in FAMILIES:
            other = surveys["shift"]
            other_set = training_set(other, family, mode)
            with connect(other.config) as there:
                found = elsewhere(connection, key, there, other_set, _cache(there, other))
            scores["shift_outside"] = found["outside"]
            for prop, values in found["property"].items():
                scores["property"][prop]["shift"] = values
    line = {
        "key": key, "survey": kind.survey, "family": family, "mode": mode, "variant": kind.variant, "seed": seed,
        "preset": asked.preset, "n": trained["n"], "cpu_s": round(cpu_s, 1), "pretrained": trained["pretrained"],
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


if __name__ == "__main__":
    main()
