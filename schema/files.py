"""Registered files: roots, hashes, verdicts, rejected rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import psycopg

from galbase.schema.errors import GalbaseError

# A hundred thousand images make a file of 28 GB, which takes minutes to read only to hash it.
WHOLE_HASH_BYTES = 2**30
_PIECE_BYTES = 2**20
_PIECES = 65


@dataclass(frozen=True)
class FileFacts:
    """What identifies a file's content.

    Parameters
    ----------
    path : Path
    size_bytes : int
    mtime : datetime
        Modification time; part of the identity of a file above 1 GiB.
    sha256 : str
        SHA-256 of the bytes, hexadecimal; empty if unreadable or above 1 GiB.
    chunk_sha256 : str
        Above 1 GiB: SHA-256 of the size and of 65 pieces of 1 MiB from beginning to end, hexadecimal.
    """

    path: Path
    size_bytes: int
    mtime: datetime
    sha256: str
    chunk_sha256: str = ""


def file_facts(path: Path) -> FileFacts:
    """Read a file's facts; refuses a file that changes while it is read.

    Raises
    ------
    GalbaseError
        If the file cannot be read or changes meanwhile.
    """
    try:
        before = path.stat()
        whole = pieces = ""
        with path.open("rb") as stream:
            if before.st_size > WHOLE_HASH_BYTES:
                pieces = _hash_pieces(stream, before.st_size)
            else:
                whole = hashlib.file_digest(stream, "sha256").hexdigest()
        after = path.stat()
    except OSError as error:
        raise GalbaseError(f"{path} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise GalbaseError(f"{path} changed while it was read; wait until it is complete and ingest it again.")
    return FileFacts(path, after.st_size, datetime.fromtimestamp(after.st_mtime, UTC), whole, pieces)


def _hash_pieces(stream: BinaryIO, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    last = size - _PIECE_BYTES
    for number in range(_PIECES):
        stream.seek(last * number // (_PIECES - 1))
        digest.update(stream.read(_PIECE_BYTES))
    return digest.hexdigest()


def register_root(connection: psycopg.Connection[Any], directory: Path) -> int:
    """Number of a root directory, registered when new."""
    row = connection.execute(
        "INSERT INTO archive.data_root (path) VALUES (%s) ON CONFLICT (path) DO UPDATE SET path = excluded.path "
        "RETURNING data_root_id",
        (str(directory.absolute()),),
    ).fetchone()
    if row is None:
        raise RuntimeError("no data_root_id was returned")
    return int(row[0])


def record_file(
    connection: psycopg.Connection[Any],
    *,
    release_id: int,
    root_id: int,
    path: str,
    format: str,
    facts: FileFacts,
    options_hash: str,
    state: str,
    reason: str | None = None,
    n_row: int | None = None,
    n_loaded: int | None = None,
    n_rejected: int | None = None,
    run_id: int | None = None,
) -> int:
    """Write a file's verdict (`state` is loaded or rejected) and return its data_file_id."""
    row = connection.execute(
        "INSERT INTO archive.data_file (release_id, data_root_id, path, format, size_bytes, mtime, sha256, "
        "chunk_sha256, options_hash, state, reason, n_row, n_loaded, n_rejected, run_id) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (data_root_id, path, release_id) DO UPDATE SET format = excluded.format, "
        "size_bytes = excluded.size_bytes, mtime = excluded.mtime, sha256 = excluded.sha256, "
        "chunk_sha256 = excluded.chunk_sha256, "
        "options_hash = excluded.options_hash, state = excluded.state, reason = excluded.reason, "
        "n_row = excluded.n_row, n_loaded = excluded.n_loaded, n_rejected = excluded.n_rejected, "
        "run_id = excluded.run_id, modified_at = now() "
        "RETURNING data_file_id",
        (
            release_id,
            root_id,
            path,
            format,
            facts.size_bytes,
            facts.mtime,
            facts.sha256 or None,
            facts.chunk_sha256 or None,
            options_hash,
            state,
            reason,
            n_row,
            n_loaded,
            n_rejected,
            run_id,
        ),
    ).fetchone()
    if row is None:
        raise RuntimeError("no data_file_id was returned")
    return int(row[0])


def record_rejected_rows(
    connection: psycopg.Connection[Any], data_file_id: int, rows: Iterable[tuple[int, str | None, str]]
) -> None:
    """Replace a file's rejected rows: (row index from 0, native id or None, reason)."""
    connection.execute("DELETE FROM archive.rejected_row WHERE data_file_id = %s", (data_file_id,))
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY archive.rejected_row (data_file_id, row_index, native_id, reason) FROM STDIN") as copy,
    ):
        for index, native_id, reason in rows:
            copy.write_row((data_file_id, index, native_id, reason))
