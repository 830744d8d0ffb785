"""`galbase coverage` and `galbase map`: where on the sky a release is, and what it is like there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galbase.schema import console

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
