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


def ranked(wanted: dict[tuple[int, int], float]) -> dict[int, list[int]]:
    """Right sources of each left source, nearest first."""
    found: dict[int, list[int]] = {}
    for left, right in sorted(wanted, key=lambda pair: (pair[0], wanted[pair], pair[1])):
        found.setdefault(left, []).append(right)
    return found


@pytest.mark.parametrize("smallest", [0.0, 0.7])
def test_options_keep_what_brute_force_keeps(sky: Any, smallest: float) -> None:
    connection, sources = sky
    left = sources.release == 1
    everything = brute_force(sources, 30.0, left, sources.release == 2)
    wanted = {pair: apart for pair, apart in everything.items() if apart >= smallest}
    partners = ranked(wanted)
    backwards = ranked({(right, left): apart for (left, right), apart in wanted.items()})
    assert max(map(len, partners.values())) > 3

    def rows(options: str) -> list[tuple[int | None, ...]]:
        return connection.execute(
            "SELECT left_source_id, right_source_id, rank, n_within "  # noqa: S608
            f"FROM api.crossmatch('left', 'right', 30, min_radius_arcsec => %s{options})",
            (smallest,),
        ).fetchall()

    for k in (1, 2):
        assert set(rows(f", nearest => {k}")) == {
            (a, b, place, len(near)) for a, near in partners.items() for place, b in enumerate(near[:k], 1)
        }
    mutual = {(a, near[0], 1, len(near)) for a, near in partners.items() if backwards[near[0]][0] == a}
    assert set(rows(", mutual_best => true")) == mutual
    assert len(mutual) < len(partners)
    alone = set((np.flatnonzero(left) + 1).tolist()) - set(partners)
    assert len(alone) > 100
    assert set(rows(", join_type => 'anti'")) == {(a, None, None, 0) for a in alone}
    kept = rows(", nearest => 1, join_type => 'left'")
    assert set(kept) == {(a, near[0], 1, len(near)) for a, near in partners.items()} | {
        (a, None, None, 0) for a in alone
    }
    assert len(kept) == left.sum()


def test_any_queries_can_be_matched(sky: Any) -> None:
    """A user's table without indexes on either side, and a part of a release."""
    connection, sources = sky
    connection.execute(
        "CREATE TEMP TABLE mine AS SELECT source_id AS mine_id, ra, dec FROM archive.source "
        "WHERE release_id = 1 AND dec > 0"
    )
    mine = "SELECT mine_id, ra, dec, api.healpix(ra, dec, 29) FROM mine"
    theirs = "SELECT source_id, ra, dec, hpx29 FROM archive.source WHERE release_id = 2 AND source_id % 2 = 0"
    north, even = (sources.release == 1) & (sources.dec > 0), np.arange(1, len(sources.ra) + 1) % 2 == 0
    wanted = brute_force(sources, 20.0, north, (sources.release == 2) & even)
    assert len(wanted) > 50
    for left, right, turned in ((mine, theirs, False), (theirs, mine, True)):
        rows = connection.execute(
            "SELECT left_id, right_id FROM api.crossmatch_queries(%s, %s, 20)", (left, right)
        ).fetchall()
        assert {(b, a) if turned else (a, b) for a, b in rows} == set(wanted)
    connection.execute("DROP TABLE mine")


def test_only_an_index_keeps_the_planner_from_other_joins(sky: Any) -> None:
    """The right query gives its row only under the settings that it is to be joined with."""
    connection, _ = sky
    left = "SELECT 1::bigint, 10::float8, 20::float8, api.healpix(10, 20, 29)"
    all_on = " AND ".join(f"current_setting('enable_{name}') = 'on'" for name in ("seqscan", "hashjoin", "mergejoin"))
    found = connection.execute(
        "SELECT count(*) FROM api.crossmatch_queries(%s, %s, 1)",
        (left, f"{left} WHERE {all_on}"),
    ).fetchone()
    assert found == (1,)
    left = "SELECT source_id, ra, dec, hpx29 FROM archive.source WHERE source_id = 1"
    right = "SELECT source_id, ra, dec, hpx29 FROM archive.source WHERE current_setting('enable_seqscan') = 'on'"
    for join, wanted in (("hashjoin", "off"), ("mergejoin", "off"), ("hashjoin", "on")):
        (n_pair,) = connection.execute(
            "SELECT count(*) FROM api.crossmatch_queries(%s, %s, 1)",
            (left, f"{right} AND current_setting('enable_{join}') = '{wanted}'"),
        ).fetchone()
        assert (n_pair > 0) == (wanted == "off")


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_bound_radius_uses_the_index(sky: Any, mode: str) -> None:
    connection, _ = sky

    def scans() -> dict[str, int]:
        return dict(
            connection.execute(
                "SELECT relname, pg_stat_get_xact_numscans(oid) FROM pg_class "
                "WHERE relname LIKE 'ix_source_hpx29_order%'"
            ).fetchall()
        )

    for radius, order in ((1.0, 10), (200.0, 8)):
        with connection.transaction():
            connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
            before = scans()
            connection.execute("SELECT count(*) FROM api.crossmatch('left', 'right', %s)", (radius,), prepare=True)
            used = {name for name, count in scans().items() if count > before[name]}
        assert used == {f"ix_source_hpx29_order{order}"}


def test_wrong_arguments_are_named_and_null_gives_no_rows(sky: Any) -> None:
    connection, _ = sky
    for call, message in (
        ("'left', 'right', -1", "radius -1 arcsec"),
        ("'left', 'right', 'NaN'", "radius NaN arcsec"),
        ("'left', 'rihgt', 1", 'no release "rihgt"'),
        ("'left', 'right', 1, 2", "smallest radius 2 arcsec is larger"),
        ("'left', 'right', 1, 'NaN'", "radius NaN arcsec"),
        ("'left', 'right', 1, 0, 0", "nearest is 0"),
        ("'left', 'right', 1, 0, 1, false, 'outer'", "no join type 'outer'"),
    ):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
            connection.execute(f"SELECT * FROM api.crossmatch({call})".encode())  # noqa: S608
    for call in ("NULL, 'right', 1", "'left', NULL, 1", "'left', 'right', NULL", "'left', 'right', 1, NULL"):
        assert connection.execute(f"SELECT * FROM api.crossmatch({call})".encode()).fetchall() == []  # noqa: S608


def test_8000_by_8000_takes_seconds(sky: Any) -> None:
    connection, _ = sky
    began = time.perf_counter()
    connection.execute("SELECT count(*) FROM api.crossmatch('left', 'right', 1)")
    assert time.perf_counter() - began < 5
