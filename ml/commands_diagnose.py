"""`galbase diagnose`: plots and numbers of a simulated survey, for a sceptic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.console import note, out, progress, table


def diagnose(
    folder: Annotated[Path, typer.Argument(help="Folder written by galbase simulate.")],
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for the plots; FOLDER/diagnostics by default.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="Folder with real SDSS spectra and images to put beside.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Compare a simulated survey, as written, with published relations, with its own error bars, and with real data.

    Exit status 1 when a number misses its expectation.

    Example: galbase diagnose sim --plots sim/diagnostics --real ../data
    """
    from galbase.ml.diagnostics.run import DIAGNOSTICS, REAL
    from galbase.ml.diagnostics.run import diagnose as run

    where = plots or folder / "diagnostics"
    with progress("diagnose", len(DIAGNOSTICS) + (len(REAL) if real else 0), "diagnostics") as bar:
        result = run(folder, where, real, progress=lambda _name: bar.advance())
    if as_json:
        out(json.dumps(result.as_dict()))
    else:
        table(
            ["check", "value", "expected", "tolerance", "n", "verdict", "reference"],
            [
                [
                    check.name, f"{check.value:.3f}",
                    {"both": "", "above": ">= ", "below": "<= "}[check.side] + f"{check.expected:g}",
                    f"{check.tolerance:.3g}", check.n, "pass" if check.passed else "FAIL", check.reference,
                ]
                for check in result.checks
            ],
        )  # fmt: skip
        for one in result.skipped:
            note(f"left out: {one.name}: {one.reason}")
        note(f"{len(result.plots)} plots in {where}")
    if not result.passed:
        raise typer.Exit(1)
