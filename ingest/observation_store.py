"""Store of observations: staged rows of images or spectra become rows of `archive.observation` by set-based SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from galbase.ingest.observed_source import drop_vanished
from galbase.schema.flags import ObservationFlag
from galbase.schema.packed_copy import copy_columns

STAGED = "galbase_staged_observation"
_COMMON = "data_file_id bigint, row_index bigint, source_id bigint, flag bigint"


@dataclass(frozen=True)
class ObservationCount:
    """Observations inserted, changed, and deleted because their row is gone from its file."""

    inserted: int
    changed: int
    deleted: int


def insert_observations(
    connection: psycopg.Connection[Any],
    kind: str,
    release_id: int,
    details_table: str,
    columns: Mapping[str, npt.NDArray[Any]],
    source_ids: npt.NDArray[np.int64],
) -> ObservationCount:
    """Copy observations of files that are all new, without staging them: several times faster.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    kind : {'image', 'spectrum'}
    release_id : int
    details_table : str
        `image` or `spectrum`.
    columns : mapping of str to (n,) or (n, k) array
        data_file_id, row_index, flag and columns of the table of details.
    source_ids : (n,) int64
        Negative where the position is unknown.
    """
    n_row = len(source_ids)
    numbers = np.array(
        [
            row[0]
            for row in connection.execute(
                "SELECT nextval(pg_get_serial_sequence('archive.observation', 'observation_id')) "
                "FROM generate_series(1, %s)",
                (n_row,),
            )
        ],
        np.int64,
    )
    common = {name: columns[name] for name in ("data_file_id", "row_index", "flag")}
    copy_columns(
        connection,
        "archive",
        "observation",
        {
            "observation_id": numbers,
            "kind": np.full(n_row, kind),
            "release_id": np.full(n_row, release_id, np.int64),
            "source_id": np.ma.array(source_ids, mask=source_ids < 0),
            **common,
        },
    )
    details = {name: values for name, values in columns.items() if name not in common}
    copy_columns(connection, "archive", details_table, {"observation_id": numbers, **details})
    return ObservationCount(n_row, 0, 0)


def stage_rows(
    connection: psycopg.Connection[Any],
    details: Mapping[str, str],
    columns: Mapping[str, npt.NDArray[Any]],
    source_ids: npt.NDArray[np.int64],
) -> None:
    """Copy rows to the temporary table `STAGED`.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    details : mapping of str to str
        Further columns of the table, name to SQL type.
    columns : mapping of str to (n,) or (n, k) array
        data_file_id, row_index, flag and any of the details; a detail that is not given is NULL.
    source_ids : (n,) int64
        Negative where the position is unknown.
    """
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("pg_temp", STAGED)))
    further = sql.SQL("").join(
        sql.SQL(", {} ").format(sql.Identifier(name)) + _TYPES[type_] for name, type_ in details.items()
    )
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ({} {}) ON COMMIT DROP").format(sql.Identifier(STAGED), sql.SQL(_COMMON), further)
    )
    masked = np.ma.array(source_ids, mask=source_ids < 0)
    copy_columns(connection, "pg_temp", STAGED, {**columns, "source_id": masked})
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(STAGED)))


_TYPES = {
    name: sql.SQL(name)
    for name in ("bigint", "integer", "double precision", "real", "text", "numeric", "boolean", "real[]", "text[]")
}


def write_observations(
    connection: psycopg.Connection[Any],
    kind: str,
    release_id: int,
    files: Sequence[int],
    changed_files: Sequence[int],
    details_table: str,
    details: Sequence[str],
) -> ObservationCount:
    """Bring `archive.observation` and its table of details in line with `STAGED`; equal rows stay untouched.

    Observations of the files that are not staged are deleted, with sources that only they had brought.

    An observation keeps its number as long as its file and row stay. Where the file's bytes changed, its pixel hash
    is reset and its time stamp touched, so that preprocessing looks at it again.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    kind : {'image', 'spectrum'}
    release_id : int
    files : sequence of int
        Files that `STAGED` holds all rows of.
    changed_files : sequence of int
        Files whose bytes changed since they were last read.
    details_table : str
        `image` or `spectrum`.
    details : sequence of str
        Columns of that table that `STAGED` has.

    Returns
    -------
    ObservationCount
    """
    staged = sql.Identifier(STAGED)
    kept_flag = int(ObservationFlag.NO_CATALOGUE_SOURCE)
    connection.execute(
        "UPDATE archive.observation SET pixel_hash = NULL, modified_at = now() WHERE data_file_id = ANY(%s)",
        (list(changed_files),),
    )
    inserted = connection.execute(
        sql.SQL(
            "WITH written AS (INSERT INTO archive.observation AS t (kind, source_id, release_id, data_file_id, "
            "row_index, flag) SELECT %(kind)s, source_id, %(release)s, data_file_id, row_index, flag FROM {} "
            "ORDER BY data_file_id, row_index ON CONFLICT (data_file_id, row_index) DO UPDATE SET "
            "source_id = excluded.source_id, flag = (excluded.flag & ~%(kept)s::bigint) | (t.flag & %(kept)s), "
            "modified_at = now() WHERE (t.source_id, t.flag & ~%(kept)s::bigint) IS DISTINCT FROM "
            "(excluded.source_id, excluded.flag & ~%(kept)s::bigint) RETURNING (xmax = 0) AS inserted) "
            "SELECT count(*) FROM written WHERE inserted"
        ).format(staged),
        {"kind": kind, "release": release_id, "kept": kept_flag},
    ).fetchone()
    columns = [sql.Identifier(name) for name in details]
    connection.execute(
        sql.SQL(
            "WITH written AS (INSERT INTO {table} AS t (observation_id, {names}) "
            "SELECT o.observation_id, {staged_names} FROM {staged} s JOIN archive.observation o "
            "ON o.data_file_id = s.data_file_id AND o.row_index = s.row_index ORDER BY o.observation_id "
            "ON CONFLICT (observation_id) DO UPDATE SET {assignments} WHERE ({own}) IS DISTINCT FROM ({new}) "
            "RETURNING observation_id, (xmax = 0) AS inserted) "
            "UPDATE archive.observation o SET modified_at = now() FROM written w "
            "WHERE o.observation_id = w.observation_id AND NOT w.inserted"
        ).format(
            table=sql.Identifier("archive", details_table),
            staged=staged,
            names=sql.SQL(", ").join(columns),
            staged_names=sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in columns),
            assignments=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in columns),
            own=sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in columns),
            new=sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in columns),
        )
    )
    deleted = drop_vanished(connection, files, STAGED)
    touched = connection.execute(
        "SELECT count(*) FROM archive.observation WHERE data_file_id = ANY(%s) AND modified_at = now()", (list(files),)
    ).fetchone()
    if inserted is None or touched is None:
        raise RuntimeError("a count returned no row")
    return ObservationCount(int(inserted[0]), int(touched[0]) - int(inserted[0]), deleted)
