"""Results as a FITS binary table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.sql.column_values import by_column, masked_array, number_rows
from galbase.sql.query import ReleaseCredit, Result
from galbase.sql.result_column import ResultColumn

if TYPE_CHECKING:
    from astropy.io.fits import Column, Header

_FORMAT = {"int16": "I", "int32": "J", "int64": "K", "float32": "E", "float64": "D"}
_TNULL = {"int16": -32768, "int32": -2147483648, "int64": -9223372036854775808}


def write_fits(result: Result, path: Path) -> int:
    """Write all rows to `path` and return their number.

    Units are TUNIT, UCDs TUCD, descriptions TCOMM; NULL is NaN, TNULL or an empty text, and booleans that hold NULL
    are 16-bit integers. Licence and citation stand in the header as LICENn, CITEn for the release RELEAn.
    """
    from astropy.io import fits

    values = by_column(result.batches, len(result.columns))
    made = [_column(column, read) for column, read in zip(result.columns, values, strict=True)]
    table = fits.BinTableHDU.from_columns(made, name="RESULT")
    for number, column in enumerate(result.columns, start=1):
        if column.ucd:
            table.header[f"TUCD{number}"] = column.ucd
        if column.description:
            table.header[f"TCOMM{number}"] = ascii_text(column.description)
    primary = fits.PrimaryHDU()
    for header in (primary.header, table.header):
        credit_header(header, result.credits, result.statement)
    fits.HDUList([primary, table]).writeto(path)
    return len(values[0])


def ascii_text(text: str) -> str:
    """Text as FITS headers take it: accents dropped, other characters outside ASCII as question marks, no line ends."""
    plain = unicodedata.normalize("NFKD", text.replace("\n", " "))
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def credit_header(header: Header, credits: Sequence[ReleaseCredit], statement: str) -> None:
    """Tell in a FITS header where its data come from: LICENn and CITEn of release RELEAn, the SQL as comments."""
    header["CREATOR"] = "galbase"
    for number, credit in enumerate(credits, start=1):
        header[f"RELEA{number}"] = (ascii_text(credit.release), "data release")
        header[f"LICEN{number}"] = ascii_text(credit.licence or "not stated")
        header[f"CITE{number}"] = ascii_text(credit.citation or "not stated")
    for line in statement.splitlines():
        header.add_comment(ascii_text(f"SQL: {line}"))


def _column(column: ResultColumn, values: list[Any]) -> Column:
    import numpy as np
    from astropy.io import fits

    # Quotes mark units outside the VOUnit standard; FITS has no such mark.
    unit = column.unit.replace("'", "") if column.unit else None
    if column.kind in ("floats", "integers"):
        rows = number_rows(column, values)
        letter = "K" if rows and rows[0].dtype.kind == "i" else "D"
        lengths = {len(row) for row in rows}
        if len(lengths) == 1 and (length := lengths.pop()):
            return fits.Column(column.name, format=f"{length}{letter}", unit=unit, array=np.stack(rows))
        made = np.empty(len(rows), dtype=object)
        made[:] = rows
        return fits.Column(column.name, format=f"P{letter}()", unit=unit, array=made)
    array = masked_array(column, values)
    hidden = np.ma.getmaskarray(array)
    if column.kind == "bool":
        if not hidden.any():
            return fits.Column(column.name, format="L", unit=unit, array=array.data)
        numbers = np.where(hidden, _TNULL["int16"], array.data).astype("i2")
        return fits.Column(column.name, format="I", null=_TNULL["int16"], array=numbers)
    if column.kind in _TNULL:
        null = _TNULL[column.kind] if hidden.any() else None
        filled = np.where(hidden, _TNULL[column.kind], array.data).astype(array.dtype)
        return fits.Column(column.name, format=_FORMAT[column.kind], unit=unit, null=null, array=filled)
    if column.kind in _FORMAT:
        return fits.Column(column.name, format=_FORMAT[column.kind], unit=unit, array=array.data)
    texts = np.array([ascii_text(item) for item in array.data.tolist()], dtype="S")
    return fits.Column(column.name, format=f"{max(texts.dtype.itemsize, 1)}A", unit=unit, array=texts)
