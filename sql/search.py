"""Searches for Python: cones whose cells are computed here, and positions that are matched without being loaded."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import UsageError
from galbase.schema.healpix import CELL_ORDERS, ORDER, hpx29, valid_position
from galbase.schema.packed_copy import copy_columns

if TYPE_CHECKING:
    import psycopg
    from astropy.table import Table

LARGEST_RADIUS_ARCSEC = 648000.0
# Up to the first radius cells of the first order are asked for, up to the second one those of the second; beyond, the
# server makes its own list.
_RADII_ARCSEC = (97.0, 40000.0)
_COLUMNS = (
    "s.source_id, (SELECT release FROM archive.data_release r WHERE r.release_id = s.release_id) AS release, "
    "s.native_id, s.ra, s.dec, s.flag"
)
_FIELDS = {
    "source_id": "int64", "release": "object", "native_id": "object", "ra": "float64", "dec": "float64",
    "flag": "int64",
}  # fmt: skip
_UNITS = {"ra": "deg", "dec": "deg", "separation_arcsec": "arcsec"}


def cone_cells(ra: float, dec: float, radius_arcsec: float, order: int) -> list[int]:
    """HEALPix pixels, nested, that together hold every point within a radius of a position.

    Parameters
    ----------
    ra, dec : float
        Position, ICRS, degrees.
    radius_arcsec : float
    order : int
        HEALPix order.
    """
    import healpy

    # A margin of 1e-9 rad, as the server's, for rounding.
    radius = np.radians(radius_arcsec / 3600) + 1e-9
    place = healpy.ang2vec(ra, dec, lonlat=True)
    found: list[int] = healpy.query_disc(1 << order, place, radius, inclusive=True, fact=4, nest=True).tolist()
    return found


@cache
def _cone_statement(order: int | None, everything: bool) -> bytes:
    columns = _COLUMNS if everything else "s.source_id"
    distance = ", api.separation_arcsec(%(ra)s, %(dec)s, s.ra, s.dec) AS separation_arcsec" if everything else ""
    place = (
        "api.in_cone(s.hpx29, s.ra, s.dec, %(ra)s, %(dec)s, %(radius)s)"
        if order is None
        else f"s.hpx29 >> {2 * (ORDER - order)} = ANY(%(cells)s) "
        "AND api.within_arcsec(%(ra)s, %(dec)s, s.ra, s.dec, %(radius)s)"
    )
    return (
        f"SELECT {columns}{distance} FROM archive.source s WHERE {place} "  # noqa: S608
        "AND (%(release)s::text IS NULL OR s.release_id = (SELECT api.release_id(%(release)s::text)))"
    ).encode()


def cone_rows(
    connection: psycopg.Connection[Any],
    ra: float,
    dec: float,
    radius_arcsec: float,
    release: str | None = None,
    *,
    everything: bool = True,
) -> list[tuple[Any, ...]]:
    """Rows of a cone search, in no order.

    Parameters
    ----------
    connection : psycopg.Connection
    ra, dec : float
        Position, ICRS, degrees.
    radius_arcsec : float
        0 to 648000.
    release : str, optional
        Search this release only.
    everything : bool
        Source, release, native id, position, flag and separation; or the source's id alone.

    Raises
    ------
    UsageError
        If the position or the radius is impossible.
    """
    if not bool(valid_position(ra, dec)):
        raise UsageError(f"position ({ra}, {dec}) deg is not on the sky; declinations are in [-90, 90].")
    if not 0 <= radius_arcsec <= LARGEST_RADIUS_ARCSEC:
        raise UsageError(f"radius {radius_arcsec} arcsec is outside [0, {LARGEST_RADIUS_ARCSEC:.0f}].")
    order = next(
        (order for order, largest in zip(CELL_ORDERS, _RADII_ARCSEC, strict=True) if radius_arcsec <= largest), None
    )
    values: dict[str, Any] = {"ra": float(ra), "dec": float(dec), "radius": float(radius_arcsec), "release": release}
    if order is not None:
        values["cells"] = cone_cells(ra, dec, radius_arcsec, order)
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(_cone_statement(order, everything), values, prepare=True).fetchall()


def cone_search(
    connection: psycopg.Connection[Any], ra: float, dec: float, radius_arcsec: float, release: str | None = None
) -> Table:
    """Sources within a radius of a position, the nearest first.

    Parameters
    ----------
    connection : psycopg.Connection
    ra, dec : float
        Position, ICRS, degrees.
    radius_arcsec : float
        0 to 648000.
    release : str, optional
        Search this release only; all when None.

    Returns
    -------
    astropy.table.Table
        Columns source_id, release, native_id, ra, dec, flag, separation_arcsec.

    Raises
    ------
    UsageError
        If the position or the radius is impossible.
    """
    rows = cone_rows(connection, ra, dec, radius_arcsec, release)
    rows.sort(key=lambda row: (row[-1], row[0]))
    return _table(rows, _FIELDS | {"separation_arcsec": "float64"})


def crossmatch_positions(
    connection: psycopg.Connection[Any],
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    release: str,
    radius_arcsec: float,
    *,
    min_radius_arcsec: float = 0.0,
    nearest: int | None = 1,
    mutual_best: bool = False,
    join_type: str = "inner",
) -> Table:
    """Match positions that are not in the archive with the sources of a release.

    Parameters
    ----------
    connection : psycopg.Connection
        The positions go into a temporary table, which is dropped at the end.
    ra, dec : array_like, shape (n,)
        Positions, ICRS, degrees: columns of a DataFrame, of an astropy table, arrays. One that is NaN, masked or not
        on the sky has no partner.
    release : str
        Release they are matched to.
    radius_arcsec, min_radius_arcsec : float
        Largest and smallest separation.
    nearest : int, optional
        Partners kept of each position; all when None.
    mutual_best : bool
        Keep only pairs that are each other's nearest.
    join_type : {'inner', 'left', 'anti'}
        Matched positions; all, those without a partner with masked columns; only those without.

    Returns
    -------
    astropy.table.Table
        By row and rank. Column row is the number of the position, from 0; then source_id, release, native_id, ra, dec,
        flag, separation_arcsec, rank (1 is the nearest) and n_within.

    Raises
    ------
    UsageError
        If the arrays differ in length.
    psycopg.errors.InvalidParameterValue
        If there is no such release, or an option is impossible; the message names it.
    """
    places = [np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan) for values in (ra, dec)]
    if places[0].ndim != 1 or places[0].shape != places[1].shape:
        raise UsageError(f"ra has shape {places[0].shape}, dec {places[1].shape}; give two columns of one length.")
    good = np.flatnonzero(valid_position(*places))
    columns = {"row_number": good.astype(np.int64), "ra": places[0][good] % 360.0, "dec": places[1][good]}
    columns["hpx29"] = hpx29(columns["ra"], columns["dec"])
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE galbase_position (row_number bigint, ra double precision, dec double precision, "
            "hpx29 bigint) ON COMMIT DROP"
        )
        copy_columns(connection, "pg_temp", "galbase_position", columns, order=np.argsort(columns["hpx29"]))
        connection.execute("ANALYZE galbase_position")
        rows = connection.execute(
            f"SELECT m.left_id, {_COLUMNS}, m.separation_arcsec, m.rank, m.n_within FROM api.crossmatch_queries("  # noqa: S608
            "'SELECT row_number, ra, dec, hpx29 FROM pg_temp.galbase_position', api.release_positions(%s), %s, %s, %s, "
            "%s, %s) m LEFT JOIN archive.source s ON s.source_id = m.right_id ORDER BY m.left_id, m.rank".encode(),
            (release, radius_arcsec, min_radius_arcsec, nearest, mutual_best, join_type),
        ).fetchall()
        connection.execute("DROP TABLE galbase_position")
    if join_type != "inner" and len(good) < len(places[0]):
        nowhere = np.setdiff1d(np.arange(len(places[0])), good)
        rows = sorted([*rows, *((int(row), *8 * (None,), 0) for row in nowhere)], key=lambda row: (row[0], row[8] or 0))
    return _table(
        rows, {"row": "int64"} | _FIELDS | {"separation_arcsec": "float64", "rank": "int64", "n_within": "int64"}
    )


def _table(rows: list[tuple[Any, ...]], fields: dict[str, str]) -> Table:
    """A table of rows, NULL masked."""
    from astropy.table import MaskedColumn, Table

    found = Table()
    values = list(zip(*rows, strict=True)) if rows else [() for _ in fields]
    for (name, dtype), column in zip(fields.items(), values, strict=True):
        missing = np.array([value is None for value in column], dtype=bool)
        empty: Any = "" if dtype == "object" else 0
        filled = [empty if value is None else value for value in column]
        data = np.array(filled, dtype=str if dtype == "object" else dtype)
        found[name] = MaskedColumn(data, mask=missing, unit=_UNITS.get(name)) if missing.any() else data
        found[name].unit = _UNITS.get(name)
    return found
