"""`galbase crossmatch`."""

from __future__ import annotations

from typing import Annotated

import typer

from galbase.schema import console


def crossmatch(
    ctx: typer.Context,
    left: Annotated[str, typer.Argument(help="Release whose sources are matched.")],
    right: Annotated[str, typer.Argument(help="Release they are matched to.")],
    radius_arcsec: Annotated[float, typer.Option(help="Largest separation, arcsec.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Find all pairs of two releases' sources within a radius, and build the galaxies anew.

    An earlier crossmatch of the same two releases is replaced.

    Example: galbase crossmatch legacysurvey-dr9 sdss-dr17 --radius-arcsec 1
    """
    from dataclasses import asdict

    from galbase.ingest.crossmatch import crossmatch as match
    from galbase.ingest.galaxies import rebuild_galaxies
    from galbase.schema.database import connect
    from galbase.schema.ledger import finish_run, start_run

    with connect(ctx.obj, autocommit=True) as connection:
        run = start_run(connection, "crossmatch", {"left": left, "right": right, "radius_arcsec": radius_arcsec})
        try:
            with connection.transaction():
                found = match(connection, left, right, radius_arcsec, run_id=run)
                galaxies = rebuild_galaxies(connection)
        except BaseException as error:
            finish_run(connection, run, "failed", str(error))
            raise
        finish_run(connection, run, "done", f"{found.n_pair} pairs")
    console.report(
        {
            **asdict(found),
            "galaxies": galaxies.galaxies,
            "members": galaxies.members,
            "galaxies_written": galaxies.galaxies_written,
            "members_written": galaxies.members_written,
        },
        as_json,
    )
