"""The served values that `api.galaxy_property` shows: whether they are what their definition says, and made anew.

Triggers of the database renew them in the transaction of every statement that changes them. What triggers cannot see
is a partition of `archive.prediction` that is detached or dropped, and a table written with triggers switched off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

_COLUMNS = ("source_id", "observation_id", "value", "err", "q025", "q05", "q16", "q50", "q84", "q95", "q975", "flag")
_DIFFERENT = """
SELECT count(*) FROM (
    SELECT galaxy_id, {columns}, model FROM api.served_prediction({name})
) wanted FULL JOIN (
    SELECT t.galaxy_id, {stored}, m.name AS model, g.{column} AS shown
    FROM archive.{table} t LEFT JOIN archive.model m USING (model_id) LEFT JOIN archive.galaxy g USING (galaxy_id)
) found USING (galaxy_id)
WHERE ROW({wanted}, wanted.model, wanted.value) IS DISTINCT FROM ROW({found}, found.model, found.shown)
"""
_LEFT_OVER = """
SELECT count(*) FROM archive.galaxy g
WHERE g.{column} IS NOT NULL AND NOT EXISTS (SELECT FROM archive.{table} t WHERE t.galaxy_id = g.galaxy_id)
"""


def differences(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Number of galaxies whose served value is not what its definition, computed from scratch, says.

    Parameters
    ----------
    connection : psycopg.Connection
        A reader's is enough. All is compared in one snapshot if the connection is in a REPEATABLE READ transaction.

    Returns
    -------
    dict of str to int
        By property; 0 everywhere unless the triggers were bypassed.
    """
    names = [str(row[0]) for row in connection.execute("SELECT name FROM archive.served_property() ORDER BY 1")]
    found: dict[str, int] = {}
    for name in names:
        parts = {
            "name": sql.Literal(name),
            "column": sql.Identifier(name),
            "table": sql.Identifier(f"served_{name}"),
            "columns": sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
            "stored": sql.SQL(", ").join(sql.Identifier("t", each) for each in _COLUMNS),
            "wanted": sql.SQL(", ").join(sql.Identifier("wanted", each) for each in _COLUMNS),
            "found": sql.SQL(", ").join(sql.Identifier("found", each) for each in _COLUMNS),
        }
        counts = [connection.execute(sql.SQL(text).format(**parts)).fetchone() for text in (_DIFFERENT, _LEFT_OVER)]
        found[name] = sum(int(row[0]) for row in counts if row is not None)
    return found


def rebuild(connection: psycopg.Connection[Any]) -> None:
    """Make all served values anew; the caller commits, and others who write predictions wait for it."""
    connection.execute("SELECT archive.renew_all_served()")
