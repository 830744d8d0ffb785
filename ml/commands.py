"""Commands of training, promotion and refresh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galbase.schema.console import note, report, scores_table, table

Json = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]
Scheduler = Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786 [a cluster in this process].")]


def train(
    ctx: typer.Context,
    family: Annotated[
        str,
        typer.Argument(
            help="Network family: galeffnet, gpm_resnet, mmlforgalam_m1 (spectra), mmlforgalam_m3 (images), "
            "mmlforgalam_fused (both) or mmlforgalam_simulated (images, learning from spectra)."
        ),
    ],
    training_set_name: Annotated[str, typer.Option("--training-set", help="Name of a training set.")],
    mode: Annotated[str, typer.Option(help="as-published or improved.")] = "improved",
    preset: Annotated[str, typer.Option(help="tiny, small or paper.")] = "tiny",
    name: Annotated[str | None, typer.Option(help="Name of the model [family-preset-mode-training set].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and dropout.", min=0)] = 1,
    epochs: Annotated[int | None, typer.Option(help="Override the number of epochs.", min=1)] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Backbone of galeffnet or gpm_resnet at preset paper: efficientnet_b0 to _b3, efficientnet_v2_b3, "
            "efficientnet_v2_s, resnet50, resnet101, resnet152, mobilenet_v2, densenet121, densenet169, densenet201."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Start from a model's file (.safetensors, of `galbase weights`) or ImageNet weights of the backbone."
        ),
    ] = None,
    weights_sha256: Annotated[str | None, typer.Option(help="What the SHA-256 of that file must be.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Override the learning rate at the start.")] = None,
    tail_weight: Annotated[
        float | None,
        typer.Option(
            help="Weight rows by the labels' density to minus this power: 0 for none, 1 for the inverse.", min=0, max=1
        ),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Show one or two bands of the images alone: g, r or g,z, for ablations.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Resample images to so many pixels a side, for ablations.", min=1)
    ] = None,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Train a network on a frozen training set and register it as a candidate.

    Example: galbase train galeffnet --training-set main --preset tiny
    """
    from galbase.ml.image_ablation import parse_bands
    from galbase.ml.jobs import train as run
    from galbase.ml.request import TrainingRequest
    from galbase.schema.errors import UsageError

    if mode not in ("as-published", "improved"):
        raise UsageError(f"mode {mode!r} is neither 'as-published' nor 'improved'.")
    request = TrainingRequest(
        name=name or f"{family}-{preset}-{mode}-{training_set_name}",
        family=family,
        mode=mode,
        preset=preset,
        training_set=training_set_name,
        seed=seed,
        epochs=epochs,
        options={} if backbone is None else {"backbone": backbone},
        weights_path=None if weights is None else str(weights.expanduser().absolute()),
        run_id=None,
        weights_sha256=weights_sha256,
        learning_rate=learning_rate,
        bands=() if bands is None else parse_bands(bands),
        resolution_px=resolution or 0,
        tail_weight=tail_weight,
    )
    if learning_rate is not None and not 0 < learning_rate < 1:
        raise UsageError(f"--learning-rate is {learning_rate}; it lies between 0 and 1.")
    if weights_sha256 is not None and weights is None:
        raise UsageError("--weights-sha256 is of a file that --weights names; give both.")
    result = run(ctx.obj, request, scheduler=scheduler or ctx.obj.scheduler)
    if as_json:
        report(result, True)
        return
    history = result["history"]["loss"]
    note(
        f"model {result['name']} trained: {len(history)} epochs in {result['seconds']['fit']:.0f} s, "
        f"{result['images_per_second']:.0f} images/s. Fill it with `galbase refresh`, then `galbase promote`."
    )
    if result["stamps_from_cache"] is not None:
        note(f"{result['stamps_from_cache']} of {sum(result['n'].values())} stamps came from the cache.")
    scores_table(result["test"], f"{result['name']} on held-out sky")


def weights(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Name or number of the model.")],
    out: Annotated[Path, typer.Option(help="New file, .safetensors.")],
    as_json: Json = False,
) -> None:
    """Write a model's weights and what they mean to a file that `galbase train --weights` starts from.

    Example: galbase weights galeffnet-tiny-improved-main --out galeffnet.safetensors
    """
    from galbase.ml.model_file import write_model_file
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        digest = write_model_file(connection, model, out)
    report({"file": str(out), "sha256": digest}, as_json)


def promote(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Name or number of the model.")],
    as_json: Json = False,
) -> None:
    """Let a model serve its properties in api.galaxy_property; a half-filled one is refused.

    Example: galbase promote galeffnet-tiny-improved-main
    """
    from galbase.ml.model_store import find_model
    from galbase.ml.promotion import promote as serve
    from galbase.ml.refresh import n_unjudged
    from galbase.schema.database import connect

    with connect(ctx.obj) as connection:
        record = find_model(connection, model)
        served = serve(connection, record, n_unjudged(ctx.obj, record))
    report({"model": record.name, "serves": served if as_json else ", ".join(served)}, as_json)


def refresh(
    ctx: typer.Context,
    scheduler: Scheduler = None,
    workers: Annotated[int | None, typer.Option(help="Workers of the cluster in this process.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be computed.")] = False,
    as_json: Json = False,
) -> None:
    """Bring every image that lacks current results up to date, and touch nothing else.

    Example: galbase refresh --workers 2
    """
    if dry_run:
        from galbase.ml.refresh import plan

        plans = plan(ctx.obj)
        rows = [(each.model.name, each.model.state, each.n_unjudged, each.n_stale) for each in plans]
        _list(("model", "state", "not preprocessed", "not predicted"), rows, "models", as_json)
        return
    from galbase.ml.jobs import refresh as run

    done = run(ctx.obj, scheduler=scheduler or ctx.obj.scheduler, workers=workers)
    payload: dict[str, Any] = {
        "preprocessed": done.judged,
        "kept": done.kept,
        "predicted": sum(done.predicted.values()),
        "removed": done.removed,
    }
    if as_json:
        payload["models"] = done.predicted
    report(payload, as_json)


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what each model lacks, open units of work, and the last runs.

    Example: galbase status
    """
    from galbase.ml.refresh import plan
    from galbase.schema.database import connect

    plans = plan(ctx.obj)
    with connect(ctx.obj, role="reader") as connection:
        served: dict[int, str] = dict(
            connection.execute(
                "SELECT s.model_id, string_agg(p.name, ', ' ORDER BY p.name) FROM archive.served_model s "
                "JOIN archive.property p USING (property_id) GROUP BY s.model_id"
            ).fetchall()
        )
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM archive.observation WHERE kind = 'image'), "
            "(SELECT count(*) FROM archive.galaxy), "
            "(SELECT count(*) FROM archive.work_unit WHERE state IN ('waiting', 'claimed')), "
            "(SELECT count(*) FROM archive.work_unit WHERE state = 'failed')"
        ).fetchone() or (0, 0, 0, 0)
        runs = connection.execute(
            "SELECT r.run_id, r.kind, r.state, to_char(r.started_at, 'YYYY-MM-DD HH24:MI:SS'), "
            "extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float8, "
            "coalesce(r.message, '') FROM archive.run r ORDER BY r.run_id DESC LIMIT 10"
        ).fetchall()
    totals = dict(zip(("images", "galaxies", "units_open", "units_failed"), counts, strict=True))
    models = [
        (each.model.name, each.model.state, served.get(each.model.model_id, ""), each.n_unjudged, each.n_stale)
        for each in plans
    ]
    model_columns = ("model", "state", "serves", "not preprocessed", "not predicted")
    run_columns = ("run", "kind", "state", "started", "seconds", "message")
    if as_json:
        payload = {
            **totals,
            "models": [dict(zip(model_columns, row, strict=True)) for row in models],
            "runs": [dict(zip(run_columns, row, strict=True)) for row in runs],
        }
        report(payload, True)
        return
    report(totals, False)
    table(model_columns, models, "Models")
    table(run_columns, runs, "Last runs")


def _list(columns: tuple[str, ...], rows: list[tuple[Any, ...]], key: str, as_json: bool) -> None:
    if as_json:
        report({key: [dict(zip(columns, row, strict=True)) for row in rows]}, True)
    else:
        table(columns, rows)
