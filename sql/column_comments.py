"""Descriptions, units and UCDs of the columns of api views and functions.

A comment on a view's column reads ``text [unit: arcsec] [ucd: pos.angDistance]``; the brackets may be missing. A column
without a comment takes the description of the column of the same name that the view reads, of a table, another view
or a function. A function's comment says in
its first line what it does; every following line ``column: text [unit: ...] [ucd: ...]`` describes a result column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

_COMMENT = re.compile(r"^(?P<text>.+?)(?: \[unit: (?P<unit>[^\]]+)\])?(?: \[ucd: (?P<ucd>[^\]]+)\])?$", re.DOTALL)
# Columns of functions that the SQL standard's body names, and of views, with the columns they read of the same name.
_RESULT_COLUMNS = """
SELECT c.relname, a.attname, col_description(c.oid, a.attnum), c.oid::bigint
FROM archive.installed_object i JOIN pg_class c ON i.kind = 'view' AND c.oid = to_regclass(i.signature)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'api'::regnamespace AND c.relkind = 'v'
UNION ALL
SELECT p.proname, u.name,
       (SELECT substr(l.line, length(u.name) + 3)
        FROM regexp_split_to_table(obj_description(p.oid, 'pg_proc'), E'\\n') l (line)
        WHERE l.line LIKE replace(u.name, '_', '\\_') || ': %' LIMIT 1),
       p.oid::bigint
FROM archive.installed_object i JOIN pg_proc p ON i.kind = 'function' AND p.oid = to_regprocedure(i.signature)
CROSS JOIN LATERAL unnest(p.proargnames, p.proargmodes) u (name, mode)
WHERE p.pronamespace = 'api'::regnamespace AND p.proretset AND u.mode IN ('t', 'o')
"""
_READ_COLUMNS = """
SELECT coalesce(w.ev_class, d.objid)::bigint, a.attname, n.nspname, c.relname
FROM pg_depend d
LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
LEFT JOIN pg_class v ON v.oid = w.ev_class
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND a.attnum > 0
WHERE coalesce(v.relnamespace, p.pronamespace) = 'api'::regnamespace AND c.oid <> coalesce(w.ev_class, 0)
UNION
SELECT w.ev_class::bigint, u.name, 'api', p.proname
FROM pg_depend d
JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class v ON v.oid = w.ev_class AND v.relnamespace = 'api'::regnamespace
JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid AND p.proretset
CROSS JOIN LATERAL unnest(p.proargnames, p.proargmodes) u (name, mode)
WHERE p.pronamespace = 'api'::regnamespace AND u.mode IN ('t', 'o')
"""


@dataclass(frozen=True)
class Description:
    """Unit (VOUnit), UCD (UCD1+) and text of a column."""

    unit: str | None
    ucd: str | None
    text: str


def parse_comment(comment: str) -> Description:
    """Take a structured comment apart."""
    match = _COMMENT.match(comment)
    if match is None:
        raise ValueError(f"an empty comment describes no column: {comment!r}")
    return Description(match["unit"], match["ucd"], match["text"])


def describe_columns(connection: psycopg.Connection) -> None:
    """Rewrite the rows of schema api in `archive.column_metadata` for all that the installer made.

    Raises
    ------
    ValueError
        If a column has no comment and the columns it could take one from differ or do not exist.
    """
    connection.execute("DELETE FROM archive.column_metadata WHERE table_schema = 'api'")
    known: dict[tuple[str, str, str], Description] = {
        (schema, table, name): Description(unit, ucd, text)
        for schema, table, name, unit, ucd, text in connection.execute(
            "SELECT table_schema, table_name, column_name, unit, ucd, description FROM archive.column_metadata"
        )
    }
    read: dict[tuple[int, str], set[tuple[str, str, str]]] = {}
    for oid, name, schema, table in connection.execute(_READ_COLUMNS):
        read.setdefault((oid, name), set()).add((schema, table, name))
    waiting: dict[tuple[str, str, str], tuple[int, str]] = {}
    for table, name, comment, oid in connection.execute(_RESULT_COLUMNS).fetchall():
        if comment:
            known["api", table, name] = parse_comment(comment)
        else:
            waiting["api", table, name] = (oid, name)
    while waiting:
        found = {}
        for key, origin in waiting.items():
            described = {known[source] for source in read.get(origin, ()) if source in known}
            if len(described) == 1:
                found[key] = described.pop()
        if not found:
            missing = ", ".join(f"{schema}.{table}.{name}" for schema, table, name in sorted(waiting))
            raise ValueError(f"columns without a description of their own or of one origin: {missing}")
        known.update(found)
        waiting = {key: origin for key, origin in waiting.items() if key not in found}
    connection.cursor().executemany(
        "INSERT INTO archive.column_metadata (table_schema, table_name, column_name, unit, ucd, description) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        [(*key, item.unit, item.ucd, item.text) for key, item in known.items() if key[0] == "api"],
    )
