"""api.healpix_disc_cells holds every point of a disc, wherever base pixels meet, and little else."""

from __future__ import annotations

from typing import Any

import healpy
import numpy as np
import numpy.typing as npt

from tests.sql.conftest import MANY, awkward_positions

N_DISC = 1500 * MANY
N_POINT = 300
FloatArray = npt.NDArray[np.float64]


def centres(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A third anywhere, a third on sides of base pixels or within half a radian of them, a third at awkward places."""
    ra, dec = rng.uniform(0, 360, N_DISC), np.degrees(np.arcsin(rng.uniform(-1, 1, N_DISC)))
    third = N_DISC // 3
    sides = healpy.boundaries(1, np.arange(12), step=300, nest=True).transpose(0, 2, 1).reshape(-1, 3)
    near = sides[rng.integers(0, len(sides), third)]
    near = near + rng.normal(size=(third, 3)) * (10 ** rng.uniform(-7, -0.3, third))[:, None]
    ra[:third], dec[:third] = healpy.vec2ang(near, lonlat=True)
    hard_ra, hard_dec = awkward_positions()
    pick = rng.integers(0, len(hard_ra), third)
    ra[third : 2 * third], dec[third : 2 * third] = hard_ra[pick], hard_dec[pick]
    return ra, dec


def points(rng: np.random.Generator, ra: float, dec: float, radius: float) -> tuple[FloatArray, FloatArray]:
    """Points of a disc (radius in radians), half of them on its rim."""
    distance = radius * np.sqrt(rng.uniform(0, 1, N_POINT))
    distance[: N_POINT // 2] = radius
    azimuth = rng.uniform(0, 2 * np.pi, N_POINT)
    lon, lat = np.radians(ra), np.radians(dec)
    centre = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    tangent = np.cos(azimuth)[:, None] * east + np.sin(azimuth)[:, None] * np.cross(centre, east)
    vector = np.cos(distance)[:, None] * centre + np.sin(distance)[:, None] * tangent
    lon, lat = healpy.vec2ang(vector, lonlat=True)
    return lon, lat


def test_cells_hold_all_of_the_disc(sky: Any) -> None:
    connection, _ = sky
    rng = np.random.default_rng(12)
    found = {True: [0, 0], False: [0, 0]}
    for ra, dec in zip(*centres(rng), strict=True):
        order = int(rng.integers(0, 21))
        radius = min(10 ** rng.uniform(-9, 1.0) / 2**order, 0.58)
        if rng.random() < 0.05:
            order, radius = int(rng.integers(0, 6)), rng.uniform(0.3, np.pi)
        (cells,) = connection.execute(
            "SELECT api.healpix_disc_cells(%s, %s, %s, %s)",
            (float(ra) + rng.choice([-360, 0, 360]), float(dec), float(np.degrees(radius) * 3600), order),
        ).fetchone()
        assert len(set(cells)) == len(cells)
        lon, lat = points(rng, ra, dec, radius)
        there = healpy.ang2pix(1 << order, lon, lat, nest=True, lonlat=True)
        assert set(there.tolist()) <= set(cells), (ra, dec, radius, order)
        if radius < 0.5 and order < 15:
            centre = healpy.ang2vec(ra, dec, lonlat=True)
            needed = healpy.query_disc(1 << order, centre, radius, inclusive=True, fact=8, nest=True)
            # Ellipses to order 10, except near sides of base pixels in the caps; squares beyond.
            found[order <= 10 and abs(dec) < 41][0] += len(cells)
            found[order <= 10 and abs(dec) < 41][1] += len(needed)
    assert found[True][0] < 1.1 * found[True][1]
    assert found[False][0] < 2.1 * found[False][1]
