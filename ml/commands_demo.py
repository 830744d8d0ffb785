"""`galbase demo`: the main job from end to end on a simulated survey."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    ctx: typer.Context,
    size: Annotated[int, typer.Option(help="Galaxies in the simulated survey.", min=200)] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated survey.")] = 1,
    real: Annotated[
        Path | None, typer.Option(help="Directory of real samples to ingest, preprocess and predict as well.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="The demo's own directory [~/.local/share/galbase-demo].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line of measured figures.")] = False,
) -> None:
    """Simulate, ingest, crossmatch, preprocess, train, predict, and ask five questions in SQL.

    The demo has its own embedded server and never touches the user's archive. It can be run again.

    Example: galbase demo --size 4000
    """
    from dataclasses import replace

    from galbase.ml.demo import run_demo

    directory = data_dir or Path.home() / ".local" / "share" / "galbase-demo"
    config = replace(ctx.obj, data_dir=directory.expanduser().absolute(), database_url=None)
    run_demo(config, size=size, seed=seed, real=real, as_json=as_json)
