"""Matches a file with a release: the file's rows with their sources, without loading it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from galbase.ingest.readers.column import FileColumn
from galbase.ingest.readers.generic import read_positions
from galbase.ingest.readers.table import read_table
from galbase.ingest.units import ucd1plus, vounit
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import valid_position
from galbase.sql.query import BATCH_ROWS, Result, release_credits
from galbase.sql.result_column import Kind, ResultColumn
from galbase.sql.search import crossmatch_positions

if TYPE_CHECKING:
    from astropy.table import Table

_KINDS: dict[str, Kind] = {
    "b1": "bool", "i1": "int16", "u1": "int16", "i2": "int16", "u2": "int32", "i4": "int32", "u4": "int64",
    "i8": "int64", "f2": "float32", "f4": "float32", "f8": "float64",
}  # fmt: skip
_ARRAYS: dict[str, Kind] = {"f": "floats", "i": "integers", "u": "integers", "b": "integers"}
_MATCH = (
    ResultColumn("galbase_source_id", "int64", ucd="meta.id", description="Source of the archive"),
    ResultColumn("galbase_release", "text", ucd="meta.id", description="Release of the source"),
    ResultColumn("galbase_native_id", "text", ucd="meta.id", description="The survey's own id of the source"),
    ResultColumn("galbase_ra", "float64", "deg", "pos.eq.ra", "Right ascension of the source, ICRS"),
    ResultColumn("galbase_dec", "float64", "deg", "pos.eq.dec", "Declination of the source, ICRS"),
    ResultColumn("galbase_flag", "int64", ucd="meta.code", description="Bits of registry source"),
    ResultColumn("separation_arcsec", "float64", "arcsec", "pos.angDistance", "Great-circle separation"),
    ResultColumn("match_rank", "int32", ucd="meta.number", description="1 is the nearest source"),
    ResultColumn("n_within", "int32", ucd="meta.number", description="Sources within the radius of the row"),
)


@dataclass(frozen=True)
class FileMatch:
    """A file's rows with their sources.

    Parameters
    ----------
    result : Result
        All columns of the file, then the source's.
    n_row, n_matched : int
        Rows of the file, and rows with at least one source.
    nowhere : tuple of int
        Rows without a position on the sky, which match nothing.
    notes : tuple of str
        What the user should know.
    """

    result: Result
    n_row: int
    n_matched: int
    nowhere: tuple[int, ...]
    notes: tuple[str, ...]


def match_file(
    connection: psycopg.Connection[Any],
    path: Path,
    release: str,
    radius_arcsec: float,
    *,
    ra: str | None = None,
    dec: str | None = None,
    angle_unit: str | None = None,
    **options: Any,
) -> FileMatch:
    """Match the rows of a FITS, VOTable, Parquet or CSV file with the sources of a release.

    Parameters
    ----------
    connection : psycopg.Connection
    path : Path
    release : str
    radius_arcsec : float
    ra, dec : str, optional
        Columns of the position; guessed from UCDs and names when None.
    angle_unit : {'deg', 'rad'}, optional
        Unit of the position; what the file says, or degrees, when None.
    **options
        As of `galbase.sql.search.crossmatch_positions`.

    Raises
    ------
    GalbaseError
        If the file is not sound, its position cannot be told, or there is no such release.
    """
    table = read_table(path)
    places = read_positions(table, path.name, ra=ra, dec=dec, angle_unit=angle_unit)
    credits = release_credits(connection, release)
    try:
        found = crossmatch_positions(connection, places.ra, places.dec, release, radius_arcsec, **options)
    except psycopg.errors.InvalidParameterValue as error:
        raise GalbaseError(str(error).strip().splitlines()[0]) from error
    taken = {column.name for column in _MATCH}
    clash = next((name for name in table.columns if name.lower() in taken), None)
    if clash is not None:
        raise GalbaseError(f"{path.name} has a column {clash!r}, as the match does; rename it.")
    columns = (*(_described(column) for column in table.columns.values()), *_MATCH)
    statement = f"galbase match {path.name} {release} --radius-arcsec {radius_arcsec:g}"
    result = Result(statement, columns, _batches(list(table.columns.values()), found), credits)
    rows = np.ma.getdata(found["row"])[~np.ma.getmaskarray(found["source_id"])] if len(found) else np.array([])
    nowhere = np.flatnonzero(~valid_position(places.ra, places.dec))
    return FileMatch(result, table.n_row, len(np.unique(rows)), tuple(nowhere.tolist()), places.notes)


def _described(column: FileColumn) -> ResultColumn:
    dtype = column.values.dtype
    kind = _ARRAYS.get(dtype.kind, "texts") if column.is_array else _KINDS.get(f"{dtype.kind}{dtype.itemsize}", "text")
    return ResultColumn(column.name, kind, vounit(column.unit), ucd1plus(column.ucd), column.description)


def _batches(columns: Sequence[FileColumn], found: Table) -> Generator[list[tuple[Any, ...]]]:
    for start in range(0, len(found), BATCH_ROWS):
        part = found[start : start + BATCH_ROWS]
        rows = np.asarray(part["row"])
        of_file = [_values(column, rows) for column in columns]
        of_source = [part[name].tolist() for name in part.colnames[1:]]
        yield list(zip(*of_file, *of_source, strict=True))


def _values(column: FileColumn, rows: np.ndarray[Any, Any]) -> list[Any]:
    """Values of some rows as Python's, None where the file marks them as missing."""
    values: list[Any] = column.values[rows].tolist()
    if _described(column).kind == "text":
        values = [_text(value) for value in values]
    if column.mask is not None and not column.is_array:
        values = [None if masked else value for value, masked in zip(values, column.mask[rows].tolist(), strict=True)]
    return values


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip()
    return None if value is None else str(value)
