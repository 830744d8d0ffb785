"""The demonstration: the commands a user would type, run one after another, and five questions in SQL."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from galbase.ml.demo_real import real_commands
from galbase.schema.config import Config
from galbase.schema.console import note, out, table
from galbase.schema.errors import GalbaseError

LICENCE = "CC0-1.0"
CITATION = "galbase simulated survey"
TRAINING_SET = "demo"
# As the text describes them, contours of Canny edges lose the target in half of the images; regions lose 3 %.
CONTOURS = "contours_of=regions"


class Runner:
    """Runs galbase's own commands in this process, showing each as it would be typed."""

    def __init__(self, config: Config) -> None:
        from typer.main import get_command

        from galbase.schema.cli import app

        self._config = config
        self._command = get_command(app)
        self.seconds: dict[str, float] = {}

    def __call__(self, *words: object, allow_rejected: bool = False) -> None:
        """Run ``galbase WORDS``.

        Raises
        ------
        GalbaseError
            If the command fails; with `allow_rejected`, exit status 1 (a rejected file, with its recorded reason)
            is let pass.
        """
        texts = [str(word) for word in words]
        out(f"\n$ galbase {shlex.join(texts)}")
        sys.stdout.flush()
        start = time.monotonic()
        status = self._command.main(texts, prog_name="galbase", obj=self._config, standalone_mode=False)
        self.seconds[" ".join(texts[:2])] = self.seconds.get(" ".join(texts[:2]), 0.0) + time.monotonic() - start
        if status and not (allow_rejected and status == 1):
            raise GalbaseError(f"galbase {shlex.join(texts)} ended with status {status}; its message stands above.")


def run_demo(config: Config, *, size: int, seed: int, real: Path | None = None, as_json: bool = False) -> None:
    """Run the main job from end to end on a simulated survey of known truth.

    Parameters
    ----------
    config : Config
        Configuration whose data directory is the demo's own and whose database is the embedded server.
    size, seed : int
        Galaxies of the simulated survey, and its seed.
    real : Path, optional
        Directory with real samples, each in a folder of its own.
    as_json : bool
        End with one JSON line of figures.

    Raises
    ------
    GalbaseError
        If a step fails.
    """
    start = time.monotonic()
    if real is not None and not real.is_dir():
        raise GalbaseError(f"--real {real} is not a directory; name the one that holds the real samples.")
    run = Runner(config)
    survey = config.data_dir / f"survey-{size}-{seed}"
    run("db", "start")
    run("db", "upgrade")
    if (survey / "simulation.json").exists():
        note(f"{survey} is there already; delete it to simulate anew.")
    else:
        run("simulate", "--out", survey, "--size", size, "--seed", seed)
    _load(run, survey, size, seed)
    suffix = f"{TRAINING_SET}-{size}-{seed}"
    model = f"galeffnet-{suffix}"
    _learn(run, config, suffix, model)
    if real is not None:
        for words in real_commands(real):
            run(*words, allow_rejected=words[0] == "ingest")
        run("refresh")
    answers = _ask(config)
    figures = _figures(config, model)
    _closing(config, figures, time.monotonic() - start)
    if as_json:
        seconds = {key: round(value, 1) for key, value in run.seconds.items()}
        out(json.dumps({**figures, "answers": answers, "seconds": seconds, "total_s": time.monotonic() - start}))


def _releases(size: int, seed: int) -> dict[str, str]:
    return {part: f"sim-{part}-{size}-{seed}" for part in ("legacysurvey", "sdss", "truth")}


def _load(run: Runner, survey: Path, size: int, seed: int) -> None:
    names = _releases(size, seed)
    for priority, (part, name) in enumerate(names.items(), start=10):
        run(
            "release", "add", name, "--survey", f"simulated {part}", "--licence", LICENCE,
            "--citation", CITATION, "--priority", priority, "--simulated",
        )  # fmt: skip
    run("ingest", "images", *sorted((survey / "legacysurvey").glob("*.h5")), "--release", names["legacysurvey"])
    run("ingest", "catalogue", survey / "legacysurvey" / "sweep-sim.fits", "--release", names["legacysurvey"])
    run("ingest", "catalogue", survey / "sdss" / "galSpec-sim.fits", "--release", names["sdss"])
    run("ingest", "spectra", survey / "sdss" / "spectra", "--release", names["sdss"])
    run("ingest", "catalogue", survey / "truth.fits", "--release", names["truth"])
    run("crossmatch", names["legacysurvey"], names["sdss"], "--radius-arcsec", 3)
    run("crossmatch", names["legacysurvey"], names["truth"], "--radius-arcsec", 1)
    run("preprocess", "--release", names["legacysurvey"], "--config", "galeffnet", "--option", CONTOURS)


def _learn(run: Runner, config: Config, training_set: str, model: str) -> None:
    if not _exists(config, "SELECT 1 FROM archive.training_set WHERE name = %s", training_set):
        run("training-set", "create", training_set, "--selection", "galeffnet", "--seed", 1, "--option", CONTOURS)
    if not _exists(config, "SELECT 1 FROM archive.model WHERE name = %s", model):
        run("train", "galeffnet", "--training-set", training_set, "--preset", "tiny", "--name", model)
    run("refresh")
    run("promote", model)
    run("evaluate", model)


def _exists(config: Config, query: str, name: str) -> bool:
    from galbase.schema.database import connect

    with connect(config, role="reader") as connection:
        return connection.execute(query.encode(), (name,)).fetchone() is not None


def _ask(config: Config) -> int:
    """Run and print every question of sql/examples; return how many rows they gave."""
    from galbase.schema.database import connect

    n_row = 0
    with connect(config, role="reader") as connection:
        for path in sorted(files("galbase.sql").joinpath("examples").iterdir(), key=lambda item: item.name):
            if not path.name.endswith(".sql"):
                continue
            text = path.read_text(encoding="utf-8")
            out("\n" + text.strip())
            cursor = connection.execute(text.encode())
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            table([column.name for column in cursor.description or ()], rows)
            n_row += len(rows)
    return n_row


def _figures(config: Config, model: str) -> dict[str, Any]:
    """Metrics of the demo's model on held-out sky, as stored by `galbase train` and `galbase evaluate`."""
    from galbase.schema.database import connect

    with connect(config, role="reader") as connection:
        row = connection.execute("SELECT metrics FROM archive.model WHERE name = %s", (model,)).fetchone()
    if row is None:
        raise GalbaseError(f"model {model} is not registered; delete {config.data_dir} and run the demo again.")
    metrics: dict[str, Any] = row[0]
    return metrics


def _closing(config: Config, figures: dict[str, Any], seconds: float) -> None:
    out("\nOn sky that the training never saw, predicted against label:")
    for name, scores in figures["test"].items():
        network, mean = scores["network"], scores["mean"]
        trees = scores.get("boosted_trees", {}).get("sigma")
        ratio = network["sigma"] / mean["sigma"]
        beside = "" if trees is None else f" (boosted trees on the catalogue {trees:.3f})"
        out(
            f"  {name}: sigma {network['sigma']:.3f} dex, "
            f"{ratio:.2f} of the mean predictor's {mean['sigma']:.3f}{beside}; "
            f"68 % interval covers {network['coverage_68']:.1%} of {network['n']:.0f}"
        )
    where = shlex.quote(str(config.data_dir))
    out(f"\nDone in {seconds:.0f} s. The archive stays in {where}.")
    out(f"Connect:  galbase --data-dir {where} db psql")
    out(f'Or with any client:  psql "$(galbase --data-dir {where} db url --role reader)"')
    out(f"Stop:     galbase --data-dir {where} db stop")
    out(f"Remove:   galbase --data-dir {where} db stop && rm -r {where}")
