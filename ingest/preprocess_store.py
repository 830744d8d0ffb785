"""Preprocessing and the database: what is stale, and one unit of work read, judged and written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from galbase.ingest.preprocess.arrays import NUMPY, Arrays
from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.judge import ALGORITHM_VERSIONS, preprocess_images
from galbase.ingest.preprocess.pixels import Cutouts, pixel_hash, read_cutouts, rows_per_unit
from galbase.ingest.preprocess.stamp import frame_target
from galbase.ingest.preprocess.stamp_file import Stamp
from galbase.ingest.preprocess.verdict import Verdict
from galbase.ingest.stamp_cache import CachePlace, CacheReport, discard, record, write_stamps
from galbase.schema.bulk import upsert
from galbase.schema.errors import GalbaseError
from galbase.schema.files import file_facts
from galbase.schema.ledger import StaleUnit, WorkUnit, complete

STEP = "preprocess"
HASH_DIGITS = 32
COLUMNS = (
    "observation_id", "preprocess_config_id", "flag", "kept", "ellipse_x", "ellipse_y", "ellipse_a", "ellipse_b",
    "ellipse_theta", "radius_px", "radius_arcsec", "threshold", "n_contour", "n_source", "n_region",
    "background_rms", "blend_score", "input_hash",
)  # fmt: skip

# What a verdict depends on besides pixels, configuration and algorithm. PostgreSQL writes these texts both for the
# list of stale rows and for the rows that are written, so no other program's float format can disagree with it.
_INPUT_TEXT = sql.SQL(
    "coalesce(i.pixel_scale_arcsec::text, 'none') || '|' || array_to_string(i.bands, ',', '') || '|' || i.is_display"
)
_IS_STALE = sql.SQL(
    "(p.input_hash IS NULL OR o.pixel_hash IS NULL OR p.input_hash <> left(encode(sha256(convert_to("
    "o.pixel_hash || '|' || %(config_hash)s::text || '|' || %(version)s::text || '|' || {}, 'UTF8')), 'hex'), 32))"
).format(_INPUT_TEXT)
_IMAGES = sql.SQL(
    "archive.observation o JOIN archive.image i USING (observation_id) JOIN archive.data_file f USING (data_file_id) "
    "LEFT JOIN archive.preprocess p ON p.observation_id = o.observation_id "
    "AND p.preprocess_config_id = %(config_id)s::bigint"
)
_CHOSEN = sql.SQL(
    "o.kind = 'image' AND f.state = 'loaded' AND (%(release)s::text IS NULL OR o.release_id = "
    "(SELECT release_id FROM archive.data_release WHERE release = %(release)s)) AND {}"
).format(_IS_STALE)


@dataclass(frozen=True)
class UnitReport:
    """What a unit did: verdicts computed, images kept, images by flag name, and stamps cached."""

    n_row: int = 0
    n_kept: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    cache: CacheReport = field(default_factory=CacheReport)

    def __add__(self, other: UnitReport) -> UnitReport:
        """Both together."""
        return UnitReport(
            self.n_row + other.n_row, self.n_kept + other.n_kept, self.flags + other.flags, self.cache + other.cache
        )


@dataclass(frozen=True)
class _ImageRow:
    observation_id: int
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool
    input_text: str
    stored_hash: str | None
    stored_pixel_hash: str | None


@dataclass(frozen=True)
class _Stale:
    """An image to judge, and the hash of all that its verdict depends on."""

    image: _ImageRow
    bands: tuple[str, ...]
    pixels: npt.NDArray[np.float32]
    wanted: str


@dataclass(frozen=True)
class _File:
    path: Path
    fmt: str
    size_bytes: int
    mtime: Any
    content: str | None


def input_hash(pixel_digest: str, config: PreprocessConfig, input_text: str) -> str:
    """Hash of all that a stored verdict depends on; the same text is hashed in `stale_units`."""
    text = f"{pixel_digest}|{config.hash()}|{ALGORITHM_VERSIONS[config.method]}|{input_text}"
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def ensure_config(connection: psycopg.Connection[Any], name: str, config: PreprocessConfig) -> int:
    """Number of a configuration, stored when new under the name of the preset it started from. The caller commits."""
    connection.execute(
        "INSERT INTO archive.preprocess_config (name, hash, parameters) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (name, config.hash(), json.dumps(config.to_dict())),
    )
    config_id = find_config(connection, config)
    if config_id is None:
        raise RuntimeError("no preprocess_config_id was returned")
    return config_id


def find_config(connection: psycopg.Connection[Any], config: PreprocessConfig) -> int | None:
    """Number of a stored configuration with these options; None if it was never used."""
    row = connection.execute(
        "SELECT preprocess_config_id FROM archive.preprocess_config WHERE hash = %s", (config.hash(),)
    ).fetchone()
    return None if row is None else int(row[0])


def load_config(connection: psycopg.Connection[Any], config_id: int) -> PreprocessConfig:
    """A stored configuration.

    Raises
    ------
    GalbaseError
        If there is none of this number.
    """
    row = connection.execute(
        "SELECT parameters FROM archive.preprocess_config WHERE preprocess_config_id = %s", (config_id,)
    ).fetchone()
    if row is None:
        raise GalbaseError(f"there is no preprocessing configuration {config_id}; run `galbase preprocess` first.")
    return PreprocessConfig.from_dict(row[0])


def stale_units(
    connection: psycopg.Connection[Any], config_id: int | None, config: PreprocessConfig, release: str | None = None
) -> list[StaleUnit]:
    """Units that hold images without a current verdict, in order of file and row.

    A verdict is current if it was computed from these pixels, with this configuration, pixel scale, bands and
    algorithm version. Images whose pixels were never read, or whose file was ingested anew, are stale.

    Parameters
    ----------
    connection : psycopg.Connection
    config_id, config
        The configuration and its number; None if it is not stored, so that every image is stale.
    release : str, optional
        Only images of this release; of all releases when None.
    """
    parameters: dict[str, Any] = {
        "config_id": config_id,
        "config_hash": config.hash(),
        "version": str(ALGORITHM_VERSIONS[config.method]),
        "release": release,
    }
    files = sql.SQL(
        "SELECT DISTINCT f.data_file_id, r.path, f.path, f.format FROM {} JOIN archive.data_root r "
        "USING (data_root_id) WHERE {}"
    ).format(_IMAGES, _CHOSEN)
    found = connection.execute(files, parameters).fetchall()
    if not found:
        return []
    parameters["ids"] = [int(row[0]) for row in found]
    parameters["sizes"] = [rows_per_unit(Path(row[1]) / row[2], row[3]) for row in found]
    units = sql.SQL(
        "SELECT o.data_file_id, min(o.row_index), max(o.row_index) + 1, count(*) FROM {} "
        "JOIN unnest(%(ids)s::bigint[], %(sizes)s::bigint[]) AS u (id, size) ON u.id = o.data_file_id "
        "WHERE {} GROUP BY o.data_file_id, o.row_index / u.size ORDER BY 1, 2"
    ).format(_IMAGES, _CHOSEN)
    rows = connection.execute(units, parameters).fetchall()
    return [StaleUnit(int(a), int(b), int(c), int(d)) for a, b, c, d in rows]


def process_unit(
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    config_id: int,
    config: PreprocessConfig,
    cache: Path | None = None,
    arrays: Arrays = NUMPY,
    n_thread: int = 1,
) -> UnitReport:
    """Read a unit's images, judge those whose verdict is not current, and write all of it in one transaction.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction.
    unit : WorkUnit
        Claimed by this worker.
    config_id, config
        The stored configuration and its number.
    cache : Path, optional
        The cache folder that stamps of kept images go to; none when None.
    arrays, n_thread
        As of `preprocess_images`.

    Raises
    ------
    GalbaseError
        If the file cannot be read, or changed since it was ingested.
    ClaimLostError
        If the unit's claim was lost; nothing was written then.
    """
    if unit.data_file_id is None:
        raise ValueError(f"unit {unit.work_unit_id} of step {unit.step} names no file")
    file, images = _load(connection, unit, unit.data_file_id, config_id)
    report = UnitReport()
    rows: list[tuple[Any, ...]] = []
    hashes: list[tuple[int, str]] = []
    judged: list[int] = []
    stamps: list[Stamp] = []
    if images:
        _check_unchanged(file)
        first = images[0].row_index
        cutouts = read_cutouts(file.path, file.fmt, first, images[-1].row_index + 1)
        digests = [pixel_hash(cutouts.pixels[image.row_index - first]) for image in images]
        hashes = [
            (image.observation_id, digest)
            for image, digest in zip(images, digests, strict=True)
            if digest != image.stored_pixel_hash
        ]
        stale = [
            _Stale(image, _bands(cutouts, image, file.path), cutouts.pixels[image.row_index - first], wanted)
            for image, digest in zip(images, digests, strict=True)
            if (wanted := input_hash(digest, config, image.input_text)) != image.stored_hash
        ]
        for each, verdict in zip(stale, _judge(stale, config, arrays, n_thread), strict=True):
            image = each.image
            rows.append(_row(image.observation_id, config_id, verdict, each.wanted))
            report.flags.update(str(flag.name) for flag in verdict.flag)
            judged.append(image.row_index)
            if cache is not None and verdict.kept and verdict.ellipse is not None:
                target = verdict.framed or frame_target(
                    each.pixels, each.bands, image.pixel_scale_arcsec, image.is_display, verdict.ellipse, config
                )
                stamps.append(Stamp(image.row_index, each.wanted, target))
    place = written = None
    if cache is not None and judged:
        size = rows_per_unit(file.path, file.fmt)
        start = unit.row_start // size * size
        place = CachePlace(cache, config_id, config, unit.data_file_id, start, start + size)
        written = write_stamps(connection, place, stamps, judged)
    report = UnitReport(
        len(rows), sum(bool(row[3]) for row in rows), report.flags, written.report if written else CacheReport()
    )
    replaced: list[str] = []
    with connection.transaction():
        _refuse_other_content(connection, unit.data_file_id, file)
        if rows:
            key = ("observation_id", "preprocess_config_id")
            upsert(
                connection, "archive", "preprocess", COLUMNS, rows,
                key=key, compare=("input_hash",), touch="modified_at",
            )  # fmt: skip
        if hashes:
            connection.execute(
                "UPDATE archive.observation o SET pixel_hash = v.digest "
                "FROM unnest(%s::bigint[], %s::text[]) AS v (id, digest) WHERE o.observation_id = v.id",
                ([observation for observation, _ in hashes], [digest for _, digest in hashes]),
            )
        if place is not None and written is not None:
            replaced = record(connection, place, written)
        complete(connection, unit, len(rows))
    if cache is not None:
        discard(cache, replaced)
    return report


def _load(
    connection: psycopg.Connection[Any], unit: WorkUnit, data_file_id: int, config_id: int
) -> tuple[_File, list[_ImageRow]]:
    with connection.transaction():
        found = connection.execute(
            "SELECT r.path, f.path, f.format, f.size_bytes, f.mtime, coalesce(f.sha256, f.chunk_sha256) "
            "FROM archive.data_file f JOIN archive.data_root r USING (data_root_id) WHERE f.data_file_id = %s",
            (data_file_id,),
        ).fetchone()
        if found is None:
            raise GalbaseError(f"file {data_file_id} is no longer registered; run the command again.")
        select = sql.SQL(
            "SELECT o.observation_id, o.row_index, i.bands, i.pixel_scale_arcsec, i.is_display, {}, p.input_hash, "
            "o.pixel_hash FROM {} WHERE o.data_file_id = %(file)s AND o.kind = 'image' "
            "AND o.row_index >= %(start)s AND o.row_index < %(stop)s ORDER BY o.row_index"
        ).format(_INPUT_TEXT, _IMAGES)
        rows = connection.execute(
            select,
            {"config_id": config_id, "file": data_file_id, "start": unit.row_start, "stop": unit.row_stop},
        ).fetchall()
    file = _File(Path(found[0]) / found[1], found[2], int(found[3]), found[4], found[5])
    return file, [_ImageRow(row[0], row[1], tuple(row[2]), *row[3:]) for row in rows]


def _check_unchanged(file: _File) -> None:
    """Refuse a file that is not what was ingested; its content is hashed only if its time stamp differs."""
    try:
        now = file.path.stat()
    except OSError as error:
        raise GalbaseError(f"{file.path} is not there: {error.strerror}. Put it back or ingest it anew.") from error
    same_time = abs(now.st_mtime - file.mtime.timestamp()) < 1e-3
    same = now.st_size == file.size_bytes and (
        same_time or _content_hash(file.path, now.st_size, now.st_mtime_ns) == file.content
    )
    if not same:
        raise GalbaseError(f"{file.path} has changed since it was ingested; run `galbase ingest images` on it again.")


@lru_cache(maxsize=64)
def _content_hash(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 -- they make the cache's key
    facts = file_facts(path)
    return facts.sha256 or facts.chunk_sha256


def _refuse_other_content(connection: psycopg.Connection[Any], data_file_id: int, file: _File) -> None:
    """Roll back verdicts on pixels that were replaced while they were judged, and hold off such a replacement."""
    row = connection.execute(
        "SELECT coalesce(sha256, chunk_sha256) FROM archive.data_file WHERE data_file_id = %s FOR SHARE",
        (data_file_id,),
    ).fetchone()
    if row is None or row[0] != file.content:
        raise GalbaseError(f"{file.path} was ingested anew while it was judged; run the command again.")


def _bands(cutouts: Cutouts, image: _ImageRow, path: Path) -> tuple[str, ...]:
    """What was registered at ingest goes before what the file says; a display image's channels have no names."""
    bands = cutouts.bands if image.is_display else image.bands
    if len(bands) != cutouts.pixels.shape[3]:
        raise GalbaseError(
            f"{path} has {cutouts.pixels.shape[3]} bands and was registered with {', '.join(bands)}; ingest it anew."
        )
    return bands


def _judge(stale: Sequence[_Stale], config: PreprocessConfig, arrays: Arrays, n_thread: int) -> Iterator[Verdict]:
    """Verdicts in order; images of a file that are alike are judged together."""
    for (bands, scale, is_display), alike in groupby(
        stale, lambda each: (each.bands, each.image.pixel_scale_arcsec, each.image.is_display)
    ):
        pixels = [each.pixels for each in alike]
        yield from preprocess_images(pixels, bands, scale, is_display, config, arrays, n_thread)


def _row(observation_id: int, config_id: int, verdict: Verdict, digest: str) -> tuple[Any, ...]:
    ellipse = verdict.ellipse
    axes = (None,) * 5 if ellipse is None else (ellipse.x, ellipse.y, ellipse.a, ellipse.b, ellipse.theta)
    return (
        observation_id, config_id, int(verdict.flag), verdict.kept, *axes, verdict.radius_px, verdict.radius_arcsec,
        verdict.threshold, verdict.n_contour, verdict.n_source, verdict.n_region, verdict.background_rms,
        verdict.blend_score, digest,
    )  # fmt: skip
