"""Sources to search: random ones over the sphere, and where searches go wrong; and an archive that serves values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import healpy
import numpy as np
import numpy.typing as npt
import psycopg
import pytest

from galbase.schema.bulk import copy_rows
from tests.sql.served_events import Events

# How often the random regions of a run of the suite are tried: `make sky-exact` takes 5.
MANY = int(os.environ.get("GALBASE_MANY", "1"))
N_SOURCE = 16_000
N_HARD = 4_000
FloatArray = npt.NDArray[np.float64]


def awkward_positions() -> tuple[FloatArray, FloatArray]:
    """Poles, RA 0 and 360, the corners of base pixels, the parallels where HEALPix changes its projection."""
    corner_ra, corner_dec = healpy.vec2ang(
        healpy.boundaries(1, np.arange(12), nest=True).transpose(0, 2, 1).reshape(-1, 3), lonlat=True
    )
    edge = np.degrees(np.arcsin(2 / 3))
    ra = [0.0, 90.0, 200.0, 0.0, 180.0, 0.0, 1e-9, 360 - 1e-9, 0.0, 45.0, 90.0, 22.5, 359.9999, 10.0, 10.0]
    dec = [90.0, 90.0, -90.0, 89.9999, 89.9999, 0.0, 10.0, -10.0, 45.0, 0.0, 0.0, 0.0, 0.0001, edge, -edge]
    return np.concatenate([ra, np.mod(corner_ra, 360.0)]), np.concatenate([dec, corner_dec])


def vectors(ra: FloatArray, dec: FloatArray) -> FloatArray:
    """Unit vectors (n, 3) of positions in degrees."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


@dataclass(frozen=True)
class Sky:
    """Positions of the sources in the database, in the order of their ids, which count from 1."""

    ra: FloatArray
    dec: FloatArray
    release: npt.NDArray[np.int64]

    @property
    def vec(self) -> FloatArray:
        """Unit vectors."""
        return vectors(self.ra, self.dec)


def fill_sky(connection: psycopg.Connection[Any], seed: int = 20) -> Sky:
    """Write two releases, `left` and `right`, with pairs and clusters, in sky order."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, N_SOURCE)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, N_SOURCE)))
    # A quarter of the sources lies within 3 arcsec to 3 arcmin of awkward positions, where covers and projections meet.
    hard_ra, hard_dec = awkward_positions()
    near = rng.integers(0, len(hard_ra), N_HARD)
    scatter = 10 ** rng.uniform(-4, -1.3, N_HARD)
    dec[:N_HARD] = hard_dec[near] + scatter * rng.normal(size=N_HARD)
    cos_dec = np.maximum(np.cos(np.radians(hard_dec[near])), 1e-3)
    ra[:N_HARD] = hard_ra[near] + scatter / cos_dec * rng.normal(size=N_HARD)
    over = np.abs(dec) > 90
    dec[over] = np.sign(dec[over]) * 180 - dec[over]
    ra[over] += 180
    ra = np.mod(ra, 360.0)
    ra[ra >= 360] = 0.0
    ra[: len(hard_ra)], dec[: len(hard_ra)] = hard_ra, hard_dec
    release = np.where(rng.random(N_SOURCE) < 0.5, 1, 2)
    hpx29 = healpy.ang2pix(1 << 29, ra, dec, nest=True, lonlat=True)
    connection.execute(
        "INSERT INTO archive.data_release (release_id, release, survey) OVERRIDING SYSTEM VALUE "
        "VALUES (1, 'left', 'test'), (2, 'right', 'test')"
    )
    copy_rows(
        connection,
        "archive",
        "source",
        ("source_id", "release_id", "native_id", "ra", "dec", "hpx29"),
        ((int(i) + 1, int(release[i]), str(i + 1), ra[i], dec[i], int(hpx29[i])) for i in np.argsort(hpx29)),
    )
    connection.execute("ANALYZE archive.source")
    return Sky(ra, dec, release)


@pytest.fixture(scope="module")
def sky(archive: Any) -> Any:
    """The archive's connection and its sources."""
    with archive.connect(autocommit=True) as connection:
        yield connection, fill_sky(connection)


@pytest.fixture
def events(fresh_archive: Any) -> Iterator[Events]:
    with fresh_archive.connect(autocommit=True) as connection:
        made = Events(connection, 7)
        made.fill()
        yield made
