"""`galbase preprocess show`, `montage` and `map`: verdicts as pictures; and the group that they and the judging are."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.ingest.commands_preprocess import preprocess
from galbase.schema import console
from galbase.schema.errors import UsageError
from galbase.schema.flags import PreprocessFlag

if TYPE_CHECKING:
    from galbase.ingest.preprocess.config import PreprocessConfig
    from galbase.ingest.verdict_picture import Case

Configs = Annotated[
    list[str] | None,
    typer.Option("--config", help="Preset; may be repeated, for one beside the other (improved, galeffnet)."),
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="Changed option of every --config, key=value; may be repeated.")
]
Picture = Annotated[Path, typer.Option(help="File to write: .png.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]

preprocess_group = typer.Typer(add_completion=False)


@preprocess_group.callback(invoke_without_command=True)
@wraps(preprocess)
def judge_or_show(*arguments: Any, **options: Any) -> None:  # noqa: D103 -- the docstring is that of `preprocess`
    ctx: typer.Context = options["ctx"]
    if ctx.invoked_subcommand is None:
        preprocess(*arguments, **options)
        return
    # Compared by name: typer may bring a click of its own.
    sources = {name: ctx.get_parameter_source(name) for name in options}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise UsageError(
            f"--{given[0].removeprefix('as_').replace('_', '-')} must follow {ctx.invoked_subcommand}: options before "
            "it are for judging images."
        )


@preprocess_group.command()
def show(
    ctx: typer.Context,
    out: Picture,
    source_id: Annotated[int | None, typer.Argument(help="source_id of the detection.")] = None,
    observation: Annotated[
        int | None, typer.Option(help="observation_id of the image, for one without a position.")
    ] = None,
    config: Configs = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Draw what preprocessing sees in an image, and why it is kept or out: a row a configuration.

    Image, contours or segments, ellipse and enlarged ellipse, what the mask leaves, and the verdict in words. Nothing
    is stored, and the image need not have been judged.

    Example: galbase preprocess show 1296945872433834351 --config improved --config galeffnet --out why.png
    """
    from galbase.ingest.pictured_image import load_images, stored_flags
    from galbase.ingest.stored_observation import check_output, find_observation
    from galbase.ingest.verdict_picture import draw_side_by_side
    from galbase.schema.database import connect
    from galbase.sql.output_file import complete_file

    check_output(out, (".png",))
    if (source_id is None) == (observation is None):
        raise UsageError("give a source_id or --observation ID, one of the two.")
    chosen = _configs(config, option)
    with connect(ctx.obj, role="reader") as connection:
        number = observation
        if number is None and source_id is not None:
            number = find_observation(connection, source_id, "image").observation_id
        assert number is not None
        (image,) = load_images(connection, [number])
        stored = {name: stored_flags(connection, [number], options).get(number) for name, options in chosen}
    case = image.case(chosen)
    with complete_file(out) as part:
        draw_side_by_side(case, part, [image.credit])
    for name, overlay in case.seen:
        if stored[name] not in (None, overlay.verdict.flag):
            console.note(f"The stored verdict of {name} is another: run `galbase preprocess --config {name}` again.")
    verdicts = {name: _verdict_facts(case, name) for name, _ in case.seen}
    facts = {"out": str(out), "observation_id": number, "source_id": image.source_id, "image": case.name}
    if as_json:
        console.report(facts | {"verdicts": verdicts}, as_json=True)
        return
    console.report(facts, as_json=False)
    console.table(
        ["config", "verdict", "reasons"],
        [(name, "kept" if it["kept"] else "out", "; ".join(it["reasons"])) for name, it in verdicts.items()],
    )


@preprocess_group.command()
def montage(
    ctx: typer.Context,
    out: Picture,
    flag: Annotated[
        list[str] | None, typer.Option(help="Flag that the images carry; may be repeated. An unknown one lists all.")
    ] = None,
    kept: Annotated[bool | None, typer.Option("--kept/--out-of", help="Only images that are kept, or are not.")] = None,
    release: Annotated[str | None, typer.Option(help="Data release of the images.")] = None,
    n: Annotated[int, typer.Option("--n", help="Number of images.", min=1, max=60)] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 1,
    config: Configs = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Draw a montage of judged images with their overlay: those with a flag, those kept, those out, or any.

    The stored verdicts of the first --config choose the images; further ones are drawn beside it.

    Example: galbase preprocess montage --flag BLENDED --config improved --config galeffnet --out blends.png
    """
    from galbase.ingest.pictured_image import choose_images, load_images
    from galbase.ingest.stored_observation import check_output
    from galbase.ingest.verdict_picture import draw_montage
    from galbase.schema.database import connect
    from galbase.sql.output_file import complete_file

    check_output(out, (".png",))
    wanted = _flags(flag or [])
    chosen = _configs(config, option)
    with connect(ctx.obj, role="reader") as connection:
        numbers = choose_images(
            connection, chosen[0][1], flag=wanted, kept=kept, release=release, n=n, seed=seed
        )  # fmt: skip
        images = load_images(connection, numbers)
    with console.progress("montage", total=len(images), unit="images") as progress:
        cases = []
        for image in images:
            cases.append(image.case(chosen))
            progress.advance()
    moved = sum(wanted not in case.seen[0][1].verdict.flag for case in cases)
    if moved:
        console.note(f"{moved} stored verdicts are others by now: run `galbase preprocess` again.")
    credits = list({image.credit.release: image.credit for image in images}.values())
    with complete_file(out) as part:
        draw_montage(cases, _montage_title(wanted, kept, release, chosen[0][0]), part, credits)
    facts = {"out": str(out), "images": len(cases), "observation_ids": numbers}
    console.report(facts if as_json else {**facts, "observation_ids": " ".join(map(str, numbers))}, as_json)


@preprocess_group.command("map")
def flag_map(
    ctx: typer.Context,
    release: Annotated[str, typer.Argument(help="Release of the images.")],
    out: Annotated[Path, typer.Option(help="File to write: .png, or .fits for healpy and TOPCAT.")],
    flag: Annotated[str | None, typer.Option(help="Flag to map; without it, all images that are out.")] = None,
    order: Annotated[int, typer.Option(help="HEALPix order of the cells; a .png takes 8 at most.", min=0, max=29)] = 4,
    config: Annotated[str, typer.Option(help="Preset whose verdicts are mapped.")] = "improved",
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Map by HEALPix cells what share of a release's images carries a flag; `api.preprocess_flag_map` has the numbers.

    Example: galbase preprocess map ls-dr9 --flag BLENDED --config improved --out blends.png
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".fits"):
        raise UsageError(f"--out {out}: the ending {out.suffix!r} names no form of a map; use .png or .fits.")
    from galbase.schema.database import connect
    from galbase.sql.flag_map import OUT, read_flag_fraction
    from galbase.sql.output_file import complete_file, note_credits
    from galbase.sql.sky_map import write_map_fits
    from galbase.sql.sky_picture import check_order, draw_map

    if suffix == ".png":
        check_order(order)
    name = OUT if flag is None or flag.upper() == OUT else str(_flags([flag]).name)
    ((_, options),) = _configs([config], option)
    with connect(ctx.obj, role="reader") as connection:
        found = read_flag_fraction(connection, release, order, options.hash(), config, name)
    with complete_file(out) as part:
        (draw_map if suffix == ".png" else write_map_fits)(found, part)
    console.report({"out": str(out)} | found.summary(), as_json)
    note_credits(found.credits)


def _configs(names: list[str] | None, options: list[str] | None) -> list[tuple[str, PreprocessConfig]]:
    from galbase.ingest.preprocess.config import parse_options, preset

    changed = parse_options(options or [])
    wanted = list(dict.fromkeys(names or ("improved", "galeffnet")))
    return [(name, preset(name).with_options(changed)) for name in wanted]


def _flags(names: list[str]) -> PreprocessFlag:
    made = PreprocessFlag(0)
    for name in names:
        try:
            made |= PreprocessFlag[name.upper()]
        except KeyError:
            listed = ", ".join(str(flag.name) for flag in PreprocessFlag)
            raise UsageError(f"there is no flag {name!r}; choose one of {listed}.") from None
    return made


def _montage_title(flag: PreprocessFlag, kept: bool | None, release: str | None, config: str) -> str:
    which = {None: "judged", True: "kept", False: "out"}[kept]
    with_flags = "".join(f", {one.name}" for one in flag)
    return f"{config}: images {which}{with_flags}{'' if release is None else f', of release {release}'}"


def _verdict_facts(case: Case, name: str) -> dict[str, Any]:
    from galbase.ingest.verdict_picture import verdict_words
    from galbase.schema.flags import preprocess_reasons

    overlay = dict(case.seen)[name]
    verdict = overlay.verdict
    _, reasons, measures = verdict_words(name, overlay)
    return {
        "kept": verdict.kept,
        "flags": [str(flag.name) for flag in verdict.flag],
        "reasons": reasons,
        "criteria": [item.criterion for item in preprocess_reasons(verdict.flag) if item.keeps_out],
        "measures": measures,
        "blend_score": verdict.blend_score,
    }
