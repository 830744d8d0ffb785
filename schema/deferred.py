"""Indexes and constraints that a first bulk load leaves for its end, and what becomes of them after a crash.

Rows copied into a table without secondary indexes and foreign keys, and these made afterwards, cost a quarter of
the same rows copied into the finished table. What was taken away is recorded in `archive.deferred_object` in the same
transaction, so that whoever comes next can put it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql


def defer(connection: psycopg.Connection[Any], tables: Sequence[tuple[str, str]]) -> int:
    """Drop the secondary indexes, unique constraints and foreign keys of tables, and record how to make them again.

    Primary keys, checks and NOT NULL stay, and what other tables refer to.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits. Needs the tables' owner; waits for those who use the tables.
    tables : sequence of (schema, table)

    Returns
    -------
    int
        Number of objects dropped.
    """
    n_dropped = 0
    for schema, table in tables:
        rows = connection.execute(
            "SELECT CASE c.contype WHEN 'u' THEN 'unique' ELSE 'foreign key' END, c.conname, "
            "pg_get_constraintdef(c.oid) FROM pg_constraint c "
            "WHERE c.conrelid = format('%%I.%%I', %(schema)s::text, %(table)s::text)::regclass "
            "AND (c.contype = 'f' OR (c.contype = 'u' AND NOT EXISTS "
            "(SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = c.conindid))) UNION ALL "
            "SELECT 'index', i.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
            "WHERE x.indrelid = format('%%I.%%I', %(schema)s::text, %(table)s::text)::regclass AND NOT x.indisprimary "
            "AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid) ORDER BY 1, 2",
            {"schema": schema, "table": table},
        ).fetchall()
        for kind, name, definition in rows:
            record(connection, schema, table, kind, name, definition)
            drop = sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, name))
            if kind != "index":
                drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.Identifier(schema, table), sql.Identifier(name)
                )
            connection.execute(drop)
            n_dropped += 1
    return n_dropped


def record(connection: psycopg.Connection[Any], schema: str, table: str, kind: str, name: str, definition: str) -> None:
    """Record what is to be made at the end: `kind` is unique, index or foreign key; the caller commits.

    `definition` is what pg_get_indexdef and pg_get_constraintdef give.
    """
    connection.execute(
        "INSERT INTO archive.deferred_object (table_schema, table_name, kind, name, definition) "
        "VALUES (%s, %s, %s, %s, %s)",
        (schema, table, kind, name, definition),
    )


def pending(connection: psycopg.Connection[Any]) -> int:
    """Number of indexes and constraints that a bulk load has yet to make."""
    row = connection.execute("SELECT count(*) FROM archive.deferred_object").fetchone()
    return 0 if row is None else int(row[0])


def restore(connection: psycopg.Connection[Any], advance: Callable[[int], None] = lambda _: None) -> int:
    """Make what is recorded, each in a transaction of its own, and analyze the tables.

    Parameters
    ----------
    connection : psycopg.Connection
        Not in a transaction, unless all is to be made in the caller's.
    advance : callable
        Called with 1 after each.

    Returns
    -------
    int
        Number of indexes and constraints made.

    Raises
    ------
    psycopg.IntegrityError
        If rows violate one; it and those after it are still recorded then.
    """
    rows = connection.execute(
        # Unique constraints, which rows may violate, before the rest.
        "SELECT deferred_object_id, table_schema, table_name, kind, name, definition FROM archive.deferred_object "
        "ORDER BY array_position(ARRAY['unique', 'index', 'foreign key'], kind), deferred_object_id"
    ).fetchall()
    for number, schema, table, kind, name, definition in rows:
        # Definitions come from PostgreSQL itself, or from `ensure_table`.
        text = sql.Composed([sql.SQL(definition)])
        with connection.transaction():
            if kind != "index":
                text = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                    sql.Identifier(schema, table), sql.Identifier(name), text
                )
            connection.execute(text)
            connection.execute("DELETE FROM archive.deferred_object WHERE deferred_object_id = %s", (number,))
        advance(1)
    for schema, table in sorted({(row[1], row[2]) for row in rows}):
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))
    return len(rows)
