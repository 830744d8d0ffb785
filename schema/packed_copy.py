"""Binary COPY of numpy columns, packed without a Python loop over rows.

The format is PostgreSQL's binary COPY (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"):
each field is a 4-byte length, -1 for NULL, and the value in network byte order. A field is laid out as a row of a
byte matrix as wide as its widest value, with a mask of the bytes that count; one boolean selection of the joined
matrix is the stream. Ten and more times faster than writing row by row for wide tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from galbase.schema.bulk import column_types
from galbase.schema.errors import GalbaseError

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_FIXED = {
    "boolean": "u1",
    "smallint": ">i2",
    "integer": ">i4",
    "bigint": ">i8",
    "real": ">f4",
    "double precision": ">f8",
}
_ELEMENT_OID = {
    "boolean": 16,
    "smallint": 21,
    "integer": 23,
    "bigint": 20,
    "real": 700,
    "double precision": 701,
    "text": 25,
}
_NULL = np.frombuffer(b"\xff\xff\xff\xff", np.uint8)
_CHUNK_BYTES = 16 * 2**20
_NUMERIC_DIGITS = 5


def copy_columns(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    order: npt.NDArray[np.intp] | None = None,
) -> int:
    """Append rows given as columns and return their number.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    schema, table : str
        Target table; ``pg_temp`` for a temporary one.
    columns : mapping of str to ndarray, shape (n,) or (n, k) for array columns
        Values; masked entries of a `numpy.ma.MaskedArray`, and None in an object array, become NULL.
    order : ndarray of int, shape (n,), optional
        Order in which the rows are written.

    Raises
    ------
    GalbaseError
        If a column's values do not fit its type in the database.
    """
    names = list(columns)
    target = sql.Identifier(table) if schema == "pg_temp" else sql.Identifier(schema, table)
    types = _temporary_types(connection, table) if schema == "pg_temp" else column_types(connection, schema, table)
    missing = [name for name in names if name not in types]
    if missing:
        raise GalbaseError(f"table {schema}.{table} has no column {missing[0]!r}; run `galbase db upgrade`.")
    n_row = len(columns[names[0]]) if names else 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        target, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    step = max(1, _CHUNK_BYTES // max(1, sum(_width(columns[name]) for name in names)))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for start in range(0, n_row, step):
            rows: Any = slice(start, start + step) if order is None else order[start : start + step]
            copy.write(pack_rows({name: columns[name][rows] for name in names}, types))
        copy.write(b"\xff\xff")
    return n_row


def pack_rows(columns: Mapping[str, npt.NDArray[Any]], types: Mapping[str, str]) -> bytes:
    """Rows of the given columns as binary COPY tuples, without header and trailer."""
    n_row = len(next(iter(columns.values())))
    fields = []
    for name, values in columns.items():
        try:
            fields.append(_field(values, types[name]))
        except (TypeError, ValueError, OverflowError) as error:
            raise GalbaseError(f"column {name!r} cannot be stored as {types[name]}: {error}") from error
    width = 2 + sum(data.shape[1] for data, _ in fields)
    packed = np.empty((n_row, width), np.uint8)
    packed[:, :2] = np.array([len(fields)], ">i2").view(np.uint8)
    keep: Mask | None = None
    offset = 2
    for data, mask in fields:
        stop = offset + data.shape[1]
        packed[:, offset:stop] = data
        if mask is not None:
            if keep is None:
                keep = np.ones((n_row, width), np.bool_)
            keep[:, offset:stop] = mask
        offset = stop
    return packed.tobytes() if keep is None else packed[keep].tobytes()


def _temporary_types(connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = to_regclass('pg_temp.' || quote_ident(%s)) AND attnum > 0",
        (table,),
    ).fetchall()
    return dict(rows)


def _width(values: npt.NDArray[Any]) -> int:
    """Rough bytes a row."""
    if values.dtype == object:
        return 64
    return 8 + int(values.dtype.itemsize * np.prod(values.shape[1:], dtype=int))


def _nulls(values: npt.NDArray[Any]) -> Mask | None:
    """Which entries are NULL; None when none is."""
    if isinstance(values, np.ma.MaskedArray):
        nulls = np.ma.getmaskarray(values)
    elif values.dtype == object:
        nulls = np.array([value is None for value in values.ravel()], np.bool_).reshape(values.shape)
    else:
        return None
    return nulls if nulls.any() else None


def _field(values: npt.NDArray[Any], type_: str) -> tuple[Bytes, Mask | None]:
    """Bytes of a field with its length, shape (n, w), and which of them count."""
    if type_.endswith("[]"):
        return _array_field(values, type_.removesuffix("[]"))
    if values.ndim != 1:
        raise ValueError(f"an array of shape {values.shape[1:]} a row was given for a single value")
    return _element(values, type_)


def _element(values: npt.NDArray[Any], type_: str) -> tuple[Bytes, Mask | None]:
    nulls = _nulls(values)
    plain = np.ma.getdata(values)
    if type_ == "text":
        data, lengths = _text(plain, nulls)
    elif type_ == "numeric":
        data, lengths = _numeric(plain, nulls), None
    elif type_ in _FIXED:
        data, lengths = _fixed(plain, nulls, _FIXED[type_]), None
    else:
        raise ValueError("this type cannot be packed")
    n_row, size = data.shape
    field = np.empty((n_row, 4 + size), np.uint8)
    field[:, 4:] = data
    field[:, :4] = (
        np.array([size], ">i4").view(np.uint8)
        if lengths is None
        else lengths.astype(">i4").view(np.uint8).reshape(n_row, 4)
    )
    keep: Mask | None = None
    if lengths is not None:
        keep = np.ones(field.shape, np.bool_)
        keep[:, 4:] = np.arange(size) < lengths[:, None]
    if nulls is not None:
        if keep is None:
            keep = np.ones(field.shape, np.bool_)
        field[nulls, :4] = _NULL
        keep[nulls, 4:] = False
    return field, keep


def _fixed(values: npt.NDArray[Any], nulls: Mask | None, dtype: str) -> Bytes:
    target = np.dtype(dtype)
    if values.dtype == object:
        filler = 0 if nulls is not None else None
        values = np.array([filler if value is None else value for value in values])
    if target.kind == "i" and values.dtype.kind in "iu":
        limits = np.iinfo(target)
        used = values if nulls is None else values[~nulls]
        if used.size and (int(used.min()) < limits.min or int(used.max()) > limits.max):
            raise OverflowError(f"a value is outside {limits.min}..{limits.max}")
    elif values.dtype.kind not in ("b" if target.kind == "i" else "biuf"):
        raise TypeError(f"values are {values.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        wire = np.ascontiguousarray(values.astype(target))
    return wire.view(np.uint8).reshape(len(values), target.itemsize)


def _text(values: npt.NDArray[Any], nulls: Mask | None) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """UTF-8 bytes padded to the longest value, and the length of each."""
    if values.dtype.kind == "S":
        encoded = values
    else:
        if values.dtype == object:
            values = np.array(["" if value is None else str(value) for value in values], np.str_)
        elif values.dtype.kind != "U":
            raise TypeError(f"values are {values.dtype}")
        encoded = np.char.encode(values, "utf-8")
    encoded = np.ascontiguousarray(encoded)
    lengths = np.strings.str_len(encoded).astype(np.int64)
    if nulls is not None:
        lengths[nulls] = 0
    size = int(lengths.max(initial=0))
    wide = encoded.view(np.uint8).reshape(len(encoded), encoded.dtype.itemsize)[:, :size]
    if (wide == 0).any() and ((wide == 0) & (np.arange(size) < lengths[:, None])).any():
        raise ValueError("a text holds a zero byte, which PostgreSQL cannot store")
    return wide, lengths


def _numeric(values: npt.NDArray[Any], nulls: Mask | None) -> Bytes:
    """Unsigned 64-bit integers as numeric: five digits of base 10000 (leading zeros are stripped on receipt)."""
    if values.dtype == object:
        values = np.array([0 if value is None else int(value) for value in values], np.uint64)
    if values.dtype.kind not in "iu":
        raise TypeError(f"values are {values.dtype}")
    if values.dtype.kind == "i":
        used = values if nulls is None else values[~nulls]
        if (used < 0).any():
            raise OverflowError("a value is negative")
    rest = values.astype(np.uint64)
    words = np.zeros((len(values), 4 + _NUMERIC_DIGITS), ">i2")
    words[:, 0] = _NUMERIC_DIGITS
    words[:, 1] = _NUMERIC_DIGITS - 1
    base = np.uint64(10000)
    for digit in range(_NUMERIC_DIGITS - 1, -1, -1):
        words[:, 4 + digit] = (rest % base).astype(np.int16)
        rest = rest // base
    return words.view(np.uint8).reshape(len(values), -1)


def _array_field(values: npt.NDArray[Any], element: str) -> tuple[Bytes, Mask | None]:
    """Arrays of one shape a row; a row whose elements are all NULL is an array of NULLs, not NULL."""
    if values.ndim == 1 and values.dtype == object:
        return _ragged_field(values, element)
    if values.ndim < 2:
        raise ValueError("single values were given for an array")
    n_row, shape = len(values), values.shape[1:]
    count = int(np.prod(shape))
    head = np.array([len(shape), 1, _ELEMENT_OID[element], *[w for n in shape for w in (n, 1)]], ">i4")
    data, keep = _element(values.reshape(n_row * count), element)
    body = data.reshape(n_row, count * data.shape[1])
    n_head = 4 + head.nbytes
    field = np.empty((n_row, n_head + body.shape[1]), np.uint8)
    field[:, n_head:] = body
    field[:, 4:n_head] = head.view(np.uint8)
    used = np.ones(field.shape, np.bool_)
    if keep is not None:
        used[:, n_head:] = keep.reshape(body.shape)
    lengths = used.sum(axis=1) - 4
    field[:, :4] = lengths.astype(">i4").view(np.uint8).reshape(n_row, 4)
    return field, None if keep is None else used


def _ragged_field(values: npt.NDArray[Any], element: str) -> tuple[Bytes, Mask]:
    """Arrays of varying length, or None for NULL; these are rare, and made row by row."""
    empty = np.array([0, 0, _ELEMENT_OID[element]], ">i4").tobytes()
    rows = []
    for value in values:
        if value is None:
            rows.append(_NULL.tobytes())
        elif np.size(value) == 0:
            rows.append(len(empty).to_bytes(4, "big") + empty)
        else:
            data, keep = _array_field(np.ma.MaskedArray(value)[None], element)
            rows.append(data.tobytes() if keep is None else data[keep].tobytes())
    lengths = np.array([len(row) for row in rows])
    field = np.zeros((len(rows), int(lengths.max(initial=0))), np.uint8)
    mask = np.arange(field.shape[1]) < lengths[:, None]
    field[mask] = np.frombuffer(b"".join(rows), np.uint8)
    return field, mask
