"""Crossmatches of releases against astropy, on real samples and at the awkward places of the sky."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky

from galbase.ingest import crossmatch as crossmatch_module
from galbase.ingest.catalogue import load_sources
from galbase.ingest.crossmatch import CrossmatchOptions
from galbase.ingest.crossmatch_job import repeat_crossmatches, run_crossmatch
from galbase.ingest.duplicates import flag_duplicates
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.releases import add_release, drop_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.schema.errors import GalbaseError, UsageError
from tests.ingest.matching import crossmatch

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
        "AND c.state = 'done' ORDER BY 1, 4",
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
def test_pairs_equal_astropy_everywhere(archive: Any, connection: Connection, radius_arcsec: float) -> None:
    left, right = f"left-{radius_arcsec}", f"right-{radius_arcsec}"
    positions = [awkward(1), awkward(2)]
    ids = [sources(connection, name, *p) for name, p in zip((left, right), positions, strict=True)]
    report = crossmatch(archive.config, left, right, radius_arcsec)
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


def test_real_images_find_their_spectra(archive: Any, connection: Connection, test_data: Path) -> None:
    images, _ = add_release(connection, "pairs-images", survey="SDSS")
    spectra, _ = add_release(connection, "pairs-spectra", survey="SDSS")
    folder = test_data / "sdss-pairs"
    ingest_images(connection, images, [folder / "images"], ImageOptions(position_from_name=True))
    ingest_spectra(connection, spectra, [folder / "spectra"])
    report = crossmatch(archive.config, "pairs-images", "pairs-spectra", 0.1)
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


def test_openngc_and_sga(archive: Any, connection: Connection, test_data: Path) -> None:
    import pyarrow.parquet as parquet

    ngc = parquet.read_table(test_data / "catalogues" / "openngc.parquet").to_pydict()
    sga = parquet.read_table(test_data / "catalogues" / "sga2020_ngc.parquet").to_pydict()
    ra, dec = (np.degrees(np.array(ngc[name], float)) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    assert (~known).sum() == 7
    sources(connection, "openngc", ra[known], dec[known])
    sources(connection, "sga", np.array(sga["RAJ2000"], float), np.array(sga["DEJ2000"], float))
    report = crossmatch(archive.config, "sga", "openngc", 5.0)
    assert (report.n_left, report.n_right, report.n_matched) == (4221, 14026, 4121)


def test_a_new_crossmatch_replaces_the_old(archive: Any, connection: Connection) -> None:
    ra, dec = np.array([10.0, 20.0]), np.array([5.0, 5.0])
    sources(connection, "old", ra, dec)
    sources(connection, "new", ra, dec + np.array([1, 8]) / 3600)
    assert crossmatch(archive.config, "old", "new", 10).n_pair == 2
    assert crossmatch(archive.config, "old", "new", 2).n_pair == 1
    assert len(stored(connection, "old", "new")) == 1
    runs = connection.execute(
        "SELECT radius_arcsec, n_pair, c.state FROM archive.crossmatch_run c JOIN archive.data_release r "
        "ON r.release_id = c.left_release_id WHERE r.release = 'old'"
    ).fetchall()
    assert runs == [(2.0, 1, "done")]
    sources(connection, "new", ra, dec)
    repeated = {(report.left, report.right): report for report in repeat_crossmatches(archive.config)}
    assert repeated["old", "new"].n_pair == 2
    assert repeated["old", "new"].options.radius_arcsec == 2


def scattered(connection: Connection, left: str, right: str, n: int = 400) -> tuple[Array, Array]:
    """Two releases all over the sky, each left source with one to three right ones within 3 arcsec."""
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    near = np.repeat(np.arange(n), rng.integers(1, 4, n))
    moved = SkyCoord(ra[near], dec[near], unit="deg").directional_offset_by(
        rng.uniform(0, 360, len(near)) * units.deg, rng.uniform(0.1, 3, len(near)) * units.arcsec
    )
    ids = sources(connection, left, ra, dec), sources(connection, right, np.mod(moved.ra.deg, 360), moved.dec.deg)
    return ids


@pytest.mark.parametrize(
    "options",
    [{}, {"min_radius_arcsec": 1.0}, {"nearest": 2}, {"mutual_best": True}, {"min_radius_arcsec": 0.5, "nearest": 1}],
)
def test_units_of_sky_store_what_one_query_finds(
    archive: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    left, right = ("-".join([side, *options]) for side in ("left", "right"))
    scattered(connection, left, right)
    monkeypatch.setattr(crossmatch_module, "UNIT_SOURCES", 40)
    report = run_crossmatch(archive.config, left, right, CrossmatchOptions(2.5, **options), workers=2)
    assert report.n_unit == 10
    expected = connection.execute(
        "SELECT * FROM api.crossmatch(%s, %s, 2.5, min_radius_arcsec => %s, nearest => %s, mutual_best => %s) "
        "ORDER BY 1, 4",
        (left, right, options.get("min_radius_arcsec", 0.0), options.get("nearest"), "mutual_best" in options),
    ).fetchall()
    rows = stored(connection, left, right)
    assert [row[:2] + row[3:] for row in rows] == [row[:2] + row[3:] for row in expected]
    np.testing.assert_allclose([row[2] for row in rows], [row[2] for row in expected], rtol=1e-12)
    assert (report.n_pair, report.n_matched) == (len(rows), len({row[0] for row in rows}))
    assert 200 < len(rows) < 900


def test_an_interrupted_crossmatch_goes_on(fresh_archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third unit fails; the earlier crossmatch stays until the same call has done the rest."""
    config = fresh_archive.config
    with fresh_archive.connect(autocommit=True) as connection:
        scattered(connection, "a", "b")
        crossmatch(config, "a", "b", 0.5)
        before = stored(connection, "a", "b")
        monkeypatch.setattr(crossmatch_module, "UNIT_SOURCES", 40)
        connection.execute(
            "CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF (SELECT count(*) FROM archive.work_unit WHERE state = 'done' AND run_id = (SELECT max(run_id) "
            "FROM archive.run)) >= 2 THEN RAISE EXCEPTION 'stopped'; END IF; RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER stop BEFORE INSERT ON archive.crossmatch EXECUTE FUNCTION public.stop()")
        with pytest.raises(psycopg.errors.RaiseException, match="stopped"):
            crossmatch(config, "a", "b", 2.5)
        connection.execute("DROP TRIGGER stop ON archive.crossmatch")
        assert stored(connection, "a", "b") == before
        report = crossmatch(config, "a", "b", 2.5)
        assert (report.n_unit_before, report.n_unit) == (2, 8)
        rows = stored(connection, "a", "b")
        assert len(rows) == report.n_pair > len(before)
        assert len(rows) == len(connection.execute("SELECT FROM api.crossmatch('a', 'b', 2.5)").fetchall())
        # Other options, or other positions, begin anew.
        connection.execute("UPDATE archive.crossmatch_run SET state = 'running'")
        sources(connection, "b", np.array([1.0]), np.array([1.0]))
        report = crossmatch(config, "a", "b", 2.5)
        assert (report.n_unit_before, report.n_unit) == (0, 10)
        assert connection.execute("SELECT count(*) FROM archive.crossmatch_run").fetchone() == (1,)


def test_two_processes_do_not_match_the_same_releases(archive: Any, connection: Connection) -> None:
    sources(connection, "busy-a", np.array([1.0]), np.array([1.0]))
    sources(connection, "busy-b", np.array([1.0]), np.array([1.0]))
    connection.execute("SELECT pg_advisory_lock(hashtextextended('galbase crossmatch busy-a busy-b', 0))")
    with pytest.raises(GalbaseError, match="being crossmatched by another process"):
        crossmatch(archive.config, "busy-a", "busy-b", 1)
    connection.execute("SELECT pg_advisory_unlock_all()")
    assert crossmatch(archive.config, "busy-a", "busy-b", 1).n_pair == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"radius_arcsec": value}, "out of range") for value in (-1.0, float("nan"), float("inf"), 648001.0)),
        ({"radius_arcsec": 1, "min_radius_arcsec": 2}, "smallest radius 2 arcsec"),
        ({"radius_arcsec": 1, "min_radius_arcsec": float("nan")}, "smallest radius nan"),
        ({"radius_arcsec": 1, "nearest": 0}, "nearest is 0"),
        ({"radius_arcsec": 1, "epoch": 20160.0}, "epoch 20160.0 is no year"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CrossmatchOptions(**options)


def test_unknown_and_equal_releases(archive: Any, connection: Connection) -> None:
    with pytest.raises(GalbaseError, match="no release 'nowhere'"):
        crossmatch(archive.config, "nowhere", "elsewhere", 1)
    with pytest.raises(UsageError, match="with itself"):
        crossmatch(archive.config, "a", "a", 1)
    sources(connection, "still-a", np.array([1.0]), np.array([1.0]))
    sources(connection, "still-b", np.array([1.0]), np.array([1.0]))
    with pytest.raises(UsageError, match="neither still-a nor still-b has proper motions"):
        crossmatch(archive.config, "still-a", "still-b", 1, epoch=2016.0)


def test_a_dropped_release_takes_an_unfinished_crossmatch_along(connection: Connection) -> None:
    made = [sources(connection, name, np.array([1.0]), np.array([1.0])) for name in ("gone-a", "gone-b")]
    assert len(made) == 2
    row = connection.execute(
        "INSERT INTO archive.crossmatch_run (left_release_id, right_release_id, radius_arcsec, n_pair, state) "
        "SELECT l.release_id, r.release_id, 1, 0, 'running' FROM archive.data_release l, archive.data_release r "
        "WHERE l.release = 'gone-a' AND r.release = 'gone-b' RETURNING crossmatch_run_id"
    ).fetchone()
    assert row is not None
    table = f"archive.crossmatch_position_{row[0]}"
    connection.execute(f"CREATE TABLE {table} (source_id bigint)".encode())
    drop_release(connection, "gone-b")
    assert connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,)


def chain(connection: Connection, name: str) -> Array:
    """Three sources 0.8 arcsec apart in a row, two at one place, and one alone."""
    ra = np.full(6, 100.0)
    return sources(connection, name, ra, np.array([0, 0.8, 1.6, 50, 50, 90]) / 3600)


def flagged(connection: Connection, name: str) -> set[int]:
    rows = connection.execute(
        "SELECT source_id FROM archive.source JOIN archive.data_release USING (release_id) WHERE release = %s "
        "AND 'DUPLICATE' = ANY (api.flag_names('source', flag))",
        (name,),
    )
    return {int(row[0]) for row in rows}


def test_all_but_one_of_a_group_are_flagged(connection: Connection) -> None:
    ids = chain(connection, "repeats").tolist()
    report = flag_duplicates(connection, "repeats", 1.0)
    assert (report.n_source, report.n_group, report.n_duplicate, report.n_changed) == (6, 2, 3, 3)
    kept = {min(ids[:3]), min(ids[3:5]), ids[5]}
    assert flagged(connection, "repeats") == set(ids) - kept
    assert flag_duplicates(connection, "repeats", 1.0).n_changed == 0
    # Loading the same rows again keeps the flags and writes nothing.
    chain(connection, "repeats")
    assert flagged(connection, "repeats") == set(ids) - kept
    # A smaller radius takes flags back.
    report = flag_duplicates(connection, "repeats", 0.1)
    assert (report.n_group, report.n_duplicate, report.n_changed) == (1, 1, 2)
    with pytest.raises(UsageError, match="no column of numbers 'quality'"):
        flag_duplicates(connection, "repeats", 1.0, keep="quality")
    with pytest.raises(UsageError, match="out of range"):
        flag_duplicates(connection, "repeats", -1.0)


def test_the_best_of_a_group_is_kept(connection: Connection) -> None:
    ids = chain(connection, "ranked").tolist()
    connection.execute("CREATE TABLE catalogue.ranked (source_id bigint PRIMARY KEY, quality real)")
    values = [1.0, 3.0, 2.0, None, float("nan"), 0.0]
    for source_id, value in zip(ids, values, strict=True):
        connection.execute("INSERT INTO catalogue.ranked VALUES (%s, %s)", (source_id, value))
    flag_duplicates(connection, "ranked", 1.0, keep="quality")
    assert flagged(connection, "ranked") >= {ids[0], ids[2]}
    assert not flagged(connection, "ranked") & {ids[1], ids[5]}
    flag_duplicates(connection, "ranked", 1.0, keep="quality", highest=False)
    assert flagged(connection, "ranked") >= {ids[1], ids[2]}
    connection.execute("DROP TABLE catalogue.ranked")
