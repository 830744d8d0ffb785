"""`galbase galnet`: Sersic parameters by a network, from training stamps to a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galbase.schema.console import note, progress, report

if TYPE_CHECKING:
    from collections import Counter

Stamps = Annotated[Path, typer.Option(help="Folder of galbase simulate-sersic.")]
Out = Annotated[Path, typer.Option(help="Folder to write the model to.")]
Json = Annotated[bool, typer.Option("--json", help="Report as one JSON object.")]
Gain = Annotated[float, typer.Option(help="Electrons in one nanomaggy, for photon noise.", min=1e-3)]

galnet = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Sersic parameters by a network.\n\nExample: galbase galnet train --stamps stamps --out model",
)


@galnet.command()
def train(
    stamps: Stamps,
    out: Out,
    mode: Annotated[str, typer.Option(help="as-published or improved.")] = "improved",
    preset: Annotated[str, typer.Option(help="tiny, small or paper.")] = "small",
    seed: Annotated[int, typer.Option(help="Seed of weights and order.", min=0)] = 1,
    epochs: Annotated[int | None, typer.Option(help="Override the number of epochs.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Train GaLNet on simulated stamps, calibrate it on held-out ones, and write it to a folder.

    `galbase galnet register` makes it a model of the archive.

    Example: galbase galnet train --stamps stamps --out model
    """
    from galbase.ml.sersic.files import check_new, save_galnet
    from galbase.ml.sersic.measure import calibrate_galnet, check_calibration, galnet_domain
    from galbase.ml.sersic.training import galnet_options, load_stamp_set, schedule, train_galnet

    galnet_options(mode)
    plan = schedule(preset, epochs)
    check_new(out)
    data = load_stamp_set(stamps)
    check_calibration(data, mode)
    with progress("galnet train", plan.epochs, "epochs") as bar:
        trained = train_galnet(data, mode, preset, seed, epochs, lambda _epoch, _losses: bar.advance())
    calibration = calibrate_galnet(trained, data)
    save_galnet(out, trained, calibration, galnet_domain(trained, data))
    payload: dict[str, Any] = {
        "out": str(out), "mode": mode, "preset": preset, "n_train": trained.metrics["n"]["train"],
        "validation_loss": trained.metrics["history"]["val_loss"][-1],
        "cpu_seconds": trained.metrics["seconds"]["cpu"], "covariance_scale": calibration.scale,
        "weight": calibration.weight,
    }  # fmt: skip
    report(payload, as_json)


@galnet.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Folder of a trained GaLNet.")],
    stamps: Stamps,
    out: Out,
    as_json: Json = False,
) -> None:
    """Calibrate a trained GaLNet anew, for another sky than it was trained on, and write it to another folder.

    Intervals, how much the network's say counts in the refinement and the flag OUT_OF_DOMAIN then are those of these
    stamps; the weights are the same. Stamps with another seed and sky than the training's are all used but the test
    split, of others only the validation split, a tenth.

    Example: galbase galnet calibrate model --stamps stamps-of-my-survey --out model-of-my-survey
    """
    from dataclasses import replace

    from galbase.ml.sersic.files import check_new, load_network, save_galnet
    from galbase.ml.sersic.measure import calibrate_galnet, galnet_domain, held_out_rows
    from galbase.ml.sersic.training import load_stamp_set

    check_new(out)
    trained, data = load_network(model), load_stamp_set(stamps)
    calibration = calibrate_galnet(trained, data)
    of = {"stamps_sha256": data.digest, "n": len(held_out_rows(trained, data))}
    trained = replace(trained, metrics=trained.metrics | {"calibrated_on": of})
    save_galnet(out, trained, calibration, galnet_domain(trained, data))
    report(
        {"out": str(out), "n": of["n"], "covariance_scale": calibration.scale, "weight": calibration.weight}, as_json
    )


@galnet.command()
def register(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of a trained GaLNet.")],
    name: Annotated[str, typer.Option(help="Name of the model in the archive.")],
    band: Annotated[str, typer.Option(help="Band of the images that it measures.")] = "r",
    gain: Gain = 6000.0,
    refine: Annotated[
        bool | None, typer.Option("--refine/--no-refine", help="Go on to the maximum of the posterior [if improved].")
    ] = None,
    config: Annotated[str, typer.Option(help="Preprocessing that keeps the images it measures.")] = "improved",
    option: Annotated[
        list[str] | None, typer.Option(help="Changed preprocessing option, key=value; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a trained GaLNet a candidate of the archive: galbase refresh fills it, galbase promote lets it serve.

    It measures mag_sersic, re_sersic, n_sersic and q_sersic, with intervals, of images that the preprocessing keeps and
    that have calibrated fluxes, a pixel scale and the PSF's FWHM.

    Example: galbase galnet register model --name galnet-r --band r
    """
    from galbase.ingest.preprocess.config import parse_options, preset
    from galbase.ml.sersic.archived import register_galnet
    from galbase.schema.database import connect

    stamps = preset(config).with_options(parse_options(option or []))
    with connect(ctx.obj) as connection:
        number = register_galnet(connection, model, name, band=band, gain=gain, refinement=refine, preprocess=stamps)
    report({"model_id": number, "model": name, "band": band}, as_json)


@galnet.command()
def measure(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of a trained GaLNet.")],
    release: Annotated[str, typer.Option(help="Release whose images are measured.")],
    out: Annotated[Path, typer.Option(help="File to write: .fits, .vot, .parquet or .csv.")],
    band: Annotated[str, typer.Option(help="Band.")] = "r",
    gain: Gain = 6000.0,
    refine: Annotated[bool, typer.Option(help="Go on to the maximum of the posterior; mode improved only.")] = True,
    limit: Annotated[int | None, typer.Option(help="At most so many images.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Measure the galaxies in the middle of a release's images and write a catalogue.

    Images need calibrated fluxes, a pixel scale and the PSF's FWHM, of which a round Moffat PSF is made. The catalogue
    goes back into the archive with galbase ingest catalogue.

    Example: galbase galnet measure model --release dr9 --band r --out sersic.fits
    """
    from galbase.ml.sersic.catalogue import COLUMNS, catalogue_rows
    from galbase.ml.sersic.files import load_galnet
    from galbase.ml.sersic.images import usable_images
    from galbase.schema.database import connect
    from galbase.sql.output import write_result
    from galbase.sql.output_format import choose_format
    from galbase.sql.query import Result, release_credits

    wanted = choose_format(None, out)
    trained, calibration = load_galnet(model)
    calibration.check_refinement(model, refine)
    with connect(ctx.obj, role="reader") as connection:
        images, left_out = usable_images(connection, release, band, limit)
        credits = release_credits(connection, release)
    with progress("galnet measure", len(images), "images") as bar:
        rows = catalogue_rows(
            trained, calibration, images, gain, refinement=refine, left_out=left_out, advance=bar.advance
        )
        statement = f"galbase galnet measure, {trained.mode} {trained.preset}, release {release}, band {band}"
        n_row = write_result(Result(statement, COLUMNS, rows, credits), wanted, out)
    _tell(n_row, out, left_out, as_json)


def _tell(n_row: int, out: Path, left_out: Counter[str], as_json: bool) -> None:
    if as_json:
        report({"out": str(out), "measured": n_row, "left_out": dict(left_out)}, True)
        return
    for reason, count in left_out.items():
        note(f"{count} images left out: {reason}.")
    report({"measured": n_row}, False)
