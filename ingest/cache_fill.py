"""Fill the stamp cache: stamps of images that were judged without it, or whose file is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.pixels import pixel_hash, read_cutouts, rows_per_unit
from galbase.ingest.preprocess.stamp import frame_target
from galbase.ingest.preprocess.stamp_file import Stamp, UnusableStampFileError, read_stamps
from galbase.ingest.stamp_cache import CachePlace, CacheReport, discard, record, write_stamps
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import StaleUnit, WorkUnit, complete

STEP = "stamps"
_KEPT = sql.SQL(
    "archive.preprocess p JOIN archive.observation o USING (observation_id) JOIN archive.data_file f "
    "USING (data_file_id) JOIN archive.data_root r USING (data_root_id) "
    "JOIN archive.data_release d ON d.release_id = o.release_id"
)
_WANTED = sql.SQL(
    "p.preprocess_config_id = %(config)s AND p.kept AND p.ellipse_a IS NOT NULL AND f.state = 'loaded' "
    "AND (%(release)s::text IS NULL OR d.release = %(release)s)"
)
_FILES = sql.SQL("SELECT DISTINCT f.data_file_id, r.path, f.path, f.format FROM {} WHERE {}").format(_KEPT, _WANTED)
# A verdict that is newer than the file was written without it.
_CHUNKS = sql.SQL(
    "SELECT k.data_file_id, k.chunk * k.size, k.size, k.n_kept, s.path, s.content_hash, s.size_bytes, "
    "coalesce(s.n_stamp < k.n_kept OR s.created_at < k.modified_at, true) FROM ("
    "SELECT o.data_file_id, o.row_index / u.size AS chunk, u.size, count(*) AS n_kept, "
    "max(p.modified_at) AS modified_at FROM {} JOIN unnest(%(ids)s::bigint[], %(sizes)s::bigint[]) AS u (id, size) "
    "ON u.id = o.data_file_id WHERE {} GROUP BY 1, 2, 3) AS k LEFT JOIN archive.stamp_file s "
    "ON s.preprocess_config_id = %(config)s AND s.data_file_id = k.data_file_id "
    "AND s.row_start = k.chunk * k.size ORDER BY 1, 2"
).format(_KEPT, _WANTED)


@dataclass(frozen=True)
class FillReport:
    """What a fill did: images whose stamps are cached now, and what was written."""

    n_row: int = 0
    cache: CacheReport = field(default_factory=CacheReport)

    def __add__(self, other: FillReport) -> FillReport:
        """Both together."""
        return FillReport(self.n_row + other.n_row, self.cache + other.cache)


def lacking_units(
    connection: psycopg.Connection[Any],
    folder: Path,
    config_id: int,
    release: str | None = None,
    verify: bool = False,
) -> list[StaleUnit]:
    """Units with kept images whose stamps are not all in a file, in order of file and row.

    Parameters
    ----------
    connection : psycopg.Connection
    folder : Path
        The archive's cache folder.
    config_id : int
    release : str, optional
        Only images of this release; of all releases when None.
    verify : bool
        Read every file and compare its hash, instead of looking only whether it is there.
    """
    parameters: dict[str, Any] = {"config": config_id, "release": release}
    files = connection.execute(_FILES, parameters).fetchall()
    parameters["ids"] = [row[0] for row in files]
    parameters["sizes"] = [rows_per_unit(Path(row[1]) / row[2], row[3]) for row in files]
    chunks = connection.execute(_CHUNKS, parameters).fetchall()
    return [
        StaleUnit(int(file_id), int(start), int(start) + int(size), int(n_kept))
        for file_id, start, size, n_kept, path, digest, size_bytes, lacking in chunks
        if lacking or not is_there(folder / path, digest if verify else None, int(size_bytes))
    ]


def is_there(path: Path, digest: str | None, size_bytes: int) -> bool:
    """Whether a cached file exists with its size, and with its content where a hash is given."""
    try:
        if path.stat().st_size != size_bytes:
            return False
        if digest is not None:
            read_stamps(path, digest)
    except (OSError, UnusableStampFileError):
        return False
    return True


@dataclass(frozen=True)
class _Kept:
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool
    ellipse: Ellipse
    input_hash: str
    pixel_hash: str | None


def fill_unit(
    connection: psycopg.Connection[Any], unit: WorkUnit, config_id: int, config: PreprocessConfig, folder: Path | None
) -> FillReport:
    """Make the stamps of a unit's kept images that the cache lacks, from the survey's file.

    Raises
    ------
    GalbaseError
        If this worker has no cache folder, or the file cannot be read or holds other pixels than those judged.
    ClaimLostError
        If the unit's claim was lost; nothing was recorded then.
    """
    if unit.data_file_id is None:
        raise ValueError(f"unit {unit.work_unit_id} of step {unit.step} names no file")
    if folder is None:
        raise GalbaseError("this worker does not see the cache folder; mount it there under the same path.")
    place = CachePlace(folder, config_id, config, unit.data_file_id, unit.row_start, unit.row_stop)
    path, fmt, kept = _load(connection, place)
    stamps = _stamps(path, fmt, kept, config)
    # All rows are replaced: what the old file holds is as likely damaged as not.
    written = write_stamps(connection, place, stamps, range(unit.row_start, unit.row_stop))
    with connection.transaction():
        replaced = record(connection, place, written)
        complete(connection, unit, written.report.n_stamp)
    discard(folder, replaced)
    return FillReport(written.report.n_stamp, written.report)


def _load(connection: psycopg.Connection[Any], place: CachePlace) -> tuple[Path, str, list[_Kept]]:
    with connection.transaction():
        rows = connection.execute(
            "SELECT r.path, f.path, f.format, o.row_index, i.bands, i.pixel_scale_arcsec, i.is_display, p.ellipse_x, "
            "p.ellipse_y, p.ellipse_a, p.ellipse_b, p.ellipse_theta, p.input_hash, o.pixel_hash "
            "FROM archive.observation o JOIN archive.image i USING (observation_id) JOIN archive.preprocess p "
            "ON p.observation_id = o.observation_id AND p.preprocess_config_id = %s JOIN archive.data_file f "
            "USING (data_file_id) JOIN archive.data_root r USING (data_root_id) WHERE o.data_file_id = %s "
            "AND o.row_index >= %s AND o.row_index < %s AND p.kept AND p.ellipse_a IS NOT NULL ORDER BY o.row_index",
            (place.config_id, place.data_file_id, place.row_start, place.row_stop),
        ).fetchall()
    if not rows:
        return Path(), "", []
    kept = [_Kept(row[3], tuple(row[4]), row[5], row[6], Ellipse(*row[7:12]), row[12], row[13]) for row in rows]
    return Path(rows[0][0]) / rows[0][1], rows[0][2], kept


def _stamps(path: Path, fmt: str, kept: Sequence[_Kept], config: PreprocessConfig) -> list[Stamp]:
    if not kept:
        return []
    first = kept[0].row_index
    cutouts = read_cutouts(path, fmt, first, kept[-1].row_index + 1)
    stamps = []
    for image in kept:
        pixels = cutouts.pixels[image.row_index - first]
        if image.pixel_hash is not None and pixel_hash(pixels) != image.pixel_hash:
            raise GalbaseError(f"{path} row {image.row_index} has changed since it was judged; ingest it again.")
        target = frame_target(pixels, image.bands, image.pixel_scale_arcsec, image.is_display, image.ellipse, config)
        stamps.append(Stamp(image.row_index, image.input_hash, target))
    return stamps
