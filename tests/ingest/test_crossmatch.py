"""Crossmatches of releases against astropy, on real samples and at the awkward places of the sky."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky

from galbase.ingest.catalogue import load_sources
from galbase.ingest.crossmatch import crossmatch, repeat_crossmatches
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.releases import add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.schema.errors import GalbaseError, UsageError

Connection = psycopg.Connection[Any]
Array = np.ndarray[Any, Any]


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def sources(connection: Connection, name: str, ra: Array, dec: Array) -> Array:
    made, _ = add_release(connection, name, survey="test")
    natives = [str(i) for i in range(len(ra))]
    with connection.transaction():
        ids = load_sources(connection, made.release_id, name, natives, ra, dec, None, None)
    return np.asarray(ids)


def stored(connection: Connection, left: str, right: str) -> list[tuple[int, int, float, int, int]]:
    return connection.execute(
        "SELECT left_source_id, right_source_id, separation_arcsec, rank, n_within FROM archive.crossmatch "
        "JOIN archive.crossmatch_run c USING (crossmatch_run_id) "
        "JOIN archive.data_release l ON l.release_id = c.left_release_id "
        "JOIN archive.data_release r ON r.release_id = c.right_release_id WHERE l.release = %s AND r.release = %s "
        "ORDER BY 1, 4",
        (left, right),
    ).fetchall()


def awkward(seed: int) -> tuple[Array, Array]:
    """Positions around both poles, RA 0 and the corners of base pixels, each with near and far neighbours."""
    rng = np.random.default_rng(seed)
    centres = [(0, 90), (0, -90), (0, 0), (359.9999, 10), (45, 0), (90, 41.8103149), (180, -41.8103149), (270, 0)]
    ra, dec = (np.repeat(np.array(values, float), 60) for values in zip(*centres, strict=True))
    scatter = rng.uniform(0, 40, len(ra)) * rng.choice([0.01, 1], len(ra))
    moved = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, len(ra)) * units.deg, scatter * units.arcsec
    )
    return np.mod(moved.ra.deg, 360), moved.dec.deg


@pytest.mark.parametrize("radius_arcsec", [0.5, 20.0])
def test_pairs_equal_astropy_everywhere(connection: Connection, radius_arcsec: float) -> None:
    left, right = f"left-{radius_arcsec}", f"right-{radius_arcsec}"
    positions = [awkward(1), awkward(2)]
    ids = [sources(connection, name, *p) for name, p in zip((left, right), positions, strict=True)]
    report = crossmatch(connection, left, right, radius_arcsec)
    i, j, apart, _ = search_around_sky(
        SkyCoord(*positions[0], unit="deg"), SkyCoord(*positions[1], unit="deg"), radius_arcsec * units.arcsec
    )
    expected = {(int(ids[0][a]), int(ids[1][b])): s for a, b, s in zip(i, j, apart.arcsec, strict=True)}
    rows = stored(connection, left, right)
    assert {row[:2] for row in rows} == set(expected)
    assert len(rows) == len(expected) > 100
    np.testing.assert_allclose([row[2] for row in rows], [expected[row[:2]] for row in rows], atol=1e-6)
    for source in {row[0] for row in rows}:
        of_source = [row for row in rows if row[0] == source]
        assert [row[3] for row in of_source] == list(range(1, len(of_source) + 1))
        assert [row[2] for row in of_source] == sorted(row[2] for row in of_source)
        assert {row[4] for row in of_source} == {len(of_source)}
    matched = len({row[0] for row in rows})
    assert (report.n_left, report.n_right, report.n_pair, report.n_matched) == (480, 480, len(rows), matched)


def test_real_images_find_their_spectra(connection: Connection, test_data: Path) -> None:
    images, _ = add_release(connection, "pairs-images", survey="SDSS")
    spectra, _ = add_release(connection, "pairs-spectra", survey="SDSS")
    folder = test_data / "sdss-pairs"
    ingest_images(connection, images, [folder / "images"], ImageOptions(position_from_name=True))
    ingest_spectra(connection, spectra, [folder / "spectra"])
    report = crossmatch(connection, "pairs-images", "pairs-spectra", 0.1)
    assert (report.n_left, report.n_right, report.n_pair, report.n_matched) == (4, 4, 4, 4)
    redshifts = connection.execute(
        "SELECT l.native_id, round(z::numeric, 4)::float8 FROM archive.crossmatch c "
        "JOIN archive.source l ON l.source_id = c.left_source_id "
        "JOIN archive.observation o ON o.source_id = c.right_source_id JOIN archive.spectrum USING (observation_id) "
        "JOIN archive.crossmatch_run USING (crossmatch_run_id) WHERE left_release_id = %s ORDER BY 1",
        (images.release_id,),
    ).fetchall()
    assert redshifts == [
        ("225.3958_41.02205.jpg", 0.169), ("3.468576_-0.3967.jpg", 0.0848), ("4.891205_0.062894.jpg", 0.2099),
        ("5.79056_-0.60395.jpg", 0.0852),
    ]  # fmt: skip


def test_openngc_and_sga(connection: Connection, test_data: Path) -> None:
    import pyarrow.parquet as parquet

    ngc = parquet.read_table(test_data / "catalogues" / "openngc.parquet").to_pydict()
    sga = parquet.read_table(test_data / "catalogues" / "sga2020_ngc.parquet").to_pydict()
    ra, dec = (np.degrees(np.array(ngc[name], float)) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    assert (~known).sum() == 7
    sources(connection, "openngc", ra[known], dec[known])
    sources(connection, "sga", np.array(sga["RAJ2000"], float), np.array(sga["DEJ2000"], float))
    report = crossmatch(connection, "sga", "openngc", 5.0)
    assert (report.n_left, report.n_right, report.n_matched) == (4221, 14026, 4121)


def test_a_new_crossmatch_replaces_the_old(connection: Connection) -> None:
    ra, dec = np.array([10.0, 20.0]), np.array([5.0, 5.0])
    sources(connection, "old", ra, dec)
    sources(connection, "new", ra, dec + np.array([1, 8]) / 3600)
    assert crossmatch(connection, "old", "new", 10).n_pair == 2
    assert crossmatch(connection, "old", "new", 2).n_pair == 1
    assert len(stored(connection, "old", "new")) == 1
    runs = connection.execute(
        "SELECT radius_arcsec, n_pair FROM archive.crossmatch_run c JOIN archive.data_release r "
        "ON r.release_id = c.left_release_id WHERE r.release = 'old'"
    ).fetchall()
    assert runs == [(2.0, 1)]
    sources(connection, "new", ra, dec)
    repeated = {(report.left, report.right): report for report in repeat_crossmatches(connection)}
    assert repeated["old", "new"].n_pair == 2
    assert repeated["old", "new"].radius_arcsec == 2


def test_a_failed_crossmatch_leaves_the_old_one(fresh_archive: Any) -> None:
    connection = fresh_archive.connect(autocommit=True)
    sources(connection, "kept-a", np.array([10.0]), np.array([5.0]))
    sources(connection, "kept-b", np.array([10.0]), np.array([5.0]))
    crossmatch(connection, "kept-a", "kept-b", 1)
    connection.execute("DROP FUNCTION api.crossmatch_pairs(bigint, bigint, double precision) CASCADE")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        crossmatch(connection, "kept-a", "kept-b", 2)
    assert len(stored(connection, "kept-a", "kept-b")) == 1
    connection.close()


@pytest.mark.parametrize("radius", [-1.0, float("nan"), float("inf"), 648001.0])
def test_impossible_radii(connection: Connection, radius: float) -> None:
    with pytest.raises(UsageError, match="out of range"):
        crossmatch(connection, "a", "b", radius)


def test_unknown_and_equal_releases(connection: Connection) -> None:
    with pytest.raises(GalbaseError, match="no release 'nowhere'"):
        crossmatch(connection, "nowhere", "elsewhere", 1)
    with pytest.raises(UsageError, match="with itself"):
        crossmatch(connection, "a", "a", 1)
