"""Columns of a catalogue file, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FileColumn:
    """A column as its file has it.

    Parameters
    ----------
    name : str
        Name in the file.
    values : ndarray, shape (n,) or (n, ...)
        Booleans, numbers, fixed-width text or, for text and arrays of varying length, objects.
    mask : ndarray of bool, the shape of `values`, or None
        Entries that the file marks as missing.
    unit, ucd, description : str or None
        As written in the file.
    """

    name: str
    values: Values
    mask: Mask | None = None
    unit: str | None = None
    ucd: str | None = None
    description: str | None = None

    @property
    def kind(self) -> str:
        """``bool``, ``integer``, ``float`` or ``text``."""
        kind = self.values.dtype.kind
        return {"b": "bool", "i": "integer", "u": "integer", "f": "float"}.get(kind, "text")

    @property
    def is_array(self) -> bool:
        """Whether each row holds several values."""
        return self.values.ndim > 1


@dataclass(frozen=True)
class TableFile:
    """A table read from a file.

    Parameters
    ----------
    format : str
        ``fits``, ``votable``, ``parquet`` or ``csv``.
    columns : mapping of str to FileColumn
        By name in the file, in its order.
    n_row : int
    """

    format: str
    columns: Mapping[str, FileColumn]
    n_row: int

    def lower(self) -> dict[str, FileColumn]:
        """Columns by lower-case name; of two that differ only in case the first wins."""
        found: dict[str, FileColumn] = {}
        for name, column in self.columns.items():
            found.setdefault(name.lower(), column)
        return found
