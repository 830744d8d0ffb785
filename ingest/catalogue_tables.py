"""Tables with one row a source: the survey's own, those that users loaded, and those of a crossmatch underway."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql


def tables_of(connection: psycopg.Connection[Any], release_id: int) -> list[tuple[str, str]]:
    """Schemas and names of the tables keyed by source_id that have rows of a release, in order."""
    found = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute p ON p.attrelid = c.oid "
        "AND p.attnum = k.conkey[1] WHERE k.contype = 'p' AND cardinality(k.conkey) = 1 AND p.attname = 'source_id' "
        "AND n.nspname IN ('archive', 'catalogue') AND c.relname <> 'source' ORDER BY 1, 2"
    ).fetchall()
    return [
        (str(schema), str(table))
        for schema, table in found
        if connection.execute(
            sql.SQL("SELECT FROM {} q JOIN archive.source s USING (source_id) WHERE s.release_id = %s LIMIT 1").format(
                sql.Identifier(schema, table)
            ),
            (release_id,),
        ).fetchall()
    ]


def stage(crossmatch_run_id: int) -> sql.Identifier:
    """Table of the right positions at the epoch, while a crossmatch is being made."""
    return sql.Identifier("archive", f"crossmatch_position_{crossmatch_run_id}")
