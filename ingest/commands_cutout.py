"""`galbase cutout` and `galbase spectrum`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.schema import console

if TYPE_CHECKING:
    from galbase.ingest.stored_observation import StoredObservation

SourceId = Annotated[int, typer.Argument(help="source_id of the detection.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


def cutout(
    ctx: typer.Context,
    source_id: SourceId,
    out: Annotated[Path, typer.Option(help="File to write: .png, .jpg or .fits.")],
    as_json: AsJson = False,
) -> None:
    """Write the image of a source, or of another detection of its galaxy, from the survey's file.

    Example: galbase cutout 1296945872433834351 --out galaxy.png
    """
    from galbase.ingest.cutout import write_cutout
    from galbase.ingest.stored_observation import find_observation
    from galbase.schema.database import connect

    with connect(ctx.obj, role="reader") as connection:
        image = find_observation(connection, source_id, "image")
    width, height = write_cutout(image, out)
    _report(image, out, {"width": width, "height": height, "bands": ",".join(image.bands)}, as_json)


def spectrum(
    ctx: typer.Context,
    source_id: SourceId,
    out: Annotated[Path, typer.Option(help="File to write: .png, .fits or .csv.")],
    as_json: AsJson = False,
) -> None:
    """Write the spectrum of a source, or of another detection of its galaxy, from the survey's file.

    Example: galbase spectrum 1296945872433834351 --out spectrum.fits
    """
    from galbase.ingest.spectrum_output import write_spectrum
    from galbase.ingest.stored_observation import find_observation
    from galbase.schema.database import connect

    with connect(ctx.obj, role="reader") as connection:
        stored = find_observation(connection, source_id, "spectrum")
    n_pixel = write_spectrum(stored, out)
    _report(stored, out, {"pixels": n_pixel, "z": stored.z}, as_json)


def _report(stored: StoredObservation, out: Path, details: dict[str, Any], as_json: bool) -> None:
    console.report({"out": str(out), **stored.terms(), **details}, as_json)
    if stored.source_id != stored.asked_id:
        console.note(f"Source {stored.asked_id} has none of its own; this one is of source {stored.source_id}.")
