"""First bulk loads: secondary indexes and foreign keys are made when all rows are in, also after a crash.

One process at a time loads in bulk, and nothing else is ingested meanwhile: without the unique constraint on
(release, native id) rows could not be merged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.catalogue_file import UNMERGED
from galbase.ingest.galaxies import update_galaxies
from galbase.schema import deferred
from galbase.schema.errors import GalbaseError

_LOCK = "hashtextextended('galbase bulk load', 0)"
_WAIT = "15s"
_WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.2
# Making indexes over all rows costs a quarter of keeping them up to date row by row.
_LEAST_ROWS = 50_000
_TIMES_MORE = 2
_SOURCE_BYTES = 120
_PACKED = {".parquet": 3, ".pq": 3, ".gz": 4, ".bz2": 5}
_CATALOGUE_BYTES = 200
TABLES = tuple(
    ("archive", name)
    for name in (
        *("source", "legacysurvey_dr8_object", "legacysurvey_dr9_object", "sdss_galaxy", "extra_value"),
        *("observation", "image", "spectrum", "galaxy", "galaxy_member"),
    )
)


@contextmanager
def ingest_turn(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Ingest beside others, but not while a bulk load is open; one that was interrupted is finished first.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode; the locks are the session's.

    Raises
    ------
    GalbaseError
        If another process loads in bulk.
    """
    _take_turn(connection)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            _lock(connection, "pg_advisory_unlock_shared")


def _take_turn(connection: psycopg.Connection[Any]) -> None:
    """Take a share of the lock, once no bulk load is open.

    The server may work on for a while after a client was killed, and holds that client's lock as long.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        if _lock(connection, "pg_try_advisory_lock_shared"):
            if not deferred.pending(connection):
                return
            # A session's own share does not keep it from the whole.
            if _lock(connection, "pg_try_advisory_lock"):
                finish(connection)
                return
            _lock(connection, "pg_advisory_unlock_shared")
        if time.monotonic() > deadline:
            raise GalbaseError("another process is loading in bulk; wait for its end.")
        time.sleep(_POLL_SECONDS)


def settle(connection: psycopg.Connection[Any]) -> None:
    """Finish a bulk load that was interrupted, for those who need its indexes; connection in autocommit mode."""
    if deferred.pending(connection):
        with ingest_turn(connection):
            pass


def _lock(connection: psycopg.Connection[Any], function: str) -> bool:
    row = connection.execute(f"SELECT {function}({_LOCK})".encode()).fetchone()
    return row is not None and bool(row[0])


def pays(connection: psycopg.Connection[Any], n_row: int) -> bool:
    """Whether rows are many, also beside those that the archive holds, so that indexes are better made anew."""
    row = connection.execute("SELECT pg_relation_size('archive.source') / %s", (_SOURCE_BYTES,)).fetchone()
    return row is not None and n_row >= _LEAST_ROWS and n_row >= _TIMES_MORE * int(row[0])


def likely_rows(files: Sequence[Path]) -> int:
    """Rows of catalogue files, guessed from their size."""
    return sum(
        _PACKED.get(path.suffix.lower(), 1) * path.stat().st_size // _CATALOGUE_BYTES for path in files if path.exists()
    )


@contextmanager
def in_bulk(connection: psycopg.Connection[Any], wanted: bool, announce: Callable[[str], None]) -> Iterator[bool]:
    """Load in bulk within, if wanted and no other ingest runs; galaxies, indexes and constraints come at the end.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, in an `ingest_turn`.
    wanted : bool
    announce : callable
        Told in words what takes long.

    Yields
    ------
    bool
        Whether there is a bulk load.
    """
    n_object = begin(connection) if wanted else None
    if n_object is None:
        yield False
        return
    announce(f"Bulk load: {n_object} indexes and constraints are made when all rows are in.")
    try:
        yield True
    finally:
        if not connection.broken:
            announce("Making galaxies, indexes and constraints.")
            update_galaxies(connection)
            finish(connection)


def begin(connection: psycopg.Connection[Any]) -> int | None:
    """Drop what is to be made at the end, in an `ingest_turn`.

    Returns
    -------
    int or None
        Number of indexes and constraints; None if another ingest runs, so that there can be no bulk load.
    """
    if not _lock(connection, "pg_try_advisory_lock"):
        return None
    try:
        with connection.transaction():
            # Readers finish their queries first; an idle transaction must not hold up the load for ever.
            connection.execute(f"SET LOCAL lock_timeout = '{_WAIT}'".encode())
            return deferred.defer(connection, TABLES)
    except BaseException as error:
        if not connection.broken:
            _lock(connection, "pg_advisory_unlock")
        if isinstance(error, psycopg.errors.LockNotAvailable):
            raise GalbaseError(
                "the tables are in use by another connection, so that their indexes cannot be left to the end; wait "
                "for it, or load with --no-bulk."
            ) from error
        raise


def finish(connection: psycopg.Connection[Any], advance: Callable[[int], None] = lambda _: None) -> None:
    """Make all that is pending, and let other ingests in again.

    Where a file shares detections with another one under other positions, its rows are taken out, and it is recorded
    as rejected until it is merged.
    """
    while True:
        try:
            deferred.restore(connection, advance)
        except psycopg.errors.UniqueViolation:
            _take_out_repeated(connection)
        else:
            break
    _lock(connection, "pg_advisory_unlock")


def _take_out_repeated(connection: psycopg.Connection[Any]) -> None:
    """Delete the rows of files that repeat a detection of a file that comes before them by path."""
    with connection.transaction():
        files = [
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT data_file_id FROM (SELECT f.data_file_id, row_number() OVER "
                '(PARTITION BY s.release_id, s.native_id ORDER BY f.path COLLATE "C", f.data_file_id) AS place '
                "FROM archive.source s JOIN archive.data_file f USING (data_file_id) "
                "WHERE (s.release_id, s.native_id) IN (SELECT release_id, native_id FROM archive.source "
                "GROUP BY release_id, native_id HAVING count(*) > 1)) q WHERE place > 1"
            )
        ]
        if not files:
            raise GalbaseError("detections are repeated within one file; report this with the file.")
        for schema, table in connection.execute(
            "SELECT table_schema, table_name FROM archive.deferred_object WHERE kind = 'foreign key' "
            "AND definition LIKE '%REFERENCES archive.source%'"
        ).fetchall():
            connection.execute(
                sql.SQL(
                    "DELETE FROM {} t USING archive.source s WHERE s.source_id = t.source_id "
                    "AND s.data_file_id = ANY(%s)"
                ).format(sql.Identifier(schema, table)),
                (files,),
            )
        connection.execute(
            "DELETE FROM archive.galaxy g USING archive.source s WHERE s.source_id = g.galaxy_id "
            "AND s.data_file_id = ANY(%s)",
            (files,),
        )
        connection.execute("DELETE FROM archive.source WHERE data_file_id = ANY(%s)", (files,))
        connection.execute(
            "UPDATE archive.data_file SET state = 'rejected', modified_at = now(), n_row = NULL, n_loaded = NULL, "
            "n_rejected = NULL, reason = 'it shares detections with another file and waits to be merged; ingest it "
            "again', options_hash = %s WHERE data_file_id = ANY(%s)",
            (UNMERGED, files),
        )
