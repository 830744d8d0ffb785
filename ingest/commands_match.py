"""`galbase match`: a file's rows with their sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from galbase.schema import console
from galbase.sql.output_format import OutputFormat, choose_format


def match(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="FITS, VOTable, Parquet or CSV file with positions.")],
    release: Annotated[str, typer.Argument(help="Release that its rows are matched to.")],
    radius_arcsec: Annotated[float, typer.Option(help="Largest separation, arcsec.")],
    min_radius_arcsec: Annotated[float, typer.Option(help="Smallest separation, arcsec.")] = 0.0,
    nearest: Annotated[int | None, typer.Option(min=1, help="Sources kept of each row.")] = 1,
    all_matches: Annotated[bool, typer.Option("--all", help="Keep all sources of each row.")] = False,
    mutual_best: Annotated[
        bool, typer.Option("--mutual-best", help="Keep only pairs that are each other's nearest.")
    ] = False,
    join: Annotated[
        Literal["inner", "left", "anti"], typer.Option(help="Matched rows; all rows; only rows without a source.")
    ] = "inner",
    ra: Annotated[str | None, typer.Option(help="Column of the right ascension [by UCD or name].")] = None,
    dec: Annotated[str | None, typer.Option(help="Column of the declination [by UCD or name].")] = None,
    angle_unit: Annotated[Literal["deg", "rad"] | None, typer.Option(help="Unit of the position.")] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="How to write the result; without, the ending of --out decides, else table."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; it appears complete or not at all.")] = None,
) -> None:
    """Match a file's rows with the sources of a release, without loading the file.

    Example: galbase match targets.csv legacysurvey-dr9 --radius-arcsec 1 --out matched.fits
    """
    from galbase.ingest.match_file import match_file
    from galbase.schema.database import connect
    from galbase.sql.output import write_result

    chosen = choose_format(output_format, out)
    with connect(ctx.obj, role="reader", autocommit=True) as connection:
        found = match_file(
            connection,
            file,
            release,
            radius_arcsec,
            ra=ra,
            dec=dec,
            angle_unit=angle_unit,
            min_radius_arcsec=min_radius_arcsec,
            nearest=None if all_matches else nearest,
            mutual_best=mutual_best,
            join_type=join,
        )
    for text in found.notes:
        console.note(text)
    if found.nowhere:
        console.note(
            f"{len(found.nowhere)} of {found.n_row} rows have no position on the sky and match nothing; the first is "
            f"row {found.nowhere[0]}, counted from 0."
        )
    write_result(found.result, chosen, out)
    console.note(f"{found.n_matched} of {found.n_row} rows have a source of {release}")
