"""HEALPix maps of a release: sources per square degree, or an aggregate of a column, by cell."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import ORDER
from galbase.sql.aggregate import Aggregate
from galbase.sql.column_values import by_column
from galbase.sql.query import ReleaseCredit, run_query

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_TABLE = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE t.typname IN
           ('int2', 'int4', 'int8', 'float4', 'float8', 'numeric'))
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname IN ('api', 'catalogue', 'archive')
  AND %(table)s::text IN (c.relname, n.nspname || '.' || c.relname)
GROUP BY 1, 2
ORDER BY array_position(ARRAY['api', 'catalogue', 'archive']::name[], n.nspname)
LIMIT 1
"""
_BY_SOURCE = """
SELECT s.hpx29 >> {shift}, ({value})::float8, count(t.{column})
FROM {table} t JOIN archive.source s ON s.source_id = t.source_id
WHERE s.release_id = api.release_id({release}) AND abs(t.{column}::float8) < 'Infinity'
GROUP BY 1 ORDER BY 1
"""
_BY_GALAXY = """
SELECT g.hpx29 >> {shift}, ({value})::float8, count(t.{column})
FROM {table} t JOIN archive.galaxy g ON g.galaxy_id = t.galaxy_id
WHERE abs(t.{column}::float8) < 'Infinity' AND EXISTS (
    SELECT FROM archive.galaxy_member m JOIN archive.source s ON s.source_id = m.source_id
    WHERE m.galaxy_id = t.galaxy_id AND s.release_id = api.release_id({release}))
GROUP BY 1 ORDER BY 1
"""
_DENSITY = "SELECT healpix_cell, density, n_source FROM api.healpix_map({release}, {order}) ORDER BY 1"
_VALUE = {
    Aggregate.MEAN: "avg(t.{column})",
    Aggregate.MEDIAN: "percentile_cont(0.5) WITHIN GROUP (ORDER BY t.{column}::float8)",
    Aggregate.COUNT: "count(t.{column})",
    Aggregate.MIN: "min(t.{column})",
    Aggregate.MAX: "max(t.{column})",
    Aggregate.SUM: "sum(t.{column})",
}


@dataclass(frozen=True)
class SkyMap:
    """Values of the cells of one order that have any.

    Parameters
    ----------
    release : str
    order : int
        HEALPix order.
    cells : ndarray of int64, shape (n,)
        HEALPix indices, nested, ascending.
    values : ndarray of float64, shape (n,)
    n_value : ndarray of int64, shape (n,)
        Sources or galaxies that each value was made of.
    name : str
        What the values are, like ``mean of z``.
    unit : str or None
        VOUnit.
    credits : tuple of ReleaseCredit
        Releases whose data the values may hold.
    statement : str
        SQL that made the values.
    """

    release: str
    order: int
    cells: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    n_value: npt.NDArray[np.int64]
    name: str
    unit: str | None
    credits: tuple[ReleaseCredit, ...]
    statement: str

    @property
    def label(self) -> str:
        """Name and unit, for a person."""
        # Quotes mark units outside the VOUnit standard.
        return f"{self.name} [{self.unit.replace(chr(39), '')}]" if self.unit else self.name

    def summary(self) -> dict[str, Any]:
        """What was mapped, for a report."""
        return {
            "release": self.release,
            "map": self.label,
            "order": self.order,
            "cells": len(self.cells),
            "values": int(self.n_value.sum()),
            "least": float(self.values.min()),
            "greatest": float(self.values.max()),
        }


@dataclass(frozen=True)
class _Column:
    """A column of numbers, and whether its rows are sources or galaxies."""

    schema: str
    table: str
    name: str
    by_galaxy: bool
    unit: str | None


def read_density(connection: psycopg.Connection, release: str, order: int) -> SkyMap:
    """Sources of a release per square degree.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    release : str
    order : int
        HEALPix order of the cells, 0 to 29.

    Raises
    ------
    GalbaseError
        If there is no such release or order, or the release has no source.
    """
    from psycopg import sql

    statement = sql.SQL(_DENSITY).format(release=sql.Literal(release), order=sql.Literal(order))
    found = read_map(connection, statement, release, order, "source density", "deg**-2", release)
    if not len(found.cells):
        raise GalbaseError(f"release {release!r} has no source; ingest a catalogue before it is mapped.")
    return found


def read_aggregate(
    connection: psycopg.Connection,
    release: str,
    order: int,
    column: str,
    aggregate: Aggregate = Aggregate.MEAN,
    table: str = "api.galaxy_property",
) -> SkyMap:
    """An aggregate of a column over the sources of a release, or over the galaxies with a detection in it.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    release : str
    order : int
        HEALPix order of the cells, 0 to 29.
    column : str
        Column of numbers; NULL, NaN and infinities are left out.
    aggregate : Aggregate
    table : str
        Table or view of schema api, catalogue or archive, with a column galaxy_id or source_id; sought in that order
        if the schema is left out.

    Raises
    ------
    GalbaseError
        If there is no such release, table or column of numbers, or no value in the release.
    """
    from psycopg import sql

    found = _find_column(connection, table, column)
    names = {
        "shift": sql.Literal(2 * (ORDER - order)),
        "column": sql.Identifier(column),
        "table": sql.Identifier(found.schema, found.table),
        "release": sql.Literal(release),
    }
    value = sql.SQL(_VALUE[aggregate]).format(column=names["column"])
    statement = sql.SQL(_BY_GALAXY if found.by_galaxy else _BY_SOURCE).format(value=value, **names)
    unit = None if aggregate is Aggregate.COUNT else found.unit
    # A galaxy's row holds values of all its detections.
    credited = None if found.by_galaxy else release
    made = read_map(connection, statement, release, order, f"{aggregate} of {column}", unit, credited)
    if not len(made.cells):
        raise GalbaseError(
            f"no {'galaxy' if found.by_galaxy else 'source'} of release {release!r} has a {column} in "
            f"{found.schema}.{found.table}; choose another --column or --table."
        )
    return made


def read_map(
    connection: psycopg.Connection,
    statement: sql.Composed,
    release: str,
    order: int,
    name: str,
    unit: str | None,
    credited: str | None,
) -> SkyMap:
    """The map that a statement makes, whose rows are cell, value and the number behind the value, in order of cell.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    statement : sql.Composed
    release, order, name, unit
        As `SkyMap` has them.
    credited : str or None
        The one release that the values come from; all are credited without.
    """
    text = statement.as_string(connection).strip()
    result = run_query(connection, text, release=credited)
    cells, values, n_value = by_column(result.batches, 3)
    return SkyMap(
        release,
        order,
        np.array(cells, dtype=np.int64),
        np.array(values, dtype=np.float64),
        np.array(n_value, dtype=np.int64),
        name,
        unit,
        result.credits,
        text,
    )


def _find_column(connection: psycopg.Connection, table: str, column: str) -> _Column:
    row = connection.execute(_TABLE, {"table": table}).fetchone()
    if row is None:
        raise GalbaseError(
            f"there is no table {table!r} in schemas api, catalogue and archive; "
            "the view api.column_description has the names of all."
        )
    schema, name, columns, numbers = row
    if not {"source_id", "galaxy_id"} & set(columns):
        raise GalbaseError(
            f"{schema}.{name} has neither source_id nor galaxy_id, so its rows have no place on the sky."
        )
    if column not in (numbers or ()):
        near = difflib.get_close_matches(column, numbers or (), n=5)
        what = "is not a column of numbers" if column in columns else "is no column"
        raise GalbaseError(
            f"{column!r} {what} of {schema}.{name}; "
            + (f"alike are: {', '.join(near)}." if near else f"columns of numbers are: {', '.join(numbers or ())}.")
        )
    described = connection.execute(
        "SELECT unit FROM api.column_description WHERE table_schema = %s AND table_name = %s AND column_name = %s",
        (schema, name, column),
    ).fetchone()
    connection.rollback()
    return _Column(schema, name, column, "source_id" not in columns, described[0] if described else None)


def write_map_fits(sky_map: SkyMap, path: Path) -> None:
    """Write a map as FITS that `healpy.read_map` reads: explicit indices, nested, ICRS, and the number behind a value.

    Parameters
    ----------
    sky_map : SkyMap
    path : Path
        File to write; one that exists is replaced.
    """
    from astropy.io import fits

    from galbase.sql.output_fits import ascii_text, credit_header

    unit = sky_map.unit.replace("'", "") if sky_map.unit else None
    title = ascii_text(sky_map.name).upper().replace(" OF ", "_").replace(" ", "_")
    columns = [
        fits.Column("PIXEL", format="K", array=sky_map.cells),
        fits.Column(title, format="D", unit=unit, array=sky_map.values),
        fits.Column("N_VALUE", format="K", array=sky_map.n_value),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="MAP")
    table.header.update(
        {
            "PIXTYPE": ("HEALPIX", "HEALPix pixels"),
            "ORDERING": ("NESTED", "numbering of the pixels"),
            "NSIDE": (1 << sky_map.order, "resolution of HEALPix"),
            "COORDSYS": ("C", "ICRS"),
            "INDXSCHM": ("EXPLICIT", "pixels are named in PIXEL"),
            "OBJECT": ("PARTIAL", "pixels without a value are left out"),
        }
    )
    primary = fits.PrimaryHDU()
    for header in (primary.header, table.header):
        credit_header(header, sky_map.credits, sky_map.statement)
    fits.HDUList([primary, table]).writeto(path, overwrite=True)
