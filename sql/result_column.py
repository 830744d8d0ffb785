"""Columns of a query's result: kind of value, unit, UCD, description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

Kind = Literal["bool", "int16", "int32", "int64", "float32", "float64", "text", "floats", "integers", "texts"]

_KIND_BY_OID: dict[int, Kind] = {
    16: "bool", 21: "int16", 23: "int32", 20: "int64", 26: "int64", 700: "float32", 701: "float64",
    1021: "floats", 1022: "floats", 1005: "integers", 1007: "integers", 1016: "integers", 1009: "texts", 1015: "texts",
}  # fmt: skip
_NUMERIC = 1700
_UNIT_SUFFIX = {"_arcsec": "arcsec", "_arcmin": "arcmin", "_deg": "deg", "_angstrom": "Angstrom"}
_WHOLE_FUNCTION = re.compile(r"^\s*SELECT\s+\*\s+FROM\s+api\.(\w+)\s*\(", re.IGNORECASE)


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result.

    Parameters
    ----------
    name : str
        Unique within the result.
    kind : str
        Type of its values in files; what has no counterpart there is text.
    unit : str or None
        VOUnit.
    ucd : str or None
        UCD1+.
    description : str or None
    """

    name: str
    kind: Kind
    unit: str | None = None
    ucd: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class ColumnCatalogue:
    """Descriptions of the archive's columns: by table oid and column number, and of the results of api functions."""

    by_origin: dict[tuple[int, int], tuple[str | None, str | None, str]]
    by_function: dict[tuple[str, str], tuple[str | None, str | None, str]]


def column_catalogue(connection: psycopg.Connection) -> ColumnCatalogue:
    """Read the descriptions of all columns."""
    rows = connection.execute(
        "SELECT a.attrelid::bigint, a.attnum::integer, m.table_schema, m.table_name, m.column_name, m.unit, m.ucd, "
        "m.description FROM archive.column_metadata m "
        "LEFT JOIN pg_namespace n ON n.nspname = m.table_schema "
        "LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.table_name "
        "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = m.column_name AND a.attnum > 0"
    ).fetchall()
    by_origin = {(row[0], row[1]): (row[5], row[6], row[7]) for row in rows if row[0] is not None}
    by_function = {(row[3], row[4]): (row[5], row[6], row[7]) for row in rows if row[0] is None and row[2] == "api"}
    return ColumnCatalogue(by_origin, by_function)


def result_columns(result: PGresult, statement: str, catalogue: ColumnCatalogue) -> list[ResultColumn]:
    """Columns of a result.

    A column that comes straight from a table or view has that one's description; a result column of an api function
    has the function's where the statement is ``SELECT * FROM api.function(...)``. An expression has no description, and
    a unit only where its name ends in one, as in ``separation_arcsec``.
    """
    function = _WHOLE_FUNCTION.match(statement)
    found: list[ResultColumn] = []
    for index in range(result.nfields):
        name = (result.fname(index) or b"").decode()
        described = catalogue.by_origin.get((result.ftable(index), result.ftablecol(index)))
        if described is None and function is not None:
            described = catalogue.by_function.get((function[1].lower(), name))
        unit, ucd, text = described or (_suffix_unit(name), None, None)
        kind = _kind(result.ftype(index), result.fmod(index))
        found.append(ResultColumn(name, kind, unit, ucd, text))
    return _unique(found)


def _suffix_unit(name: str) -> str | None:
    return next((unit for suffix, unit in _UNIT_SUFFIX.items() if name.endswith(suffix)), None)


def _kind(oid: int, modifier: int) -> Kind:
    if oid == _NUMERIC:
        # numeric(20, 0) holds unsigned 64-bit ids, which no float can; sums and averages have no modifier.
        scale = (modifier - 4) & 0xFFFF if modifier >= 4 else None
        return "text" if scale == 0 else "float64"
    return _KIND_BY_OID.get(oid, "text")


def _unique(columns: Sequence[ResultColumn]) -> list[ResultColumn]:
    """Number the names that occur more than once, whatever their case: ``ra``, ``ra_2``."""
    taken: set[str] = set()
    unique = []
    for column in columns:
        name, number = column.name, 1
        while name.lower() in taken:
            number += 1
            name = f"{column.name}_{number}"
        taken.add(name.lower())
        unique.append(replace(column, name=name))
    return unique
