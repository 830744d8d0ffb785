"""`galbase ingest images --cut-from`: stamps cut from frames, then loaded as any other images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from galbase.schema import console
from galbase.schema.config import Config
from galbase.schema.errors import UsageError


def cut_and_ingest(
    config: Config,
    release: str,
    *,
    frames: list[Path],
    positions: str | None,
    size_px: int | None,
    min_coverage: float,
    max_band_offset_px: float,
    out: Path | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Cut the stamps, load them into `release`, and report both; exit status 1 if anything was rejected."""
    from galbase.ingest.bulk_load import ingest_turn
    from galbase.ingest.cut_images import CutOptions, cut_images
    from galbase.ingest.file_job import LedgerRun
    from galbase.ingest.image import ImageOptions, ingest_images
    from galbase.ingest.observation_report import observation_totals, write_report
    from galbase.ingest.releases import require_release
    from galbase.schema.database import connect

    if positions is None or size_px is None:
        raise UsageError("--cut-from needs --positions RELEASE, whose sources are cut out, and --size-px N.")
    options = CutOptions(size_px, min_coverage, max_band_offset_px)
    options.check()
    folder = (out or config.data_dir / "stamps" / release).absolute()
    recorded: dict[str, Any] = {
        "command": "images",
        "release": release,
        "cut_from": [str(path.absolute()) for path in frames],
        "positions": positions,
        "size_px": size_px,
        "min_coverage": min_coverage,
        "max_band_offset_px": max_band_offset_px,
        "out": str(folder),
    }
    with connect(config, autocommit=True) as connection, ingest_turn(connection):
        target, of = require_release(connection, release), require_release(connection, positions)
        with console.progress("cut", unit="groups of frames") as progress:
            made = cut_images(connection, of, frames, folder, options, advance=progress.advance)
        with console.progress("images", unit="files") as progress:
            run = LedgerRun(config, recorded, connection, scheduler, workers, progress, console.note)
            report = ingest_images(connection, target, made.files, ImageOptions(), parallel=run)
        report.rejected[:0] = made.rejected
        totals = observation_totals(connection, target.release_id, "image")
    further = {
        "frames": made.frames,
        "frames_ignored": made.frames_ignored,
        "sources_on_frames": made.sources,
        "stamps_cut": made.stamps_cut,
        "below_coverage": made.below_coverage,
        "stamp_files_cut": made.files_cut,
        "stamp_files_current": made.files_current,
    }
    write_report(report, totals, as_json, further)
    if report.rejected:
        raise typer.Exit(1)
