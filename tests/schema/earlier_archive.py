"""Takes an archive back to an earlier revision, for tests of upgrades."""

from __future__ import annotations

from typing import Any

import psycopg

from galbase.schema.properties import PROPERTIES


def without_served_values(connection: psycopg.Connection[Any]) -> None:
    """As it was at revision a0011, but for the revision's name; the functions take their triggers along."""
    connection.execute("DROP TABLE archive.label_fit")
    connection.execute("DROP TABLE archive.training_epoch CASCADE")
    for each in PROPERTIES:
        connection.execute(f"DROP TABLE archive.served_{each.name} CASCADE".encode())
        connection.execute(f"ALTER TABLE archive.galaxy DROP COLUMN {each.name} CASCADE".encode())
    functions = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'archive'::regnamespace"
    ).fetchall()
    for (function,) in functions:
        connection.execute(f"DROP FUNCTION {function} CASCADE".encode())
