"""Tables of schema `catalogue`: any catalogue that is not of a known survey keeps its own columns, units and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from galbase.ingest.readers.column import FileColumn
from galbase.ingest.units import ucd1plus, vounit
from galbase.schema.deferred import record as record_deferred
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import CELL_ORDERS

SCHEMA = "catalogue"
RESERVED = ("source_id", "ra", "dec", "hpx29")
_TYPES = {
    "b1": "boolean",
    "i1": "smallint",
    "u1": "smallint",
    "i2": "smallint",
    "u2": "integer",
    "i4": "integer",
    "u4": "bigint",
    "i8": "bigint",
    "u8": "numeric(20)",
    "f2": "real",
    "f4": "real",
    "f8": "double precision",
}
# Types that a column of the table can hold besides its own, exactly.
_HOLDS = {
    "integer": {"smallint"},
    "bigint": {"smallint", "integer"},
    "numeric(20)": {"smallint", "integer", "bigint"},
    "real": {"smallint"},
    "double precision": {"smallint", "integer", "real"},
}
_MAX_NAME = 58


@dataclass(frozen=True)
class OwnColumn:
    """A column of a catalogue's table, as recorded in `archive.catalogue_table`.

    Parameters
    ----------
    name : str
        Name in the file.
    column, type : str
        Name and type in SQL.
    unit, ucd, description : str or None
        As written in the file.
    """

    name: str
    column: str
    type: str
    unit: str | None
    ucd: str | None
    description: str | None


@dataclass(frozen=True)
class OwnTable:
    """A release's table in schema `catalogue`, and its columns by name in the file."""

    name: str
    columns: dict[str, OwnColumn]


def sql_name(text: str) -> str:
    """A name in lower case, of letters, digits and underscores, that needs no quotes."""
    name = re.sub(r"_+", "_", re.sub(r"[^a-z0-9_]", "_", text.lower())).strip("_")[:_MAX_NAME]
    return f"c_{name}" if not name or name[0].isdigit() else name


def sql_type(column: FileColumn) -> str:
    """Type in SQL that holds a column's values exactly.

    Raises
    ------
    GalbaseError
        If there is none.
    """
    values = column.values
    dtype = values.dtype
    is_array = values.ndim > 1
    if dtype.kind == "O":
        rows = [value for value in values if isinstance(value, np.ndarray) and value.dtype.kind != "O"]
        if not rows:
            return "text"
        is_array = True
        dtype = np.result_type(*{np.ma.getdata(row).dtype for row in rows})
    base = "text" if dtype.kind in "US" else _TYPES.get(f"{dtype.kind}{dtype.itemsize}")
    if base is None or (is_array and base == "numeric(20)"):
        raise GalbaseError(
            f"column {column.name!r} holds {dtype}{' arrays' if is_array else ''}, which SQL cannot hold."
        )
    return f"{base}[]" if is_array else base


def ensure_table(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    columns: Sequence[FileColumn],
    data_file_id: int,
    *,
    defer: bool = False,
) -> OwnTable:
    """The release's table, made when it is the first file's; later files must have the same columns.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    release_id : int
    release : str
    columns : sequence of FileColumn
        Columns of the file that are stored.
    data_file_id : int
        The file. While no other file has rows in the table, it may change its columns.
    defer : bool
        Leave the indexes and the foreign key of a new table to the end of a bulk load.

    Raises
    ------
    GalbaseError
        If the columns are not those of the table.
    """
    # Two files of a new release may come at once.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('galbase own table'), %s::integer)", (release_id,))
    row = connection.execute(
        "SELECT table_name, columns FROM archive.catalogue_table WHERE release_id = %s", (release_id,)
    ).fetchone()
    if row is not None:
        table = OwnTable(row[0], {item["name"]: OwnColumn(**item) for item in row[1]})
        difference = _difference(table, columns)
        if difference is None:
            return table
        if _has_other_files(connection, table.name, data_file_id):
            raise GalbaseError(
                f"{difference} All files of release {release} share the table catalogue.{table.name}; load this file "
                "into another release."
            )
        _drop(connection, release_id, table.name)
    return _make(connection, release_id, release, columns, defer)


def _has_other_files(connection: psycopg.Connection[Any], table: str, data_file_id: int) -> bool:
    row = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {} JOIN archive.source s USING (source_id) "
            "WHERE s.data_file_id IS DISTINCT FROM %s)"
        ).format(sql.Identifier(SCHEMA, table)),
        (data_file_id,),
    ).fetchone()
    return row is not None and bool(row[0])


def _difference(table: OwnTable, columns: Sequence[FileColumn]) -> str | None:
    """How a file's columns differ from the table's; None if the table can hold them."""
    names = {column.name for column in columns}
    missing = [name for name in table.columns if name not in names]
    if missing:
        return f"the file has no column {missing[0]!r}."
    for column in columns:
        stored = table.columns.get(column.name)
        if stored is None:
            return f"the file's column {column.name!r} is new."
        type_ = sql_type(column)
        is_empty = column.mask is not None and bool(column.mask.all())
        if type_ != stored.type and type_ not in _HOLDS.get(stored.type, ()) and not is_empty:
            return f"the file's column {column.name!r} is {type_} and was {stored.type}."
    return None


def _make(
    connection: psycopg.Connection[Any], release_id: int, release: str, columns: Sequence[FileColumn], defer: bool
) -> OwnTable:
    taken = set(RESERVED)
    own: dict[str, OwnColumn] = {}
    for column in columns:
        base = sql_name(column.name)
        name, number = (f"{base}_file", 2) if base in RESERVED else (base, 2)
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        own[column.name] = OwnColumn(column.name, name, sql_type(column), column.unit, column.ucd, column.description)
    table = _free_table_name(connection, release)
    target = sql.Identifier(SCHEMA, table)
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (source_id bigint PRIMARY KEY, "
            "ra double precision NOT NULL, dec double precision NOT NULL, hpx29 bigint NOT NULL{})"
        ).format(
            target,
            sql.SQL("").join(
                sql.SQL(", {} {}").format(sql.Identifier(item.column), sql.SQL(item.type)) for item in own.values()
            ),
        )
    )
    shifts = [sql.SQL("(hpx29 >> {})").format(2 * (29 - order)) for order in CELL_ORDERS]
    for number, expression in enumerate([sql.SQL("hpx29"), *shifts]):
        definition = sql.SQL("CREATE INDEX ON {} ({})").format(target, expression)
        if defer:
            record_deferred(connection, SCHEMA, table, "index", f"index {number}", definition.as_string(connection))
        else:
            connection.execute(definition)
    key = f"{table}_source_id_fkey"
    reference = "FOREIGN KEY (source_id) REFERENCES archive.source (source_id) ON DELETE CASCADE"
    if defer:
        record_deferred(connection, SCHEMA, table, "foreign key", key, reference)
    else:
        connection.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} " + reference).format(target, sql.Identifier(key)))
    connection.execute(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(target, sql.Literal(f"Catalogue of release {release}"))
    )
    connection.execute(
        "INSERT INTO archive.catalogue_table (release_id, table_name, columns) VALUES (%s, %s, %s)",
        (release_id, table, Jsonb([asdict(item) for item in own.values()])),
    )
    _describe(connection, table, release, own)
    return OwnTable(table, own)


def _free_table_name(connection: psycopg.Connection[Any], release: str) -> str:
    base = sql_name(release)
    name, number = base, 2
    while connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s",
        (SCHEMA, name),
    ).fetchone():
        name, number = f"{base}_{number}", number + 1
    return name


def _describe(connection: psycopg.Connection[Any], table: str, release: str, columns: dict[str, OwnColumn]) -> None:
    """Comments, units and UCDs of all columns."""
    rows: list[tuple[str, str | None, str | None, str]] = [
        ("source_id", None, "meta.id;meta.main", "Source of the row"),
        ("ra", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS"),
        ("dec", "deg", "pos.eq.dec;meta.main", "Declination, ICRS"),
        ("hpx29", None, "pos.healpix", "HEALPix index, nested, order 29"),
    ]
    for item in columns.values():
        unit = vounit(item.unit)
        text = item.description or f"Column {item.name} of release {release}"
        if item.unit and unit is None:
            text += f" [{item.unit}]"
        rows.append((item.column, unit, ucd1plus(item.ucd), text))
    for name, unit, ucd, text in rows:
        connection.execute(
            sql.SQL("COMMENT ON COLUMN {} IS {}").format(sql.Identifier(SCHEMA, table, name), sql.Literal(text))
        )
        connection.execute(
            "INSERT INTO archive.column_metadata (table_schema, table_name, column_name, unit, ucd, description) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (SCHEMA, table, name, unit, ucd, text),
        )


def _drop(connection: psycopg.Connection[Any], release_id: int, table: str) -> None:
    try:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(SCHEMA, table)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise GalbaseError(
            f"the columns of the file changed, but catalogue.{table} cannot be made anew: {error.diag.message_detail} "
            "Drop these first."
        ) from error
    connection.execute("DELETE FROM archive.catalogue_table WHERE release_id = %s", (release_id,))
    connection.execute(
        "DELETE FROM archive.deferred_object WHERE table_schema = %s AND table_name = %s", (SCHEMA, table)
    )
    connection.execute(
        "DELETE FROM archive.column_metadata WHERE table_schema = %s AND table_name = %s", (SCHEMA, table)
    )
