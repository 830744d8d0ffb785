"""Files given to an ingest: which of them are new or changed since the archive last read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.files import FileFacts, file_facts, register_root


@dataclass(frozen=True)
class FilePlace:
    """A file, and where it is registered: number of its root directory, and its path relative to that."""

    file: Path
    root: Path
    root_id: int
    relative: str


@dataclass(frozen=True)
class KnownFile:
    """What the archive recorded of a file when it was last read."""

    data_file_id: int
    size_bytes: int
    mtime: datetime
    sha256: str | None
    chunk_sha256: str | None
    options_hash: str
    state: str
    reason: str | None
    format: str


@dataclass(frozen=True)
class FoundFile:
    """A file as it is now, beside what is recorded of it.

    Parameters
    ----------
    place : FilePlace
    facts : FileFacts
        Size, time and hash now.
    options_hash : str
        Hash of the reader's options.
    known : KnownFile or None
        What is recorded; None for a new file.
    unreadable : str or None
        Why the file cannot be read.
    """

    place: FilePlace
    facts: FileFacts
    options_hash: str
    known: KnownFile | None
    unreadable: str | None = None

    @property
    def content_changed(self) -> bool:
        """Whether the bytes differ from those last read; above 1 GiB, whether time, size or pieces of them do."""
        known, facts = self.known, self.facts
        if known is None:
            return False
        if facts.chunk_sha256:
            return (known.chunk_sha256, known.size_bytes, known.mtime) != (
                facts.chunk_sha256,
                facts.size_bytes,
                facts.mtime,
            )
        return (known.sha256 or "") != facts.sha256

    @property
    def judged_before(self) -> bool:
        """Whether these very bytes were loaded or rejected before, with the same options."""
        return self.known is not None and not self.content_changed and self.known.options_hash == self.options_hash


def list_files(paths: Sequence[Path], wanted: Callable[[Path], bool]) -> list[tuple[Path, Path]]:
    """Files below the given folders that are `wanted`, and every file given by name, each with its root folder.

    Returns
    -------
    list of (file, root)
        Absolute, sorted, each file once.

    Raises
    ------
    UsageError
        If a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        absolute = path.absolute()
        if absolute.is_dir():
            for file in absolute.rglob("*"):
                if file.is_file() and wanted(file):
                    found.setdefault(file, absolute)
        elif absolute.exists():
            found.setdefault(absolute, absolute.parent)
        else:
            raise UsageError(f"{path} does not exist; check the path.")
    return sorted(found.items())


def place_files(
    connection: psycopg.Connection[Any], release_id: int, files: Iterable[tuple[Path, Path]]
) -> list[FilePlace]:
    """Where each file is registered; a file that the release has loaded already keeps the root it is registered under.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    release_id : int
    files : iterable of (file, root)
        Absolute paths; the root is used for files that are new to the release.
    """
    roots = {
        Path(path): int(root_id)
        for root_id, path in connection.execute(
            "SELECT data_root_id, path FROM archive.data_root r WHERE EXISTS "
            "(SELECT FROM archive.data_file f WHERE f.data_root_id = r.data_root_id AND f.release_id = %s)",
            (release_id,),
        )
    }
    listed = list(files)
    candidates = {
        root
        for root in roots
        if any(root.is_relative_to(given) or given.is_relative_to(root) for given in {given for _, given in listed})
    }
    registered = {
        (int(root_id), str(path))
        for root_id, path in connection.execute(
            "SELECT data_root_id, path FROM archive.data_file f WHERE release_id = %s AND data_root_id = ANY(%s) AND "
            "(state = 'loaded' OR EXISTS (SELECT FROM archive.observation o WHERE o.data_file_id = f.data_file_id))",
            (release_id, [roots[root] for root in candidates]),
        )
    }
    placed = []
    for file, given in listed:
        home = given
        for root in sorted(candidates):
            if file.is_relative_to(root) and (roots[root], file.relative_to(root).as_posix()) in registered:
                home = root
                break
        if home not in roots:
            roots[home] = register_root(connection, home)
        placed.append(FilePlace(file, home, roots[home], file.relative_to(home).as_posix()))
    return placed


def known_files(
    connection: psycopg.Connection[Any], release_id: int, places: Sequence[FilePlace]
) -> dict[tuple[int, str], KnownFile]:
    """What is recorded of the files that the release has already, by root and path."""
    rows = connection.execute(
        "SELECT data_root_id, path, data_file_id, size_bytes, mtime, sha256, chunk_sha256, options_hash, state, "
        "reason, format FROM archive.data_file WHERE release_id = %s AND (data_root_id, path) IN "
        "(SELECT * FROM unnest(%s::bigint[], %s::text[]))",
        (release_id, [place.root_id for place in places], [place.relative for place in places]),
    ).fetchall()
    return {(int(row[0]), str(row[1])): KnownFile(*row[2:]) for row in rows}


def inspect_file(place: FilePlace, known: KnownFile | None, options_hash: str) -> FoundFile:
    """Compare a file with what is recorded of it.

    Parameters
    ----------
    place : FilePlace
    known : KnownFile or None
    options_hash : str
        Hash of the options with which it would be read.
    """
    try:
        return FoundFile(place, file_facts(place.file), options_hash, known)
    except (GalbaseError, OSError) as error:
        # There is neither size nor time to record.
        facts = FileFacts(place.file, 0, datetime.fromtimestamp(0, UTC), "")
        return FoundFile(place, facts, options_hash, known, unreadable=str(error))


def hash_options(options: Mapping[str, Any]) -> str:
    """32 hexadecimal digits of BLAKE2b over options that JSON can hold."""
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
