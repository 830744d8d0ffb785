"""The searches of regions reach the indexes: by constants (what a custom plan has), by parameters, and from joins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.test_cone_search import plan_nodes

INDEXES = {"ix_source_hpx29_order10", "ix_source_hpx29_order8"}
SEARCHES = {
    "box": ("box_search($1, $1 + $2, 20, 20 + $2)", "float8, float8", "10, {0}"),
    "ellipse": ("ellipse_search($1, 20, $2 * 1800, $2 * 900, 30)", "float8, float8", "10, {0}"),
    "polygon": ("polygon_search($1)", "float8[]", "ARRAY[10, 20, 10 + {0}, 20, 10, 20 + {0}]::float8[]"),
    "cones": ("cone_search_many($1, $1, $2)", "float8[], float8", "'{{10,20}}'::float8[], {0} * 1800"),
}


def assert_indexed(nodes: list[dict[str, Any]], indexes: set[str] = INDEXES) -> None:
    on_source = [node["Node Type"] for node in nodes if node.get("Relation Name") == "source"]
    assert on_source == ["Bitmap Heap Scan"]
    assert {node["Index Name"] for node in nodes if "hpx29 >>" in node.get("Index Cond", "")} == indexes


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("size", [0.01, 0.1, 2.0])
@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_constants_and_parameters(sky: Any, name: str, size: float, mode: str) -> None:
    connection, _ = sky
    call, types, given = SEARCHES[name]
    connection.execute(f"SET plan_cache_mode = {mode}".encode())
    connection.execute(f"PREPARE search ({types}) AS SELECT * FROM api.{call}".encode())  # noqa: S608
    try:
        assert_indexed(plan_nodes(connection, f"EXECUTE search ({given.format(size)})"))
    finally:
        connection.execute("DEALLOCATE search")
        connection.execute("SET plan_cache_mode = force_generic_plan")


@pytest.mark.parametrize(
    "condition",
    [
        "api.in_box(s.hpx29, s.ra, s.dec, p.ra, p.ra_end, p.dec, p.dec_end)",
        "api.in_ellipse(s.hpx29, s.ra, s.dec, p.ra, p.dec, p.major, p.minor, p.angle)",
        "api.in_polygon(s.hpx29, s.ra, s.dec, p.outline)",
    ],
)
def test_joins_with_a_table_of_regions(sky: Any, condition: str) -> None:
    connection, _ = sky
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS place AS SELECT i AS place_id, ra, ra + 5 AS ra_end, dec, dec + 5 AS dec_end, "
        "18000.0::float8 AS major, 9000.0::float8 AS minor, 30.0::float8 AS angle, "
        "ARRAY[ra, dec, ra + 5, dec, ra + 5, dec + 5] AS outline "
        "FROM generate_series(1, 20) i, LATERAL (SELECT (17.0 * i)::float8, (4.0 * i - 45)::float8) p (ra, dec)"
    )
    connection.execute("ANALYZE place")
    statement = f"SELECT p.place_id, s.source_id FROM place p JOIN archive.source s ON {condition}"  # noqa: S608
    nodes = plan_nodes(connection, statement)
    assert_indexed(nodes)
    # The bodies are written into the join, and in a join they find what they find one by one.
    assert not any("api.in_" in str(node.get(key)) for node in nodes for key in ("Join Filter", "Filter"))
    rows = connection.execute(statement.encode()).fetchall()
    assert len(rows) > 20
    single = [row for i in range(1, 21) for row in connection.execute(f"{statement} WHERE p.place_id = {i}".encode())]
    assert sorted(rows) == sorted(single)


def test_any_table_with_the_indexes_will_do(sky: Any) -> None:
    connection, _ = sky
    connection.execute("CREATE TEMP TABLE mine AS SELECT source_id, ra, dec, hpx29 FROM archive.source")
    for shift in (38, 42):
        connection.execute(f"CREATE INDEX ON mine ((hpx29 >> {shift}))".encode())
    # Without statistics the planner takes a cell for a two-hundredth of the table.
    for condition in (
        "api.in_cone(hpx29, ra, dec, 10, 20, 60)",
        "api.in_cone(hpx29, ra, dec, 10, 20, 1200)",
        "api.in_box(hpx29, ra, dec, 10, 10.3, 20, 20.3)",
        "api.in_ellipse(hpx29, ra, dec, 10, 20, 900, 300, 4)",
        "api.in_polygon(hpx29, ra, dec, '{10,20,10.3,20,10,20.3}')",
    ):
        nodes = plan_nodes(connection, f"SELECT * FROM mine WHERE {condition}")  # noqa: S608
        assert any("hpx29 >>" in node.get("Index Cond", "") for node in nodes), condition
    connection.execute("ANALYZE mine")
    for condition in (
        "api.in_cone(hpx29, ra, dec, 0, 90, 3600)",
        "api.in_box(hpx29, ra, dec, 350, 10, 80, 90)",
        "api.in_ellipse(hpx29, ra, dec, 0, 90, 9000, 900, 4)",
        "api.in_polygon(hpx29, ra, dec, '{0,89,120,89,240,89}')",
    ):
        nodes = plan_nodes(connection, f"SELECT * FROM mine WHERE {condition}")  # noqa: S608
        assert any("hpx29 >>" in node.get("Index Cond", "") for node in nodes)
        left, right = (
            connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}".encode()).fetchone()  # noqa: S608
            for table in ("mine", "archive.source")
        )
        assert left == right
        assert left[0] > 10


@pytest.mark.parametrize(
    ("cells", "fewest", "most"),
    [
        # Pixels of order 7 are 0.458 deg wide, and there are 196608 on the sky.
        ("box_cells(0, 360, -90, 90, 7)", 196608, 196608),
        ("box_cells(0, 360, 0, 90, 7)", 98304, 98304 + 2 * 512),
        ("box_cells(0, 360, 10, 10.01, 7)", 770, 3 * 770),
        ("box_cells(30, 30.01, -80, 80, 7)", 350, 3 * 350),
        ("box_cells(30, 30.05, 60, 60.025, 9)", 1, 9),
        ("ellipse_cells(50, 70, 36000, 36000, 0, 7)", 1490, 1490 + 3 * 140),
        ("ellipse_cells(50, 70, 36000, 36, 40, 7)", 43, 4 * 43),
        ("ellipse_cells(50, 70, 300, 3, 40, 11)", 6, 4 * 6),
        ("polygon_cells('{0,0,90,0,0,90}', 7)", 24576, 24576 + 3 * 600),
        ("polygon_cells('{350,0,10,0,10,0.01}', 7)", 43, 4 * 43),
        ("polygon_cells('{10,20,10.05,20,10.05,20.05}', 9)", 1, 9),
    ],
)
def test_covers_are_tight(sky: Any, cells: str, fewest: int, most: int) -> None:
    connection, _ = sky
    number, distinct = connection.execute(
        f"SELECT count(*), count(DISTINCT c) FROM unnest(api.{cells}) c".encode()  # noqa: S608
    ).fetchone()
    assert number == distinct
    assert fewest <= number <= most
