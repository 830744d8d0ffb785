"""Commands that score models: `galbase evaluate` and `galbase report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.console import note, report, scores_table

Json = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]
Plots = Annotated[Path | None, typer.Option(help="Folder for the pictures.")]


def evaluate(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Name or number of the model.")],
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Score a model's stored predictions on held-out sky, as a whole and in parts, beside the baselines.

    Example: galbase evaluate galeffnet-tiny-improved-main --plots plots
    """
    from galbase.ml.evaluation import evaluate as score
    from galbase.ml.model_store import find_model
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        record = find_model(connection, model)
        found = score(connection, record)
    written = []
    if plots is not None:
        from galbase.ml.model_plots import write_plots

        written = [str(path) for path in write_plots(plots, record, found)]
    if as_json:
        report({"model": record.name, "test": found.scores, "strata": found.strata, "plots": written}, True)
        return
    scores_table(found.scores, f"{record.name} on held-out sky")
    for name, parts in found.strata.items():
        failed = [f"{each['of']} {each['name']}" for each in parts if each["coverage_fails"]]
        note(f"{name}: coverage fails in {len(failed)} of {len(parts)} parts")
        for part in failed:
            note(f"  {part}")
    for path in written:
        note(f"wrote {path}")


def report_models(
    ctx: typer.Context,
    models: Annotated[list[str] | None, typer.Argument(help="Models [all candidates and serving ones].")] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page of models: scores beside the baselines, coverage in parts, pictures.

    Example: galbase report --out report.html
    """
    import tempfile

    from galbase.ml.evaluation import evaluate as score
    from galbase.ml.model_plots import write_plots
    from galbase.ml.model_store import find_model, kept_models
    from galbase.ml.report import write_report
    from galbase.schema.database import connect
    from galbase.schema.errors import GalbaseError

    with connect(ctx.obj) as connection, tempfile.TemporaryDirectory() as scratch:
        records = [find_model(connection, name) for name in models] if models else kept_models(connection)
        if not records:
            raise GalbaseError("there is no model to report; train one with `galbase train`.")
        pages = []
        for record in records:
            found = score(connection, record)
            pages.append((record, found, write_plots(plots or Path(scratch), record, found)))
        write_report(out, pages)
    report({"report": str(out), "models": [record.name for record in records] if as_json else len(records)}, as_json)
