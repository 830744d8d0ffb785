"""Packed binary COPY: every type, NULL and array arrives as psycopg's own reading says."""

from decimal import Decimal

import numpy as np
import pytest

from galbase.schema.errors import GalbaseError
from galbase.schema.packed_copy import copy_columns

TABLE = (
    "CREATE TEMP TABLE packed (n integer, a smallint, b bigint, c real, d double precision, e text, f numeric(20), "
    "g boolean, h real[], i bigint[], j text[])"
)


def test_every_type_arrives_exactly(archive) -> None:
    ragged = np.empty(4, object)
    ragged[:] = [np.array([1, 2**63 - 1]), None, np.array([], np.int64), np.array([-(2**63)])]
    columns = {
        "n": np.arange(4),
        "a": np.ma.array(np.array([1, -32768, 32767, 0], np.int16), mask=[0, 0, 0, 1]),
        "b": np.array([2**63 - 1, -(2**63), 0, 7]),
        "c": np.array([1.1, -0.0, 3e38, 1e-45], ">f4"),
        "d": np.ma.array(np.array([0.1, 1 / 3, 1e300, np.nan]), mask=[0, 0, 0, 1]),
        "e": np.array(["", "äöü €", None, "x" * 300], object),
        "f": np.array([2**64 - 1, 0, 10000, 12345678901234567890], np.uint64),
        "g": np.array([True, False, None, True], object),
        "h": np.ma.masked_invalid(np.array([[1, 2], [np.nan, 4], [np.nan, np.nan], [7, 8]], np.float32)),
        "i": ragged,
        "j": np.array([["a", "bc"], ["", "d"], ["e", "f"], ["g", "h"]]),
    }
    with archive.connect() as connection:
        connection.execute(TABLE)
        assert copy_columns(connection, "pg_temp", "packed", columns, order=np.array([3, 1, 2, 0])) == 4
        unordered = connection.execute("SELECT n FROM packed").fetchall()
        rows = connection.execute("SELECT * FROM packed ORDER BY n").fetchall()
        connection.rollback()
    assert [row[0] for row in unordered] == [3, 1, 2, 0]
    by_name = dict(zip(columns, zip(*rows, strict=True), strict=True))
    assert by_name["a"] == (1, -32768, 32767, None)
    assert by_name["b"] == (2**63 - 1, -(2**63), 0, 7)
    assert [np.float32(value) for value in by_name["c"]] == columns["c"].tolist()
    assert by_name["d"] == (0.1, 1 / 3, 1e300, None)
    assert by_name["e"] == ("", "äöü €", None, "x" * 300)
    assert by_name["f"] == (Decimal(2**64 - 1), 0, 10000, Decimal(12345678901234567890))
    assert by_name["g"] == (True, False, None, True)
    assert by_name["h"] == ([1, 2], [None, 4], [None, None], [7, 8])
    assert by_name["i"] == ([1, 2**63 - 1], None, [], [-(2**63)])
    assert by_name["j"] == (["a", "bc"], ["", "d"], ["e", "f"], ["g", "h"])


def test_rows_of_many_chunks(archive, monkeypatch) -> None:
    monkeypatch.setattr("galbase.schema.packed_copy._CHUNK_BYTES", 1000)
    rng = np.random.default_rng(1)
    n = 1234
    columns = {
        "n": rng.permutation(n),
        "d": np.ma.array(rng.random(n), mask=rng.random(n) < 0.3),
        "e": np.array([f"{i:x}" * (i % 5) for i in range(n)]),
    }
    with archive.connect() as connection:
        connection.execute(TABLE)
        copy_columns(connection, "pg_temp", "packed", columns)
        rows = connection.execute("SELECT n, d, e FROM packed").fetchall()
        connection.rollback()
    assert rows == list(zip(*(column.tolist() for column in columns.values()), strict=True))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("a", np.array([40000]), "outside -32768..32767"),
        ("a", np.array([1.5]), "float64"),
        ("d", np.array(["x"]), "values are"),
        ("e", np.array(["a\0b"], object), "zero byte"),
        ("f", np.array([-1]), "negative"),
        ("h", np.array([1.0]), "single values"),
        ("c", np.array([[1.0, 2.0]]), "single value"),
        ("z", np.array([1]), "no column 'z'"),
    ],
)
def test_what_does_not_fit_is_named(archive, column, values, message) -> None:
    with archive.connect() as connection:
        connection.execute(TABLE)
        with pytest.raises(GalbaseError, match=message):
            copy_columns(connection, "pg_temp", "packed", {column: values})
        connection.rollback()
