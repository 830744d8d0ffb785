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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same size and seed, same bytes.")] = 1,
    spectra: Annotated[int, typer.Option("--spectra", min=0, help="Number of spectrum files.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Simulate a survey with known truth: images, catalogues, labels and spectra in the real surveys' formats.

    Example: galbase simulate --out sim --size 3000 --seed 1
    """
    from galbase.ml.simulate.survey import simulate as run

    with progress("simulate", size, "galaxies") as bar:
        done = 0

        def advance(now: int, _total: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        result = run(out, size, seed, n_spectra=spectra, progress=advance)
    payload = asdict(result)
    if not as_json:
        payload["files"] = len(result.files)
    report(payload, as_json)
