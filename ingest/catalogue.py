"""Store of detections: rows of `archive.source` and of the survey's own table, by packed COPY and set-based SQL.

A new detection is copied straight into its tables. Only where one of the rows is there already does a load go
through a temporary table, because a COPY that finds no conflict is twice as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from galbase.ingest.moved_sources import move_sources
from galbase.schema import ids
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import SourceFlag
from galbase.schema.healpix import hpx29, valid_position
from galbase.schema.ids import NativeIds, as_native_ids, native_text
from galbase.schema.packed_copy import copy_columns

Ints = npt.NDArray[np.int64]
INCOMING = "galbase_incoming_source"
INCOMING_ROWS = "galbase_incoming_row"
_MAX_ROUND = 64


Merge = Literal["all", "own", "none"]


class ConflictError(Exception):
    """Rows are there already with which a load was not to meet."""


@dataclass(frozen=True)
class SourceCount:
    """Detections that a load inserted, updated, moved to a new id, and found as wanted already.

    `met_files` are the other files, by data_file_id, whose detections were among these.
    """

    inserted: int
    updated: int
    moved: int
    unchanged: int
    met_files: tuple[int, ...] = ()


def wrap_ra(ra: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Right ascensions [deg] modulo 360, in [0, 360)."""
    wrapped = np.mod(np.asarray(ra, np.float64), 360.0)
    # The remainder of a tiny negative number rounds to 360 itself.
    return np.where(wrapped >= 360.0, 0.0, wrapped)


def load_sources(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    native_ids: Sequence[str] | NativeIds,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    flags: npt.ArrayLike | None,
    data_file_id: int | Ints | None,
    *,
    keep_existing: bool = False,
) -> Ints:
    """Insert or update detections of a release and return their source ids.

    A detection that the release has already keeps its id; where its corrected position leaves the order-12 pixel,
    it gets a new one, the old one goes to `source_alias`, and everything that refers to it moves along.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    release_id : int
        Number of the release.
    release : str
        Name of the release; part of the hash in the id.
    native_ids : sequence of str, or ndarray of bytes, shape (n,)
        The survey's own ids, unique among themselves.
    ra, dec : array_like of float, shape (n,)
        Positions, ICRS, degrees; valid, RA of any revolution.
    flags : array_like of int, shape (n,), optional
        Bits of registry 'source'; 0 when None.
    data_file_id : int, ndarray of int64, shape (n,), or None
        File the rows came from; a detection listed by two files belongs to the one loaded last.
    keep_existing : bool
        Leave detections that the release has already as they are (position, flags and file).

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    GalbaseError
        If a position is not on the sky or an id occurs twice.
    """
    return load_sources_counted(
        connection, release_id, release, native_ids, ra, dec, flags, data_file_id, keep_existing=keep_existing
    )[0]


def load_sources_counted(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    native_ids: Sequence[str] | NativeIds,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    flags: npt.ArrayLike | None,
    data_file_id: int | Ints | None,
    *,
    keep_existing: bool = False,
    merge: Merge = "all",
    hpx: Ints | None = None,
    digests: npt.NDArray[np.uint64] | None = None,
) -> tuple[Ints, SourceCount]:
    """`load_sources`, with the number of rows inserted, updated, moved and left unchanged.

    Parameters
    ----------
    connection, release_id, release, native_ids, ra, dec, flags, data_file_id, keep_existing
        As in `load_sources`.
    merge : {'all', 'own', 'none'}
        With which rows that are there already: all, only those of the same file, or none.
    hpx : ndarray of int64, shape (n,), optional
        HEALPix indices of the positions, where they are known already and RA is in [0, 360).
    digests : ndarray of uint64, shape (n,), optional
        Digests of the ids, see `galbase.schema.ids.source_ids`.

    Raises
    ------
    ConflictError
        If a detection is there already that `merge` excludes; nothing is written then.
    """
    natives = as_native_ids(native_ids)
    ra_deg, dec_deg = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    bad = np.flatnonzero(~valid_position(ra_deg, dec_deg))
    if bad.size:
        i = bad[0]
        raise GalbaseError(
            f"{native_text(natives[i])}: ra={ra_deg[i]}, dec={dec_deg[i]} is not on the sky; reject such rows first."
        )
    n_row = len(natives)
    if n_row == 0:
        return np.empty(0, np.int64), SourceCount(0, 0, 0, 0)
    ra_deg = wrap_ra(ra_deg)
    pixel = hpx29(ra_deg, dec_deg) if hpx is None else hpx
    wanted = ids.source_ids(release, natives, pixel, digests=digests)
    columns: dict[str, npt.NDArray[Any]] = {
        "source_id": wanted,
        "release_id": np.full(n_row, release_id, np.int64),
        "native_id": natives,
        "ra": ra_deg,
        "dec": dec_deg,
        "hpx29": pixel,
        "flag": np.zeros(n_row, np.int64) if flags is None else np.asarray(flags, np.int64),
        "data_file_id": np.ma.array(
            np.broadcast_to(np.asarray(0 if data_file_id is None else data_file_id, np.int64), n_row),
            mask=np.full(n_row, data_file_id is None),
        ),
    }
    order = np.argsort(pixel, kind="stable")
    if not _alias_hit(connection, wanted) and _copied(connection, "archive", "source", columns, order):
        return wanted, SourceCount(n_row, 0, 0, 0)
    if merge == "none":
        raise ConflictError(f"release {release} has some of the detections already")
    return _merge_sources(connection, release_id, release, natives, columns, order, keep_existing, merge)


def load_survey_rows(
    connection: psycopg.Connection[Any],
    table: str,
    source_ids: Ints,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    schema: str = "archive",
) -> int:
    """Insert or update rows of a survey's table; columns that are not given keep their values.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    table : str
        Table keyed by `source_id`, such as ``legacysurvey_dr9_object``.
    source_ids : ndarray of int64, shape (n,)
        Sources of the rows, each once, present in `archive.source`.
    columns : mapping of str to ndarray, shape (n,) or (n, k)
        Values by column; masked entries become NULL.
    schema : str
        Schema of the table.

    Returns
    -------
    int
        Rows inserted or changed.
    """
    if len(source_ids) == 0:
        return 0
    given = {"source_id": np.asarray(source_ids, np.int64), **columns}
    order = np.argsort(given["source_id"], kind="stable")
    if _copied(connection, schema, table, given, order):
        return len(source_ids)
    target = sql.Identifier(schema, table)
    names = sql.SQL(", ").join(map(sql.Identifier, given))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            sql.Identifier(INCOMING_ROWS), names, target
        )
    )
    copy_columns(connection, "pg_temp", INCOMING_ROWS, given, order=order)
    others = [sql.Identifier(name) for name in columns]
    action: sql.Composable = sql.SQL("NOTHING")
    if others:
        action = sql.SQL("UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})").format(
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in others),
            sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in others),
            sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in others),
        )
    cursor = connection.execute(
        sql.SQL("INSERT INTO {} AS t ({}) SELECT {} FROM {} ORDER BY source_id ON CONFLICT (source_id) DO {}").format(
            target, names, names, sql.Identifier(INCOMING_ROWS), action
        )
    )
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(INCOMING_ROWS)))
    return cursor.rowcount


def _copied(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns: Mapping[str, npt.NDArray[Any]],
    order: npt.NDArray[np.intp],
) -> bool:
    """Copy rows that are all new; False, with nothing written, when one of them is there already."""
    try:
        with connection.transaction():
            copy_columns(connection, schema, table, columns, order=order)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def _alias_hit(connection: psycopg.Connection[Any], wanted: Ints) -> bool:
    """Whether one of the ids was another detection's, or this one's, before a position was corrected."""
    rows = connection.execute(
        "SELECT old_source_id FROM archive.source_alias WHERE old_source_id BETWEEN %s AND %s",
        (int(wanted.min()), int(wanted.max())),
    ).fetchall()
    return bool(np.isin(np.array([row[0] for row in rows], np.int64), wanted).any())


def _merge_sources(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    natives: NativeIds,
    columns: dict[str, npt.NDArray[Any]],
    order: npt.NDArray[np.intp],
    keep_existing: bool,
    merge: Merge,
) -> tuple[Ints, SourceCount]:
    """Load rows of which some are there already."""
    incoming = sql.Identifier(INCOMING)
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT 0::bigint AS row_number, source_id, release_id, native_id, "
            "ra, dec, hpx29, flag, data_file_id FROM archive.source WITH NO DATA"
        ).format(incoming)
    )
    numbered = {"row_number": np.arange(len(natives)), **columns}
    copy_columns(connection, "pg_temp", INCOMING, numbered, order=order)
    connection.execute(sql.SQL("ANALYZE {}").format(incoming))
    known = connection.execute(
        sql.SQL(
            "SELECT i.row_number, t.source_id, CASE WHEN t.data_file_id <> i.data_file_id THEN t.data_file_id END "
            "FROM {} i JOIN archive.source t ON t.release_id = %s AND t.native_id = i.native_id"
        ).format(incoming),
        (release_id,),
    ).fetchall()
    met_files = tuple(sorted({row[2] for row in known if row[2] is not None}))
    if met_files and merge == "own":
        _drop_temporary(connection, INCOMING)
        raise ConflictError(f"release {release} has some of the detections from other files already")
    wanted = np.array(columns["source_id"], np.int64)
    is_settled = np.zeros(len(natives), np.bool_)
    present: dict[int, int] = {row[0]: row[1] for row in known}
    for number, source_id in present.items():
        # An id stays, salted or not, while the position stays in its pixel.
        if keep_existing or source_id >> ids.HASH_BITS == int(wanted[number]) >> ids.HASH_BITS:
            wanted[number] = source_id
            is_settled[number] = True
    open_rows = np.flatnonzero(~is_settled)
    wanted[open_rows] = _free_ids(connection, release, natives[open_rows], columns["hpx29"][open_rows])
    moved = {present[int(number)]: int(wanted[number]) for number in open_rows if int(number) in present}
    settled = np.flatnonzero(wanted != columns["source_id"])
    connection.execute("CREATE TEMP TABLE galbase_settled (row_number bigint, source_id bigint) ON COMMIT DROP")
    copy_columns(connection, "pg_temp", "galbase_settled", {"row_number": settled, "source_id": wanted[settled]})
    connection.execute(
        sql.SQL(
            "UPDATE {} i SET source_id = s.source_id FROM galbase_settled s WHERE s.row_number = i.row_number"
        ).format(incoming)
    )
    move_sources(connection, moved)
    action = (
        sql.SQL("NOTHING")
        if keep_existing
        else sql.SQL(
            "UPDATE SET ra = excluded.ra, dec = excluded.dec, hpx29 = excluded.hpx29, "
            "flag = excluded.flag | (t.flag & {kept}), data_file_id = excluded.data_file_id "
            "WHERE (t.ra, t.dec, t.hpx29, t.flag & ~{kept}::bigint, t.data_file_id) "
            "IS DISTINCT FROM (excluded.ra, excluded.dec, excluded.hpx29, excluded.flag, excluded.data_file_id)"
        ).format(kept=sql.Literal(int(SourceFlag.DUPLICATE)))
    )
    written = connection.execute(
        sql.SQL(
            "INSERT INTO archive.source AS t (source_id, release_id, native_id, ra, dec, hpx29, flag, data_file_id) "
            "SELECT source_id, release_id, native_id, ra, dec, hpx29, flag, data_file_id FROM {} ORDER BY hpx29 "
            "ON CONFLICT (release_id, native_id) DO {}"
        ).format(incoming, action)
    ).rowcount
    _drop_temporary(connection, INCOMING, "galbase_settled")
    n_new = len(natives) - len(known)
    return wanted, SourceCount(n_new, written - n_new, len(moved), len(natives) - written, met_files)


def _drop_temporary(connection: psycopg.Connection[Any], *names: str) -> None:
    for name in names:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def _free_ids(connection: psycopg.Connection[Any], release: str, natives: NativeIds, pixels: Ints) -> Ints:
    """Ids that no other detection has or had; a taken one is salted again, the same way at every load."""
    taken: dict[int, str] = {}
    for _ in range(_MAX_ROUND):
        wanted = ids.source_ids(release, natives, pixels, taken)
        owners = connection.execute(
            "SELECT s.source_id, r.release || '/' || s.native_id FROM archive.source s "
            "JOIN archive.data_release r USING (release_id) WHERE s.source_id = ANY(%(ids)s) UNION ALL "
            "SELECT a.old_source_id, r.release || '/' || s.native_id FROM archive.source_alias a "
            "JOIN archive.source s USING (source_id) JOIN archive.data_release r USING (release_id) "
            "WHERE a.old_source_id = ANY(%(ids)s)",
            {"ids": wanted.tolist()},
        ).fetchall()
        mine = {
            source_id: f"{release}/{native_text(native)}"
            for source_id, native in zip(wanted.tolist(), natives.tolist(), strict=True)
        }
        others = {source_id: owner for source_id, owner in owners if mine[source_id] != owner}
        if not others:
            return wanted
        taken.update(others)
    raise GalbaseError(f"release {release}: no free source_id after {_MAX_ROUND} rounds; report this with the file.")
