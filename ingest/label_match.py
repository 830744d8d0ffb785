"""Which source of a release each row of a table of labels belongs to: by id, or by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.generic import ID_NAMES, ids_of, read_positions
from galbase.ingest.readers.sentinels import clean
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import valid_position
from galbase.sql.search import crossmatch_positions

Rejected = list[tuple[int, str | None, str]]
Ints = npt.NDArray[np.int64]


def match_rows(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    table: TableFile,
    name: str,
    *,
    id_column: str | None = None,
    radius_arcsec: float | None = None,
    ra: str | None = None,
    dec: str | None = None,
    angle_unit: str | None = None,
    sentinels: Sequence[str] = (),
) -> tuple[Ints, Rejected]:
    """The source of each row, no source twice.

    By id a row belongs to the source that has it as the survey's own id, or as specObjID in `sdss_galaxy`. With a
    radius it belongs to the nearest source within it, unless another row is nearer to that source.

    Parameters
    ----------
    connection : psycopg.Connection
    release_id, release : int, str
        Number and name of the release.
    table : TableFile
    name : str
        Name of the file, for messages.
    id_column : str, optional
        Column of the ids; specobjid or another known name when None.
    radius_arcsec : float, optional
        Match by position within this radius instead of by id.
    ra, dec, angle_unit : str, optional
        As of `readers.generic.read_positions`.
    sentinels : sequence of str
        Ids that mean none.

    Returns
    -------
    source_ids : (n,) int64
        -1 where a row has none.
    rejected : list of (row index, native id, reason)

    Raises
    ------
    GalbaseError
        If there is no column for ids or positions, ids are not exact, or the radius is impossible.
    """
    if radius_arcsec is None:
        return _by_id(connection, release_id, release, table, name, id_column, sentinels)
    places = read_positions(table, name, ra=ra, dec=dec, angle_unit=angle_unit)
    return _by_position(connection, release, places.ra, places.dec, radius_arcsec)


def _by_id(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    table: TableFile,
    name: str,
    id_column: str | None,
    sentinels: Sequence[str],
) -> tuple[Ints, Rejected]:
    column = _id_column(table, name, id_column)
    cleaned = clean(column, sentinels)
    ids = ids_of(FileColumn(column.name, np.ma.getdata(cleaned.values), np.ma.getmaskarray(cleaned.values)))
    natives = [native.decode() or None for native in ids.tolist()]
    wanted = sorted({native for native in natives if native is not None})
    found: dict[str, int] = dict(
        connection.execute(
            "SELECT g.specobjid::text, min(s.source_id) FROM archive.sdss_galaxy g JOIN archive.source s "
            "USING (source_id) WHERE s.release_id = %s AND g.specobjid = ANY(%s::numeric[]) GROUP BY 1",
            (release_id, [native for native in wanted if native.isascii() and native.isdecimal()]),
        ).fetchall()
    )
    found |= dict(
        connection.execute(
            "SELECT native_id, source_id FROM archive.source WHERE release_id = %s AND native_id = ANY(%s)",
            (release_id, wanted),
        ).fetchall()
    )
    source_ids = np.full(table.n_row, -1, np.int64)
    rejected: Rejected = []
    seen: dict[int, int] = {}
    for row, native in enumerate(natives):
        if native is None:
            rejected.append((row, None, "no valid id"))
        elif native not in found:
            rejected.append((row, native, f"release {release} has no source with this id"))
        elif seen.setdefault(found[native], row) != row:
            rejected.append((row, native, f"its source is that of row {seen[found[native]]}"))
        else:
            source_ids[row] = found[native]
    return source_ids, rejected


def _id_column(table: TableFile, name: str, wanted: str | None) -> FileColumn:
    lower = table.lower()
    if wanted is not None:
        column = table.columns.get(wanted) or lower.get(wanted.lower())
        option = f" (--id {wanted})"
    else:
        column = next((lower[each] for each in ("specobjid", *ID_NAMES) if each in lower), None)
        option = ""
    if column is None:
        raise GalbaseError(
            f"{name} has no column of ids{option}; name one with --id, or match by position with --radius-arcsec. The "
            f"columns are {', '.join(table.columns)}."
        )
    if column.is_array or column.kind not in ("integer", "text"):
        raise GalbaseError(
            f"{name}: {column.name} holds {column.values.dtype}, which cannot hold a 64-bit id exactly; an integer or "
            "text column is needed."
        )
    return column


def _by_position(
    connection: psycopg.Connection[Any],
    release: str,
    ra: npt.NDArray[np.float64],
    dec: npt.NDArray[np.float64],
    radius_arcsec: float,
) -> tuple[Ints, Rejected]:
    try:
        matched = crossmatch_positions(connection, ra, dec, release, radius_arcsec, nearest=1)
    except psycopg.errors.InvalidParameterValue as error:
        raise GalbaseError(str(error).strip().splitlines()[0]) from error
    source_ids = np.full(len(ra), -1, np.int64)
    rejected: Rejected = []
    owner: dict[int, int] = {}
    order = np.lexsort((matched["row"], matched["separation_arcsec"]))
    for row, source in zip(matched["row"][order].tolist(), matched["source_id"][order].tolist(), strict=True):
        if owner.setdefault(source, row) == row:
            source_ids[row] = source
        else:
            rejected.append((row, None, f"row {owner[source]} is nearer to its source"))
    on_sky = valid_position(ra, dec)
    known = {row for row, _, _ in rejected}
    for row in np.flatnonzero(source_ids < 0).tolist():
        if row in known:
            continue
        if on_sky[row]:
            rejected.append((row, None, f"release {release} has no source within {radius_arcsec:g} arcsec"))
        else:
            rejected.append((row, None, f"position ra={ra[row]:.10g}, dec={dec[row]:.10g} is not on the sky"))
    return source_ids, rejected
