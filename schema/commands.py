"""`galbase db`: the database server and its schema."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.config import Config
from galbase.schema.console import note, out, report
from galbase.schema.errors import UsageError

db = typer.Typer(
    name="db",
    no_args_is_help=True,
    help="The database server and its schema.\n\nExample: galbase db status",
)
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


class RoleName(StrEnum):
    """As whom to connect."""

    owner = "owner"
    reader = "reader"


RoleOption = Annotated[RoleName, typer.Option("--role", help="As whom: the owner writes, the reader reads.")]


@db.command("start")
def start(ctx: typer.Context, as_json: Json = False) -> None:
    """Start the embedded server of the data directory, if it does not run.

    Example: galbase db start
    """
    from galbase.schema.server import ensure_running
    from galbase.schema.upgrade import needs_upgrade

    config = _embedded(ctx.obj, "start")
    server = ensure_running(config)
    report(
        {"running": True, "pid": server.postmaster.pid, "port": server.postmaster.port, "files": str(server.home)},
        as_json,
    )
    if needs_upgrade(config):
        note("Its schema is absent or of another version: run `galbase db upgrade`.")


@db.command("stop")
def stop(ctx: typer.Context, as_json: Json = False) -> None:
    """Stop the embedded server of the data directory.

    Example: galbase db stop
    """
    from galbase.schema.server import stop_server

    stopped = stop_server(_embedded(ctx.obj, "stop"))
    report({"running": False, "stopped_pid": None if stopped is None else stopped.pid}, as_json)


@db.command("status")
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Tell whether the server runs, where, and whether its schema is up to date; starts nothing.

    Example: galbase db status --json
    """
    from galbase.schema.status import database_status

    report(database_status(ctx.obj), as_json)


@db.command("upgrade")
def upgrade(
    ctx: typer.Context,
    drop_dependents: Annotated[
        bool,
        typer.Option("--drop-dependents", help="Drop users' views that stand in the way; their definitions are saved."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring tables, functions and views to this program's version, in one transaction.

    Example: galbase db upgrade
    """
    from galbase.schema.upgrade import upgrade as run_upgrade

    done = run_upgrade(ctx.obj, drop_dependents=drop_dependents)
    report(
        {"changed": done.changed, "before": str(done.before), "after": str(done.after), "seconds": done.seconds},
        as_json,
    )


@db.command("verify")
def verify(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Make them anew where they differ.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the values that api.galaxy_property shows with their definition, computed from scratch.

    They are kept in line by triggers, so a difference means that somebody wrote past them. Exit status 1 when values
    differ and are not repaired.

    Example: galbase db verify --repair
    """
    from galbase.schema.database import connect
    from galbase.schema.served import differences, rebuild

    with connect(ctx.obj, role="reader") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = differences(connection)
    repaired = repair and any(found.values())
    if repaired:
        with connect(ctx.obj) as connection:
            rebuild(connection)
    report({"repaired": repaired, **found}, as_json)
    if any(found.values()) and not repaired:
        raise typer.Exit(1)


@db.command("url")
def url(ctx: typer.Context, role: RoleOption = RoleName.owner) -> None:
    """Print the URL, password included, with which any program connects.

    Example: psql "$(galbase db url --role reader)"
    """
    from galbase.schema.database import database_url

    out(database_url(ctx.obj, role.value))


@db.command("psql", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def psql(ctx: typer.Context, role: RoleOption = RoleName.owner) -> None:
    """Open psql on the archive; further arguments are psql's own.

    Example: galbase db psql --role reader -c "SELECT count(*) FROM api.galaxy_property"
    """
    from galbase.schema.database import database_url
    from galbase.schema.dump import psql as run_psql

    run_psql(ctx.obj, database_url(ctx.obj, role.value), ctx.args)


@db.command("dump")
def dump(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    as_json: Json = False,
) -> None:
    """Write the whole database to a file.

    Example: galbase db dump archive.dump
    """
    from galbase.schema.dump import dump as run_dump

    report({"file": str(file), "size_bytes": run_dump(ctx.obj, file)}, as_json)


@db.command("restore")
def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File that `galbase db dump` wrote.")],
    as_json: Json = False,
) -> None:
    """Fill an empty database from a dump.

    Example: galbase --data-dir NEW db restore archive.dump
    """
    from galbase.schema.dump import restore as run_restore
    from galbase.schema.upgrade import needs_upgrade

    run_restore(ctx.obj, file)
    report({"file": str(file), "restored": True}, as_json)
    if needs_upgrade(ctx.obj):
        note("The dump has another schema version: run `galbase db upgrade`.")


def _embedded(config: Config, verb: str) -> Config:
    if config.database_url is not None:
        raise UsageError(
            f"GALBASE_DATABASE_URL names an external server, which galbase does not {verb}. "
            "Unset it to use the embedded one."
        )
    return config
