"""Bulk writes: exact values, and upserts that touch only what differs."""

from typing import Any

import numpy as np
import psycopg
import pytest

from galbase.schema import bulk
from galbase.schema.errors import GalbaseError


@pytest.fixture
def connection(archive: Any) -> Any:
    with archive.connect() as made:
        made.execute("DROP TABLE IF EXISTS catalogue.bulk_trial")
        made.execute(
            "CREATE TABLE catalogue.bulk_trial (a bigint, b text, value double precision, vec real[], big numeric(20), "
            "modified_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (a, b))"
        )
        made.commit()
        yield made
        made.rollback()
        made.execute("DROP TABLE catalogue.bulk_trial")


def rows_of(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT a, b, value FROM catalogue.bulk_trial ORDER BY a, b").fetchall()


def test_copy_keeps_values_exactly(connection: psycopg.Connection[Any]) -> None:
    values = [(2**62, "x", 0.1, [1.5, None], 2**64 - 1), (-1, "é", None, None, None)]
    columns = ["a", "b", "value", "vec", "big"]
    assert bulk.copy_rows(connection, "catalogue", "bulk_trial", columns, values) == 2
    stored = connection.execute("SELECT a, b, value, vec, big FROM catalogue.bulk_trial ORDER BY a DESC").fetchall()
    assert stored == values


def test_numpy_scalars_are_accepted(connection: psycopg.Connection[Any]) -> None:
    rows = zip(np.arange(3), ["p", "q", "r"], np.array([0.1, 0.2, 0.3]), strict=True)
    bulk.copy_rows(connection, "catalogue", "bulk_trial", ["a", "b", "value"], rows)
    assert rows_of(connection) == [(0, "p", 0.1), (1, "q", 0.2), (2, "r", 0.3)]


def test_upsert_counts_and_touches_only_what_differs(connection: psycopg.Connection[Any]) -> None:
    def put(rows: list[tuple[Any, ...]]) -> bulk.UpsertCount:
        count = bulk.upsert(
            connection, "catalogue", "bulk_trial", ["a", "b", "value"], rows, key=("a", "b"), touch="modified_at"
        )
        connection.commit()
        return count

    def stamps() -> dict[int, Any]:
        return dict(connection.execute("SELECT a, modified_at FROM catalogue.bulk_trial").fetchall())

    assert put([(3, "x", 1.0), (1, "x", 1.0), (2, "x", None)]) == bulk.UpsertCount(3, 0, 0)
    before = stamps()
    assert put([(1, "x", 1.0), (2, "x", 5.0), (3, "x", None), (4, "x", 1.0)]) == bulk.UpsertCount(1, 2, 1)
    after = stamps()
    assert rows_of(connection) == [(1, "x", 1.0), (2, "x", 5.0), (3, "x", None), (4, "x", 1.0)]
    assert after[1] == before[1]
    assert after[2] > before[2]
    assert after[3] > before[3]
    assert put([(1, "x", 1.0)]) == bulk.UpsertCount(0, 0, 1)


def test_only_compared_columns_decide(connection: psycopg.Connection[Any]) -> None:
    columns = ["a", "b", "value", "vec"]
    bulk.upsert(connection, "catalogue", "bulk_trial", columns, [(1, "x", 1.0, [1.0])], key=("a", "b"))
    again = [(1, "x", 1.0, [2.0])]
    count = bulk.upsert(connection, "catalogue", "bulk_trial", columns, again, key=("a", "b"), compare=["value"])
    assert count == bulk.UpsertCount(0, 0, 1)


def test_a_repeated_key_fails_and_nothing_is_written(connection: psycopg.Connection[Any]) -> None:
    rows = [(1, "x", 1.0), (1, "x", 2.0)]
    with pytest.raises(psycopg.errors.CardinalityViolation):
        bulk.upsert(connection, "catalogue", "bulk_trial", ["a", "b", "value"], rows, key=("a", "b"))
    connection.rollback()
    assert rows_of(connection) == []


def test_a_missing_table_is_named(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(GalbaseError, match="no table archive.nothing"):
        bulk.copy_rows(connection, "archive", "nothing", ["a"], [(1,)])
