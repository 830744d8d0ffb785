"""Loads catalogue files: each is read, judged and written by itself, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from galbase.ingest.catalogue import Ints, load_sources_counted, load_survey_rows
from galbase.ingest.catalogue_report import CatalogueReport, FileReport
from galbase.ingest.extra_columns import ExtraColumn, load_extra_columns
from galbase.ingest.found_file import FoundFile, hash_options, inspect_file, known_files, list_files, place_files
from galbase.ingest.judged_rows import Judged, judge_rows
from galbase.ingest.labels import write_labels
from galbase.ingest.own_table import SCHEMA, ensure_table
from galbase.ingest.readers.detections import Detections
from galbase.ingest.readers.galspec import is_galspec, read_galspec
from galbase.ingest.readers.generic import read_generic
from galbase.ingest.readers.legacysurvey import is_legacysurvey, read_legacysurvey
from galbase.ingest.readers.sentinels import check_sentinels
from galbase.ingest.readers.table import read_table
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.files import record_file, record_rejected_rows
from galbase.schema.flags import SourceFlag
from galbase.schema.ledger import finish_run, start_run

# Raised by hand when a reader makes other rows of the same bytes.
READER_VERSION = 1
SUFFIXES = (".fits", ".fit", ".fts", ".vot", ".votable", ".xml", ".parquet", ".pq", ".csv", ".tsv", ".ecsv")


@dataclass(frozen=True)
class CatalogueOptions:
    """How a catalogue is read; see `galbase ingest catalogue --help`."""

    ra: str | None = None
    dec: str | None = None
    id_column: str | None = None
    angle_unit: str | None = None
    null_values: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse options that make no sense."""
        if self.angle_unit not in (None, "deg", "rad"):
            raise UsageError(f"--angle-unit {self.angle_unit!r} is not known; use deg or rad.")
        if (self.ra is None) != (self.dec is None):
            raise UsageError("give both --ra and --dec, or neither.")
        check_sentinels(self.null_values)

    @property
    def names_columns(self) -> bool:
        """Whether a column or its unit is given."""
        return any(value is not None for value in (self.ra, self.dec, self.id_column, self.angle_unit))


def read_detections(path: Path, options: CatalogueOptions) -> Detections:
    """Read a file by the reader that its columns call for.

    Raises
    ------
    GalbaseError
        If the file is not sound, or options name columns of a survey file whose columns are known.
    """
    table = read_table(path)
    for is_of_survey, read, what in (
        (is_legacysurvey, read_legacysurvey, "a Legacy Survey catalogue"),
        (is_galspec, read_galspec, "an MPA-JHU galSpec table"),
    ):
        if is_of_survey(table):
            if options.names_columns:
                raise GalbaseError(
                    f"{path.name} is {what}, whose id and position columns are known: leave out --ra, --dec, --id "
                    "and --angle-unit."
                )
            return read(table, path.name, options.null_values)
    return read_generic(
        table,
        path.name,
        ra=options.ra,
        dec=options.dec,
        id_column=options.id_column,
        angle_unit=options.angle_unit,
        sentinels=options.null_values,
    )


def ingest_catalogues(
    connection: psycopg.Connection[Any],
    release: Release,
    paths: Sequence[Path],
    options: CatalogueOptions,
    *,
    root: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> CatalogueReport:
    """Load new and changed catalogue files, each in one transaction; a file that is not sound is recorded as rejected.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, or at least not in a transaction.
    release : Release
    paths : sequence of Path
        Files, and folders that are searched for files of known suffixes.
    options : CatalogueOptions
    root : Path, optional
        Directory that paths are recorded relative to; the folder given, or the file's parent, when None.
    advance : callable
        Called with the number of files done.

    Raises
    ------
    UsageError
        If a path does not exist or an option makes no sense.
    """
    options.check()
    started = time.monotonic()
    files = list_files(paths, is_catalogue_name)
    if not files:
        raise UsageError(f"no catalogue files in {', '.join(map(str, paths))}; they end in {', '.join(SUFFIXES)}.")
    if root is not None:
        files = [(file, _under(file, root.absolute())) for file, _ in files]
    options_hash = hash_options({"reader": READER_VERSION, **asdict(options)})
    with connection.transaction():
        places = place_files(connection, release.release_id, files)
        known = known_files(connection, release.release_id, places)
    report = CatalogueReport()
    run = _Run(connection, release, paths, options)
    try:
        for place in places:
            found = inspect_file(place, known.get((place.root_id, place.relative)), options_hash)
            if found.judged_before and found.known is not None and found.known.state == "loaded":
                report.files.append(FileReport(place.relative, "unchanged"))
            else:
                report.files.append(_ingest_one(connection, release, found, options, run))
            advance(1)
    except BaseException as error:
        run.finish("failed", str(error) or type(error).__name__)
        raise
    report.seconds = time.monotonic() - started
    run.finish("done", f"{report.count('loaded')} files loaded, {report.count('rejected')} rejected")
    return report


class _Run:
    """The record of this run, made only when there is something to write."""

    def __init__(
        self, connection: psycopg.Connection[Any], release: Release, paths: Sequence[Path], options: CatalogueOptions
    ) -> None:
        self._connection = connection
        self._config = {
            "command": "catalogue",
            "release": release.release,
            "paths": [str(path.absolute()) for path in paths],
            **asdict(options),
        }
        self._run_id: int | None = None

    def number(self) -> int:
        """Number of the run; call outside transactions."""
        if self._run_id is None:
            self._run_id = start_run(self._connection, "ingest", self._config)
        return self._run_id

    def finish(self, state: str, message: str) -> None:
        """Record the end, if the beginning was."""
        if self._run_id is not None and not self._connection.broken:
            finish_run(self._connection, self._run_id, state, message)


def is_catalogue_name(path: Path) -> bool:
    """Whether a file of a folder is a catalogue by its name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".bz2"):
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def _under(file: Path, root: Path) -> Path:
    if not file.is_relative_to(root):
        raise UsageError(f"{file} does not lie under --root {root}.")
    return root


def _ingest_one(
    connection: psycopg.Connection[Any],
    release: Release,
    found: FoundFile,
    options: CatalogueOptions,
    run: _Run,
) -> FileReport:
    try:
        if found.unreadable is not None:
            raise GalbaseError(found.unreadable)
        detections = read_detections(found.place.file, options)
        _refuse_changed(found)
        run_id = run.number()
        with connection.transaction():
            return load_file(connection, release, found, detections, run_id)
    except (GalbaseError, psycopg.DataError) as error:
        reason = str(error)
    # A rejected file is judged again at every run, because what was missing may be there now; the verdict is written
    # only if it is another.
    known = found.known
    if not found.judged_before or known is None or (known.state, known.reason) != ("rejected", reason):
        run_id = run.number()
        with connection.transaction():
            _record(connection, release, found, run_id, format="unknown", state="rejected", reason=reason)
    return FileReport(found.place.relative, "rejected", reason=reason)


def _refuse_changed(found: FoundFile) -> None:
    """Refuse a file that is not what was hashed a moment ago."""
    status = found.place.file.stat()
    if (status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) != (found.facts.size_bytes, found.facts.mtime):
        raise GalbaseError(
            f"{found.place.relative} changed while it was read; wait until it is complete and ingest it again."
        )


def load_file(
    connection: psycopg.Connection[Any], release: Release, found: FoundFile, detections: Detections, run_id: int | None
) -> FileReport:
    """Write what was read of a file; rows that an earlier state of the file had and this one has not are deleted.

    Parameters
    ----------
    connection : psycopg.Connection
        In a transaction, which the caller commits.
    release : Release
    found : FoundFile
    detections : Detections
    run_id : int or None
        Run to record with the file.

    Raises
    ------
    GalbaseError
        If no row can be loaded, or columns do not fit what the release holds.
    """
    judged = judge_rows(connection, release, detections)
    rows = judged.rows
    if detections.n_row and not rows.size:
        raise GalbaseError(f"none of the {detections.n_row} rows can be loaded; the first: {judged.rejected[0][2]}.")
    data_file_id = _record(
        connection,
        release,
        found,
        run_id,
        format=detections.format,
        state="loaded",
        n_row=detections.n_row,
        n_loaded=len(rows),
        n_rejected=len(judged.rejected),
    )
    report = FileReport(
        found.place.relative,
        "loaded",
        format=detections.format,
        rows=detections.n_row,
        loaded=len(rows),
        rejected=len(judged.rejected),
        nulls=dict(detections.nulls),
        notes=list(detections.notes),
    )
    if judged.rejected or found.known is not None:
        record_rejected_rows(connection, data_file_id, judged.rejected)
    if judged.source_ids is None:
        flags = np.where(detections.non_finite[rows], int(SourceFlag.NON_FINITE_MEASUREMENT), 0)
        source_ids, count = load_sources_counted(
            connection,
            release.release_id,
            release.release,
            judged.native_ids,
            judged.ra,
            judged.dec,
            flags,
            data_file_id,
        )
        report.inserted, report.updated, report.moved = count.inserted, count.updated, count.moved
    else:
        source_ids = judged.source_ids
        report.updated = len(source_ids)
    if detections.table is None:
        _load_own(connection, release, detections, judged, source_ids, data_file_id)
    else:
        values = {name: column[rows] for name, column in detections.columns.items()}
        load_survey_rows(connection, detections.table, source_ids, values)
        load_extra_columns(
            connection,
            release.release_id,
            source_ids,
            {
                column.name: ExtraColumn(cleaned.values[rows], column.unit, column.description)
                for column, cleaned in detections.extra
            },
        )
        if detections.table == "sdss_galaxy":
            write_labels(connection, source_ids)
    if found.known is not None:
        report.deleted = connection.execute(
            "DELETE FROM archive.source WHERE data_file_id = %s AND NOT (source_id = ANY(%s))",
            (data_file_id, source_ids.tolist()),
        ).rowcount
    return report


def _load_own(
    connection: psycopg.Connection[Any],
    release: Release,
    detections: Detections,
    judged: Judged,
    source_ids: Ints,
    data_file_id: int,
) -> None:
    """Rows of a catalogue's own table."""
    table = ensure_table(
        connection, release.release_id, release.release, [column for column, _ in detections.extra], data_file_id
    )
    columns = {table.columns[column.name].column: cleaned.values[judged.rows] for column, cleaned in detections.extra}
    load_survey_rows(
        connection,
        table.name,
        source_ids,
        {"ra": judged.ra, "dec": judged.dec, "hpx29": judged.hpx29, **columns},
        schema=SCHEMA,
    )


def _record(
    connection: psycopg.Connection[Any],
    release: Release,
    found: FoundFile,
    run_id: int | None,
    *,
    format: str,
    state: str,
    reason: str | None = None,
    n_row: int | None = None,
    n_loaded: int | None = None,
    n_rejected: int | None = None,
) -> int:
    return record_file(
        connection,
        release_id=release.release_id,
        root_id=found.place.root_id,
        path=found.place.relative,
        format=format,
        facts=found.facts,
        options_hash=found.options_hash,
        state=state,
        reason=reason,
        n_row=n_row,
        n_loaded=n_loaded,
        n_rejected=n_rejected,
        run_id=run_id,
    )
