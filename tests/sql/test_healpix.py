"""HEALPix in SQL against healpy."""

from __future__ import annotations

from typing import Any

import healpy
import numpy as np
import psycopg
import pytest

from tests.sql.conftest import awkward_positions

BORDER_MARGIN = 1e-14


def positions(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(-360, 720, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    hard_ra, hard_dec = awkward_positions()
    polar = 90 - 10 ** rng.uniform(-12, 0, 500)
    return (
        np.concatenate([ra, hard_ra, rng.uniform(0, 360, 1000), rng.integers(0, 8, 500) * 45.0]),
        np.concatenate([dec, hard_dec, polar, -polar, rng.uniform(-90, 90, 500)]),
    )


@pytest.mark.parametrize("order", range(30))
def test_healpix_agrees_with_healpy(sky: Any, order: int) -> None:
    connection, _ = sky
    ra, dec = positions(2000)
    got = connection.execute(
        "SELECT array_agg(api.healpix(r, d, %s) ORDER BY o) "
        "FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY u (r, d, o)",
        (order, ra.tolist(), dec.tolist()),
    ).fetchone()[0]
    wanted = healpy.ang2pix(1 << order, np.mod(ra, 360.0), dec, nest=True, lonlat=True)
    different = np.flatnonzero(np.asarray(got) != wanted)
    # A position on the very border of two base pixels may fall to either, by the last bit of a right ascension taken
    # modulo 360; such positions are the only ones that may differ.
    edge = np.mod(ra, 45.0)
    assert np.all((edge[different] < 1e-12) | (edge[different] > 45 - 1e-12))
    assert len(different) <= 2


@pytest.mark.parametrize("order", [0, 1, 5, 12, 20, 29])
def test_center_and_neighbours_agree_with_healpy(sky: Any, order: int) -> None:
    connection, _ = sky
    rng = np.random.default_rng(order)
    n_pixel = 12 * 4**order
    edge = (1 << order) - 1
    pixels = np.unique(
        np.concatenate([rng.integers(0, n_pixel, 300), np.arange(12) * 4**order, np.arange(1, 13) * 4**order - 1])
    )
    rows = connection.execute(
        "SELECT c.ra_deg, c.dec_deg, api.healpix_neighbours(p, %s), f.face, f.ix, f.iy "
        "FROM unnest(%s::bigint[]) WITH ORDINALITY u (p, o), api.healpix_center(p, %s) c, api.healpix_face(p, %s) f "
        "ORDER BY o",
        (order, pixels.tolist(), order, order),
    ).fetchall()
    ra, dec = healpy.pix2ang(1 << order, pixels, nest=True, lonlat=True)
    np.testing.assert_allclose([row[0] for row in rows], ra, rtol=0, atol=1e-12)
    np.testing.assert_allclose([row[1] for row in rows], dec, rtol=0, atol=1e-12)
    around = healpy.get_all_neighbours(1 << order, pixels, nest=True).T
    assert [row[2] for row in rows] == [[int(p) for p in row if p >= 0] for row in around]
    x, y, face = healpy.pix2xyf(1 << order, pixels, nest=True)
    assert [row[3:] for row in rows] == list(zip(face.tolist(), x.tolist(), y.tolist(), strict=True))
    assert max(row[4] for row in rows) == edge


def test_disc_lies_in_pixel_and_neighbours() -> None:
    """The bounds that covers rest on: 0.67 / 2^order around any point, 1.08 / 2^order from any centre."""
    rng = np.random.default_rng(3)
    for order in (1, 2, 4, 8, 12):
        nside = 1 << order
        assert healpy.max_pixrad(nside) <= 1.08 / nside
        ra, dec = rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
        ra[:8000], dec[:8000] = rng.integers(0, 9, 8000) * 45 % 360, np.repeat([41.81, -41.81, 89.0, 0.0], 2000)
        azimuth, radius = rng.uniform(0, 2 * np.pi, 20_000), 0.67 / nside
        lat = np.radians(dec)
        to_lat = np.arcsin(np.sin(lat) * np.cos(radius) + np.cos(lat) * np.sin(radius) * np.cos(azimuth))
        turned = np.arctan2(
            np.sin(azimuth) * np.sin(radius) * np.cos(lat), np.cos(radius) - np.sin(lat) * np.sin(to_lat)
        )
        own = healpy.ang2pix(nside, ra, dec, nest=True, lonlat=True)
        there = healpy.ang2pix(nside, ra + np.degrees(turned), np.degrees(to_lat), nest=True, lonlat=True)
        around = healpy.get_all_neighbours(nside, own, nest=True)
        assert np.all((there == own) | (there == around).any(axis=0))


def test_cone_ranges_hold_the_disc_and_little_else(sky: Any) -> None:
    connection, sources = sky
    rng = np.random.default_rng(9)
    for radius in (0.0, 0.5, 30.0, 61.0, 3600.0, 90 * 3600.0, 179 * 3600.0, 648000.0):
        ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        rows = connection.execute("SELECT * FROM api.healpix_cone(%s, %s, %s)", (ra, dec, radius)).fetchall()
        starts, stops = [row[0] for row in rows], [row[1] for row in rows]
        assert starts == sorted(starts)
        assert all(start < stop for start, stop in zip(starts, stops, strict=True))
        assert all(stop <= start for stop, start in zip(stops[:-1], starts[1:], strict=True))
        if radius >= 3600:
            covered = sum(stop - start for start, stop in zip(starts, stops, strict=True)) / (12 * 4**29)
            assert covered <= 2.2 * np.sin(np.radians(radius / 7200)) ** 2 + 1e-12
        assert len(sources.ra) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("api.healpix(10, 91, 12)", r"declination 91 deg is outside \[-90, 90\]"),
        ("api.healpix(10, 'NaN', 12)", "declination NaN deg"),
        ("api.healpix('NaN', 1, 12)", "right ascension NaN deg is not finite"),
        ("api.healpix('Infinity', 1, 12)", "right ascension Infinity deg is not finite"),
        ("api.healpix(1, 1, 30)", r"order 30 is outside \[0, 29\]"),
        ("api.healpix(1, 1, -1)", "order -1 is outside"),
        ("api.healpix_center(12, 0)", "no HEALPix pixel 12 of order 0"),
        ("api.healpix_neighbours(-1, 3)", "no HEALPix pixel -1 of order 3"),
        ("api.healpix_disc_cells(1, 1, 108000, 12)", "too large for HEALPix order 12"),
    ],
)
def test_wrong_arguments_are_named(sky: Any, call: str, message: str) -> None:
    connection, _ = sky
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
        connection.execute(f"SELECT {call}".encode())


def test_null_gives_null(sky: Any) -> None:
    connection, _ = sky
    row = connection.execute(
        "SELECT api.healpix(NULL, 1, 3), api.healpix_neighbours(NULL, 3), api.separation_arcsec(1, 2, NULL, 3)"
    ).fetchone()
    assert row == (None, None, None)
