"""Writes results as table, CSV, JSON, FITS, VOTable or Parquet, with licence and citation."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from galbase.schema.console import note
from galbase.schema.console import table as write_table
from galbase.sql.column_values import text_of
from galbase.sql.output_file import complete_file, note_credits
from galbase.sql.output_format import OutputFormat
from galbase.sql.query import Result

TABLE_ROWS = 1000


def write_result(result: Result, wanted: OutputFormat, out: Path | None) -> int:
    """Write a result to a file, or to standard output, and return the number of rows.

    A file appears complete or not at all; one that exists is replaced. Where the format has no place for licence and
    citation (table, CSV), they are noted on standard error.

    Raises
    ------
    GalbaseError
        If the file cannot be written, or reading fails underway.
    """
    if out is None:
        n_row = _to_stream(result, wanted)
    else:
        n_row = _to_file(result, wanted, out)
        note(f"{n_row} rows in {out}")
    if wanted in (OutputFormat.table, OutputFormat.csv):
        note_credits(result.credits)
    return n_row


def _to_stream(result: Result, wanted: OutputFormat) -> int:
    if wanted is OutputFormat.votable:
        from galbase.sql.output_votable import write_votable

        return write_votable(result, sys.stdout.buffer)
    return _TEXT_WRITERS[wanted](result, sys.stdout)


def _to_file(result: Result, wanted: OutputFormat, out: Path) -> int:
    with complete_file(out) as part:
        if wanted in _TEXT_WRITERS:
            with part.open("w", encoding="utf-8", newline="") as stream:
                return _TEXT_WRITERS[wanted](result, stream)
        return _binary_writer(wanted)(result, part)


def _binary_writer(wanted: OutputFormat) -> Callable[[Result, Path], int]:
    if wanted is OutputFormat.fits:
        from galbase.sql.output_fits import write_fits

        return write_fits
    if wanted is OutputFormat.parquet:
        from galbase.sql.output_parquet import write_parquet

        return write_parquet
    from galbase.sql.output_votable import write_votable

    return write_votable


def _write_table(result: Result, stream: TextIO) -> int:
    """Rows in columns; at most `TABLE_ROWS` of them, since a table is for the eye."""
    rows: list[Any] = []
    more = False
    for batch in result.batches:
        rows += batch
        if len(rows) > TABLE_ROWS:
            rows, more = rows[:TABLE_ROWS], True
            result.batches.close()
            break
    heads = [f"{column.name} [{column.unit}]" if column.unit else column.name for column in result.columns]
    shown = [[value if isinstance(value, float | int) else text_of(value) for value in row] for row in rows]
    if stream is sys.stdout:
        write_table(heads, shown)
    else:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(["" if value is None else value for value in row] for row in shown)
    note(f"the first {TABLE_ROWS} rows; use --format csv for all" if more else f"{len(rows)} rows")
    return len(rows)


def _write_csv(result: Result, stream: TextIO) -> int:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in result.columns])
    n_row = 0
    for batch in result.batches:
        writer.writerows([_csv_value(value) for value in row] for row in batch)
        n_row += len(batch)
    return n_row


def _csv_value(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float) else text_of(value)


def _write_json(result: Result, stream: TextIO) -> int:
    """One object: releases, columns, rows; NaN and infinities, which JSON lacks, as null."""
    names = [column.name for column in result.columns]
    head = {"releases": [vars(credit) for credit in result.credits], "columns": [vars(c) for c in result.columns]}
    stream.write(json.dumps(head)[:-1] + ', "rows": [')
    n_row = 0
    for batch in result.batches:
        for row in batch:
            record = dict(zip(names, map(_json_value, row), strict=True))
            stream.write((",\n" if n_row else "\n") + json.dumps(record, default=text_of))
            n_row += 1
    stream.write("\n]}\n")
    return n_row


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return value


_TEXT_WRITERS: dict[OutputFormat, Callable[[Result, TextIO], int]] = {
    OutputFormat.table: _write_table,
    OutputFormat.csv: _write_csv,
    OutputFormat.json: _write_json,
}
