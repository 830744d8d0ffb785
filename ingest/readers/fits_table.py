"""FITS tables, binary and ASCII, read with checks that the header tells the truth about the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import FileColumn, Mask, TableFile
from galbase.schema.errors import GalbaseError

_FATAL = ("truncated", "validating header", "missing end card", "corrupt", "not multiple of 2880")


def read_fits(stream: BinaryIO, name: str) -> TableFile:
    """Read the first table of a FITS file.

    Parameters
    ----------
    stream : binary file
        The unpacked file.
    name : str
        Its name, for messages.

    Raises
    ------
    GalbaseError
        If it holds no table, is cut short, or its header does not fit its data.
    """
    from astropy.io import fits

    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    try:
        with _strict(), fits.open(stream, memmap=False, ignore_missing_simple=False) as hdus:
            tables = [hdu for hdu in _walk(hdus, stream, name) if type(hdu).__name__ in ("BinTableHDU", "TableHDU")]
            if not tables:
                raise GalbaseError(f"{name} holds no FITS table, only images; ingest it with `galbase ingest images`.")
            hdu = next((table for table in tables if table.header["NAXIS2"] > 0), tables[0])
            _check_structure(hdu, stream, size, name)
            columns = table_columns(hdu)
    except GalbaseError:
        raise
    except Exception as error:
        raise GalbaseError(f"{name} is not a sound FITS file: {_first_line(error)}. Fetch it again.") from error
    return TableFile("fits", columns, int(hdu.header["NAXIS2"]))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


@contextmanager
def _strict() -> Iterator[None]:
    """Turn astropy's warnings about broken files into errors, and silence those about style."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        text = str(warning.message)
        if any(part in text.lower() for part in _FATAL):
            raise ValueError(text)


def _walk(hdus: Any, stream: BinaryIO, name: str) -> Iterator[Any]:
    """All HDUs; each must be followed by another or by the end of the file."""
    index = 0
    while True:
        try:
            hdu = hdus[index]
        except IndexError:
            return
        info = hdu.fileinfo()
        before = stream.tell()
        stream.seek(info["datLoc"] + info["datSpan"])
        follows = stream.read(8)
        stream.seek(before)
        if follows.strip(b"\0 ") and follows != b"XTENSION":
            sizes = ", ".join(f"{key}={value}" for key, value in hdu.header["NAXIS*"].items())
            raise GalbaseError(
                f"{name}: data follow where HDU {index} ends by its header ({sizes}). The header is wrong; fetch the "
                "file again."
            )
        yield hdu
        index += 1


def _check_structure(hdu: Any, stream: BinaryIO, size: int, name: str) -> None:
    header = hdu.header
    start = hdu.fileinfo()["datLoc"]
    used = header["NAXIS1"] * header["NAXIS2"] + header.get("PCOUNT", 0)
    if start + used > size:
        raise GalbaseError(
            f"{name} is cut short: its header promises {used} bytes of table (NAXIS1={header['NAXIS1']}, "
            f"NAXIS2={header['NAXIS2']}), {max(0, size - start)} are there. Fetch it again."
        )
    if type(hdu).__name__ == "BinTableHDU" and hdu.columns.dtype.itemsize != header["NAXIS1"]:
        raise GalbaseError(
            f"{name}: NAXIS1={header['NAXIS1']}, but the columns' TFORM add up to {hdu.columns.dtype.itemsize} bytes "
            "a row. The header is wrong; fetch the file again."
        )
    stream.seek(start + used)
    padding = stream.read(-used % 2880)
    if padding.strip(b"\0 "):
        raise GalbaseError(
            f"{name}: data follow the last of NAXIS2={header['NAXIS2']} rows, where the file must be empty. The header "
            "is wrong; fetch the file again."
        )


def table_columns(hdu: Any) -> dict[str, FileColumn]:
    """Columns of an open table with units, UCDs (TUCDn) and descriptions (TCOMMn)."""
    header = hdu.header
    found: dict[str, FileColumn] = {}
    for index, col in enumerate(hdu.columns):
        name = str(col.name or f"col{index + 1}").strip()
        number, base = 2, name
        while name in found:
            name, number = f"{base}_{number}", number + 1
        values, mask = _values(hdu, index, col)
        found[name] = FileColumn(
            name=name,
            values=values,
            mask=mask,
            unit=(col.unit or "").strip() or None,
            ucd=str(header.get(f"TUCD{index + 1}", "")).strip() or None,
            description=str(header.get(f"TCOMM{index + 1}", "")).strip() or None,
        )
    return found


def _values(hdu: Any, index: int, col: Any) -> tuple[npt.NDArray[Any], Mask | None]:
    # The stored values, before text is decoded, logicals become booleans, and integers get their TZERO.
    raw = np.recarray.field(hdu.data, index) if len(hdu.data) else np.asarray(hdu.data.field(index))
    values = np.asarray(hdu.data.field(index))
    if values.dtype.kind == "c":
        raise GalbaseError(f"column {col.name} holds complex numbers, which have no type in SQL; split it in two.")
    if values.dtype.kind in "SU":
        return _text(raw if raw.dtype.kind == "S" else values), None
    if values.dtype.kind == "O":
        _check_heap(hdu, raw, values, col)
        return np.array(list(map(np.asarray, values)), object) if len(values) else values, None
    mask: Mask | None = None
    if values.dtype.kind == "b" and raw.dtype.itemsize == 1 and raw.dtype.kind in "iu":
        # A logical is T, F, or a zero byte for unknown (FITS standard 4.0, section 7.3.3.1).
        mask = np.asarray(raw == 0)
    elif col.null is not None and raw.dtype.kind in "iu":
        mask = np.asarray(raw == int(col.null))
    if mask is not None and not mask.any():
        mask = None
    return np.array(values, values.dtype.newbyteorder("=")), mask


def _check_heap(hdu: Any, descriptors: npt.NDArray[Any], values: npt.NDArray[Any], col: Any) -> None:
    """Refuse arrays of varying length whose place is not within the table's heap, which astropy reads as what it finds.

    A descriptor holds the number of elements and the first one's byte (FITS standard 4.0, section 7.3.5).
    """
    header = hdu.header
    table = header["NAXIS1"] * header["NAXIS2"]
    heap = header.get("PCOUNT", 0) - (header.get("THEAP", table) - table)
    plain = np.asarray(descriptors)
    if plain.dtype.kind not in "iu" or plain.ndim != 2:
        return
    counts, starts = (plain[:, i].astype(np.float64) for i in (0, 1))
    item = np.asarray(values[0]).dtype.itemsize if len(values) else 1
    bad = np.flatnonzero((counts < 0) | (starts < 0) | (starts + counts * item > heap) & (counts > 0))
    if bad.size:
        row = int(bad[0])
        raise GalbaseError(
            f"column {col.name!r}: row {row} has {plain[row, 0]} elements from byte {plain[row, 1]} of a heap of "
            f"{heap} bytes. The table is damaged; fetch the file again."
        )


def _text(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Text without the blanks that pad it: trailing blanks mean nothing in FITS."""
    plain = np.array(values.view(np.ndarray))
    if plain.dtype.itemsize == 0:
        return np.zeros(plain.shape, "U1")
    if plain.dtype.kind == "S":
        data = np.ascontiguousarray(plain).view(np.uint8)
        plain = plain.astype(f"U{plain.dtype.itemsize}") if (data < 128).all() else np.char.decode(plain, "latin-1")
    return np.strings.rstrip(plain, " ")
