"""Labels from files: rows of `archive.reference_value` for sources that a release has already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.file_verdict import FileItem, IngestReport, Reader, Writer, ingest_files
from galbase.ingest.found_file import FoundFile, hash_options
from galbase.ingest.label_match import match_rows
from galbase.ingest.observation_store import ObservationCount
from galbase.ingest.readers.label_table import LARGEST_DEX, LabelTable, has_labels, read_labels
from galbase.ingest.readers.sentinels import check_sentinels
from galbase.ingest.readers.table import read_table
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.label_origin import check_origin, is_truth, register_origin
from galbase.schema.packed_copy import copy_columns

FORMAT = "labels"
# Raised by hand when the same bytes give other labels.
READER_VERSION = 1
SUFFIXES = (".fits", ".fit", ".fts", ".vot", ".votable", ".xml", ".parquet", ".pq", ".csv", ".tsv", ".ecsv")
_STAGED = "galbase_staged_label"


@dataclass(frozen=True)
class LabelOptions:
    """How labels are read and which rows they belong to; see `galbase ingest labels --help`."""

    origin: str
    id_column: str | None = None
    radius_arcsec: float | None = None
    ra: str | None = None
    dec: str | None = None
    angle_unit: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    null_values: tuple[str, ...] = ()
    evaluation_only: bool = False

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises
        ------
        UsageError
        """
        check_origin(self.origin)
        if self.radius_arcsec is None and (self.ra or self.dec or self.angle_unit):
            raise UsageError("--ra, --dec and --angle-unit are for a match by position, which needs --radius-arcsec.")
        if self.radius_arcsec is not None and self.id_column is not None:
            raise UsageError("--id and --radius-arcsec exclude each other: match by id or by position.")
        if (self.ra is None) != (self.dec is None):
            raise UsageError("give both --ra and --dec, or neither.")
        check_sentinels(self.null_values)

    @property
    def for_evaluation(self) -> bool:
        """Whether the labels are for evaluation only: said so, or an origin that is named truth."""
        return self.evaluation_only or is_truth(self.origin)


@dataclass
class LabelReport:
    """What an ingest of labels did.

    Parameters
    ----------
    files : IngestReport
        Files, and labels inserted, changed and deleted.
    rows_loaded : int
        Rows that gave at least one label.
    labels : Counter
        Labels in the files loaded now, by property.
    nulls : Counter
        Values that count as missing, by cause.
    """

    files: IngestReport = field(default_factory=IngestReport)
    rows_loaded: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Content:
    """Labels of a file, and the source of each row, negative where it has none."""

    table: LabelTable
    source_ids: npt.NDArray[np.int64]


def ingest_labels(
    connection: psycopg.Connection[Any],
    release: Release,
    paths: Sequence[Path],
    options: LabelOptions,
    *,
    run_id: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> LabelReport:
    """Load files of labels, each in one transaction; a changed file replaces its labels.

    A file is read again when it, the options or the release's sources have changed.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, or at least not in a transaction.
    release : Release
        Whose sources the labels belong to.
    paths : sequence of Path
        Files, and folders that are searched for tables with labels.
    options : LabelOptions
    run_id : int, optional
        Run to record with each file.
    advance : callable
        Called with the number of files done.

    Raises
    ------
    UsageError
        If a path does not exist or an option makes no sense.
    GalbaseError
        If labels of this origin are for evaluation only, and these are not, or the other way round.
    """
    options.check()
    with connection.transaction():
        register_origin(connection, options.origin, options.for_evaluation, fitted=False)
        sources = connection.execute(
            "SELECT count(*), bit_xor(source_id), bit_xor(hpx29) FROM archive.source WHERE release_id = %s",
            (release.release_id,),
        ).fetchone()
    options_hash = hash_options({"reader": READER_VERSION, "sources": sources, **asdict(options)})
    report = LabelReport()

    def read(found: FoundFile) -> FileItem[_Content]:
        return _read(connection, release, options, found)

    def store(
        writer: Writer, items: Sequence[FileItem[_Content]]
    ) -> tuple[ObservationCount, list[tuple[FileItem[_Content], str]]]:
        count = ObservationCount(0, 0, 0)
        for item in items:
            count = _store(writer, options.origin, item)
            report.rows_loaded += item.n_loaded
            for label in item.content.table.labels:
                has = np.isfinite(label.value) & (item.content.source_ids >= 0)
                report.labels[label.property] += int(has.sum())
            report.nulls.update(item.content.table.nulls)
        return count, []

    report.files = ingest_files(
        connection,
        release,
        paths,
        Reader(
            wanted=lambda path: path.name.lower().removesuffix(".gz").removesuffix(".bz2").endswith(SUFFIXES),
            is_other=_is_other,
            formats=frozenset({FORMAT}),
            format_of=lambda _: FORMAT,
            options_hash=lambda _: options_hash,
            read=read,
            store=store,
            alone=lambda _: True,
        ),
        run_id=run_id,
        advance=advance,
    )
    return report


def _is_other(path: Path) -> bool:
    """Whether a file is a sound table without labels."""
    try:
        return not has_labels(read_table(path))
    except GalbaseError:
        return False


def _read(
    connection: psycopg.Connection[Any], release: Release, options: LabelOptions, found: FoundFile
) -> FileItem[_Content]:
    path = found.place.file
    table = read_table(path)
    labels = read_labels(table, path.name, columns=options.columns, sentinels=options.null_values)
    source_ids, rejected = match_rows(
        connection,
        release.release_id,
        release.release,
        table,
        path.name,
        id_column=options.id_column,
        radius_arcsec=options.radius_arcsec,
        ra=options.ra,
        dec=options.dec,
        angle_unit=options.angle_unit,
        sentinels=options.null_values,
    )
    for row, reason in _without_label(labels, source_ids).items():
        rejected.append((row, None, reason))
        source_ids[row] = -1
    n_loaded = int((source_ids >= 0).sum())
    if table.n_row and not n_loaded:
        raise GalbaseError(f"none of the {table.n_row} rows can be loaded; the first: {min(rejected)[2]}.")
    return FileItem(found, _Content(labels, source_ids), table.n_row, n_loaded, sorted(rejected, key=lambda r: r[0]))


def _without_label(table: LabelTable, source_ids: npt.NDArray[np.int64]) -> dict[int, str]:
    """Rows with a source that cannot be loaded for their values, with the reason."""
    has_source = source_ids >= 0
    found: dict[int, str] = {}
    any_label = np.zeros(table.n_row, np.bool_)
    for label in table.labels:
        any_label |= np.isfinite(label.value)
        for row in np.flatnonzero(has_source & (np.abs(label.value) > LARGEST_DEX)).tolist():
            found[row] = (
                f"{label.column}={label.value[row]:g} is no value in dex; if it means missing, give "
                f"--null-value {label.value[row]:g}"
            )
    for row in np.flatnonzero(has_source & ~any_label).tolist():
        found[row] = "no label: all its values are missing"
    return found


def _store(writer: Writer, origin: str, item: FileItem[_Content]) -> ObservationCount:
    """Bring the labels of a file in line with what was read of it."""
    connection = writer.connection
    data_file_id = writer.record_loaded(item)
    numbers: dict[str, int] = dict(connection.execute("SELECT name, property_id FROM archive.property").fetchall())
    connection.execute(
        f"CREATE TEMP TABLE {_STAGED} (source_id bigint, property_id bigint, value double precision, "
        "err double precision, q16 double precision, q84 double precision) ON COMMIT DROP".encode()
    )
    content = item.content
    for label in content.table.labels:
        rows = np.flatnonzero(np.isfinite(label.value) & (content.source_ids >= 0))
        columns = {
            "source_id": content.source_ids[rows],
            "property_id": np.full(rows.size, numbers[label.property], np.int64),
            "value": label.value[rows],
            **{name: np.ma.masked_invalid(getattr(label, name)[rows]) for name in ("err", "q16", "q84")},
        }
        copy_columns(connection, "pg_temp", _STAGED, columns)
    connection.execute(f"ANALYZE {_STAGED}".encode())
    written = connection.execute(
        "WITH written AS (INSERT INTO archive.reference_value AS t "
        "(source_id, property_id, origin, value, err, q16, q84, data_file_id) "
        "SELECT source_id, property_id, %(origin)s, value, err, q16, q84, %(file)s FROM galbase_staged_label "
        "ORDER BY source_id, property_id ON CONFLICT (source_id, property_id, origin) DO UPDATE "
        "SET value = excluded.value, err = excluded.err, q16 = excluded.q16, q84 = excluded.q84, "
        "data_file_id = excluded.data_file_id "
        "WHERE (t.value, t.err, t.q16, t.q84, t.data_file_id) "
        "IS DISTINCT FROM (excluded.value, excluded.err, excluded.q16, excluded.q84, excluded.data_file_id) "
        "RETURNING (xmax = 0) AS inserted) "
        "SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written",
        {"origin": origin, "file": data_file_id},
    ).fetchone()
    deleted = connection.execute(
        "DELETE FROM archive.reference_value t WHERE t.data_file_id = %(file)s AND NOT EXISTS "
        "(SELECT FROM galbase_staged_label s WHERE s.source_id = t.source_id AND s.property_id = t.property_id "
        "AND t.origin = %(origin)s)",
        {"origin": origin, "file": data_file_id},
    ).rowcount
    connection.execute(f"DROP TABLE {_STAGED}".encode())
    if written is None:
        raise RuntimeError("a count returned no row")
    return ObservationCount(int(written[0]), int(written[1]), deleted)
