"""`galbase simulate-sersic`: single-Sersic stamps with known truth."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from galbase.schema.console import progress, report
from galbase.schema.errors import UsageError


def simulate_sersic(
    out: Annotated[Path, typer.Option("--out", help="Folder to write, new or of the same set.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Number of stamps.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same options and seed, same bytes.")] = 1,
    background: Annotated[
        list[Path] | None,
        typer.Option("--background", help="Survey frame (FITS, .gz, .bz2) to cut blank sky from; may be repeated."),
    ] = None,
    psf: Annotated[
        Path | None, typer.Option("--psf", help="FITS file of PSF images, or a frame whose stars are taken.")
    ] = None,
    gain: Annotated[
        float | None, typer.Option("--gain", help="Electrons in one image unit; needed with --background.")
    ] = None,
    zero_point: Annotated[
        float | None,
        typer.Option("--zero-point", help="AB magnitude of one image unit; frames in nanomaggies know theirs."),
    ] = None,
    pixel_scale: Annotated[
        float | None, typer.Option("--pixel-scale", help="Pixel scale in arcsec; frames with WCS know theirs.")
    ] = None,
    psf_fwhm: Annotated[
        float | None, typer.Option("--psf-fwhm", help="Mean FWHM of simulated PSFs in arcsec; without --psf.")
    ] = None,
    snr: Annotated[tuple[float, float] | None, typer.Option("--snr", help="Range of S/N, log-uniform.")] = None,
    mag: Annotated[
        tuple[float, float] | None, typer.Option("--mag", help="Range of magnitude, uniform, instead of S/N.")
    ] = None,
    re_px: Annotated[
        tuple[float, float] | None, typer.Option("--re-px", help="Range of Re in pixels, log-uniform.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Simulate 61x61 stamps of single-Sersic galaxies with their 25x25 PSFs, on simulated or real sky.

    Example: galbase simulate-sersic --out stamps --size 20000 --seed 1
    --background frame.fits.bz2 --gain 925 --psf frame.fits.bz2
    """
    from galbase.ml.stamps.parameters import StampParameters
    from galbase.ml.stamps.simulate import simulate_stamps

    if background and gain is None:
        raise UsageError("--background needs --gain, the electrons in one of the frame's units (its noise follows).")
    if snr and mag:
        raise UsageError("--snr and --mag exclude each other: give one.")
    given = {
        "gain": gain,
        "zero_point": zero_point,
        "pixel_scale_arcsec": pixel_scale,
        "psf_fwhm_arcsec": psf_fwhm,
        "snr": snr,
        "mag": mag,
        "re_px": re_px,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    parameters = replace(StampParameters(), **chosen)  # type: ignore[arg-type]
    with progress("simulate-sersic", size, "stamps") as bar:
        done = 0

        def advance(now: int, _total: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        result = simulate_stamps(
            out, size, seed, parameters=parameters, backgrounds=background or (), psf=psf, given=frozenset(chosen),
            progress=advance,
        )  # fmt: skip
    report(asdict(result), as_json)
