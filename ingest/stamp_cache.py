"""The stamp cache and the database: a unit's stamps as one file, recorded in the transaction of the unit.

A file is complete under its name before the database hears of it, and is never changed: other stamps make a file of
another name, which takes the old one's place in the database before the old one is deleted. So whatever is killed when,
a row names a complete file or one that is gone, and readers make the stamps of the latter from the survey's files.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.stamp_file import (
    SUFFIX,
    Stamp,
    UnusableStampFileError,
    content_hash,
    encode,
    read_stamps,
    write_once,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheReport:
    """What units did to the cache.

    Parameters
    ----------
    n_stamp, n_byte : int
        Stamps written, and bytes of their files.
    problem : str
        Why a file could not be written; empty if all were. Without a cache nothing is lost but time.
    """

    n_stamp: int = 0
    n_byte: int = 0
    problem: str = ""

    def __add__(self, other: CacheReport) -> CacheReport:
        """Both together."""
        return CacheReport(self.n_stamp + other.n_stamp, self.n_byte + other.n_byte, self.problem or other.problem)


@dataclass(frozen=True)
class CachePlace:
    """Where the stamps of some rows of a survey file go.

    Parameters
    ----------
    folder : Path
        The archive's cache folder.
    config_id, config
        The configuration and its number.
    data_file_id : int
    row_start, row_stop : int
        Rows of the file, half-open: a unit of work of this configuration, as `rows_per_unit` cuts the file.
    """

    folder: Path
    config_id: int
    config: PreprocessConfig
    data_file_id: int
    row_start: int
    row_stop: int

    def path(self, digest: str) -> str:
        """Path under the folder of a file with this content."""
        return f"{self.config.hash()}/{self.data_file_id}-{self.row_start}-{digest[:32]}{SUFFIX}"


@dataclass(frozen=True)
class Written:
    """A file that was written and is not recorded yet; `report` alone tells of one that could not be.

    Parameters
    ----------
    path, content_hash, size_bytes
        Of the file; the first is None where there is none.
    rows : sequence of (row_index, input_hash)
        Its stamps.
    report : CacheReport
    """

    path: str | None
    content_hash: str
    size_bytes: int
    rows: Sequence[tuple[int, str]]
    report: CacheReport


def usable(folder: str | None) -> Path | None:
    """The cache folder as a worker sees it; None where it has none, which is no error."""
    if folder is None or not Path(folder).is_dir():
        return None
    return Path(folder)


def write_stamps(
    connection: psycopg.Connection[Any], place: CachePlace, stamps: Sequence[Stamp], replaced: Collection[int]
) -> Written:
    """Write the stamps of a place as a file, together with those that its present file holds of other rows.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction.
    place : CachePlace
    stamps : sequence of Stamp
    replaced : collection of int
        Rows that were judged now; what the present file holds of them is left out.

    Returns
    -------
    Written
        To be given to `record`. Where the disk refuses, no file is written: a cache may fail, verdicts may not.
    """
    kept = [each for each in _present(connection, place) if each.row_index not in replaced]
    new = [Stamp(each.row_index, each.input_hash, each.target.masked()) for each in stamps]
    together = [*kept, *new]
    if not together:
        return Written(None, "", 0, (), CacheReport())
    content = encode(together)
    digest = content_hash(content)
    try:
        write_once(place.folder / place.path(digest), content)
    except OSError as error:
        reason = f"{place.folder / place.path(digest)} was not written: {error.strerror or error}"
        _log.warning("stamp cache: %s", reason)
        return Written(None, "", 0, (), CacheReport(problem=reason))
    rows = [(each.row_index, each.input_hash) for each in together]
    return Written(place.path(digest), digest, len(content), rows, CacheReport(len(new), len(content)))


def record(connection: psycopg.Connection[Any], place: CachePlace, written: Written) -> list[str]:
    """Record a file in the transaction that writes the unit's verdicts, after them.

    Returns
    -------
    list of str
        Paths that no row names any more once the caller has committed; for `discard`.
    """
    key = (place.config_id, place.data_file_id, place.row_start)
    # Whoever reads the old row before this commits finds its file or makes the stamps anew.
    old = connection.execute(
        "SELECT path FROM archive.stamp_file WHERE preprocess_config_id = %s AND data_file_id = %s AND row_start = %s "
        "FOR UPDATE",
        key,
    ).fetchone()
    if written.path is None:
        connection.execute(
            "DELETE FROM archive.stamp_file WHERE preprocess_config_id = %s AND data_file_id = %s AND row_start = %s",
            key,
        )
        return [] if old is None else [old[0]]
    connection.execute(
        "INSERT INTO archive.stamp_file (preprocess_config_id, data_file_id, row_start, row_stop, path, content_hash, "
        "size_bytes, n_stamp) SELECT %s, %s, %s, %s, %s, %s, %s, (SELECT count(*) FROM unnest(%s::bigint[], "
        "%s::text[]) AS s (row_index, input_hash) JOIN archive.observation o ON o.data_file_id = %s "
        "AND o.row_index = s.row_index JOIN archive.preprocess p ON p.observation_id = o.observation_id "
        "AND p.preprocess_config_id = %s AND p.input_hash = s.input_hash AND p.kept) "
        "ON CONFLICT (preprocess_config_id, data_file_id, row_start) DO UPDATE SET row_stop = excluded.row_stop, "
        "path = excluded.path, content_hash = excluded.content_hash, size_bytes = excluded.size_bytes, "
        "n_stamp = excluded.n_stamp, created_at = excluded.created_at",
        (
            *key, place.row_stop, written.path, written.content_hash, written.size_bytes,
            [row for row, _ in written.rows], [digest for _, digest in written.rows], place.data_file_id,
            place.config_id,
        ),
    )  # fmt: skip
    return [] if old is None or old[0] == written.path else [old[0]]


def discard(folder: Path, paths: Sequence[str]) -> None:
    """Delete files that no row names any more; those that cannot be deleted are `galbase cache prune`'s to find."""
    for path in paths:
        try:
            (folder / path).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("stamp cache: %s was not deleted: %s", folder / path, error.strerror)


def _present(connection: psycopg.Connection[Any], place: CachePlace) -> list[Stamp]:
    """Stamps of the present file; none where there is none or it is not usable."""
    with connection.transaction():
        row = connection.execute(
            "SELECT path, content_hash FROM archive.stamp_file WHERE preprocess_config_id = %s AND data_file_id = %s "
            "AND row_start = %s",
            (place.config_id, place.data_file_id, place.row_start),
        ).fetchone()
    if row is None:
        return []
    try:
        return read_stamps(place.folder / row[0], row[1]).stamps()
    except UnusableStampFileError as error:
        _log.warning("stamp cache: %s", error)
        return []
