"""`galbase ingest images`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galbase.ingest.commands_cut import cut_and_ingest
from galbase.schema import console
from galbase.schema.errors import UsageError

if TYPE_CHECKING:
    from galbase.ingest.image import ImageOptions


def images(
    ctx: typer.Context,
    release: Annotated[str, typer.Option(help="Release the images belong to.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Image files, or folders that are searched for them.", show_default=False),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="CSV with columns file, ra, dec, and where known pixel_scale_arcsec, native_id."),
    ] = None,
    position_from_name: Annotated[
        bool,
        typer.Option("--position-from-name", help="Read positions from names: RA_DEC.jpg or JHHMMSS.ss+DDMMSS.s.png."),
    ] = False,
    pixel_scale_arcsec: Annotated[
        float | None, typer.Option(help="Pixel scale where neither manifest nor file tells it.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands of unnamed planes in order, such as z,r,g for red, green, blue.")
    ] = None,
    cut_from: Annotated[
        list[Path] | None,
        typer.Option(help="Frames or bricks (FITS with a WCS; .gz, .bz2, .fz), or their folder, to cut stamps out of."),
    ] = None,
    positions: Annotated[str | None, typer.Option(help="Release whose sources are cut out of the frames.")] = None,
    size_px: Annotated[int | None, typer.Option(help="Width and height of the stamps cut out.")] = None,
    min_coverage: Annotated[
        float, typer.Option(help="Leave out stamps of which a smaller share of pixels has data in every band.")
    ] = 0.5,
    max_band_offset_px: Annotated[
        float,
        typer.Option(help="By how much the pixel grids of two bands of a stamp may differ; nothing is resampled."),
    ] = 0.1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the stamps cut out; default: stamps/RELEASE in the data directory.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786 [processes here].")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes [one a core].", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Load image cutouts: JPEG, PNG, FITS, or HDF5 shards in the layout of ssl-legacysurvey; or cut them out of frames.

    A manifest's position goes before the header's, and that before the name's; differences over 1 arcsec are flagged.
    A broken file is rejected with its reason, the others load; the exit status is then 1.

    --cut-from cuts a stamp round every source of --positions that lies on a frame, keeping the frame's pixels, WCS and
    unit. Frames whose names differ only in the band make one stamp of several bands. A source on several frames is cut
    from the one where it lies farthest from the edge. Pixels beyond the edge, or of weight 0 in an invvar plane beside,
    are NaN and flagged. A second run cuts only what is new or changed.

    Example: galbase ingest images cutouts/ --release galaxy-zoo --manifest cutouts/manifest.csv
    """
    from galbase.ingest.bulk_load import ingest_turn
    from galbase.ingest.file_job import LedgerRun
    from galbase.ingest.image import ingest_images
    from galbase.ingest.observation_report import observation_totals, write_report
    from galbase.ingest.releases import require_release
    from galbase.schema.database import connect

    if cut_from:
        if paths or manifest or position_from_name or pixel_scale_arcsec or bands:
            raise UsageError("--cut-from takes images from the frames: leave out files, --manifest and the like.")
        cut_and_ingest(
            ctx.obj,
            release,
            frames=cut_from,
            positions=positions,
            size_px=size_px,
            min_coverage=min_coverage,
            max_band_offset_px=max_band_offset_px,
            out=out,
            scheduler=scheduler,
            workers=workers,
            as_json=as_json,
        )
        return
    if not paths:
        raise UsageError("give image files or folders, or --cut-from FRAMES.")
    if positions is not None or size_px is not None or out is not None:
        raise UsageError("--positions, --size-px and --out belong to --cut-from FRAMES.")
    options = _options(manifest, position_from_name, pixel_scale_arcsec, bands)
    recorded = {
        "command": "images",
        "release": release,
        "paths": [str(path.absolute()) for path in paths],
        "manifest": None if manifest is None else str(manifest.absolute()),
        "position_from_name": position_from_name,
        "pixel_scale_arcsec": pixel_scale_arcsec,
        "bands": bands,
    }
    with connect(ctx.obj, autocommit=True) as connection, ingest_turn(connection):
        target = require_release(connection, release)
        with console.progress("images", unit="files") as progress:
            run = LedgerRun(ctx.obj, recorded, connection, scheduler, workers, progress, console.note)
            report = ingest_images(connection, target, paths, options, parallel=run)
        totals = observation_totals(connection, target.release_id, "image")
    unused = [] if options.manifest is None else options.manifest.unused()
    write_report(report, totals, as_json, {"manifest_rows_unused": len(unused)})
    if report.rejected:
        raise typer.Exit(1)


def _options(
    manifest: Path | None, position_from_name: bool, pixel_scale_arcsec: float | None, bands: str | None
) -> ImageOptions:
    from galbase.ingest.image import ImageOptions
    from galbase.ingest.manifest import read_manifest

    if pixel_scale_arcsec is not None and not 0 < pixel_scale_arcsec < 3600:
        raise UsageError(f"--pixel-scale-arcsec {pixel_scale_arcsec} is no pixel scale; give arcsec, such as 0.262.")
    named = None if bands is None else tuple(band.strip() for band in bands.split(","))
    if named is not None and ("" in named or len(set(named)) < len(named)):
        raise UsageError(f"--bands {bands!r} must name each plane once, separated by commas, such as z,r,g.")
    return ImageOptions(
        manifest=None if manifest is None else read_manifest(manifest),
        position_from_name=position_from_name,
        pixel_scale_arcsec=pixel_scale_arcsec,
        bands=named,
    )
