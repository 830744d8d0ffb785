"""Galaxies built from crossmatches, against a plain Python construction of the same rules."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from galbase.ingest.catalogue import load_sources
from galbase.ingest.galaxies import add_galaxies, rebuild_galaxies
from galbase.ingest.releases import add_release
from galbase.schema.healpix import separation_arcsec
from tests.ingest.matching import crossmatch

Connection = psycopg.Connection[Any]
Node = tuple[str, int]


@pytest.fixture
def connection(fresh_archive: Any) -> Iterator[Connection]:
    with fresh_archive.connect(autocommit=True) as made:
        yield made


def sources(connection: Connection, name: str, priority: int, offsets_arcsec: list[float]) -> list[int]:
    """Sources of a release on one declination, at offsets from RA 10."""
    made, _ = add_release(connection, name, survey="test", priority=priority)
    dec = [offset / 3600 for offset in offsets_arcsec]
    natives = [str(i) for i in range(len(dec))]
    made_ids = load_sources(connection, made.release_id, name, natives, [10.0] * len(dec), dec, None, None)
    return [int(source_id) for source_id in made_ids]


def members(connection: Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT source_id, galaxy_id FROM archive.galaxy_member").fetchall())


def test_a_galaxy_is_named_after_the_release_that_comes_first(connection: Connection, fresh_archive: Any) -> None:
    first = sources(connection, "first", 1, [0.0, 100.0])
    second = sources(connection, "second", 2, [0.4, 200.0])
    # The crossmatch is made from the release that comes second: its direction must not matter.
    crossmatch(fresh_archive.config, "second", "first", 1)
    count = rebuild_galaxies(connection)
    assert (count.galaxies, count.members) == (3, 4)
    assert members(connection) == {first[0]: first[0], second[0]: first[0], first[1]: first[1], second[1]: second[1]}
    galaxy = connection.execute(
        "SELECT g.n_member, g.dec, g.hpx29 = s.hpx29, m.separation_arcsec FROM archive.galaxy g JOIN archive.source s "
        "ON s.source_id = g.galaxy_id JOIN archive.galaxy_member m ON m.source_id = %s WHERE g.galaxy_id = %s",
        (second[0], first[0]),
    ).fetchone()
    assert galaxy is not None
    assert galaxy[:3] == (2, 0.0, True)
    assert galaxy[3] == pytest.approx(0.4, abs=1e-9)


def test_adding_new_detections_equals_rebuilding(connection: Connection, fresh_archive: Any) -> None:
    sources(connection, "first", 1, [0.0, 100.0])
    sources(connection, "second", 2, [0.4, 200.0])
    crossmatch(fresh_archive.config, "first", "second", 1)
    rebuild_galaxies(connection)
    third = sources(connection, "third", 3, [0.1, 300.0, 400.0])
    assert add_galaxies(connection) == 3
    found = members(connection)
    assert [found[source] for source in third] == third
    again = rebuild_galaxies(connection)
    assert (again.galaxies_written, again.members_written) == (0, 0)
    assert add_galaxies(connection) == 0


def test_only_mutually_nearest_detections_are_joined(connection: Connection, fresh_archive: Any) -> None:
    first = sources(connection, "first", 1, [0.0, 1.5])
    second = sources(connection, "second", 2, [0.9, 0.2])
    crossmatch(fresh_archive.config, "first", "second", 2)
    rebuild_galaxies(connection)
    # 0.9 is nearest to 1.5 (0.6) and 0.2 to 0.0 (0.2).
    assert members(connection) == {first[0]: first[0], first[1]: first[1], second[0]: first[1], second[1]: first[0]}
    third = sources(connection, "third", 3, [0.1, -0.05])
    crossmatch(fresh_archive.config, "third", "first", 2)
    rebuild_galaxies(connection)
    found = members(connection)
    # Both are nearest to 0.0, which takes the nearer; the other is a galaxy of its own.
    assert (found[third[1]], found[third[0]]) == (first[0], third[0])


def test_equal_priorities_go_by_age(connection: Connection, fresh_archive: Any) -> None:
    older = sources(connection, "older", 5, [0.0])
    newer = sources(connection, "newer", 5, [0.1])
    crossmatch(fresh_archive.config, "newer", "older", 1)
    rebuild_galaxies(connection)
    assert members(connection) == {older[0]: older[0], newer[0]: older[0]}
    connection.execute("UPDATE archive.data_release SET priority = 1 WHERE release = 'newer'")
    rebuild_galaxies(connection)
    assert members(connection) == {older[0]: newer[0], newer[0]: newer[0]}
    assert connection.execute("SELECT galaxy_id FROM archive.galaxy").fetchall() == [(newer[0],)]


def test_unchanged_rows_are_not_written(connection: Connection, fresh_archive: Any) -> None:
    sources(connection, "first", 1, [float(i) * 10 for i in range(20)])
    second = sources(connection, "second", 2, [float(i) * 10 + 0.3 for i in range(10)])
    crossmatch(fresh_archive.config, "first", "second", 1)
    rebuild_galaxies(connection)
    tables = ("SELECT xmin, ctid, * FROM archive.galaxy", "SELECT xmin, ctid, * FROM archive.galaxy_member")
    before = [set(connection.execute(table).fetchall()) for table in tables]
    again = rebuild_galaxies(connection)
    assert (again.galaxies_written, again.members_written) == (0, 0)
    assert [set(connection.execute(table).fetchall()) for table in tables] == before
    # One detection goes: one galaxy changes, its member went by itself, nothing else is touched.
    connection.execute("DELETE FROM archive.source WHERE source_id = %s", (second[3],))
    less = rebuild_galaxies(connection)
    assert (less.galaxies, less.members, less.galaxies_written, less.members_written) == (20, 29, 1, 0)


def linked(offsets: dict[str, Any], pairs: list[tuple[str, str]], radius: float) -> set[tuple[Node, Node]]:
    """Mutually nearest detections, as (release, index) both ways."""
    links = set()
    for left, right in pairs:
        apart = np.abs(np.subtract.outer(offsets[left], offsets[right]))
        for i, j in zip(*np.nonzero(apart <= radius), strict=True):
            if apart[i].argmin() == j and apart[:, j].argmin() == i:
                links |= {((left, int(i)), (right, int(j))), ((right, int(j)), (left, int(i)))}
    return links


def connected(nodes: list[Node], links: set[tuple[Node, Node]]) -> list[set[Node]]:
    groups: list[set[Node]] = []
    left = set(nodes)
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            group |= edge
            edge = {b for a, b in links if a in edge} - group
        groups.append(group)
        left -= group
    return groups


@pytest.mark.parametrize(("scatter", "least_crowded"), [(0.2, 0), (1.5, 5)])
def test_many_releases_against_plain_python(
    connection: Connection, fresh_archive: Any, scatter: float, least_crowded: int
) -> None:
    rng = np.random.default_rng(5)
    place, priorities = {"b": 0, "c": 1, "d": 2, "a": 3}, {"a": 3, "b": 1, "c": 2, "d": 2}
    truth = rng.uniform(0, 600, 60)
    offsets = {name: truth[rng.random(60) < 0.8] for name in "abcd"}
    offsets = {name: values + rng.normal(0, scatter, len(values)) for name, values in offsets.items()}
    ids = {name: sources(connection, name, priorities[name], offsets[name].tolist()) for name in "abcd"}
    pairs = [("a", "b"), ("c", "a"), ("b", "d"), ("c", "d")]
    for left, right in pairs:
        crossmatch(fresh_archive.config, left, right, 3)
    rebuild_galaxies(connection)
    nodes = [(name, i) for name in "abcd" for i in range(len(ids[name]))]
    found = members(connection)
    number = {node: ids[node[0]][node[1]] for node in nodes}
    assert set(found) == set(number.values())
    crowded = 0
    for group in connected(nodes, linked(offsets, pairs, 3)):
        galaxies = {found[number[node]] for node in group}
        if len({name for name, _ in group}) == len(group):
            first = min(group, key=lambda node: place[node[0]])
            assert galaxies == {number[first]}
        else:
            crowded += 1
            for galaxy in galaxies:
                of_galaxy = [node for node in group if found[number[node]] == galaxy]
                assert len({name for name, _ in of_galaxy}) == len(of_galaxy)
                assert galaxy == number[min(of_galaxy, key=lambda node: place[node[0]])]
    assert crowded >= least_crowded
    sizes = dict(connection.execute("SELECT galaxy_id, n_member FROM archive.galaxy").fetchall())
    assert sizes == {galaxy: list(found.values()).count(galaxy) for galaxy in set(found.values())}
    rows = connection.execute(
        "SELECT m.separation_arcsec, s.ra, s.dec, g.ra, g.dec FROM archive.galaxy_member m JOIN archive.source s "
        "USING (source_id) JOIN archive.galaxy g USING (galaxy_id)"
    ).fetchall()
    apart_now, *positions = np.array(rows).T
    np.testing.assert_allclose(apart_now, separation_arcsec(*positions), atol=1e-9)


def test_a_chain_is_cut_where_two_of_one_release_would_meet(connection: Connection, fresh_archive: Any) -> None:
    a = sources(connection, "a", 1, [0.0, 3.0])
    b = sources(connection, "b", 2, [1.0])
    c = sources(connection, "c", 3, [2.0])
    for left, right in (("a", "b"), ("b", "c"), ("a", "c")):
        crossmatch(fresh_archive.config, left, right, 1.2)
    rebuild_galaxies(connection)
    # a0 - b0 - c0 - a1: c0 goes to the release that comes first.
    assert members(connection) == {a[0]: a[0], b[0]: a[0], c[0]: a[1], a[1]: a[1]}


def test_a_chain_longer_than_there_are_releases_is_cut_everywhere(connection: Connection, fresh_archive: Any) -> None:
    links = 9
    a = sources(connection, "a", 1, [3.0 * i for i in range(links)])
    b = sources(connection, "b", 2, [3.0 * i + 1 for i in range(links)])
    c = sources(connection, "c", 3, [3.0 * i + 2 for i in range(links)])
    for left, right in (("a", "b"), ("b", "c"), ("a", "c")):
        crossmatch(fresh_archive.config, left, right, 1.2)
    rebuild_galaxies(connection)
    wanted = {a[i]: a[i] for i in range(links)} | {b[i]: a[i] for i in range(links)}
    wanted |= {c[i]: a[i + 1] for i in range(links - 1)}
    found = members(connection)
    # The last one of c has nobody beyond it: it joins b, whose galaxy has c's neighbour before it already.
    assert found.pop(c[-1]) == c[-1]
    assert found == wanted


def test_of_two_of_one_release_the_nearer_in_steps_stays(connection: Connection, fresh_archive: Any) -> None:
    a = sources(connection, "a", 1, [0.0])
    b = sources(connection, "b", 2, [1.0])
    c = sources(connection, "c", 3, [-1.0, 2.0])
    for left, right in (("a", "b"), ("b", "c"), ("a", "c")):
        crossmatch(fresh_archive.config, left, right, 1.2)
    rebuild_galaxies(connection)
    assert members(connection) == {a[0]: a[0], b[0]: a[0], c[0]: a[0], c[1]: c[1]}


def test_releases_meet_through_one_that_comes_last(connection: Connection, fresh_archive: Any) -> None:
    first, second = (sources(connection, name, i, [0.0]) for i, name in enumerate(("first", "second")))
    hub = sources(connection, "hub", 9, [0.1])
    for name in ("first", "second"):
        crossmatch(fresh_archive.config, name, "hub", 1)
    rebuild_galaxies(connection)
    assert members(connection) == {first[0]: first[0], second[0]: first[0], hub[0]: first[0]}


def test_no_sources(connection: Connection) -> None:
    count = rebuild_galaxies(connection)
    assert (count.galaxies, count.members, count.galaxies_written) == (0, 0, 0)
