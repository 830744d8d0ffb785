"""`galbase export`: a value-added catalogue and the page that describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.console import report
from galbase.sql.output_format import OutputFormat, choose_format


def export(
    ctx: typer.Context,
    properties: Annotated[list[str], typer.Argument(help="Properties, such as oh12 or log_mstar_fib log_ssfr_fib.")],
    out: Annotated[Path, typer.Option("--out", help="File to write; its data model goes beside it, in HTML.")],
    where: Annotated[
        str | None, typer.Option(help="Condition on the columns of api.galaxy_property [all galaxies].")
    ] = None,
    output_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="fits, votable or parquet; without, the ending of --out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON object.")] = False,
) -> None:
    """Write the served predictions of a selection as a value-added catalogue, with units, UCDs, intervals and models.

    Example: galbase export oh12 --where "type = 'EXP'" --out exp-oh12.fits
    """
    from galbase.schema.database import connect
    from galbase.schema.errors import UsageError
    from galbase.sql.data_model import data_model_page, serving_models
    from galbase.sql.output import write_result
    from galbase.sql.output_file import complete_file
    from galbase.sql.query import run_query
    from galbase.sql.value_added import catalogue_statement, known_properties

    chosen = choose_format(output_format, out)
    if chosen not in (OutputFormat.fits, OutputFormat.votable, OutputFormat.parquet):
        raise UsageError(f"a catalogue is written as fits, votable or parquet, not {chosen.value}; name --out so.")
    names = known_properties(properties)
    page = out.with_name(f"{out.stem}-data-model.html")
    with connect(ctx.obj, role="reader") as connection:
        models = serving_models(connection, names)
        served = {name for card in models for name in card.properties}
        missing = [name for name in names if name not in served]
        if missing:
            raise UsageError(f"no model serves {missing[0]}; train one and `galbase promote` it first.")
        connection.commit()
        result = run_query(connection, catalogue_statement(connection, names, where))
        n_row = write_result(result, chosen, out)
    with complete_file(page) as part:
        part.write_text(
            data_model_page(out.name, where, n_row, result.columns, models, result.credits), encoding="utf-8"
        )
    report({"rows": n_row, "columns": len(result.columns), "catalogue": str(out), "data_model": str(page)}, as_json)
