"""FITS binary tables written piece by piece, for catalogues that need not fit into memory."""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from galbase.schema.errors import GalbaseError

Columns = dict[str, NDArray[np.generic]]

_BLOCK = 2880
_CODES = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}


class FitsTableWriter:
    """A FITS file with one binary table whose rows come in pieces; the number of rows is set at the end.

    Parameters
    ----------
    path : Path
        File; replaced if it exists.
    name : str
        Extension name.
    units, comments : dict of str to str, optional
        FITS units, and comments (TCOMM), by column.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        units: dict[str, str] | None = None,
        comments: dict[str, str] | None = None,
    ) -> None:
        self._path, self._name, self._units, self._comments = path, name, units or {}, comments or {}
        self._dtype: np.dtype[Any] | None = None
        self._n_row = 0
        self._stream: BinaryIO | None = None
        self._rows_at = 0

    def __enter__(self) -> "FitsTableWriter":
        self._stream = self._path.open("wb")
        return self

    def append(self, columns: Columns) -> None:
        """Add rows; the first piece fixes the columns.

        Parameters
        ----------
        columns : dict of str to (n, ...) arrays
            One or two dimensions, of integers, floats, bytes or bools.

        Raises
        ------
        GalbaseError
            If the columns are not those of the first piece.
        """
        if self._stream is None:
            raise GalbaseError(f"{self._path} is not open for writing; use it in a with block.")
        dtype = np.dtype([(key, _stored(value), value.shape[1:]) for key, value in columns.items()])
        if self._dtype is None:
            self._dtype = dtype
            self._begin(columns)
        elif dtype != self._dtype:
            raise GalbaseError(f"{self._path.name}: a piece has the columns {dtype}, the first had {self._dtype}.")
        rows = np.empty(len(next(iter(columns.values()))), dtype)
        for key, value in columns.items():
            rows[key] = np.where(value, b"T", b"F") if value.dtype.kind == "b" else value
        self._stream.write(rows.tobytes())
        self._n_row += len(rows)

    def _begin(self, columns: Columns) -> None:
        """Write both headers, for no rows as yet."""
        made = [
            fits.Column(name=key, format=_format(value), array=value[:0], unit=self._units.get(key))
            for key, value in columns.items()
        ]
        table = fits.BinTableHDU.from_columns(made, name=self._name)
        for number, key in enumerate(columns, start=1):
            if key in self._comments:
                table.header[f"TCOMM{number}"] = self._comments[key]
        assert self._stream is not None
        self._stream.write(fits.PrimaryHDU().header.tostring().encode())
        self._rows_at = self._stream.tell() + table.header.tostring().encode().index(b"NAXIS2  =")
        self._stream.write(table.header.tostring().encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if kind is None and self._dtype is not None:
            stream.write(b"\0" * (-(self._n_row * self._dtype.itemsize) % _BLOCK))
            stream.seek(self._rows_at)
            card = fits.Card("NAXIS2", self._n_row, "number of rows in table")
            stream.write(card.image.encode())
        stream.close()


def _stored(value: NDArray[np.generic]) -> str:
    if value.dtype.kind == "b":
        return "S1"
    return value.dtype.str if value.dtype.kind == "S" else ">" + value.dtype.str[1:]


def _format(value: NDArray[np.generic]) -> str:
    if value.dtype.kind == "S":
        return f"{value.dtype.itemsize}A"
    if value.dtype.kind == "b":
        return "L"
    code = _CODES[value.dtype.str[1:]]
    return f"{value.shape[1]}{code}" if value.ndim == 2 else code
