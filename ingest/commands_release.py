"""Command group `galbase release`."""

from __future__ import annotations

from typing import Annotated

import typer

from galbase.schema import console
from galbase.schema.errors import UsageError

release = typer.Typer(
    name="release",
    no_args_is_help=True,
    add_completion=False,
    help="Data releases: where rows come from, licence, citation, priority.\n\nExample: galbase release list",
)
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]
Name = Annotated[str, typer.Argument(help="Name of the release, such as legacysurvey-dr9.")]


@release.command()
def add(
    ctx: typer.Context,
    name: Name,
    survey: Annotated[str | None, typer.Option(help="Survey it belongs to; needed for a new release.")] = None,
    url: Annotated[str | None, typer.Option(help="Where it is published.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the data; goes with every output.")] = None,
    citation: Annotated[str | None, typer.Option(help="Papers to cite; goes with every output.")] = None,
    priority: Annotated[
        int | None, typer.Option(help="The smallest comes first where a galaxy is in several releases [100].")
    ] = None,
    simulated: Annotated[
        bool | None, typer.Option("--simulated/--observed", help="Whether the data are simulated [observed].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register a release, or change what is given of one that is registered.

    Example: galbase release add legacysurvey-dr9 --survey "DESI Legacy Imaging Surveys" --url
    https://www.legacysurvey.org/dr9 --licence CC-BY-4.0 --citation "Dey et al. 2019, AJ 157, 168"
    """
    from galbase.ingest.releases import add_release
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        made, state = add_release(
            connection,
            name,
            survey=survey,
            url=url,
            licence=licence,
            citation=citation,
            priority=priority,
            simulated=simulated,
        )
    console.report(
        {
            "release": made.release,
            "state": state,
            "survey": made.survey,
            "priority": made.priority,
            "simulated": made.simulated,
            "licence": made.licence,
            "citation": made.citation,
            "url": made.url,
        },
        as_json,
    )


@release.command("list")
def list_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List releases and what they hold.

    Example: galbase release list
    """
    from galbase.ingest.releases import list_releases
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        rows = list_releases(connection)
    if as_json:
        console.report({"releases": rows}, True)
        return
    columns = ("release", "survey", "priority", "simulated", "sources", "observations", "files", "licence")
    console.table(columns, [[row[name] for name in columns] for row in rows])


@release.command()
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show a release with its files and their verdicts.

    Example: galbase release show legacysurvey-dr9
    """
    from galbase.ingest.releases import list_files, list_releases, require_release
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        release_id = require_release(connection, name).release_id
        facts = next(row for row in list_releases(connection) if row["release"] == name)
        files = list_files(connection, release_id)
    if as_json:
        console.report({**facts, "files": files}, True)
        return
    console.report(facts, False)
    if files:
        columns = ("path", "format", "state", "rows", "loaded", "rejected", "reason")
        console.table(columns, [[row[column] for column in columns] for row in files])


@release.command()
def drop(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a release with its detections, observations and results; the files on disk stay.

    Example: galbase release drop legacysurvey-dr8 --yes
    """
    import sys

    from galbase.ingest.bulk_load import ingest_turn
    from galbase.ingest.galaxies import rebuild_galaxies
    from galbase.ingest.releases import drop_release
    from galbase.schema.database import connect

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"dropping release {name} deletes its rows: confirm with --yes.")
        typer.confirm(f"Delete release {name} with all its rows?", abort=True)
    with connect(ctx.obj, autocommit=True) as connection, ingest_turn(connection), connection.transaction():
        deleted = drop_release(connection, name)
        if deleted["sources"]:
            rebuild_galaxies(connection)
    console.report({"dropped": name, **deleted}, as_json)
