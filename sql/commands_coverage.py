"""`galbase coverage` and `galbase map`: where on the sky a release is, and what it is like there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galbase.schema import console
from galbase.schema.errors import UsageError
from galbase.sql.aggregate import Aggregate

Release = Annotated[str, typer.Argument(help="Release whose sources are looked at.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


def coverage(
    ctx: typer.Context,
    release: Release,
    order: Annotated[int, typer.Option(help="HEALPix order of the cells; 11 are 1.7 arcmin wide.", min=0, max=29)] = 11,
    out: Annotated[Path | None, typer.Option(help="MOC to write: .fits, .txt or .ascii, .json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how much of the sky a release covers, and write it as a Multi-Order Coverage map (IVOA MOC 2.0).

    Example: galbase coverage ls-dr9 --order 11 --out ls-dr9.moc.fits
    """
    from galbase.schema.database import connect
    from galbase.sql.coverage import check_suffix, read_coverage, write_coverage

    if out is not None:
        check_suffix(out)
    with connect(ctx.obj, role="reader") as connection:
        found = read_coverage(connection, release, order)
    if out is not None:
        write_coverage(found, out)
    console.report(({} if out is None else {"out": str(out)}) | found.summary(), as_json)


def sky_map(
    ctx: typer.Context,
    release: Release,
    out: Annotated[Path, typer.Option(help="File to write: .png, or .fits for healpy and TOPCAT.")],
    order: Annotated[
        int,
        typer.Option(help="HEALPix order of the cells; 6 are 55 arcmin wide, a .png takes 8 at most.", min=0, max=29),
    ] = 6,
    column: Annotated[
        str | None, typer.Option(help="Column of numbers to map; without it, sources per square degree.")
    ] = None,
    aggregate: Annotated[
        Aggregate | None, typer.Option(help="What to make of the column's values in a cell; without it, the mean.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Table of the column, of schema api, catalogue or archive [api.galaxy_property].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Map the sky of a release by HEALPix cells: how many sources a square degree, or an aggregate of a column.

    Example: galbase map ls-dr9 --column log_mstar_fib --aggregate median --out mass.png
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".fits"):
        raise UsageError(f"--out {out}: the ending {out.suffix!r} names no form of a map; use .png or .fits.")
    if column is None and (aggregate is not None or table is not None):
        raise UsageError("--aggregate and --table say something of a column: add --column NAME.")
    from galbase.schema.database import connect
    from galbase.sql.output_file import complete_file, note_credits
    from galbase.sql.sky_map import read_aggregate, read_density, write_map_fits
    from galbase.sql.sky_picture import check_order, draw_map

    if suffix == ".png":
        check_order(order)
    with connect(ctx.obj, role="reader") as connection:
        if column is None:
            found = read_density(connection, release, order)
        else:
            found = read_aggregate(
                connection, release, order, column, aggregate or Aggregate.MEAN, table or "api.galaxy_property"
            )
    with complete_file(out) as part:
        (draw_map if suffix == ".png" else write_map_fits)(found, part)
    console.report({"out": str(out)} | found.summary(), as_json)
    note_credits(found.credits)
