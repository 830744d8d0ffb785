"""Verdicts of files of observations: each is loaded, unchanged or rejected by itself, written in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import psycopg

from galbase.ingest.found_file import FilePlace, FoundFile, inspect_file, known_files, list_files, place_files
from galbase.ingest.galaxies import mark_changed
from galbase.ingest.observation_store import ObservationCount
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError
from galbase.schema.files import record_file, record_rejected_rows

BATCH_FILES = 500
RejectedRows = Sequence[tuple[int, str | None, str]]
T = TypeVar("T")


@dataclass
class IngestReport:
    """What an ingest of files did.

    Parameters
    ----------
    loaded, unchanged : int
        Files read and loaded now; files that are as when they were loaded.
    rejected : list of (file, reason)
        Files that cannot be loaded, those found so at an earlier run included.
    ignored : int
        Files of the folders that hold something else, such as a catalogue beside the images.
    rows_rejected : int
        Rows of loaded files that were not loaded.
    inserted, changed, deleted : int
        Observations.
    files : int
        Files looked at.
    """

    loaded: int = 0
    unchanged: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    rows_rejected: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    files: int = 0

    @property
    def n_row(self) -> int:
        """Files, which the progress bar counts."""
        return self.files

    def __add__(self, other: IngestReport) -> IngestReport:
        """Both together."""
        return IngestReport(
            **{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        )

    @property
    def wrote(self) -> bool:
        """Whether an observation was written or deleted."""
        return bool(self.inserted or self.changed or self.deleted)


@dataclass(frozen=True)
class FileItem(Generic[T]):
    """A file that can be loaded: what was read of it, its rows in all, loaded and rejected."""

    found: FoundFile
    content: T
    n_row: int
    n_loaded: int
    rejected_rows: RejectedRows

    @property
    def known_id(self) -> int | None:
        """data_file_id of a file that is registered already."""
        return None if self.found.known is None else self.found.known.data_file_id


@dataclass(frozen=True)
class Reader(Generic[T]):
    """How files of one kind are read and stored.

    Parameters
    ----------
    wanted : callable
        Whether a file of a folder is of this kind, by its name.
    is_other : callable
        Whether a file can be read, but holds something else; such a file of a folder is ignored.
    formats : frozenset of str
        Formats of this kind of files.
    format_of : callable
        Format recorded with a file, one of `formats` where it can be loaded.
    options_hash : callable
        Hash of the options with which a file would be read.
    read : callable
        Content of a file, its rows, loaded rows and rejected rows; raises GalbaseError to reject the file.
    store : callable
        Writes items inside a transaction and returns the observations written, and items with the reason for which
        they are refused (none of which it has written).
    alone : callable
        Whether a file makes a batch of its own.
    rows : callable
        Number of rows that a file may have, at a glance.
    """

    wanted: Callable[[Path], bool]
    is_other: Callable[[Path], bool]
    formats: frozenset[str]
    format_of: Callable[[Path], str]
    options_hash: Callable[[FilePlace], str]
    read: Callable[[FoundFile], FileItem[T]]
    store: Callable[[Writer, Sequence[FileItem[T]]], tuple[ObservationCount, list[tuple[FileItem[T], str]]]]
    alone: Callable[[FilePlace], bool] = lambda _: False
    rows: Callable[[Path], int] = lambda _: 1


@dataclass(frozen=True)
class Writer:
    """Records files of one release in the current transaction; `row_counts` has the rejected rows of each file."""

    connection: psycopg.Connection[Any]
    release: Release
    run_id: int | None
    format_of: Callable[[Path], str]
    row_counts: dict[int, int] = field(default_factory=dict)

    def record_loaded(self, item: FileItem[Any]) -> int:
        """Record a loaded file with its rejected rows, and return its data_file_id."""
        number = self._record(item.found, "loaded", None, item.n_row, item.n_loaded, item.n_row - item.n_loaded)
        if item.rejected_rows or item.known_id is not None:
            record_rejected_rows(self.connection, number, item.rejected_rows)
        self.row_counts[number] = item.n_row - item.n_loaded
        return number

    def record_rejected(self, found: FoundFile, reason: str) -> None:
        """Record that a file cannot be loaded. What was loaded of an earlier state of it stays."""
        self._record(found, "rejected", reason, None, None, None)

    def _record(
        self,
        found: FoundFile,
        state: str,
        reason: str | None,
        n_row: int | None,
        n_loaded: int | None,
        n_rejected: int | None,
    ) -> int:
        return record_file(
            self.connection,
            release_id=self.release.release_id,
            root_id=found.place.root_id,
            path=found.place.relative,
            format=self.format_of(found.place.file),
            facts=found.facts,
            options_hash=found.options_hash,
            state=state,
            reason=reason,
            n_row=n_row,
            n_loaded=n_loaded,
            n_rejected=n_rejected,
            run_id=self.run_id,
        )


class Parallel(Protocol):
    """Runs batches of files elsewhere, see `file_job.LedgerRun`."""

    def batch_files(self, n_file: int) -> int:
        """Files in a batch, of so many in all."""

    def run(
        self, places: Sequence[FilePlace], batches: Sequence[tuple[int, int]], arguments: tuple[Any, ...]
    ) -> IngestReport:
        """Load ranges of files; `arguments` are those of `file_job.load_files` after the unit."""


def ingest_files(
    connection: psycopg.Connection[Any],
    release: Release,
    paths: Sequence[Path],
    reader: Reader[T],
    *,
    run_id: int | None = None,
    parallel: Parallel | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> IngestReport:
    """Read new and changed files and store them, each batch in one transaction.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, or at least not in a transaction.
    release : Release
    paths : sequence of Path
        Files, and folders that are searched.
    reader : Reader
    run_id : int, optional
        Run to record with each file; a parallel one makes its own.
    parallel : Parallel, optional
        Work by units of the ledger, on Dask workers; one batch after the other on the connection when None.
    advance : callable
        Called with the number of files done.

    Raises
    ------
    UsageError
        If a path does not exist.
    GalbaseError
        If workers failed.
    """
    files = list_files(paths, reader.wanted)
    named = frozenset(path.absolute() for path in paths if path.is_file())
    with connection.transaction():
        places = place_files(connection, release.release_id, files)
    batches = _batches(places, reader, BATCH_FILES if parallel is None else parallel.batch_files(len(places)))
    if parallel is not None and places:
        return parallel.run(places, batches, (release.release, reader, named))
    report = IngestReport()
    for start, stop in batches:
        report = report + load_batch(connection, release, places[start:stop], reader, named, run_id)
        advance(stop - start)
    return report


def _batches(places: Sequence[FilePlace], reader: Reader[T], most: int) -> list[tuple[int, int]]:
    """Ranges of files that are stored together."""
    found: list[tuple[int, int]] = []
    start = 0
    for number, place in enumerate(places):
        if reader.alone(place):
            found += [(start, number), (number, number + 1)]
            start = number + 1
        elif number + 1 - start == most:
            found.append((start, number + 1))
            start = number + 1
    found.append((start, len(places)))
    return [(first, last) for first, last in found if last > first]


def load_batch(
    connection: psycopg.Connection[Any],
    release: Release,
    places: Sequence[FilePlace],
    reader: Reader[T],
    named: Collection[Path],
    run_id: int | None,
) -> IngestReport:
    """Read files and store those that can be loaded together; parameters as in `ingest_files`."""
    with connection.transaction():
        known = known_files(connection, release.release_id, places)
    writer = Writer(connection, release, run_id, reader.format_of)
    report = IngestReport(files=len(places))
    batch: list[FileItem[T]] = []
    for place in places:
        found = inspect_file(place, known.get((place.root_id, place.relative)), reader.options_hash(place))
        if found.known is not None and found.known.state == "loaded" and found.known.format not in reader.formats:
            # The record is another ingest's, so nothing may be written over it.
            if place.file in named:
                report.rejected.append((place.relative, f"it is loaded as {found.known.format} already"))
            else:
                report.ignored += 1
            continue
        if found.judged_before and found.known is not None:
            if found.known.state == "loaded":
                report.unchanged += 1
            else:
                report.rejected.append((place.relative, found.known.reason or ""))
            continue
        if found.known is None and found.unreadable is None and place.file not in named and reader.is_other(place.file):
            report.ignored += 1
            continue
        try:
            if found.unreadable is not None:
                raise GalbaseError(found.unreadable)
            item = reader.read(found)
        except GalbaseError as error:
            with connection.transaction():
                writer.record_rejected(found, str(error))
            report.rejected.append((place.relative, str(error)))
            continue
        batch.append(item)
    _store(writer, reader, batch, report)
    return report


def _store(
    writer: Writer,
    reader: Reader[T],
    items: Sequence[FileItem[T]],
    report: IngestReport,
) -> None:
    """Store items in one transaction; where that fails on the data, one by one, to reject only the culprit."""
    if not items:
        return
    writer.row_counts.clear()
    try:
        with writer.connection.transaction():
            # Two ingests into one release would race for its sources.
            writer.connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('galbase ingest'), %s)", (writer.release.release_id,)
            )
            count, refused = reader.store(writer, items)
            for item, reason in refused:
                writer.record_rejected(item.found, reason)
            changed = count.changed + count.deleted
            mark_changed(writer.connection, inserted=count.inserted, changed=changed)
    except (GalbaseError, psycopg.DataError, psycopg.IntegrityError) as error:
        if len(items) > 1:
            for item in items:
                _store(writer, reader, [item], report)
            return
        reason = str(error).strip()
        with writer.connection.transaction():
            writer.record_rejected(items[0].found, reason)
        report.rejected.append((items[0].found.place.relative, reason))
    else:
        names = {item.found.place.relative for item, _ in refused}
        kept = [item for item in items if item.found.place.relative not in names]
        report.loaded += len(kept)
        report.rejected.extend((item.found.place.relative, reason) for item, reason in refused)
        report.rows_rejected += sum(writer.row_counts.values())
        report.inserted += count.inserted
        report.changed += count.changed
        report.deleted += count.deleted
