"""api.cone_search and api.separation_arcsec against brute force."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.coordinates import angular_separation

from tests.sql.conftest import MANY, awkward_positions, vectors

N_CONE = 2000 * MANY
MAX_RADIUS_ARCSEC = 648_000.0


def separations(sources: Any, ra: float, dec: float) -> Any:
    """Arcsec, from chords: another formula than the one under test."""
    chord = np.linalg.norm(sources.vec - vectors(np.array(ra), np.array(dec)), axis=1)
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1))) * 3600


def test_separation_is_accurate_at_all_distances(sky: Any) -> None:
    connection, _ = sky
    rng = np.random.default_rng(1)
    ra1, dec1 = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    step = 10 ** rng.uniform(-9, 2, 3000)
    ra2, dec2 = ra1 + step, np.clip(dec1 + step, -90, 90)
    ra2[:50], dec2[:50] = ra1[:50] + 180, -dec1[:50]
    ra2[50:60], dec2[50:60] = ra1[50:60], dec1[50:60]
    got = np.array(
        connection.execute(
            "SELECT array_agg(api.separation_arcsec(a, b, c, d) ORDER BY o) FROM "
            "unnest(%s::float8[], %s::float8[], %s::float8[], %s::float8[]) WITH ORDINALITY u (a, b, c, d, o)",
            [x.tolist() for x in (ra1, dec1, ra2, dec2)],
        ).fetchone()[0]
    )
    wanted = np.degrees(angular_separation(*(np.radians(x) for x in (ra1, dec1, ra2, dec2)))) * 3600
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(got[:50], MAX_RADIUS_ARCSEC, rtol=0, atol=1e-7)
    assert np.all(got[50:60] == 0)


def test_2000_cones_are_those_of_brute_force(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, N_CONE), np.degrees(np.arcsin(rng.uniform(-1, 1, N_CONE)))
    hard_ra, hard_dec = awkward_positions()
    pick = rng.integers(0, len(hard_ra), N_CONE // 2)
    ra[: N_CONE // 2], dec[: N_CONE // 2] = hard_ra[pick], hard_dec[pick]
    ra[::7] += rng.choice([-360.0, 360.0], len(ra[::7]))
    radius = 10 ** rng.uniform(0, np.log10(90 * 3600), N_CONE)
    radius[-6:] = [0.0, 0.0, 648000.0, 180 * 3600 - 1, 100 * 3600, 324000.0]
    ra[-6], dec[-6] = sources.ra[0], sources.dec[0]
    n_found = 0
    for one in zip(ra.tolist(), dec.tolist(), radius.tolist(), strict=True):
        row = connection.execute(
            "SELECT coalesce(array_agg(source_id), '{}'), coalesce(array_agg(separation_arcsec), '{}') "
            "FROM api.cone_search(%s, %s, %s)",
            one,
            binary=True,
        ).fetchone()
        distance = separations(sources, one[0], one[1])
        found = np.array(row[0], dtype=int) - 1
        assert len(np.unique(found)) == len(found)
        inside = np.zeros(len(distance), dtype=bool)
        inside[found] = True
        # Rounding decides within 1e-8 arcsec of the edge, more only next to the antipode, where chords are flat.
        tolerance = 1e-8 if one[2] < 600000 else 0.01
        wrong = np.flatnonzero(inside != (distance <= one[2]))
        assert np.all(np.abs(distance[wrong] - one[2]) <= tolerance), one
        np.testing.assert_allclose(np.array(row[1]), distance[found], rtol=1e-9, atol=max(tolerance, 2e-9))
        n_found += len(found)
    assert n_found > N_CONE * 30


def test_release_is_a_filter_and_an_unknown_one_an_error(sky: Any) -> None:
    connection, sources = sky
    rows = connection.execute("SELECT source_id, release FROM api.cone_search(0, 90, 7200, 'left')").fetchall()
    inside = separations(sources, 0, 90) <= 7200
    assert {row[0] - 1 for row in rows} == set(np.flatnonzero(inside & (sources.release == 1)).tolist())
    assert {row[1] for row in rows} == {"left"}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='no release "lefd"') as caught:
        connection.execute("SELECT * FROM api.cone_search(0, 90, 7200, 'lefd')")
    assert "left, right" in str(caught.value)


def test_null_gives_no_rows(sky: Any) -> None:
    connection, _ = sky
    for call in ("NULL, 90, 7200", "0, NULL, 7200", "0, 90, NULL"):
        assert connection.execute(f"SELECT * FROM api.cone_search({call})".encode()).fetchall() == []  # noqa: S608


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("0, 91, 1", "declination 91 deg"),
        ("0, 'NaN', 1", "declination NaN deg"),
        ("'NaN', 0, 1", "right ascension NaN deg"),
        ("0, 0, -1", r"radius -1 arcsec is outside \[0, 648000\]"),
        ("0, 0, 'NaN'", "radius NaN arcsec"),
        ("0, 0, 648001", "radius 648001 arcsec"),
    ],
)
def test_wrong_arguments_are_named(sky: Any, call: str, message: str) -> None:
    connection, _ = sky
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        connection.execute(f"SELECT * FROM api.cone_search({call})".encode())  # noqa: S608


def plan_nodes(connection: Any, statement: str, values: Any = ()) -> list[dict[str, Any]]:
    """All nodes of a plan."""
    found: list[dict[str, Any]] = []

    def walk(node: dict[str, Any]) -> None:
        found.append(node)
        for child in node.get("Plans", ()):
            walk(child)

    text = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), values).fetchone()[0]
    walk((text if isinstance(text, list) else json.loads(text))[0]["Plan"])
    return found


@pytest.mark.parametrize("radius", [1, 60, 3600])
@pytest.mark.parametrize("release", ["NULL", "'left'"])
def test_plan_uses_the_hpx29_index(sky: Any, radius: float, release: str) -> None:
    connection, _ = sky
    nodes = plan_nodes(connection, f"SELECT * FROM api.cone_search(10, 20, {radius}, {release})")  # noqa: S608
    on_source = [node for node in nodes if node.get("Relation Name") == "source"]
    assert [node["Node Type"] for node in on_source] == ["Bitmap Heap Scan"]
    indexed = [node["Index Name"] for node in nodes if "hpx29 >>" in node.get("Index Cond", "")]
    assert set(indexed) == {"ix_source_hpx29_order10", "ix_source_hpx29_order8"}


def test_plan_uses_the_index_in_a_join_and_with_parameters(sky: Any) -> None:
    connection, _ = sky
    joined = (
        "SELECT c.source_id FROM (VALUES (1.0, 2.0), (3.0, 4.0)) p (r, d), api.cone_search(p.r, p.d, 5) c "
        "JOIN archive.source s USING (source_id) LIMIT 3"
    )
    assert any("hpx29 >>" in node.get("Index Cond", "") for node in plan_nodes(connection, joined))
    connection.execute("PREPARE cone (float8, float8, float8) AS SELECT * FROM api.cone_search($1, $2, $3)")
    nodes = plan_nodes(connection, "EXECUTE cone (1, 2, 3)")
    assert any("hpx29 >>" in node.get("Index Cond", "") for node in nodes)
