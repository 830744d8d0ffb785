"""api.crossmatch against brute force with a KD-tree of chords."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psycopg
import pytest
from scipy.spatial import cKDTree


def brute_force(sources: Any, radius_arcsec: float, left: Any, right: Any) -> dict[tuple[int, int], float]:
    """Pairs (left id, right id) with their separation in arcsec."""
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)
    vec = sources.vec
    a, b = np.flatnonzero(left), np.flatnonzero(right)
    near = cKDTree(vec[a]).query_ball_tree(cKDTree(vec[b]), chord * (1 + 1e-9) + 1e-13)
    pairs = {}
    for i, others in zip(a, near, strict=True):
        for j in b[others]:
            separation = np.degrees(2 * np.arcsin(np.linalg.norm(vec[i] - vec[j]) / 2)) * 3600
            if i != j and separation <= radius_arcsec:
                pairs[int(i) + 1, int(j) + 1] = float(separation)
    return pairs


@pytest.mark.parametrize("radius", [0.0, 0.4, 2.0, 30.0, 75.0])
def test_pairs_are_those_of_brute_force(sky: Any, radius: float) -> None:
    connection, sources = sky
    rows = connection.execute("SELECT * FROM api.crossmatch('left', 'right', %s)", (radius,)).fetchall()
    wanted = brute_force(sources, radius, sources.release == 1, sources.release == 2)
    got = {(row[0], row[1]): row[2] for row in rows}
    assert len(got) == len(rows)
    assert got.keys() == wanted.keys()
    if radius >= 2:
        assert len(got) > 100
    np.testing.assert_allclose([got[key] for key in wanted], list(wanted.values()), rtol=1e-9, atol=1e-8)
    by_left: dict[int, list[Any]] = {}
    for row in rows:
        by_left.setdefault(row[0], []).append(row)
    for group in by_left.values():
        group.sort(key=lambda row: row[3])
        assert [row[3] for row in group] == list(range(1, len(group) + 1))
        assert {row[4] for row in group} == {len(group)}
        assert [row[2] for row in group] == sorted(row[2] for row in group)


def test_large_radius_and_own_release(sky: Any) -> None:
    connection, sources = sky
    few = np.zeros(len(sources.ra), dtype=bool)
    few[::160] = True
    connection.execute(
        "INSERT INTO archive.data_release (release_id, release, survey) OVERRIDING SYSTEM VALUE "
        "VALUES (3, 'few', 'test')"
    )
    connection.execute(
        "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29) "
        "SELECT source_id + 1000000, (SELECT release_id FROM archive.data_release WHERE release = 'few'), native_id, "
        "ra, dec, hpx29 FROM archive.source WHERE (source_id - 1) %% 160 = 0",
        (),
    )
    try:
        for radius in (3600.0 * 5, 3600.0 * 50, 648000.0):
            rows = connection.execute(
                "SELECT left_source_id - 1000000, right_source_id - 1000000 FROM api.crossmatch('few', 'few', %s)",
                (radius,),
            ).fetchall()
            wanted = brute_force(sources, radius, few, few)
            assert len(rows) == len(wanted)
            assert set(rows) == wanted.keys()
    finally:
        connection.execute("DELETE FROM archive.source WHERE source_id > 1000000")
        connection.execute("DELETE FROM archive.data_release WHERE release = 'few'")


def test_wrong_arguments_are_named_and_null_gives_no_rows(sky: Any) -> None:
    connection, _ = sky
    for call, message in (
        ("'left', 'right', -1", "radius -1 arcsec"),
        ("'left', 'right', 'NaN'", "radius NaN arcsec"),
        ("'left', 'rihgt', 1", 'no release "rihgt"'),
    ):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
            connection.execute(f"SELECT * FROM api.crossmatch({call})".encode())  # noqa: S608
    for call in ("NULL, 'right', 1", "'left', NULL, 1", "'left', 'right', NULL"):
        assert connection.execute(f"SELECT * FROM api.crossmatch({call})".encode()).fetchall() == []  # noqa: S608


def test_8000_by_8000_takes_seconds(sky: Any) -> None:
    connection, _ = sky
    began = time.perf_counter()
    connection.execute("SELECT count(*) FROM api.crossmatch('left', 'right', 1)")
    assert time.perf_counter() - began < 5
