"""api.polygon_search against the winding of the vertices' azimuths, seen from each source."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest

from tests.sql.conftest import MANY, vectors
from tests.sql.test_regions import found_by, regions

N_POLYGON = 400 * MANY
STATEMENT = "SELECT array_agg(source_id) FROM api.polygon_search(%s::float8[])"


def around(ra: float, dec: float, distance: Any, azimuth: Any) -> Any:
    """Unit vectors at distances and azimuths [rad] of a place [deg]."""
    centre = vectors(np.array(ra), np.array(dec))
    east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0.0])
    north = np.cross(centre, east)
    across = np.sin(distance)[:, None] * (np.cos(azimuth)[:, None] * north + np.sin(azimuth)[:, None] * east)
    return np.cos(distance)[:, None] * centre + across


def flat(corners: Any) -> list[float]:
    """{ra1,dec1,...} of unit vectors."""
    ra = np.degrees(np.arctan2(corners[:, 1], corners[:, 0])) % 360
    dec = np.degrees(np.arctan2(corners[:, 2], np.hypot(corners[:, 0], corners[:, 1])))
    return [float(x) for x in np.stack([ra, dec], axis=1).ravel()]


def winds_around(points: Any, corners: Any, centre: Any) -> Any:
    """Whether the azimuths of the corners go once around, for points in the hemisphere of the centre."""
    ahead = points @ centre >= (corners @ centre).min() - 1e-9
    inside = np.zeros(len(points), dtype=bool)
    points = points[ahead]
    towards = corners[None] - np.einsum("pi,ci->pc", points, corners)[..., None] * points[:, None]
    following = np.roll(towards, -1, axis=1)
    sine = np.einsum("pi,pci->pc", points, np.cross(towards, following))
    turn = np.arctan2(sine, np.einsum("pci,pci->pc", towards, following)).sum(axis=1)
    inside[ahead] = np.abs(turn) > np.pi
    return inside


def distance_from_edges(points: Any, corners: Any) -> Any:
    """Rad, from each point to the nearest edge."""
    ends = np.roll(corners, -1, axis=0)
    nearest = np.full(len(points), np.inf)
    for start, end in zip(corners, ends, strict=True):
        normal = np.cross(start, end)
        normal /= np.linalg.norm(normal)
        beside = (points @ np.cross(normal, start) > 0) & (points @ np.cross(end, normal) > 0)
        ends_away = np.minimum(np.linalg.norm(points - start, axis=1), np.linalg.norm(points - end, axis=1))
        nearest = np.minimum(nearest, np.where(beside, np.arcsin(np.minimum(1, np.abs(points @ normal))), ends_away))
    return nearest


def check(connection: Any, sources: Any, corners: Any, centre: Any, polygon: list[float] | None = None) -> int:
    """Compare a search with the winding; the number of sources found."""
    polygon = flat(corners) if polygon is None else polygon
    inside = found_by(connection, sources, STATEMENT, [polygon])
    wrong = np.flatnonzero(inside != winds_around(sources.vec, corners, centre))
    assert np.all(distance_from_edges(sources.vec[wrong], corners) < 1e-12), polygon
    return int(np.count_nonzero(inside))


def test_stars_and_convex_polygons_are_those_of_brute_force(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(41)
    ra, dec = regions(rng, N_POLYGON)
    n_found = n_concave = 0
    for i in range(N_POLYGON):
        n = int(rng.integers(3, 15))
        size = np.radians(10 ** rng.uniform(-3, np.log10(85)))
        azimuth = 2 * np.pi * (np.arange(n) + rng.uniform(-0.2, 0.2, n)) / n + rng.uniform(0, 6)
        concave = bool(i % 2) and n > 4
        corners = around(ra[i], dec[i], size * rng.uniform(0.2, 1, n) if concave else np.full(n, size), azimuth)
        n_concave += concave
        # Either orientation, closed or not, vertices repeated, right ascensions of any revolution.
        if rng.random() < 0.5:
            corners = corners[::-1]
        polygon = flat(corners)
        if rng.random() < 0.3:
            polygon += polygon[:2]
        if rng.random() < 0.3:
            polygon[2:2] = polygon[:2]
        polygon[::2] = [x + 360.0 * rng.integers(-1, 2) for x in polygon[::2]]
        n_found += check(connection, sources, corners, vectors(ra[i], dec[i]), polygon)
    assert n_concave > 100
    assert n_found > N_POLYGON * 100


def test_most_vertices_on_one_side(sky: Any) -> None:
    """The mean of the vertices is no centre then: some vertex is 90 degrees from it or more."""
    connection, sources = sky
    rng = np.random.default_rng(42)
    for i, (ra, dec) in enumerate(zip(*regions(rng, 30), strict=True)):
        azimuth = np.concatenate([np.linspace(0, 0.3, 25), [2.1, 4.2]]) + rng.uniform(0, 6)
        corners = around(ra, dec, np.full(27, np.radians(89.9 if i % 2 else 86)), azimuth)
        assert check(connection, sources, corners, vectors(ra, dec)) > 3000


def test_spirals(sky: Any) -> None:
    connection, sources = sky
    for ra, dec in zip(*regions(np.random.default_rng(43), 30), strict=True):
        azimuth = np.linspace(0, 4 * np.pi, 40)
        for size in (0.002, 0.5):
            out, back = size * (0.2 + azimuth / 13), size * (0.2 + azimuth / 13 + 0.2)
            corners = around(ra, dec, np.concatenate([out, back[::-1]]), np.concatenate([azimuth, azimuth[::-1]]))
            check(connection, sources, corners, vectors(ra, dec))


def test_vertices_are_included(sky: Any) -> None:
    connection, sources = sky
    for i in range(0, 16000, 100):
        ra, dec = float(sources.ra[i]), float(sources.dec[i])
        corner = [ra, dec, ra + 1, max(dec - 1, -89.5), ra + 1, min(dec + 1, 89.5)]
        for turn in (0, 2, 4):
            assert found_by(connection, sources, STATEMENT, [corner[turn:] + corner[:turn]])[i], corner


def test_integers_reach_the_index_too(sky: Any) -> None:
    """Python's integers become int2[], whose cast is too dear for PostgreSQL to inline under a generic plan."""
    connection, sources = sky
    numbers = [0, 0, 45, 0, 0, 45]
    inside = found_by(connection, sources, STATEMENT, [numbers])
    assert inside.any()
    np.testing.assert_array_equal(inside, found_by(connection, sources, STATEMENT, [[float(x) for x in numbers]]))


def test_in_polygon_is_polygon_search(sky: Any) -> None:
    connection, sources = sky
    polygon = [350.0, 80.0, 100.0, 85.0, 200.0, 70.0]
    inside = found_by(connection, sources, STATEMENT, [polygon])
    statement = "SELECT array_agg(source_id) FROM archive.source WHERE api.in_polygon(hpx29, ra, dec, %s)"
    np.testing.assert_array_equal(found_by(connection, sources, statement, [polygon]), inside)
    paired = [polygon[i : i + 2] for i in range(0, 6, 2)]
    np.testing.assert_array_equal(found_by(connection, sources, STATEMENT, [paired]), inside)
    assert inside.any()


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ("{}", "needs 3 distinct vertices and has 0"),
        ("{1,1,2,2}", "needs 3 distinct vertices and has 2"),
        ("{1,1,2,2,361,1}", "needs 3 distinct vertices and has 2"),
        ("{1,1,2,1,2,2,1}", "a polygon of 7 numbers"),
        ("{1,1,2,91,2,2}", "declination 91 deg"),
        ("{1,1,2,NaN,2,2}", "declination NaN deg"),
        ("{1,1,Infinity,1,2,2}", "right ascension Infinity deg"),
        ("{1,1,2,NULL,2,2}", "vertex 2 of the polygon is NULL"),
        ("{1,1,2,0,182,0}", "from its vertex 2 is 180 degrees long"),
        ("{0,-1,120,-1,240,-1,240,2,120,2}", "does not lie within a hemisphere"),
        ("{0,0,120,0,240,0}", "does not lie within a hemisphere"),
        ("{0,0,10,10,10,0,0,10}", "from its vertices 1 and 3 cross"),
    ],
)
def test_wrong_polygons_are_named(sky: Any, polygon: str, message: str) -> None:
    connection, _ = sky
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as caught:
        connection.execute("SELECT * FROM api.polygon_search(%s)", [polygon])
    assert caught.value.diag.message_hint
