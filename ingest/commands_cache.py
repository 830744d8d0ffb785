"""`galbase cache`: the preprocessed stamps that training and prediction read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from galbase.schema import console

AsJson = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]

cache = typer.Typer(
    name="cache",
    no_args_is_help=True,
    add_completion=False,
    help="Preprocessed stamps on disk, from which training and prediction start.\n\n"
    "Nothing is lost with them but time: stamps that are not there are made from the survey's files.\n\n"
    "Example: galbase cache prune --dry-run",
)


@cache.command("list")
def list_cache(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what is cached of each configuration.

    Example: galbase cache list
    """
    from dataclasses import asdict

    from galbase.ingest.cache_prune import cached_configs
    from galbase.ingest.cache_size import readable
    from galbase.schema.cache_folder import cache_folder
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        folder = cache_folder(connection, ctx.obj)
        found = [] if folder is None else cached_configs(connection, folder)
    if as_json:
        console.report({"folder": str(folder) if folder else None, "configs": [asdict(each) for each in found]}, True)
        return
    console.note(f"cache folder: {folder or 'none'}")
    rows = [
        (each.name, each.hash, each.n_file, each.n_stamp, readable(each.n_byte), each.n_missing, each.superseded)
        for each in found
    ]
    console.table(("preset", "hash", "files", "stamps", "size", "files missing", "superseded"), rows)


@cache.command("fill")
def fill(
    ctx: typer.Context,
    config: Annotated[str, typer.Option(help="Preset of the configuration.")] = "galeffnet",
    option: Annotated[list[str] | None, typer.Option(help="Changed option, key=value; may be repeated.")] = None,
    release: Annotated[str | None, typer.Option(help="Data release of the images; all if not given.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read what is cached and compare its hash first.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers if there is no scheduler [one a core].")] = None,
    as_json: AsJson = False,
) -> None:
    """Cache the stamps that are missing: of images judged without a cache, or whose file is gone.

    Example: galbase cache fill --config improved --verify
    """
    from galbase.ingest.jobs import fill_cache
    from galbase.ingest.preprocess.config import parse_options, preset
    from galbase.schema.errors import GalbaseError

    chosen = preset(config).with_options(parse_options(option or []))
    with console.progress("stamps", unit="images") as progress:
        done = fill_cache(
            ctx.obj, release=release, preprocess=chosen, verify=verify, scheduler=scheduler or ctx.obj.scheduler,
            workers=workers, progress=progress,
        )  # fmt: skip
    console.report({"stamps_cached": done.n_row, "bytes": done.cache.n_byte}, as_json)
    if done.cache.problem:
        raise GalbaseError(f"not all stamps were cached: {done.cache.problem}. Make room and run the command again.")


@cache.command("prune")
def prune_cache(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    min_age_hours: Annotated[
        float, typer.Option(min=0, help="Leave files that no row knows alone while younger; a job may be at work.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Remove stamps of superseded configurations and of images that are gone, files no row knows, rows without file.

    A configuration is superseded when a newer one of the same preset has verdicts, and neither a training set nor a
    model that is not retired reads it. Checkpoints of trainings that were interrupted are removed after 30 days.

    Example: galbase cache prune --dry-run
    """
    from galbase.ingest.cache_prune import PruneReport, prune
    from galbase.ingest.cache_size import readable
    from galbase.schema.cache_folder import cache_folder
    from galbase.schema.database import connect

    with connect(ctx.obj, autocommit=True) as connection:
        folder = cache_folder(connection, ctx.obj)
        there = folder is not None and folder.is_dir()
        found = prune(connection, folder, dry_run=dry_run, min_age_hours=min_age_hours) if folder and there else None
    found = found or PruneReport()
    payload: dict[str, Any] = {
        "dry_run": dry_run,
        "folder": str(folder) if folder else None,
        "files": found.n_file,
        "bytes": found.n_byte,
        "rows_superseded": found.superseded,
        "rows_of_images_gone": found.gone,
        "rows_without_file": found.missing,
        "files_without_row": found.orphans,
    }
    if as_json:
        console.report({**payload, "superseded": found.configs}, True)
        return
    console.report({**payload, "bytes": readable(found.n_byte)}, False)
