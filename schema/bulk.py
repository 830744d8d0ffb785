"""Bulk writes: binary COPY, and COPY into a staging table followed by one ordered upsert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from galbase.schema.errors import GalbaseError

STAGING = "galbase_staging"


@dataclass(frozen=True)
class UpsertCount:
    """Rows that an upsert inserted, updated, and found as wanted already."""

    inserted: int
    updated: int
    unchanged: int


def column_types(connection: psycopg.Connection[Any], schema: str, table: str) -> dict[str, str]:
    """Types of a table's columns, as ``{column: type}`` without type modifiers."""
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        (schema, table),
    ).fetchall()
    if not rows:
        raise GalbaseError(f"there is no table {schema}.{table}; run `galbase db upgrade`.")
    return dict(rows)


def copy_rows(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> int:
    """Append rows by binary COPY, in the order given, and return their number.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    schema, table : str
        Target table.
    columns : sequence of str
        Columns of each row.
    rows : iterable of sequences
        Python or numpy scalars, None for NULL; lists for arrays.
    """
    types = column_types(connection, schema, table)
    return _copy(connection, sql.Identifier(schema, table), columns, [types[name] for name in columns], rows)


def _copy(
    connection: psycopg.Connection[Any],
    target: sql.Identifier,
    columns: Sequence[str],
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        target, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(types))
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def upsert(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    key: Sequence[str],
    compare: Sequence[str] | None = None,
    touch: str | None = None,
) -> UpsertCount:
    """Insert rows, or update those whose compared columns differ; leave all others untouched.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    schema, table : str
        Target table.
    columns : sequence of str
        Columns of each row, the key among them.
    rows : iterable of sequences
        Rows; a key must not occur twice.
    key : sequence of str
        Columns of the unique constraint; rows are written in its order.
    compare : sequence of str, optional
        A row is updated only if one of these differs; all columns but the key when None.
    touch : str, optional
        Time stamp column set to the transaction's time in updated rows.
    """
    types = column_types(connection, schema, table)
    target = sql.Identifier(schema, table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    others = [name for name in columns if name not in key]
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            sql.Identifier(STAGING), names, target
        )
    )
    try:
        n_row = _copy(connection, sql.Identifier(STAGING), columns, [types[name] for name in columns], rows)
        compared = list(compare if compare is not None else others)
        if others and compared:
            assignments = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others]
            if touch is not None:
                assignments.append(sql.SQL("{} = now()").format(sql.Identifier(touch)))
            action: sql.Composable = sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})").format(
                sql.SQL(", ").join(assignments),
                sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in compared),
                sql.SQL(", ").join(sql.SQL("excluded.{}").format(sql.Identifier(name)) for name in compared),
            )
        else:
            action = sql.SQL("DO NOTHING")
        statement = sql.SQL(
            "WITH written AS (INSERT INTO {} AS t ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT ({}) {} "
            "RETURNING (xmax = 0) AS inserted) SELECT count(*) FILTER (WHERE inserted), "
            "count(*) FILTER (WHERE NOT inserted) FROM written"
        ).format(target, names, names, sql.Identifier(STAGING), keys, keys, action)
        counts = connection.execute(statement).fetchone()
    finally:
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(STAGING)))
    if counts is None:
        raise RuntimeError("an upsert returned no counts")
    return UpsertCount(int(counts[0]), int(counts[1]), n_row - int(counts[0]) - int(counts[1]))
