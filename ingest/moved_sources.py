"""Moves detections to new ids when a corrected position leaves their pixel, and all that refers to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

# Columns that hold a source id without a foreign key (partitioned or frozen tables).
_LOOSE = (
    ("archive", "training_member", "source_id"),
    ("archive", "training_member", "label_source_id"),
    ("archive", "prediction", "source_id"),
    ("archive", "embedding", "source_id"),
)


def move_sources(connection: psycopg.Connection[Any], moved: Mapping[int, int]) -> None:
    """Give detections new ids, in the caller's transaction.

    The old ids go to `source_alias`; rows of every table that refers to `archive.source`, and a galaxy named after
    the detection, follow. Separations and the galaxy's position are made anew by `galbase crossmatch`.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    moved : mapping of int to int
        New id by old id; the new ids are free.
    """
    if not moved:
        return
    connection.execute(
        "CREATE TEMP TABLE galbase_moved (old_id bigint PRIMARY KEY, new_id bigint UNIQUE) ON COMMIT DROP"
    )
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY galbase_moved (old_id, new_id) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["int8", "int8"])
        for pair in moved.items():
            copy.write_row(pair)
    # The new row comes first, for the references; until the old one is gone it carries a name that no survey uses.
    connection.execute(
        "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29, flag, data_file_id) "
        "SELECT m.new_id, s.release_id, chr(31) || s.native_id, s.ra, s.dec, s.hpx29, s.flag, s.data_file_id "
        "FROM archive.source s JOIN galbase_moved m ON m.old_id = s.source_id"
    )
    # A detection that returns to a former place takes its former id back.
    connection.execute("DELETE FROM archive.source_alias a USING galbase_moved m WHERE a.old_source_id = m.new_id")
    _move_galaxies(connection)
    for schema, table, column in (*_references(connection, "source"), *_LOOSE):
        _replace(connection, schema, table, column)
    connection.execute("DELETE FROM archive.source s USING galbase_moved m WHERE s.source_id = m.old_id")
    connection.execute(
        "UPDATE archive.source s SET native_id = substr(s.native_id, 2) FROM galbase_moved m "
        "WHERE s.source_id = m.new_id"
    )
    connection.execute(
        "INSERT INTO archive.source_alias (old_source_id, source_id) SELECT old_id, new_id FROM galbase_moved"
    )
    connection.execute("DROP TABLE galbase_moved")


def _move_galaxies(connection: psycopg.Connection[Any]) -> None:
    """Rename the galaxies that are named after a moved detection."""
    connection.execute(
        "INSERT INTO archive.galaxy (galaxy_id, ra, dec, hpx29, n_member) SELECT m.new_id, g.ra, g.dec, g.hpx29, "
        "g.n_member FROM archive.galaxy g JOIN galbase_moved m ON m.old_id = g.galaxy_id"
    )
    for schema, table, column in (*_references(connection, "galaxy"), ("archive", "training_member", "galaxy_id")):
        _replace(connection, schema, table, column)
    connection.execute("DELETE FROM archive.galaxy g USING galbase_moved m WHERE g.galaxy_id = m.old_id")


def _references(connection: psycopg.Connection[Any], table: str) -> list[tuple[str, str, str]]:
    """Columns with a foreign key to a table of schema `archive`, as (schema, table, column)."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname, a.attname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1] "
        "WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = to_regclass(%s) ORDER BY 1, 2, 3",
        (f"archive.{table}",),
    ).fetchall()
    return [(str(schema), str(name), str(column)) for schema, name, column in rows]


def _replace(connection: psycopg.Connection[Any], schema: str, table: str, column: str) -> None:
    connection.execute(
        sql.SQL("UPDATE {} t SET {} = m.new_id FROM galbase_moved m WHERE t.{} = m.old_id").format(
            sql.Identifier(schema, table), sql.Identifier(column), sql.Identifier(column)
        )
    )
