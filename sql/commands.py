"""`galbase query` and `galbase cone`: answers as a table on the terminal or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.schema.errors import GalbaseError, UsageError
from galbase.sql.output_format import OutputFormat, choose_format
from galbase.sql.position import parse_dec, parse_ra, parse_radius_arcsec

if TYPE_CHECKING:
    from galbase.schema.config import Config

FormatOption = Annotated[
    OutputFormat | None,
    typer.Option("--format", help="How to write the result; without, the ending of --out decides, else table."),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="File to write; it appears complete or not at all.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=0, help="Read no more rows than this.")]


def query(
    ctx: typer.Context,
    sql: Annotated[str | None, typer.Argument(metavar="[SQL]", help="One statement that reads.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the statement from a file.")] = None,
    output_format: FormatOption = None,
    out: OutOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="NAME=VALUE for the placeholder %(NAME)s; may be repeated. Write % as %% then."),
    ] = None,
    limit: LimitOption = None,
) -> None:
    """Run one SQL statement as the reader and write its result with units, UCDs, licence and citation.

    Example: galbase query "SELECT * FROM api.cone_search(150.1, 2.2, 60)" --out near.fits
    """
    if (sql is None) == (file is None):
        raise UsageError("give the statement as the argument or by --file, one of the two.")
    if file is not None:
        try:
            sql = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GalbaseError(f"--file {file} cannot be read: {error}. Check the path.") from error
    if not sql or not sql.strip():
        raise UsageError("the statement is empty; write one like 'SELECT count(*) FROM archive.source'.")
    _answer(ctx.obj, sql, _parameters(param or []), output_format, out, limit, None)


cone = typer.Typer(add_completion=False)


# A declination like -1.2 looks like an option; options that do not exist are taken as arguments here.
@cone.command("cone", context_settings={"ignore_unknown_options": True})
def cone_search(
    ctx: typer.Context,
    ra: Annotated[str, typer.Argument(help="Degrees (150.1) or hours (10:00:00.5, 10h00m00.5s).")],
    dec: Annotated[str, typer.Argument(help="Degrees (-1.2) or -01:02:03, -1d02m03s.")],
    radius: Annotated[str, typer.Argument(help="With its unit: 10arcsec, 1arcmin, 0.5deg.")],
    release: Annotated[str | None, typer.Option("--release", help="Search this release only.")] = None,
    output_format: FormatOption = None,
    out: OutOption = None,
    limit: LimitOption = None,
) -> None:
    """List the sources within a radius of a position, the nearest first.

    Example: galbase cone 10:00:00.5 -01:02:03 1arcmin
    """
    values = {
        "ra": parse_ra(ra),
        "dec": parse_dec(dec),
        "radius": parse_radius_arcsec(radius),
        "release": release,
    }
    statement = (
        "SELECT * FROM api.cone_search(%(ra)s, %(dec)s, %(radius)s, %(release)s::text) "
        "ORDER BY separation_arcsec, source_id"
    )
    _answer(ctx.obj, statement, values, output_format, out, limit, release)


def _parameters(given: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"--param {text!r} is not NAME=VALUE; write it like --param z_max=0.1.")
        values[name] = value
    return values


def _answer(
    config: Config,
    statement: str,
    values: dict[str, Any],
    output_format: OutputFormat | None,
    out: Path | None,
    limit: int | None,
    release: str | None,
) -> None:
    from galbase.schema.database import connect
    from galbase.sql.output import write_result
    from galbase.sql.query import run_query

    chosen = choose_format(output_format, out)
    with connect(config, role="reader") as connection:
        write_result(run_query(connection, statement, values, limit=limit, release=release), chosen, out)
