"""`galbase crossmatch` and `galbase duplicates`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.schema import console

if TYPE_CHECKING:
    from galbase.ingest.crossmatch_job import CrossmatchReport

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


def crossmatch(
    ctx: typer.Context,
    left: Annotated[str | None, typer.Argument(help="Release whose sources are matched.")] = None,
    right: Annotated[str | None, typer.Argument(help="Release they are matched to.")] = None,
    radius_arcsec: Annotated[float | None, typer.Option(help="Largest separation, arcsec.")] = None,
    min_radius_arcsec: Annotated[float, typer.Option(help="Smallest separation, arcsec.")] = 0.0,
    nearest: Annotated[int | None, typer.Option(min=1, help="Partners kept of each left source [all].")] = None,
    mutual_best: Annotated[
        bool, typer.Option("--mutual-best", help="Keep only pairs that are each other's nearest.")
    ] = False,
    epoch: Annotated[
        float | None, typer.Option(help="Year to which positions with proper motions are brought, such as 2016.0.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers if there is no scheduler [one a core].")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the pairs of two releases' sources within a radius, and build the galaxies anew.

    An earlier crossmatch of the same two releases is replaced when the new one is done; one that was interrupted goes
    on. Without releases, every stored crossmatch is made again.

    Example: galbase crossmatch legacysurvey-dr9 sdss-dr17 --radius-arcsec 1
    """
    from galbase.ingest.crossmatch import CrossmatchOptions
    from galbase.ingest.crossmatch_job import repeat_crossmatches, run_crossmatch
    from galbase.ingest.galaxies import rebuild_galaxies
    from galbase.schema.database import connect
    from galbase.schema.errors import UsageError

    common: dict[str, Any] = {"scheduler": scheduler or ctx.obj.scheduler, "workers": workers}
    with console.progress("crossmatch", unit="sources") as progress:
        if left is None:
            if radius_arcsec is not None or min_radius_arcsec or nearest or mutual_best or epoch:
                raise UsageError("options belong to a crossmatch of two releases; name them too.")
            reports = repeat_crossmatches(ctx.obj, progress=progress, **common)
        elif right is None or radius_arcsec is None:
            raise UsageError("a crossmatch needs two releases and --radius-arcsec.")
        else:
            options = CrossmatchOptions(radius_arcsec, min_radius_arcsec, nearest, mutual_best, epoch)
            reports = [run_crossmatch(ctx.obj, left, right, options, progress=progress, **common)]
    with connect(ctx.obj) as connection:
        galaxies = rebuild_galaxies(connection)
    built = {
        "galaxies": galaxies.galaxies,
        "members": galaxies.members,
        "galaxies_written": galaxies.galaxies_written,
        "members_written": galaxies.members_written,
    }
    if left is not None:
        console.report({**_payload(reports[0]), **built}, as_json)
    elif as_json:
        console.report({"crossmatches": [_payload(report) for report in reports], **built}, as_json)
    else:
        rows = [_payload(report) for report in reports]
        console.table(list(rows[0]) if rows else ["crossmatches"], [list(row.values()) for row in rows])
        console.report(built, as_json)


def _payload(report: CrossmatchReport) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "left": report.left,
        "right": report.right,
        **asdict(report.options),
        "n_left": report.n_left,
        "n_right": report.n_right,
        "n_pair": report.n_pair,
        "n_matched": report.n_matched,
        "units": report.n_unit,
        "units_done_before": report.n_unit_before,
    }


def duplicates(
    ctx: typer.Context,
    release: Annotated[str, typer.Argument(help="Release whose sources are compared with each other.")],
    radius_arcsec: Annotated[float, typer.Option(help="Sources no farther apart are one object.")],
    keep_highest: Annotated[str | None, typer.Option(help="Column whose highest value is kept of a group.")] = None,
    keep_lowest: Annotated[str | None, typer.Option(help="Column whose lowest value is kept of a group.")] = None,
    as_json: AsJson = False,
) -> None:
    """Flag repeated detections of a release: all but one of each group get bit DUPLICATE of source.flag.

    Example: galbase duplicates mpa-jhu --radius-arcsec 1 --keep-highest sn_median
    """
    from dataclasses import asdict

    from galbase.ingest.duplicates import flag_duplicates
    from galbase.schema.database import connect
    from galbase.schema.errors import UsageError
    from galbase.schema.ledger import finish_run, start_run

    if keep_highest is not None and keep_lowest is not None:
        raise UsageError("the highest of one column and the lowest of another cannot both be kept; give one.")
    keep = keep_highest if keep_lowest is None else keep_lowest
    recorded = {"release": release, "radius_arcsec": radius_arcsec, "keep": keep, "highest": keep_lowest is None}
    with connect(ctx.obj, autocommit=True) as connection:
        run = start_run(connection, "duplicates", recorded)
        try:
            report = flag_duplicates(connection, release, radius_arcsec, keep=keep, highest=keep_lowest is None)
        except BaseException as error:
            finish_run(connection, run, "failed", str(error))
            raise
        finish_run(connection, run, "done", f"{report.n_duplicate} duplicates")
    console.report(asdict(report), as_json)
