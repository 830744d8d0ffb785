"""`galbase ingest catalogue`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.schema import console

if TYPE_CHECKING:
    from galbase.ingest.catalogue_report import CatalogueReport


def catalogue(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Catalogue files, or folders that are searched for them.")],
    release: Annotated[str, typer.Option(help="Release the rows belong to; see `galbase release add`.")],
    ra: Annotated[str | None, typer.Option(help="Column of right ascension [from UCD or name].")] = None,
    dec: Annotated[str | None, typer.Option(help="Column of declination [from UCD or name].")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of the ids [from UCD or name].")] = None,
    angle_unit: Annotated[
        str | None, typer.Option(help="Unit of the position, deg or rad [what the file says, or deg].")
    ] = None,
    null_value: Annotated[
        list[str] | None, typer.Option(help="A value that means missing, such as -9999; may be repeated.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Directory that paths are recorded relative to [the folder given].")
    ] = None,
    bulk: Annotated[
        bool | None,
        typer.Option(
            "--bulk/--no-bulk",
            help="Make indexes when all rows are in [if the files are large and the archive is not].",
        ),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786 [threads here].")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of threads [one a core].", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Load catalogues: FITS tables, VOTable, Parquet and CSV, compressed or not.

    Legacy Survey tractor and sweep files and MPA-JHU galSpec tables are recognised by their columns; any other
    catalogue becomes a table of its own in schema catalogue. Loading a file again changes nothing; a changed file
    replaces its rows. A broken file is rejected with its reason, the others load; the exit status is then 1. Files are
    loaded in parallel, each in one transaction; an interrupted load goes on where it was when it is called again.

    Example: galbase ingest catalogue openngc.parquet --release openngc --angle-unit rad
    """
    from galbase.ingest.catalogue_job import run_catalogues
    from galbase.ingest.catalogue_options import CatalogueOptions

    options = CatalogueOptions(ra, dec, id_column, angle_unit, tuple(null_value or ()))
    with console.progress("catalogues", unit="MB") as progress:
        report = run_catalogues(
            ctx.obj, release, paths, options, root=root, bulk=bulk, scheduler=scheduler, workers=workers,
            progress=progress, announce=console.note,
        )  # fmt: skip
    _write(release, report, as_json)
    if report.count("rejected"):
        raise typer.Exit(1)


def _write(release: str, report: CatalogueReport, as_json: bool) -> None:
    loaded = report.total("loaded")
    payload: dict[str, Any] = {
        "release": release,
        "files_loaded": report.count("loaded"),
        "files_unchanged": report.count("unchanged"),
        "files_rejected": report.count("rejected"),
        "rows_loaded": loaded,
        "rows_rejected": report.total("rejected"),
        "rows_inserted": report.total("inserted"),
        "rows_updated": report.total("updated"),
        "rows_moved": report.total("moved"),
        "rows_deleted": report.total("deleted"),
        "seconds": round(report.seconds, 3),
        "rows_per_second": round(loaded / report.seconds) if loaded and report.seconds else None,
    }
    if as_json:
        from dataclasses import asdict

        console.report(
            payload | {"nulls": dict(report.nulls()), "files": [asdict(file) for file in report.files]}, True
        )
        return
    console.report(payload, False)
    for cause, count in sorted(report.nulls().items()):
        console.out(f"NULL for {cause}: {count} values")
    for file in report.files:
        for text in file.notes:
            console.note(f"Note: {text}")
        if file.state == "rejected":
            console.note(f"Rejected: {file.file}: {file.reason}")
