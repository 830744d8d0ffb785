"""Values of a result as arrays: numbers with a mask, texts, arrays as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from galbase.sql.result_column import ResultColumn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from galbase.sql.query import Row

DTYPE = {
    "bool": "?", "int16": "i2", "int32": "i4", "int64": "i8", "float32": "f4", "float64": "f8",
}  # fmt: skip


def text_of(value: Any) -> str | None:
    """A value as text; None stays None, lists of texts are joined by commas, JSON is written as such."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, list):
        if all(isinstance(item, str | None) for item in value):
            return ",".join("" if item is None else item for item in value)
        return json.dumps(value, default=str)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def masked_array(column: ResultColumn, values: Sequence[Any]) -> np.ma.MaskedArray[Any, np.dtype[Any]]:
    """Values of a scalar column with NULL masked; NULL floats are NaN under the mask, texts empty."""
    import numpy as np

    mask = np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    if column.kind in DTYPE:
        filler: Any = np.nan if column.kind.startswith("float") else 0
        filled: npt.NDArray[Any] = np.array(
            [filler if value is None else value for value in values], dtype=DTYPE[column.kind]
        )
    else:
        filled = np.array([text_of(value) or "" for value in values], dtype=str)
    return np.ma.MaskedArray(filled, mask=mask)


def number_rows(column: ResultColumn, values: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Rows of an array column; NULL is an empty row, and NULL within a row NaN (0 among integers never occurs: they
    become floats where a row holds NULL)."""
    import numpy as np

    kind = "i8" if column.kind == "integers" and not _has_hole(values) else "f8"
    return [
        np.array([] if value is None else [np.nan if item is None else item for item in _flat(value)], dtype=kind)
        for value in values
    ]


def _flat(value: Any) -> Iterable[Any]:
    for item in value:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _has_hole(values: Sequence[Any]) -> bool:
    return any(item is None for value in values if value is not None for item in _flat(value))


def by_column(batches: Iterable[list[Row]], n_column: int) -> list[list[Any]]:
    """All rows, turned into one list a column."""
    columns: list[list[Any]] = [[] for _ in range(n_column)]
    for batch in batches:
        for values, read in zip(columns, zip(*batch, strict=True), strict=True):
            values.extend(read)
    return columns
