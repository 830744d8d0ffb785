"""Repeated detections within a release: found, and flagged but for the one that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.catalogue_tables import tables_of
from galbase.ingest.crossmatch import CrossmatchOptions
from galbase.ingest.releases import require_release
from galbase.schema.errors import UsageError
from galbase.schema.flags import SourceFlag

# Labels are the least id of those that chains of neighbours connect.
_LABELS = """
CREATE TEMP TABLE galbase_duplicate ON COMMIT DROP AS
SELECT left_source_id AS source_id, least(left_source_id, min(right_source_id)) AS label
FROM galbase_near GROUP BY left_source_id
"""
_SPREAD = """
UPDATE galbase_duplicate d SET label = nearer.label
FROM (
    SELECT n.left_source_id AS source_id, min(o.label) AS label
    FROM galbase_near n JOIN galbase_duplicate o ON o.source_id = n.right_source_id GROUP BY 1
) nearer
WHERE nearer.source_id = d.source_id AND nearer.label < d.label
"""
_FLAG = """
UPDATE archive.source s SET flag = CASE WHEN d.repeats THEN s.flag | {bit} ELSE s.flag & ~{bit}::bigint END
FROM (
    SELECT o.source_id,
           g.label IS NOT NULL AND row_number() OVER (PARTITION BY g.label ORDER BY {order}o.source_id) > 1 AS repeats
    FROM archive.source o LEFT JOIN galbase_duplicate g USING (source_id){quality}
    WHERE o.release_id = {release} AND (g.label IS NOT NULL OR o.flag & {bit} <> 0)
) d
WHERE d.source_id = s.source_id AND (s.flag & {bit} <> 0) <> d.repeats
"""


@dataclass(frozen=True)
class DuplicateReport:
    """Duplicates of a release.

    Parameters
    ----------
    release : str
    radius_arcsec : float
    n_source, n_group, n_duplicate, n_changed : int
        Sources, groups of sources of which one is kept, sources that are flagged, and flags that changed.
    """

    release: str
    radius_arcsec: float
    n_source: int
    n_group: int
    n_duplicate: int
    n_changed: int


def flag_duplicates(
    connection: psycopg.Connection[Any],
    release: str,
    radius_arcsec: float,
    *,
    keep: str | None = None,
    highest: bool = True,
) -> DuplicateReport:
    """Flag all but one of the sources of a release that chains of neighbours connect.

    Parameters
    ----------
    connection : psycopg.Connection
        Written in one transaction, which is the caller's if there is one.
    release : str
        Name of a data release.
    radius_arcsec : float
        Sources no farther apart are one object observed twice.
    keep : str, optional
        Column of the release's catalogue whose best value is kept, NULL last; among equals, and when None, the
        lowest source_id.
    highest : bool
        Whether the highest value is the best, or the lowest.

    Raises
    ------
    UsageError
        If the radius is out of range, or the release's catalogue has no such column.
    GalbaseError
        If there is no such release.
    """
    CrossmatchOptions(radius_arcsec)  # the radius is checked there
    number = require_release(connection, release).release_id
    with connection.transaction():
        order: sql.Composable = sql.SQL("")
        quality: sql.Composable = sql.SQL("")
        if keep is not None:
            table = _table_with(connection, release, number, keep)
            quality = sql.SQL(" LEFT JOIN {} q USING (source_id)").format(table)
            order = sql.SQL("nullif(q.{}::double precision, 'NaN') {} NULLS LAST, ").format(
                sql.Identifier(keep), sql.SQL("DESC" if highest else "ASC")
            )
        connection.execute(
            "CREATE TEMP TABLE galbase_near ON COMMIT DROP AS SELECT left_source_id, right_source_id "
            "FROM api.crossmatch(%s, %s, %s)",
            (release, release, radius_arcsec),
        )
        for statement in ("ANALYZE galbase_near", _LABELS, "ANALYZE galbase_duplicate"):
            connection.execute(statement)
        while connection.execute(_SPREAD).rowcount:
            pass
        changed = connection.execute(
            sql.SQL(_FLAG).format(
                bit=sql.Literal(int(SourceFlag.DUPLICATE)), order=order, quality=quality, release=sql.Literal(number)
            )
        ).rowcount
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM archive.source WHERE release_id = %s), count(DISTINCT label), count(*) "
            "FROM galbase_duplicate",
            (number,),
        ).fetchone()
        connection.execute("DROP TABLE galbase_near, galbase_duplicate")
    if counts is None:
        raise RuntimeError("a count returned no row")
    return DuplicateReport(
        release, radius_arcsec, int(counts[0]), int(counts[1]), int(counts[2]) - int(counts[1]), changed
    )


def _table_with(connection: psycopg.Connection[Any], release: str, number: int, name: str) -> sql.Identifier:
    """The table with one row a source that has a column of numbers of this name and rows of the release."""
    for schema, table in tables_of(connection, number):
        found = connection.execute(
            "SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n "
            "ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid "
            "WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND t.typcategory = 'N'",
            (schema, table, name),
        ).fetchall()
        if found:
            return sql.Identifier(schema, table)
    raise UsageError(f"the catalogue of {release} has no column of numbers {name!r}.")
