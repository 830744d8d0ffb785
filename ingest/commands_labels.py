"""`galbase ingest labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galbase.schema import console


def labels(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Tables of labels, or folders that are searched for them.")],
    release: Annotated[str, typer.Option(help="Release whose sources the labels belong to.")],
    origin: Annotated[str, typer.Option(help="Catalogue or method of the labels; `truth` is for evaluation only.")],
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column of the sources' ids [specobjid, or a known name].")
    ] = None,
    radius_arcsec: Annotated[
        float | None, typer.Option(help="Match by position within this radius, arcsec, instead of by id.")
    ] = None,
    ra: Annotated[str | None, typer.Option(help="Column of right ascension [from UCD or name].")] = None,
    dec: Annotated[str | None, typer.Option(help="Column of declination [from UCD or name].")] = None,
    angle_unit: Annotated[
        str | None, typer.Option(help="Unit of the position, deg or rad [what the file says, or deg].")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="PROPERTY=COLUMN, where the names differ; may be repeated.")
    ] = None,
    null_value: Annotated[
        list[str] | None, typer.Option(help="A value that means missing, such as -9999; may be repeated.")
    ] = None,
    evaluation_only: Annotated[
        bool, typer.Option("--evaluation-only", help="Keep the labels out of selections that do not name them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Load labels that other catalogues or methods give to sources: FITS tables, VOTable, Parquet and CSV.

    Columns are named as properties (log_age, mh, oh12, log_mstar_fib...), with _err for one sigma. A row without a
    source is rejected with its reason; a changed file replaces its labels. A broken file is rejected, the others load;
    the exit status is then 1.

    Example: galbase ingest labels stellarpop.fits --release sdss-dr17 --origin ppxf
    """
    from galbase.ingest.label_file import LabelOptions, ingest_labels
    from galbase.ingest.releases import require_release
    from galbase.schema.database import connect
    from galbase.schema.errors import UsageError
    from galbase.schema.ledger import finish_run, start_run

    pairs = [text.partition("=") for text in column or []]
    wrong = [text for text, pair in zip(column or [], pairs, strict=True) if not (pair[0] and pair[2])]
    if wrong:
        raise UsageError(f"--column {wrong[0]!r} is not PROPERTY=COLUMN; write for example log_age=log_age_lw.")
    options = LabelOptions(
        origin=origin,
        id_column=id_column,
        radius_arcsec=radius_arcsec,
        ra=ra,
        dec=dec,
        angle_unit=angle_unit,
        columns={prop: name for prop, _, name in pairs},
        null_values=tuple(null_value or ()),
        evaluation_only=evaluation_only,
    )
    options.check()
    with connect(ctx.obj, autocommit=True) as connection:
        target = require_release(connection, release)
        run = start_run(
            connection,
            "ingest",
            {
                "command": "labels",
                "release": release,
                "origin": origin,
                "paths": [str(path.absolute()) for path in paths],
            },
        )
        try:
            with console.progress("labels", unit="files") as progress:
                done = ingest_labels(connection, target, paths, options, run_id=run, advance=progress.advance)
        except BaseException as error:
            finish_run(connection, run, "failed", str(error))
            raise
        finish_run(connection, run, "done", f"{done.files.loaded} files loaded, {len(done.files.rejected)} rejected")
    payload: dict[str, Any] = {
        "release": release,
        "origin": origin,
        "evaluation_only": options.for_evaluation,
        "files_loaded": done.files.loaded,
        "files_unchanged": done.files.unchanged,
        "files_rejected": len(done.files.rejected),
        "rows_loaded": done.rows_loaded,
        "rows_rejected": done.files.rows_rejected,
        "labels_inserted": done.files.inserted,
        "labels_changed": done.files.changed,
        "labels_deleted": done.files.deleted,
    }
    if as_json:
        rejected = [{"file": file, "reason": reason} for file, reason in done.files.rejected]
        further = {"labels": dict(done.labels), "nulls": dict(done.nulls), "rejected": rejected}
        console.report(payload | further, True)
    else:
        console.report(payload, False)
        for name, count in sorted(done.labels.items()):
            console.out(f"{name}: {count} labels")
        for cause, count in sorted(done.nulls.items()):
            console.out(f"missing for {cause}: {count} values")
        for file, reason in done.files.rejected:
            console.note(f"Rejected: {file}: {reason}")
    if done.files.rejected:
        raise typer.Exit(1)
