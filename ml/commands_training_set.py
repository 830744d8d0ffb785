"""Commands of training sets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from galbase.schema.console import note, report, table

training_set = typer.Typer(
    no_args_is_help=True,
    help="Freeze labelled images with a split by sky.\n\nExample: galbase training-set list",
)
Json = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]


@training_set.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new training set.")],
    selection: Annotated[str, typer.Option(help="Which galaxies: galeffnet, gpm_resnet or mmlforgalam.")],
    seed: Annotated[int, typer.Option(help="Seed of the draw and of the split.", min=0)] = 0,
    size: Annotated[int | None, typer.Option(help="Draw at most this many.", min=1)] = None,
    uniform_over: Annotated[
        str | None, typer.Option(help="Draw so that this property is spread evenly, instead of at random.")
    ] = None,
    fractions: Annotated[
        str | None,
        typer.Option(help="Training:validation:test or training:validation:calibration:test [55:8:18.5:18.5]."),
    ] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Size, spread and fractions of the paper, where not given.")
    ] = False,
    label_origin: Annotated[
        str | None, typer.Option(help="Origin of the labels; those for evaluation only must be named [the paper's].")
    ] = None,
    prop: Annotated[
        list[str] | None, typer.Option("--property", help="Label, may be repeated [those of the selection].")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Preprocessing of the stamps [the selection's own preset].")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Changed preprocessing option, key=value; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Freeze a selection of labelled images, split by sky, under a name.

    Example: galbase training-set create main --selection galeffnet --seed 1
    """
    from galbase.ingest.preprocess.config import parse_options, preset
    from galbase.ml.fractions import parse_fractions
    from galbase.ml.selection import selection_named
    from galbase.ml.splits import FRACTIONS
    from galbase.ml.training_set import Draw, create_training_set, split_counts
    from galbase.schema.database import connect

    chosen = selection_named(selection)
    if as_published:
        size = size or chosen.published.size
        uniform_over = uniform_over or chosen.published.uniform_over
        fractions = fractions or chosen.published.ratio
    draw = Draw(size, uniform_over, FRACTIONS if fractions is None else parse_fractions(fractions))
    stamps = preset(config or chosen.preprocess).with_options(parse_options(option or []))
    with connect(ctx.obj) as connection:
        made = create_training_set(
            connection, name, selection, seed, config=stamps, draw=draw, label_origin=label_origin, properties=prop
        )
        counts = split_counts(connection, made.training_set_id)
    report(
        {
            "training_set": name,
            "n_selected": made.options["n_selected"],
            "n_member": made.n_member,
            **counts,
            "label_origin": made.label_origin,
            "simulated": made.simulated,
            "hash": made.hash,
        },
        as_json,
    )


@training_set.command("list")
def list_sets(ctx: typer.Context, as_json: Json = False) -> None:
    """List all training sets.

    Example: galbase training-set list
    """
    from galbase.schema.database import connect

    columns = ("name", "selection", "seed", "n_member", "label_origin", "simulated", "created_at")
    with connect(ctx.obj, role="reader") as connection:
        rows = connection.execute(
            "SELECT name, selection, seed, n_member, label_origin, simulated, created_at FROM archive.training_set "
            "ORDER BY name"
        ).fetchall()
    if as_json:
        report({"training_sets": [dict(zip(columns, row, strict=True)) for row in rows]}, True)
    else:
        table(columns, rows)


@training_set.command("show")
def show(ctx: typer.Context, name: Annotated[str, typer.Argument(help="Training set.")], as_json: Json = False) -> None:
    """Show a training set: how it was frozen, its split and hash, and what has changed in the archive since.

    Example: galbase training-set show main
    """
    from galbase.ml.splits import SPLITS
    from galbase.ml.training_set import drift, find_training_set, split_counts
    from galbase.schema.database import connect

    with connect(ctx.obj, role="reader") as connection:
        found = find_training_set(connection, name)
        counts = split_counts(connection, found.training_set_id)
        changed = drift(connection, found)
        preprocess = connection.execute(
            "SELECT name FROM archive.preprocess_config WHERE preprocess_config_id = %s", (found.preprocess_config_id,)
        ).fetchone()
    payload: dict[str, Any] = {
        "training_set": found.name,
        "selection": found.selection.name,
        "properties": list(found.properties),
        "label_origin": found.label_origin,
        "preprocess": None if preprocess is None else preprocess[0],
        "seed": found.seed,
        **found.options,
        "n_member": found.n_member,
        **counts,
        "simulated": found.simulated,
        "hash": found.hash,
        "unchanged": not changed,
    }
    if as_json:
        report(payload | {"drift": changed}, True)
        return
    payload["properties"] = ", ".join(found.properties)
    if "fractions" in payload:
        payload["fractions"] = ", ".join(f"{part} {payload['fractions'][part]:.4g}" for part in SPLITS)
    report(payload, False)
    for reason, count in changed.items():
        note(f"Changed since it was frozen: {reason}: {count} of {found.n_member} members (api.training_set_drift).")
