"""Searches for Python against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.table import Table

from galbase.schema.errors import UsageError
from galbase.sql.search import cone_rows, cone_search, crossmatch_positions
from tests.sql.conftest import MANY, awkward_positions
from tests.sql.test_cone_search import separations
from tests.sql.test_crossmatch import brute_force, ranked

N_CONE = 400 * MANY


def test_cones_are_those_of_brute_force(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(8)
    hard = awkward_positions()
    pick = rng.integers(0, len(hard[0]), N_CONE // 2)
    ra = np.concatenate([hard[0][pick], rng.uniform(-360, 720, N_CONE // 2)])
    dec = np.concatenate([hard[1][pick], np.degrees(np.arcsin(rng.uniform(-1, 1, N_CONE // 2)))])
    radius = 10 ** rng.uniform(0, np.log10(30 * 3600), N_CONE)
    radius[:6] = [0, 97, 40000, 40001, 324000, 648000]
    n_found = 0
    for one in zip(ra.tolist(), dec.tolist(), radius.tolist(), strict=True):
        found = {row[0] - 1 for row in cone_rows(connection, *one, everything=False)}
        distance = separations(sources, one[0], one[1])
        inside = set(np.flatnonzero(distance <= one[2]).tolist())
        tolerance = 1e-8 if one[2] < 600000 else 0.01
        assert all(abs(distance[i] - one[2]) <= tolerance for i in found ^ inside), one
        n_found += len(found)
    assert n_found > 30 * N_CONE


def test_a_cone_is_a_table_with_units(sky: Any) -> None:
    connection, sources = sky
    found = cone_search(connection, 0, 90, 7200, "left")
    inside = np.flatnonzero((separations(sources, 0, 90) <= 7200) & (sources.release == 1)) + 1
    assert set(found["source_id"]) == set(inside.tolist())
    assert len(found) > 10
    assert np.all(np.diff(found["separation_arcsec"]) >= 0)
    assert {name: str(found[name].unit) for name in ("ra", "dec", "separation_arcsec")} == {
        "ra": "deg", "dec": "deg", "separation_arcsec": "arcsec",
    }  # fmt: skip
    assert set(found["release"]) == {"left"}
    assert len(cone_search(connection, 0, 90, 0.0)) >= 1
    assert cone_search(connection, 10.123, 20.456, 1e-5).colnames == found.colnames


@pytest.mark.parametrize("values", [(1, 91, 1), (float("nan"), 1, 1), (1, 1, -1), (1, 1, float("nan")), (1, 1, 648001)])
def test_impossible_cones_are_named(sky: Any, values: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match=r"nan|91|-1|648001"):
        cone_search(sky[0], *values)


def test_positions_that_are_not_in_the_archive(sky: Any) -> None:
    connection, sources = sky
    left = np.flatnonzero(sources.release == 1)
    wanted = ranked(brute_force(sources, 20.0, sources.release == 1, sources.release == 2))
    mine = Table({"RA": sources.ra[left] + 360, "DEC": sources.dec[left]}, masked=True)
    mine["RA"].mask[3], mine["DEC"][5] = True, np.nan
    mine["DEC"][7] = 99
    nowhere = {3, 5, 7}
    number = {int(i): row for row, i in enumerate(left + 1)}
    partners = {number[a]: near for a, near in wanted.items() if number[a] not in nowhere}
    found = crossmatch_positions(connection, mine["RA"], mine["DEC"], "right", 20.0, nearest=None)
    assert [(int(r["row"]), int(r["source_id"]), int(r["rank"])) for r in found] == [
        (row, b, place) for row in sorted(partners) for place, b in enumerate(partners[row], 1)
    ]
    best = crossmatch_positions(connection, mine["RA"], mine["DEC"], "right", 20.0, join_type="left")
    assert best["row"].tolist() == list(range(len(mine)))
    assert set(np.flatnonzero(best["source_id"].mask).tolist()) == set(range(len(mine))) - set(partners)
    assert best["n_within"].tolist() == [len(partners.get(row, ())) for row in range(len(mine))]
    alone = crossmatch_positions(connection, mine["RA"], mine["DEC"], "right", 20.0, join_type="anti")
    assert set(alone["row"].tolist()) == set(range(len(mine))) - set(partners)
    assert len(crossmatch_positions(connection, [], [], "right", 20.0)) == 0
    with pytest.raises(UsageError, match=r"ra has shape \(2,\), dec \(1,\)"):
        crossmatch_positions(connection, [1, 2], [1], "right", 1)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='no release "rihgt"'):
        crossmatch_positions(connection, [1], [1], "rihgt", 1)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="nearest is 0"):
        crossmatch_positions(connection, [1], [1], "right", 1, nearest=0)


def test_readers_can_match(archive: Any) -> None:
    with psycopg.connect(archive.reader_url) as connection:
        connection.read_only = False
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="no release"):
            crossmatch_positions(connection, [1.0], [1.0], "nowhere-at-all", 1)
