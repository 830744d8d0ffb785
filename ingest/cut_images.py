"""Cuts stamps round a release's sources out of survey frames: from which frame each, and what is current already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.found_file import hash_options, list_files
from galbase.ingest.readers.fits_image import is_fits_name
from galbase.ingest.releases import Release
from galbase.ingest.stamp_cut import edge_distance
from galbase.ingest.stamp_shard import LAYOUT_VERSION, SUFFIX, stored_hash, write_stamps
from galbase.ingest.survey_frame import (
    Frame,
    FrameGroup,
    footprint,
    group_frames,
    pixel_scale_arcsec,
    read_frame,
    world_to_pixel,
)
from galbase.schema.errors import GalbaseError, UsageError

DEFAULT_MIN_COVERAGE = 0.5
DEFAULT_MAX_OFFSET_PX = 0.1
MAX_SIZE_PX = 4096


@dataclass(frozen=True)
class CutOptions:
    """How stamps are cut.

    Parameters
    ----------
    size_px : int
        Width and height of a stamp.
    min_coverage : float
        Stamps that cover a smaller share of pixels are left out.
    max_band_offset_px : float
        By how much the grids of two bands may differ within a stamp.
    """

    size_px: int
    min_coverage: float = DEFAULT_MIN_COVERAGE
    max_band_offset_px: float = DEFAULT_MAX_OFFSET_PX

    def check(self) -> None:
        """Refuse options that make no sense."""
        if not 1 <= self.size_px <= MAX_SIZE_PX:
            raise UsageError(f"--size-px {self.size_px} is no size of a stamp; give 1 to {MAX_SIZE_PX}.")
        if not 0 <= self.min_coverage <= 1:
            raise UsageError(f"--min-coverage {self.min_coverage} is no share; give 0 to 1.")
        if not 0 <= self.max_band_offset_px <= 1:
            raise UsageError(f"--max-band-offset-px {self.max_band_offset_px} makes no sense; give 0 to 1.")


@dataclass
class CutReport:
    """What a run of cutting did.

    Parameters
    ----------
    frames, frames_ignored : int
        Frames found, and FITS files that are none: tables, masks, weights.
    sources : int
        Sources of the release that lie on a frame.
    stamps_cut, files_cut, files_current : int
        Stamps and files written now; files that were as wanted already.
    below_coverage : int
        Sources whose stamp is left out in the files written now.
    rejected : list of (file, reason)
    files : list of Path
        All files of stamps that are current, to be ingested.
    """

    frames: int = 0
    frames_ignored: int = 0
    sources: int = 0
    stamps_cut: int = 0
    files_cut: int = 0
    files_current: int = 0
    below_coverage: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def cut_images(
    connection: psycopg.Connection[Any],
    positions: Release,
    paths: Sequence[Path],
    out: Path,
    options: CutOptions,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> CutReport:
    """Cut a stamp round every source of a release that lies on a frame; one file of stamps a group of frames.

    A source on several groups of frames is cut from the one where it lies farthest from the edge, in arcsec, in its
    first band. What is current, by the frames' size and time, the sources' positions and the options, is left alone.

    Parameters
    ----------
    connection : psycopg.Connection
        Read only.
    positions : Release
        Whose sources are cut out.
    paths : sequence of Path
        FITS images with a celestial WCS, also .gz, .bz2 and .fz, or folders that are searched.
    out : Path
        Folder of the files of stamps.
    options : CutOptions
    advance : callable
        Called with the number of groups done.

    Raises
    ------
    UsageError
        If a path does not exist or an option makes no sense. A frame that cannot be read is rejected and reported.
    """
    options.check()
    report = CutReport()
    groups = group_frames(_frames(paths, report))
    found = []
    for group in groups:
        found.append(_sources_on(connection, positions.release_id, group))
    chosen = _choose(found)
    report.sources = sum(len(rows) for rows in chosen)
    for group, sources, rows in zip(groups, found, chosen, strict=True):
        if rows.size:
            _cut_group(group, sources, rows, out, options, report)
        advance(1)
    return report


@dataclass(frozen=True)
class _Sources:
    native_ids: list[str]
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    edge_arcsec: npt.NDArray[np.float64]


def _frames(paths: Sequence[Path], report: CutReport) -> list[Frame]:
    frames = []
    named = {path.absolute() for path in paths if path.is_file()}
    for path, root in list_files(paths, lambda path: is_fits_name(path) and not path.name.startswith(".")):
        try:
            frame = read_frame(path)
            if frame is None and path in named:
                raise GalbaseError(
                    f"{path.name} is no frame: an image of flux in two dimensions with a celestial WCS is needed."
                )
        except GalbaseError as error:
            report.rejected.append((path.relative_to(root).as_posix(), str(error)))
            continue
        if frame is None:
            report.frames_ignored += 1
        else:
            frames.append(frame)
    report.frames = len(frames)
    return frames


def _sources_on(connection: psycopg.Connection[Any], release_id: int, group: FrameGroup) -> _Sources:
    """Sources whose position is on the first frame of a group."""
    frame = group.frames[0]
    ra, dec, radius = footprint(frame)
    rows = connection.execute(
        'SELECT s.native_id, s.ra, s."dec" FROM archive.source s WHERE s.release_id = %s '
        'AND api.in_cone(s.hpx29, s.ra, s."dec", %s, %s, %s) ORDER BY s.source_id',
        (release_id, ra, dec, radius),
    ).fetchall()
    if not rows:
        return _Sources([], np.empty(0), np.empty(0), np.empty(0))
    places = np.array([row[1:] for row in rows], np.float64)
    x, y = world_to_pixel(frame.wcs(), places[:, 0], places[:, 1])
    edge = edge_distance(x, y, frame.shape)
    kept = np.flatnonzero(edge > 0)
    return _Sources(
        [str(rows[row][0]) for row in kept.tolist()],
        places[kept, 0],
        places[kept, 1],
        edge[kept] * pixel_scale_arcsec(frame),
    )


def _choose(found: Sequence[_Sources]) -> list[npt.NDArray[np.intp]]:
    """Rows of each group that are cut there: those that lie farther from its edge than from any other group's."""
    best: dict[str, tuple[float, int]] = {}
    for number, sources in enumerate(found):
        for native, edge in zip(sources.native_ids, sources.edge_arcsec.tolist(), strict=True):
            if native not in best or edge > best[native][0]:
                best[native] = (edge, number)
    return [
        np.array([row for row, native in enumerate(sources.native_ids) if best[native][1] == number], np.intp)
        for number, sources in enumerate(found)
    ]


def _cut_group(
    group: FrameGroup, sources: _Sources, rows: npt.NDArray[np.intp], out: Path, options: CutOptions, report: CutReport
) -> None:
    native_ids = [sources.native_ids[row] for row in rows.tolist()]
    ra, dec = sources.ra[rows], sources.dec[rows]
    path = out / f"{group.name}{SUFFIX}"
    wanted = hash_options(
        {
            "layout": LAYOUT_VERSION,
            "options": [options.size_px, options.min_coverage, options.max_band_offset_px],
            "frames": [_identity(file) for frame in group.frames for file in (frame.path, frame.weight)],
            "sources": list(zip(native_ids, ra.tolist(), dec.tolist(), strict=True)),
        }
    )
    if stored_hash(path) == wanted:
        report.files_current += 1
        report.files.append(path)
        return
    try:
        written, left_out = write_stamps(
            path,
            group,
            native_ids,
            ra,
            dec,
            size_px=options.size_px,
            min_coverage=options.min_coverage,
            max_offset_px=options.max_band_offset_px,
            input_hash=wanted,
        )
    except GalbaseError as error:
        report.rejected.append((group.frames[0].path.name, str(error)))
        return
    report.stamps_cut += written
    report.below_coverage += left_out
    if written:
        report.files_cut += 1
        report.files.append(path)


def _identity(path: Path | None) -> list[Any] | None:
    if path is None:
        return None
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
