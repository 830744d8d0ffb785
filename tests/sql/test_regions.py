"""Boxes, ellipses and lists of cones against brute force with other formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.coordinates import angular_separation, position_angle

from tests.sql.conftest import MANY, awkward_positions

N_BOX = 400 * MANY
N_ELLIPSE = 400 * MANY
ALL_COLUMNS = ["source_id", "release", "native_id", "ra", "dec", "hpx29", "flag"]


def found_by(connection: Any, sources: Any, statement: str, values: Any) -> Any:
    """Mask of the sources whose ids a statement returns in one array."""
    row = connection.execute(statement.encode(), values, binary=True).fetchone()
    found = np.array(row[0] or [], dtype=int) - 1
    assert len(np.unique(found)) == len(found)
    inside = np.zeros(len(sources.ra), dtype=bool)
    inside[found] = True
    return inside


def regions(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Places: half of them awkward ones, half anywhere."""
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    hard_ra, hard_dec = awkward_positions()
    pick = np.arange(n // 2) % len(hard_ra)
    ra[: n // 2], dec[: n // 2] = hard_ra[pick], hard_dec[pick]
    return ra, dec


def test_boxes_are_those_of_brute_force(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(31)
    ra, dec = regions(rng, N_BOX)
    # Widths and heights are independent: squares, stripes along the equator, meridians, caps.
    half_width = 10 ** rng.uniform(-4, np.log10(180), N_BOX)
    half_height = 10 ** rng.uniform(-4, np.log10(90), N_BOX)
    shift = rng.uniform(-1, 1, N_BOX)
    low = ra + (shift - 1) * half_width
    dec_min = np.clip(dec + (shift[::-1] - 1) * half_height, -90, 90)
    dec_max = np.clip(dec + (shift[::-1] + 1) * half_height, -90, 90)
    n_found = 0
    for i in range(N_BOX):
        limits = [low[i], low[i] + 2 * half_width[i]]
        if half_width[i] < 179.9:
            # Any revolution for either side means the same box.
            limits = [float(x) for x in np.mod(limits, 360) + 360.0 * rng.integers(-1, 2)]
        box = [*limits, float(dec_min[i]), float(dec_max[i])]
        inside = found_by(connection, sources, "SELECT array_agg(source_id) FROM api.box_search(%s, %s, %s, %s)", box)
        away = np.abs(np.degrees(np.angle(np.exp(1j * np.radians(sources.ra - low[i] - half_width[i])))))
        in_height = (sources.dec >= dec_min[i]) & (sources.dec <= dec_max[i])
        wanted = in_height & ((away <= half_width[i]) | (np.abs(sources.dec) == 90))
        wrong = np.flatnonzero(inside != wanted)
        assert np.all(in_height[wrong] & (np.abs(away[wrong] - half_width[i]) < 1e-9)), box
        n_found += np.count_nonzero(inside)
    assert n_found > N_BOX * 50


def test_sides_of_boxes_are_included(sky: Any) -> None:
    connection, sources = sky
    statement = "SELECT array_agg(source_id) FROM api.box_search(%s, %s, %s, %s)"
    for i in range(0, len(sources.ra), 400):
        ra, dec = float(sources.ra[i]), float(sources.dec[i])
        for box in ([ra, ra, dec, dec], [ra, ra + 7, dec, 90], [ra - 7, ra, -90, dec], [ra, ra + 360, dec, dec]):
            assert found_by(connection, sources, statement, box)[i], box


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((0, 360, -90, 90), lambda ra, dec: (ra >= 0) & (dec <= 90)),
        ((-180, 540, -90, 90), lambda ra, dec: (ra >= 0) & (dec <= 90)),
        ((0, 360, 89, 90), lambda ra, dec: (ra >= 0) & (dec >= 89)),
        ((350, 370, -90, -80), lambda ra, dec: (dec <= -80) & ((ra >= 350) | (ra <= 10) | (dec == -90))),
        ((350, 10, -1, 1), lambda ra, dec: (np.abs(dec) <= 1) & ((ra >= 350) | (ra <= 10))),
        ((350, 360, -1, 1), lambda ra, dec: (np.abs(dec) <= 1) & ((ra >= 350) | (ra == 0))),
        ((200, -170, 0, 1), lambda ra, dec: (dec >= 0) & (dec <= 1) & ((ra >= 200) | (ra <= 190))),
        ((77, 77.1, 90, 90), lambda ra, dec: (ra >= 0) & (dec == 90)),
    ],
)
def test_boxes_of_note(sky: Any, box: Any, wanted: Any) -> None:
    connection, sources = sky
    statement = "SELECT array_agg(source_id) FROM api.box_search(%s, %s, %s, %s)"
    inside = found_by(connection, sources, statement, box)
    assert inside.any()
    np.testing.assert_array_equal(inside, wanted(sources.ra, sources.dec))


def test_ellipses_are_those_of_brute_force(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(32)
    ra, dec = regions(rng, N_ELLIPSE)
    major = 10 ** rng.uniform(0.3, np.log10(324000), N_ELLIPSE)
    minor = major * 10 ** rng.uniform(-2, 0, N_ELLIPSE)
    minor[::10] = major[::10]
    major[-3:] = 324000.0
    angle = rng.uniform(-400, 400, N_ELLIPSE)
    n_found = n_left_out = 0
    for i in range(N_ELLIPSE):
        ellipse = [float(x) for x in (ra[i] + 360 * rng.integers(-1, 2), dec[i], major[i], minor[i], angle[i])]
        inside = found_by(
            connection, sources, "SELECT array_agg(source_id) FROM api.ellipse_search(%s, %s, %s, %s, %s)", ellipse
        )
        where = np.radians(ra[i]), np.radians(dec[i]), np.radians(sources.ra), np.radians(sources.dec)
        separation = np.degrees(angular_separation(*where)) * 3600
        turned = position_angle(*where).to_value("rad") - np.radians(angle[i])
        norm = np.hypot(separation * np.cos(turned) / major[i], separation * np.sin(turned) / minor[i])
        wrong = np.flatnonzero(inside != (norm <= 1))
        # Rounding decides within 1e-8 arcsec of the edge, and within 1e-13 of the position angle.
        assert np.all(np.abs(norm[wrong] - 1) <= 1e-8 / minor[i] + 1e-12 * major[i] / minor[i]), ellipse
        n_found += np.count_nonzero(inside)
        n_left_out += np.count_nonzero((separation <= major[i]) & ~inside)
    assert n_found > N_ELLIPSE * 30
    assert n_left_out > N_ELLIPSE * 30


def test_position_angles_run_from_north_through_east(sky: Any) -> None:
    connection, _ = sky
    row = connection.execute(
        "SELECT api.within_ellipse(150.02, 2, 150, 2, 90, 10, 90), api.within_ellipse(150, 2.02, 150, 2, 90, 10, 0), "
        "api.within_ellipse(150.014, 2.014, 150, 2, 90, 10, 45), "
        "api.within_ellipse(150.014, 1.986, 150, 2, 90, 10, 45), "
        "api.within_ellipse(150, 2.02, 150, 2, 90, 0, 0), api.within_ellipse(150, 2, 150, 2, 0, 0, 0)"
    ).fetchone()
    assert row == (True, True, True, False, True, True)


def test_many_cones_are_single_cones(sky: Any) -> None:
    connection, _ = sky
    ra, dec = (x.tolist() for x in regions(np.random.default_rng(33), 60))
    for radius in (20.0, 600.0, 36000.0):
        rows = connection.execute("SELECT * FROM api.cone_search_many(%s, %s, %s)", [ra, dec, radius]).fetchall()
        single = [
            (i + 1, *row)
            for i in range(len(ra))
            for row in connection.execute("SELECT * FROM api.cone_search(%s, %s, %s)", [ra[i], dec[i], radius])
        ]
        assert sorted(rows) == sorted(single)
        assert len({row[0] for row in rows}) > 20
    few = connection.execute(
        "SELECT cone, release FROM api.cone_search_many(ARRAY[0, NULL, 0], ARRAY[90, 90, -90], 7200, 'left')"
    ).fetchall()
    assert {row[0] for row in few} == {1, 3}
    assert {row[1] for row in few} == {"left"}


def test_columns_are_those_of_cone_search(sky: Any) -> None:
    connection, _ = sky

    def columns(call: str) -> list[str]:
        return [c.name for c in connection.execute(f"SELECT * FROM api.{call} LIMIT 0".encode()).description]  # noqa: S608

    assert columns("box_search(1, 2, 1, 2)") == ALL_COLUMNS
    assert columns("polygon_search('{1,1,2,1,2,2}')") == ALL_COLUMNS
    assert columns("ellipse_search(1, 2, 2, 1, 0)") == [*ALL_COLUMNS, "separation_arcsec"]
    assert columns("cone_search_many('{1}', '{1}', 2)") == ["cone", *ALL_COLUMNS, "separation_arcsec"]


@pytest.mark.parametrize(
    "call",
    ["box_search(0, 360, 80, 90, {})", "ellipse_search(0, 90, 9000, 8000, 0, {})",
     "polygon_search('{{0,80,120,80,240,80}}', {})", "cone_search_many('{{0}}', '{{90}}', 9000, {})"],
)  # fmt: skip
def test_release_is_a_filter_and_an_unknown_one_an_error(sky: Any, call: str) -> None:
    connection, _ = sky
    both, left = (
        connection.execute(f"SELECT release FROM api.{call.format(name)}".encode()).fetchall()  # noqa: S608
        for name in ("NULL", "'left'")
    )
    assert {row[0] for row in both} == {"left", "right"}
    assert left == [("left",)] * both.count(("left",))
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='no release "lefd"'):
        connection.execute(f"SELECT * FROM api.{call.format(chr(39) + 'lefd' + chr(39))}".encode())  # noqa: S608


@pytest.mark.parametrize(
    "call",
    ["box_search(NULL, 1, 0, 1)", "box_search(0, NULL, 0, 1)", "box_search(0, 1, NULL, 1)", "box_search(0, 1, 0, NULL)",
     "ellipse_search(NULL, 0, 9, 9, 0)", "ellipse_search(0, NULL, 9, 9, 0)", "ellipse_search(0, 0, NULL, 9, 0)",
     "ellipse_search(0, 0, 9, NULL, 0)", "ellipse_search(0, 0, 9, 9, NULL)", "polygon_search(NULL)",
     "cone_search_many(NULL, '{1}', 9)", "cone_search_many('{1}', NULL, 9)", "cone_search_many('{1}', '{1}', NULL)"],
)  # fmt: skip
def test_null_gives_no_rows(sky: Any, call: str) -> None:
    connection, _ = sky
    assert connection.execute(f"SELECT * FROM api.{call}".encode()).fetchall() == []  # noqa: S608


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("box_search(0, 1, -91, 1)", "declination -91 deg"),
        ("box_search(0, 1, 0, 'NaN')", "declination NaN deg"),
        ("box_search('NaN', 1, 0, 1)", "right ascension NaN deg"),
        ("box_search(0, 'Infinity', 0, 1)", "right ascension Infinity deg"),
        ("box_search(0, 1, 2, 1)", "ends at declination 1 deg, south of its start at 2 deg"),
        ("ellipse_search(0, 91, 2, 1, 0)", "declination 91 deg"),
        ("ellipse_search(0, 0, -2, -2, 0)", "semi-major axis -2 arcsec"),
        ("ellipse_search(0, 0, 'NaN', 1, 0)", "semi-major axis NaN arcsec"),
        ("ellipse_search(0, 0, 324001, 1, 0)", "semi-major axis 324001 arcsec"),
        ("ellipse_search(0, 0, 2, -1, 0)", "semi-minor axis -1 arcsec"),
        ("ellipse_search(0, 0, 2, 3, 0)", r"semi-minor axis 3 arcsec is outside \[0, 2 "),
        ("ellipse_search(0, 0, 2, 'NaN', 0)", "semi-minor axis NaN arcsec"),
        ("ellipse_search(0, 0, 2, 1, 'NaN')", "position angle NaN deg"),
        ("cone_search_many('{1,2}', '{1}', 9)", "2 right ascensions and 1 declinations"),
        ("cone_search_many('{1,2}', '{1,91}', 9)", "declination 91 deg"),
        ("cone_search_many('{1,2}', '{1,2}', -1)", "radius -1 arcsec"),
    ],
)
def test_wrong_arguments_are_named(sky: Any, call: str, message: str) -> None:
    connection, _ = sky
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as caught:
        connection.execute(f"SELECT * FROM api.{call}".encode())  # noqa: S608
    assert caught.value.diag.message_hint
