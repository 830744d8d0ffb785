"""`galbase simulate`: a survey with known truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.console import progress, report


def simulate(
    out: Annotated[Path, typer.Option("--out", help="Folder to write, new or of the same survey.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Number of galaxies.")] = 3000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same size, seed and options, same bytes.")] = 1,
    spectra: Annotated[int, typer.Option("--spectra", min=0, help="Number of spectrum files.")] = 50,
    surveys: Annotated[
        str, typer.Option("--surveys", help="Whose images: legacy (grz), sdss (gri) or legacy,sdss.")
    ] = "legacy",
    shift: Annotated[bool, typer.Option("--shift", help="Worse seeing with stronger wings, and shallower.")] = False,
    decorrelate: Annotated[
        bool,
        typer.Option("--decorrelate-morphology", help="Null test: every galaxy looks like another of its colours."),
    ] = False,
    sky: Annotated[
        str, typer.Option("--sky", help="main, or pretraining for sky that no main survey covers.")
    ] = "main",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Simulate a survey with known truth: images, catalogues, labels and spectra in the real surveys' formats.

    An interrupted run goes on where it was.

    Example: galbase simulate --out sim --size 20000 --seed 1 --spectra 2000 --surveys legacy,sdss
    """
    from galbase.ml.simulate.parameters import SurveyParameters, shifted
    from galbase.ml.simulate.survey import simulate as run

    parameters = shifted(SurveyParameters()) if shift else SurveyParameters()
    named = tuple(name.strip() for name in surveys.split(","))
    with progress("simulate", size, "galaxies") as bar:
        done = 0

        def advance(now: int, _total: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        result = run(
            out, size, seed, n_spectra=spectra, surveys=named, decorrelated=decorrelate, sky=sky, parameters=parameters,
            progress=advance,
        )  # fmt: skip
    payload = asdict(result)
    if not as_json:
        payload["files"] = len(result.files)
    report(payload, as_json)
