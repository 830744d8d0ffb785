"""Writes one catalogue file: what was read of it is judged and stored in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg

from galbase.ingest.catalogue import ConflictError, Ints, Merge, SourceCount, load_sources_counted, load_survey_rows
from galbase.ingest.catalogue_report import FileReport
from galbase.ingest.extra_columns import ExtraColumn, load_extra_columns
from galbase.ingest.found_file import FoundFile
from galbase.ingest.galaxies import mark_changed
from galbase.ingest.judged_rows import Judged, judge_rows
from galbase.ingest.labels import write_labels
from galbase.ingest.own_table import SCHEMA, OwnTable, ensure_table
from galbase.ingest.readers.detections import Detections
from galbase.ingest.readers.galspec import EXTRA
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError
from galbase.schema.files import record_file, record_rejected_rows
from galbase.schema.flags import SourceFlag

# In place of the hash of the options: to be merged again, because another file has overwritten some of its values.
UNMERGED = "unmerged"


def refuse_changed(found: FoundFile) -> None:
    """Refuse a file that is not what was hashed a moment ago.

    Raises
    ------
    GalbaseError
        If its size or time are others.
    """
    status = found.place.file.stat()
    if (status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) != (found.facts.size_bytes, found.facts.mtime):
        raise GalbaseError(
            f"{found.place.relative} changed while it was read; wait until it is complete and ingest it again."
        )


def load_file(
    connection: psycopg.Connection[Any],
    release: Release,
    found: FoundFile,
    detections: Detections,
    run_id: int | None,
    merge: Merge = "all",
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
    merge : {'all', 'own', 'none'}
        With which rows that are there already, see `catalogue.load_sources_counted`; 'none' belongs to a bulk load,
        and leaves indexes and foreign key of a new table to its end.

    Raises
    ------
    GalbaseError
        If no row can be loaded, or columns do not fit what the release holds.
    ConflictError
        If rows are there already that `merge` excludes. The caller rolls back.
    """
    if detections.ra is None and merge != "all":
        raise ConflictError("its rows belong to detections of other files")
    judged = judge_rows(connection, release, detections)
    rows = judged.rows
    if detections.n_row and not rows.size:
        raise GalbaseError(f"none of the {detections.n_row} rows can be loaded; the first: {judged.rejected[0][2]}.")
    data_file_id = record_verdict(
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
    own = None
    if detections.table is None:
        # Before any row of source: a new table's foreign key waits for those who write there, and they for the table.
        columns = [column for column, _ in detections.extra]
        defer = merge == "none"
        own = ensure_table(connection, release.release_id, release.release, columns, data_file_id, defer=defer)
    source_ids, count = _load_sources(connection, release, detections, judged, data_file_id, merge)
    report.inserted, report.updated, report.moved = count.inserted, count.updated, count.moved
    _record_overlaps(connection, data_file_id, count.met_files)
    all_new = count.inserted == len(source_ids)
    if own is not None:
        _load_own(connection, own, detections, judged, source_ids)
    elif detections.table is not None:
        values = {name: column[rows] for name, column in detections.columns.items()}
        load_survey_rows(connection, detections.table, source_ids, values)
        extra = {
            column.name: ExtraColumn(cleaned.values[rows], column.unit, column.description)
            for column, cleaned in detections.extra
        }
        load_extra_columns(connection, release.release_id, source_ids, extra, all_new=all_new)
        if detections.table == "sdss_galaxy":
            write_labels(connection, source_ids)
    if found.known is not None:
        report.deleted = connection.execute(
            "DELETE FROM archive.source WHERE data_file_id = %s AND NOT (source_id = ANY(%s))",
            (data_file_id, source_ids.tolist()),
        ).rowcount
    _mark_unmerged(connection, data_file_id, rows_given_up=report.deleted > 0)
    changed = report.deleted + (0 if detections.ra is None else report.updated + report.moved)
    mark_changed(connection, inserted=report.inserted, changed=changed)
    return report


def _load_sources(
    connection: psycopg.Connection[Any],
    release: Release,
    detections: Detections,
    judged: Judged,
    data_file_id: int,
    merge: Merge,
) -> tuple[Ints, SourceCount]:
    """The source of every row: new, known, or that of another file where this one has no positions."""
    if judged.source_ids is None:
        flags = np.where(detections.non_finite[judged.rows], int(SourceFlag.NON_FINITE_MEASUREMENT), 0)
        return load_sources_counted(
            connection,
            release.release_id,
            release.release,
            judged.native_ids,
            judged.ra,
            judged.dec,
            flags,
            data_file_id,
            merge=merge,
            hpx=judged.hpx29,
            digests=judged.digests,
        )
    met = connection.execute(
        "SELECT DISTINCT data_file_id FROM archive.source WHERE source_id = ANY(%s) AND data_file_id <> %s",
        (judged.source_ids.tolist(), data_file_id),
    ).fetchall()
    return judged.source_ids, SourceCount(0, len(judged.source_ids), 0, 0, tuple(row[0] for row in met))


def _record_overlaps(connection: psycopg.Connection[Any], data_file_id: int, others: tuple[int, ...]) -> None:
    """Remember which files share detections with this one."""
    if others:
        connection.execute(
            "INSERT INTO archive.file_overlap (data_file_id, other_file_id) "
            "SELECT least(o, %(file)s), greatest(o, %(file)s) FROM unnest(%(others)s::bigint[]) o "
            "ON CONFLICT DO NOTHING",
            {"file": data_file_id, "others": list(others)},
        )


def _mark_unmerged(connection: psycopg.Connection[Any], data_file_id: int, *, rows_given_up: bool) -> None:
    """Mark files that share detections with this one and come after it; all of them if it gave up rows.

    Files without positions come last, the others in the order of their paths. Rows that a file gives up may be those
    of a file before it, which is then merged again, and this file after that.
    """
    connection.execute(
        "UPDATE archive.data_file f SET options_hash = %(unmerged)s FROM archive.file_overlap o, archive.data_file t "
        "WHERE t.data_file_id = %(file)s AND %(file)s IN (o.data_file_id, o.other_file_id) "
        "AND f.data_file_id = o.data_file_id + o.other_file_id - %(file)s AND f.state = 'loaded' "
        'AND (%(all)s OR (right(f.format, %(length)s) = %(extra)s, f.path COLLATE "C", f.data_root_id) '
        '> (right(t.format, %(length)s) = %(extra)s, t.path COLLATE "C", t.data_root_id))',
        {"file": data_file_id, "unmerged": UNMERGED, "all": rows_given_up, "extra": EXTRA, "length": len(EXTRA)},
    )


def _load_own(
    connection: psycopg.Connection[Any], table: OwnTable, detections: Detections, judged: Judged, source_ids: Ints
) -> None:
    """Rows of a catalogue's own table."""
    values = {table.columns[column.name].column: cleaned.values[judged.rows] for column, cleaned in detections.extra}
    load_survey_rows(
        connection,
        table.name,
        source_ids,
        {"ra": judged.ra, "dec": judged.dec, "hpx29": judged.hpx29, **values},
        schema=SCHEMA,
    )


def record_verdict(
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
    """Record that a file was loaded or rejected, and return its data_file_id; the caller commits."""
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
