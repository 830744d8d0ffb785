"""Columns of survey files that the survey's data model does not name: kept by name in a typed side table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.schema.errors import GalbaseError
from galbase.schema.packed_copy import copy_columns

Ints = npt.NDArray[np.int64]
_EXACT_INTEGER = 2**53
_MAX_BIGINT = 2**63 - 1


@dataclass(frozen=True)
class ExtraColumn:
    """An extra column.

    Parameters
    ----------
    values : ndarray, shape (n,) or (n, ...)
        Booleans, numbers, text, or objects; masked entries and None are missing.
    unit, description : str or None
        As written in the file.
    """

    values: npt.NDArray[Any]
    unit: str | None = None
    description: str | None = None


def load_extra_columns(
    connection: psycopg.Connection[Any],
    release_id: int,
    source_ids: Ints,
    columns: Mapping[str, ExtraColumn],
    *,
    all_new: bool = False,
) -> int:
    """Replace the values of extra columns for the given sources and return how many values are stored.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    release_id : int
    source_ids : ndarray of int64, shape (n,)
        Sources of the rows.
    columns : mapping of str to ExtraColumn
        By name; names are stored in lower case. A missing value has no row.
    all_new : bool
        The sources were inserted in this transaction, so that there is nothing to replace.

    Raises
    ------
    GalbaseError
        If a column was loaded with another type from another file of the release.
    """
    if len(source_ids) == 0:
        return 0
    stored = 0
    for name, column in columns.items():
        type_, values = _stored_form(column.values)
        number, type_ = _register(connection, release_id, name.lower(), type_, column)
        if not all_new:
            connection.execute(
                "DELETE FROM archive.extra_value WHERE extra_column_id = %s AND source_id = ANY(%s)",
                (number, source_ids.tolist()),
            )
        present = ~_missing(values)
        if type_ == "float" and values.dtype.kind in "iu":
            values = values.astype(np.float64)
        rows = np.flatnonzero(present)
        rows = rows[np.argsort(source_ids[rows], kind="stable")]
        stored += copy_columns(
            connection,
            "archive",
            "extra_value",
            {
                "source_id": source_ids[rows],
                "extra_column_id": np.full(len(rows), number, np.int64),
                f"value_{type_}": values[rows],
            },
        )
    return stored


def _stored_form(values: npt.NDArray[Any]) -> tuple[str, npt.NDArray[Any]]:
    """Which value column holds the values exactly, and the values for it."""
    kind = values.dtype.kind
    if values.ndim > 1:
        is_exact = kind == "f" or (kind in "biu" and _largest(values) <= _EXACT_INTEGER)
        return ("array", values.astype(np.float64)) if is_exact else ("text", _as_json(values))
    if kind == "f":
        return "float", values.astype(np.float64)
    if kind in "bi":
        return "integer", values.astype(np.int64)
    if kind == "u":
        if _largest(values) <= _MAX_BIGINT:
            return "integer", values.astype(np.int64)
        return "text", np.ma.MaskedArray(np.ma.getdata(values).astype(np.str_), mask=np.ma.getmask(values))
    if kind == "O" and any(isinstance(value, np.ndarray) for value in values):
        return "text", _as_json(values)
    return "text", values


def _largest(values: npt.NDArray[Any]) -> int:
    data = np.ma.compressed(values)
    return max(abs(int(data.max())), abs(int(data.min()))) if data.size else 0


def _as_json(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Arrays as JSON text, which keeps 64-bit integers and texts as they are."""
    made = np.empty(len(values), object)
    made[:] = [None if value is None else json.dumps(np.ma.asarray(value).tolist()) for value in values]
    return made


def _missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "O":
        return np.array([value is None for value in values], np.bool_)
    mask = np.ma.getmaskarray(values)
    return np.asarray(mask.reshape(len(values), -1).all(axis=1))


def _register(
    connection: psycopg.Connection[Any], release_id: int, name: str, type_: str, column: ExtraColumn
) -> tuple[int, str]:
    """Number of an extra column and the type it is stored as."""
    connection.execute(
        "INSERT INTO archive.extra_column (release_id, name, type, unit, description) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (release_id, name) DO NOTHING",
        (release_id, name, type_, column.unit, column.description),
    )
    row = connection.execute(
        "SELECT extra_column_id, type FROM archive.extra_column WHERE release_id = %s AND name = %s",
        (release_id, name),
    ).fetchone()
    if row is None:
        raise RuntimeError(f"extra column {name} was not registered")
    if row[1] != type_ and (row[1], type_) != ("float", "integer"):
        raise GalbaseError(
            f"column {name!r} holds {type_} values here and {row[1]} values in other files of the release; load this "
            "file into another release."
        )
    return int(row[0]), str(row[1])
