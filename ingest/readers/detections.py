"""Detections read from a catalogue file: ids, positions, and where their columns belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from galbase.ingest.readers.column import FileColumn, Mask
from galbase.ingest.readers.sentinels import Cleaned, clean
from galbase.schema.errors import GalbaseError
from galbase.schema.ids import NativeIds


@dataclass(frozen=True)
class Detections:
    """What a reader makes of a file.

    Parameters
    ----------
    format : str
        Format and data model, such as ``fits/legacysurvey-dr8``.
    n_row : int
    native_ids : ndarray of bytes, shape (n,)
        The survey's own ids, UTF-8; empty where a row has none.
    ra, dec : ndarray of float64, shape (n,), or None
        Positions, ICRS, degrees, NaN where unknown; None for a table that refers to detections loaded before.
    table : str or None
        Survey table of schema `archive`; None for a catalogue that gets a table of its own.
    columns : mapping of str to ndarray
        Columns of `table` with their values, masked where missing.
    extra : tuple of FileColumn, of Cleaned
        Columns that the survey's data model does not name, or all columns of a catalogue of its own.
    nulls : Counter
        Values that became NULL, by cause.
    non_finite : ndarray of bool, shape (n,)
        Rows in which a measurement was infinite.
    notes : tuple of str
        What the user should know.
    """

    format: str
    n_row: int
    native_ids: NativeIds
    ra: npt.NDArray[np.float64] | None
    dec: npt.NDArray[np.float64] | None
    table: str | None
    columns: Mapping[str, npt.NDArray[Any]]
    extra: tuple[tuple[FileColumn, Cleaned], ...]
    nulls: Counter[str]
    non_finite: Mask
    notes: tuple[str, ...] = ()


def split_columns(
    columns: Mapping[str, FileColumn], table: sa.Table, own: Sequence[str], sentinels: Sequence[str]
) -> tuple[dict[str, npt.NDArray[Any]], tuple[tuple[FileColumn, Cleaned], ...], Counter[str], Mask]:
    """Clean all columns of a survey file and tell those of the survey's table from the others.

    Parameters
    ----------
    columns : mapping of str to FileColumn
        By lower-case name.
    table : sqlalchemy.Table
        The survey's table.
    own : sequence of str
        Names that are stored in `archive.source` (ra, dec) or built elsewhere, and left out here.
    sentinels : sequence of str
        Values that mean missing.

    Returns
    -------
    dict, tuple, Counter, ndarray
        Values by column of the table; other columns; NULLs by cause; rows with an infinite value.

    Raises
    ------
    GalbaseError
        If a column's type is not the data model's.
    """
    n_row = len(next(iter(columns.values())).values)
    known: dict[str, npt.NDArray[Any]] = {}
    extra = []
    nulls: Counter[str] = Counter()
    non_finite = np.zeros(n_row, np.bool_)
    for name, column in columns.items():
        if name in own:
            continue
        cleaned = clean(column, sentinels)
        nulls.update(cleaned.nulls)
        if cleaned.infinite_rows is not None:
            non_finite |= cleaned.infinite_rows
        if name in table.columns and name != "source_id":
            known[name] = _as_type(column, cleaned.values, table.columns[name].type)
        else:
            extra.append((column, cleaned))
    return known, tuple(extra), nulls, non_finite


def position(columns: Mapping[str, FileColumn], name: str) -> npt.NDArray[np.float64]:
    """A coordinate [deg] with NaN where masked; the column must hold real numbers.

    Raises
    ------
    GalbaseError
        If it does not.
    """
    column = columns[name]
    if column.kind not in ("float", "integer") or column.is_array:
        raise GalbaseError(
            f"column {column.name!r} is {_described(column)}{_first_text(column)}; a position must be one real number "
            "a row. Correct the column, or name another with --ra and --dec."
        )
    values = np.array(column.values, np.float64)
    if column.mask is not None:
        values[column.mask] = np.nan
    return values


def whole_numbers(column: FileColumn) -> npt.NDArray[Any]:
    """An integer column as a masked array; the file is refused if it is of another type.

    Raises
    ------
    GalbaseError
        If it does not hold integers.
    """
    if column.kind != "integer" or column.is_array:
        raise GalbaseError(f"column {column.name!r} is {_described(column)}; it is part of the id and must be integer.")
    return np.ma.MaskedArray(column.values, mask=np.ma.nomask if column.mask is None else column.mask)


def _described(column: FileColumn) -> str:
    shape = f", {column.values.shape[1:]} values a row" if column.is_array else ""
    return f"{column.kind} ({column.values.dtype}{shape})"


def _first_text(column: FileColumn) -> str:
    """The first value of a text column that is no number."""
    if column.kind != "text" or column.is_array:
        return ""
    for row, value in enumerate(column.values.tolist()):
        try:
            float(value)
        except (TypeError, ValueError):
            if value is not None:
                return f": row {row} holds {value!r}"
    return ""


def _as_type(column: FileColumn, values: npt.NDArray[Any], type_: Any) -> npt.NDArray[Any]:
    """Values as the data model's type, or the reason why they cannot be."""
    wants_array = isinstance(type_, sa.ARRAY)
    if wants_array != column.is_array:
        raise GalbaseError(
            f"column {column.name!r} is {_described(column)}; the data model has "
            f"{'several values' if wants_array else 'one value'} a row. Is the file of this survey?"
        )
    base = type_.item_type if wants_array else type_
    kind = column.kind
    if isinstance(base, sa.Text):
        if kind == "integer":
            return _number_text(values)
        fits, wanted = kind == "text", "text"
    elif isinstance(base, sa.Boolean):
        if kind == "integer" and bool(np.ma.all((values == 0) | (values == 1))):
            return np.asanyarray(values.astype(np.bool_))
        fits, wanted = kind == "bool", "boolean"
    elif isinstance(base, (sa.SmallInteger, sa.Integer, sa.BigInteger)):
        # Integers that carry a TSCAL or TZERO are read as real numbers.
        if kind == "float" and bool(np.ma.all(values == np.ma.floor(values))):
            return np.asanyarray(values.astype(np.int64))
        if kind == "bool":
            return np.asanyarray(values.astype(np.int16))
        fits, wanted = kind == "integer", "integer"
    else:
        fits, wanted = kind in ("float", "integer"), "real"
    if not fits:
        raise GalbaseError(
            f"column {column.name!r} is {_described(column)}; the data model has {wanted} numbers or text of that "
            "kind there. Is the file of this survey?"
        )
    return values


def _number_text(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ma.MaskedArray(np.ma.getdata(values).astype(np.str_), mask=np.ma.getmask(values))
