"""Parquet and CSV tables, read with Arrow; every type is kept exactly, 64-bit ids among them."""

from __future__ import annotations

import io
import mmap
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.content import refuse_expansion
from galbase.ingest.readers.parquet_notes import column_notes, mask_columns
from galbase.schema.errors import GalbaseError

_DELIMITERS = (",", "\t", ";", "|")
_NULL_WORDS = ["", "NULL", "null", "NaN", "nan", "\\N", "N/A", "n/a"]
_HEAD_BYTES = 2**16
# YAML nested over a megabyte takes seconds to be found wrong.
_ECSV_LINE_BYTES = 2**18
_OPENS = re.compile(rb'[\n,;|\t]"')


def read_parquet(path: Path) -> TableFile:
    """Read a Parquet file; units, UCDs and descriptions come from `parquet_notes`.

    Raises
    ------
    GalbaseError
        If the file is damaged, or would take more memory than `refuse_expansion` allows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Arrow's own file: its threads calling back into Python can abort the interpreter's exit.
        with pa.OSFile(str(path), "rb") as stream:
            file = parquet.ParquetFile(stream)
            refuse_expansion(path.name, _memory(file), path.stat().st_size, f"its {file.metadata.num_rows:,} rows")
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise GalbaseError(f"{path.name} is not a sound Parquet file: {error}. Fetch it again.") from error
    return _table(table, "parquet", path.name)


def _memory(file: Any) -> int:
    """Bytes that a Parquet file's columns take when read, by what its footer says; nothing is unpacked for it."""
    widths = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
    total = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group)
        for number in range(rows.num_columns):
            column = rows.column(number)
            # Text takes an offset a value besides its pages.
            fixed = column.num_values * widths.get(column.physical_type, 8)
            total += max(int(column.total_uncompressed_size), int(fixed))
    return total


def read_csv(stream: BinaryIO, name: str) -> TableFile:
    """Read text with a header line, separated by commas, tabs, semicolons or bars; ``#`` begins a comment line above.

    An empty field, NULL, NaN, N/A and ``\\N`` are missing. A column is of integers, of real numbers or of booleans if
    all its fields are; integers with a leading zero are text, so that no id is changed.

    Raises
    ------
    GalbaseError
        If rows differ in their number of fields, a quote is never closed, or the text is not UTF-8.
    """
    import pyarrow as pa
    from pyarrow import csv

    skip, header, delimiter = _header(stream, name)
    _refuse_open_quote(stream, name)
    try:
        table = csv.read_csv(
            _native(stream),
            read_options=csv.ReadOptions(skip_rows=skip),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={column: pa.string() for column in header},
                null_values=_NULL_WORDS,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        raise GalbaseError(f"{name} is not a sound CSV table: {error}. Fetch it again.") from error
    typed = [_typed(table.column(i)) for i in range(table.num_columns)]
    return _table(pa.table(typed, names=[text.strip() for text in table.column_names]), "csv", name)


def read_ecsv(stream: BinaryIO, name: str) -> TableFile:
    """Read astropy's enhanced CSV, with units and descriptions.

    Raises
    ------
    GalbaseError
        If it is damaged.
    """
    from astropy.table import Table

    while (line := stream.readline(_ECSV_LINE_BYTES)).startswith(b"#"):
        if len(line) == _ECSV_LINE_BYTES:
            raise GalbaseError(f"{name} is not a sound ECSV table: a header line of over {len(line) >> 10} KiB.")
    stream.seek(0)
    try:
        table = Table.read(stream.read().decode("utf-8"), format="ascii.ecsv")
    except Exception as error:
        raise GalbaseError(f"{name} is not a sound ECSV table: {error}") from error
    columns = {}
    for column in table.itercols():
        mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
        columns[column.name] = FileColumn(
            column.name,
            np.asarray(np.ma.getdata(column)),
            mask,
            unit=str(column.unit) if column.unit is not None else None,
            ucd=column.meta.get("ucd"),
            description=column.description,
        )
    return TableFile("csv", columns, len(table))


def _header(stream: BinaryIO, name: str) -> tuple[int, list[str], str]:
    """Lines to skip, names of the columns, and the delimiter."""
    head = stream.read(_HEAD_BYTES).decode("utf-8", "replace").removeprefix("﻿")
    stream.seek(0)
    lines = head.splitlines()
    skip = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if skip is None:
        raise GalbaseError(f"{name} is empty: it has no header line.")
    delimiter = max(_DELIMITERS, key=lines[skip].count)
    names = [text.strip().strip('"') for text in lines[skip].split(delimiter)]
    repeated = next((text for text in names if names.count(text) > 1), None)
    if repeated is not None:
        raise GalbaseError(f"{name}: the header line has the column {repeated!r} twice.")
    return skip, [text.strip('"') for text in lines[skip].split(delimiter)], delimiter


def _native(stream: BinaryIO) -> Any:
    """The stream as Arrow's own, for the reason given in `read_parquet`."""
    import pyarrow as pa

    if isinstance(stream, io.BytesIO):
        return pa.BufferReader(stream.getvalue())
    return pa.BufferReader(pa.py_buffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))


def _refuse_open_quote(stream: BinaryIO, name: str) -> None:
    """Refuse text in which a quote opens that none closes: all lines after it would be one field."""
    stream.seek(0)
    n_quote, opens, last = 0, False, b"\n"
    while block := stream.read(_HEAD_BYTES):
        n_quote += block.count(b'"')
        opens = opens or _OPENS.search(last + block) is not None
        last = block[-1:]
    if opens and n_quote % 2:
        raise GalbaseError(
            f"{name} is not a sound CSV table: it has {n_quote:,} double quotes, an odd number, so that one of its "
            "quoted fields is never closed. Close it, or fetch the file again."
        )
    stream.seek(0)


def _typed(column: Any) -> Any:
    """A column of text as integers, unsigned integers, real numbers or booleans, if each field is one."""
    import pyarrow as pa
    from pyarrow import compute

    if column.null_count == len(column):
        return column
    trimmed = compute.utf8_trim_whitespace(column)
    if compute.any(compute.match_substring_regex(trimmed, "^[+-]?0[0-9]+$")).as_py():
        return column
    for type_ in (pa.int64(), pa.uint64()):
        try:
            return compute.cast(trimmed, type_)
        except pa.ArrowInvalid:
            continue
    if compute.all(compute.match_substring_regex(trimmed, "^[+-]?[0-9]+$")).as_py():
        return column
    for target in (pa.float64(), pa.bool_()):
        try:
            return compute.cast(trimmed, target)
        except pa.ArrowInvalid:
            continue
    return column


def _table(table: Any, format_: str, name: str) -> TableFile:
    columns: dict[str, FileColumn] = {}
    notes = column_notes(table.schema, name)
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name in columns:
            raise GalbaseError(f"{name}: the column {field.name!r} occurs twice; rename one.")
        values, mask = _values(column, field.name)
        note = notes[field.name]
        columns[field.name] = FileColumn(field.name, values, mask, note.unit, note.ucd, note.description)
    for masked, by in mask_columns(table.schema).items():
        if masked in columns and by in columns and columns[by].kind == "bool":
            own, other = columns[masked], columns.pop(by).values
            columns[masked] = replace(own, mask=other if own.mask is None else own.mask | other)
    return TableFile(format_, columns, table.num_rows)


def _values(column: Any, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    import pyarrow as pa
    from pyarrow import compute

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    type_ = array.type
    if pa.types.is_dictionary(type_):
        array = array.dictionary_decode()
        type_ = array.type
    mask = np.asarray(compute.is_null(array).to_numpy(zero_copy_only=False)) if array.null_count else None
    if pa.types.is_boolean(type_):
        filled = array.fill_null(False)
    elif pa.types.is_integer(type_) or pa.types.is_floating(type_):
        filled = array.fill_null(0)
    elif pa.types.is_fixed_size_list(type_) or pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return _lists(array), mask
    elif pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        filled = array.cast(pa.string())
    elif pa.types.is_nested(type_):
        raise GalbaseError(f"column {name!r} is of type {type_}, which has no type in SQL; unpack it first.")
    elif pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_null(type_):
        filled = array
    else:
        # Dates, times and decimals are kept as they are written.
        filled = array.cast(pa.string())
    values = filled.to_numpy(zero_copy_only=False)
    return np.array(values) if values.dtype.kind != "O" else values, mask


def _lists(array: Any) -> npt.NDArray[Any]:
    """Lists as a matrix when all have one length, otherwise as an array of arrays."""
    rows = [None if item is None else np.asarray(item) for item in array.to_numpy(zero_copy_only=False)]
    lengths = {len(row) for row in rows if row is not None}
    present = [row for row in rows if row is not None]
    if len(lengths) == 1 and len(present) == len(rows):
        return np.stack(present)
    made = np.empty(len(rows), object)
    made[:] = rows
    return made
