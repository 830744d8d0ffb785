"""Commands that score models: `galbase evaluate` and `galbase report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galbase.schema.console import note, report, scores_table, table

if TYPE_CHECKING:
    from galbase.ml.evaluation import Evaluation
    from galbase.ml.side_by_side import ComparedModel

Json = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]
Plots = Annotated[Path | None, typer.Option(help="Folder for the pictures.")]


def evaluate(
    ctx: typer.Context,
    models: Annotated[
        list[str], typer.Argument(help="Names or numbers of models; several of one training set are put side by side.")
    ],
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Score models' stored predictions on held-out sky, as a whole and in parts, beside the baselines.

    Several models of one training set are compared on the same objects: what bands, resolution and backbone are worth.

    Example: galbase evaluate galeffnet-tiny-improved-main --plots plots
    """
    from galbase.ml.evaluation import evaluate as score
    from galbase.ml.model_store import find_model
    from galbase.ml.side_by_side import side_by_side
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        found = [(record, score(connection, record)) for record in (find_model(connection, name) for name in models)]
        compared = side_by_side(found) if len(found) > 1 else {}
    written = []
    if plots is not None:
        from galbase.ml.model_plots import write_comparison, write_plots

        for record, each in found:
            written += [str(path) for path in write_plots(plots, record, each)]
        if compared:
            written += [str(path) for path in write_comparison(plots, found)]
    if as_json:
        scored = [{"model": record.name, "test": each.scores, "strata": each.strata} for record, each in found]
        if not compared:
            report({**scored[0], "plots": written}, True)
            return
        rows = {name: [each.to_mapping() for each in of_property] for name, of_property in compared.items()}
        report({"models": scored, "side_by_side": rows, "plots": written}, True)
        return
    for record, each in found:
        _show(record.name, each)
    for name, of_property in compared.items():
        _show_side_by_side(name, of_property)
    for path in written:
        note(f"wrote {path}")


def _show(model: str, found: Evaluation) -> None:
    scores_table(found.scores, f"{model} on held-out sky")
    for name, parts in found.strata.items():
        failed = [f"{each['of']} {each['name']}" for each in parts if each["coverage_fails"]]
        note(f"{name}: coverage fails in {len(failed)} of {len(parts)} parts")
        for part in failed:
            note(f"  {part}")


def _show_side_by_side(name: str, models: Sequence[ComparedModel]) -> None:
    from galbase.ml.side_by_side import METRICS

    rows = [
        (
            each.model, each.mode, each.backbone, each.bands, each.resolution, int(each.metrics["n"]),
            *(round(each.metrics[key], 3) for key in METRICS),
            None if each.sigma_change is None else f"{each.sigma_change:+.3f} ± {each.sigma_change_err:.3f}",
        )
        for each in models
    ]  # fmt: skip
    columns = ("model", "mode", "backbone", "bands", "side [px]", "n", *METRICS, "change of sigma")
    table(columns, rows, f"{name}, side by side on the same held-out objects")


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
        kept = [each for each in kept_models(connection) if each.training_set_id is not None]
        records = [find_model(connection, name) for name in models] if models else kept
        if not records:
            raise GalbaseError("there is no model to report; train one with `galbase train`.")
        pages = []
        for record in records:
            found = score(connection, record)
            pages.append((record, found, write_plots(plots or Path(scratch), record, found)))
        write_report(out, pages)
    report({"report": str(out), "models": [record.name for record in records] if as_json else len(records)}, as_json)
