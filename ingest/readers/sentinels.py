"""Missing values: what a file marks as missing in any way becomes NULL, and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import FileColumn, Mask
from galbase.schema.errors import GalbaseError, UsageError


@dataclass(frozen=True)
class Cleaned:
    """A column without missing values.

    Parameters
    ----------
    values : masked array or object array, shape (n,) or (n, ...)
        Masked (or None) where missing.
    nulls : Counter
        Number of values that became NULL, by cause: ``masked``, ``nan``, ``infinite`` or the sentinel.
    infinite_rows : ndarray of bool, shape (n,), or None
        Rows with an infinite value; None if there is none.
    """

    values: npt.NDArray[Any]
    nulls: Counter[str]
    infinite_rows: Mask | None


def clean(column: FileColumn, sentinels: Sequence[str]) -> Cleaned:
    """Mask NaN, infinities, sentinels and what the file masks.

    Parameters
    ----------
    column : FileColumn
    sentinels : sequence of str
        Values that mean missing; for a column of numbers those that are numbers, for text those that are equal.
    """
    values = column.values
    nulls: Counter[str] = Counter()
    if values.dtype.kind == "O":
        return _clean_objects(column, sentinels, nulls)
    mask = np.zeros(values.shape, np.bool_) if column.mask is None else np.array(column.mask, np.bool_)
    if mask.any():
        nulls["masked"] = int(mask.sum())
    infinite_rows: Mask | None = None
    if values.dtype.kind == "f":
        _mark(mask, np.isnan(values), "nan", nulls)
        infinite = np.isinf(values) & ~mask
        if infinite.any():
            _mark(mask, infinite, "infinite", nulls)
            infinite_rows = np.asarray(infinite.reshape(len(values), -1).any(axis=1))
    for text in sentinels:
        found = _equal(values, text)
        if found is not None:
            _mark(mask, found, text, nulls)
    # The masked entries may hold what their target type cannot, such as NaN for an integer.
    filled = np.where(mask, np.zeros((), values.dtype), values) if mask.any() else values
    return Cleaned(np.ma.MaskedArray(filled, mask=mask if mask.any() else np.ma.nomask), nulls, infinite_rows)


def check_sentinels(sentinels: Sequence[str]) -> None:
    """Refuse an empty sentinel: it would turn every blank text into NULL without saying so."""
    if any(not text for text in sentinels):
        raise UsageError("--null-value got an empty text; give the value that means missing, such as -9999.")


def _mark(mask: Mask, found: Mask, cause: str, nulls: Counter[str]) -> None:
    new = found & ~mask
    if new.any():
        nulls[cause] += int(new.sum())
        mask |= new


def _equal(values: npt.NDArray[Any], text: str) -> Mask | None:
    """Where values equal a sentinel; None if they cannot."""
    kind = values.dtype.kind
    if kind == "b":
        return None
    if kind in "US":
        wanted: Any = text.encode() if kind == "S" else text
        return np.asarray(np.strings.strip(values) == wanted)
    number = _number(text, whole=kind in "iu")
    if number is None:
        return None
    if kind in "iu":
        limits = np.iinfo(values.dtype)
        if not limits.min <= number <= limits.max:
            return None
    # The sentinel in the column's own precision: 1e20 is another number in single precision.
    with np.errstate(over="ignore"):
        return np.asarray(values == values.dtype.type(number))


def _number(text: str, whole: bool) -> int | float | None:
    """A sentinel as a number; None if it is none, or not a whole one where that is needed."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    if not whole:
        return number
    return int(number) if number.is_integer() else None


def _clean_objects(column: FileColumn, sentinels: Sequence[str], nulls: Counter[str]) -> Cleaned:
    """Text and arrays of varying length, as objects with None where missing."""
    wanted = set(sentinels)
    made = np.empty(len(column.values), object)
    mask = column.mask if column.mask is not None and column.mask.shape == made.shape else None
    infinite_rows = np.zeros(len(made), np.bool_)
    for i, value in enumerate(column.values):
        if (mask is not None and mask[i]) or value is None or value is np.ma.masked:
            nulls["masked"] += 1
        elif isinstance(value, np.ndarray):
            cleaned = clean(FileColumn(column.name, np.ma.getdata(value), _row_mask(value)), sentinels)
            nulls.update(cleaned.nulls)
            infinite_rows[i] = cleaned.infinite_rows is not None
            made[i] = cleaned.values
        else:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            if isinstance(text, float) and text != text:
                nulls["nan"] += 1
            elif isinstance(text, str):
                if text.strip() in wanted:
                    nulls[text.strip()] += 1
                else:
                    made[i] = text
            else:
                raise GalbaseError(
                    f"column {column.name!r}: row {i} holds {type(text).__name__} {text!r} among text; "
                    "give the column one type."
                )
    return Cleaned(made, nulls, infinite_rows if infinite_rows.any() else None)


def _row_mask(value: npt.NDArray[Any]) -> Mask | None:
    return np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else None
