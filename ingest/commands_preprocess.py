"""`galbase preprocess`: verdicts on images."""

from __future__ import annotations

from typing import Annotated

import typer

from galbase.schema import console
from galbase.schema.config import Config


def preprocess(
    ctx: typer.Context,
    release: Annotated[str | None, typer.Option(help="Data release of the images; all releases if not given.")] = None,
    config: Annotated[str, typer.Option(help="Preset of the method's options.")] = "galeffnet",
    option: Annotated[
        list[str] | None, typer.Option(help="Changed option, key=value; may be repeated. An unknown one lists all.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers if there is no scheduler [one a core].")] = None,
    device: Annotated[
        str, typer.Option(help="Workers: cpu, gpu (started with --resources GPU=1; pixels are computed there) or auto.")
    ] = "auto",
    cache: Annotated[bool, typer.Option(help="Keep the stamps of kept images on disk, for training.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Report as one JSON object.")] = False,
) -> None:
    """Judge images: target, size, blends; only those without a current verdict are computed.

    Example: galbase preprocess --release legacysurvey-dr9 --config galeffnet --option background=before_masking
    """
    from galbase.ingest.jobs import run_preprocess
    from galbase.ingest.preprocess.config import parse_options, preset

    settings: Config = ctx.obj
    chosen = preset(config).with_options(parse_options(option or []))
    with console.progress("preprocess", unit="images") as progress:
        report = run_preprocess(
            settings,
            release=release,
            preprocess=chosen,
            name=config,
            scheduler=scheduler or settings.scheduler,
            workers=workers,
            progress=progress,
            cache=cache,
            device=device,
        )
    payload = {
        "release": release,
        "config": config,
        "config_hash": chosen.hash(),
        "run_id": report.run_id,
        "units": report.n_unit,
        "images_judged": report.n_row,
        "images_kept": report.n_kept,
        "stamps_cached": report.cache.n_stamp,
        "stamp_bytes": report.cache.n_byte,
    }
    if report.cache.problem:
        console.note(f"not all stamps were cached: {report.cache.problem}. `galbase cache fill` makes up for it.")
    if as_json:
        console.report({**payload, "flags": dict(report.flags)}, as_json=True)
        return
    console.report(payload, as_json=False)
    if report.flags:
        console.table(["flag", "images"], list(report.flags.items()))
