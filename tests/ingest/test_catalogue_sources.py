"""Detections: ids kept, moved, settled; rows updated only where they differ."""

import numpy as np
import pytest

from galbase.ingest.catalogue import SourceCount, load_sources, load_sources_counted, load_survey_rows, wrap_ra
from galbase.ingest.releases import add_release
from galbase.schema import ids
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import hpx29


def sky(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


@pytest.fixture
def connection(archive):
    """A connection whose work is rolled back, with release 'r' in its transaction."""
    with archive.connect() as made:
        yield made
        made.rollback()


@pytest.fixture
def release(connection) -> int:
    return add_release(connection, "r", survey="s")[0].release_id


def test_ids_and_rows(connection, release) -> None:
    ra, dec = sky(300)
    names = [f"n{i}" for i in range(300)]
    found, count = load_sources_counted(connection, release, "r", names, ra, dec, np.arange(300) % 2, None)
    assert count == SourceCount(300, 0, 0, 0)
    assert (found >> 35 == hpx29(ra, dec) >> 34).all()
    rows = connection.execute("SELECT source_id, native_id, ra, dec, hpx29, flag FROM archive.source").fetchall()
    wanted = zip(found.tolist(), names, ra, dec, hpx29(ra, dec).tolist(), (np.arange(300) % 2).tolist(), strict=True)
    assert sorted(rows) == sorted(wanted)
    # Rows lie in the table in the order of the sky.
    stored = [row[0] for row in connection.execute("SELECT hpx29 FROM archive.source ORDER BY ctid")]
    assert stored == sorted(stored)


def test_right_ascension_wraps() -> None:
    assert wrap_ra([360.0, 360.0000001, -1e-20, 0, 359.9999, -1]) == pytest.approx([0, 1e-7, 0, 0, 359.9999, 359])
    assert (wrap_ra([-1e-20, 360.0, 720.0]) < 360).all()


def test_same_again_changes_nothing(connection, release) -> None:
    ra, dec = sky(100)
    names = [f"n{i}" for i in range(100)]
    first = load_sources(connection, release, "r", names, ra, dec, None, None)
    before = connection.execute("SELECT xmin, ctid, source_id FROM archive.source ORDER BY 3").fetchall()
    second, count = load_sources_counted(connection, release, "r", names[::-1], ra[::-1], dec[::-1], None, None)
    assert count == SourceCount(0, 0, 0, 100)
    assert (second[::-1] == first).all()
    assert connection.execute("SELECT xmin, ctid, source_id FROM archive.source ORDER BY 3").fetchall() == before


def test_new_and_known_rows_together(connection, release) -> None:
    ra, dec = sky(60)
    names = [f"n{i}" for i in range(60)]
    first = load_sources(connection, release, "r", names[:40], ra[:40], dec[:40], None, None)
    ra[5] += 1e-7  # stays in its pixel or not, the row is written
    second, count = load_sources_counted(connection, release, "r", names[20:], ra[20:], dec[20:], None, None)
    assert count == SourceCount(20, 0, 0, 20)
    assert (second[:20] == first[20:]).all()
    kept, count = load_sources_counted(
        connection, release, "r", ["n5", "new"], [ra[5], 1.0], [dec[5], 1.0], None, None, keep_existing=True
    )
    assert (kept[0], count) == (first[5], SourceCount(1, 0, 0, 1))
    assert connection.execute("SELECT ra FROM archive.source WHERE native_id = 'n5'").fetchone() != (ra[5],)


def test_moved_detection_takes_its_dependents_along(connection, release) -> None:
    ra, dec = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0])
    names = ["a", "b", "c"]
    old = load_sources(connection, release, "r", names, ra, dec, None, None)
    load_survey_rows(connection, "legacysurvey_dr9_object", old, {"flux_g": np.array([1.0, 2.0, 3.0])})
    connection.execute("CREATE TABLE catalogue.mine (source_id bigint PRIMARY KEY REFERENCES archive.source)")
    connection.execute("INSERT INTO catalogue.mine SELECT source_id FROM archive.source")
    connection.execute("INSERT INTO archive.galaxy SELECT source_id, ra, dec, hpx29, 1 FROM archive.source")
    connection.execute("INSERT INTO archive.galaxy_member SELECT source_id, source_id, 0 FROM archive.source")
    connection.execute(
        "INSERT INTO archive.reference_value (source_id, property_id, origin, value) "
        "SELECT source_id, 1, 'x', 9 FROM archive.source"
    )
    dec[1] += 1
    new, count = load_sources_counted(connection, release, "r", names, ra, dec, None, None)
    assert count == SourceCount(0, 1, 1, 2)
    assert (new == old).tolist() == [True, False, True]
    for table in (
        "archive.legacysurvey_dr9_object",
        "catalogue.mine",
        "archive.galaxy_member",
        "archive.reference_value",
    ):
        found = connection.execute(f"SELECT source_id FROM {table} ORDER BY 1").fetchall()  # noqa: S608
        assert [row[0] for row in found] == sorted(new.tolist())
    assert connection.execute("SELECT galaxy_id FROM archive.galaxy ORDER BY 1").fetchall() == [
        (value,) for value in sorted(new.tolist())
    ]
    assert connection.execute("SELECT * FROM archive.source_alias").fetchall() == [(old[1], new[1])]
    moved = connection.execute("SELECT native_id, dec FROM archive.source WHERE source_id = %s", (int(new[1]),))
    assert moved.fetchone() == ("b", 3.0)
    # Back where it was: it has its old id again, and the interim one is the alias.
    dec[1] -= 1
    again = load_sources(connection, release, "r", names, ra, dec, None, None)
    assert (again == old).all()
    assert connection.execute("SELECT * FROM archive.source_alias").fetchall() == [(new[1], old[1])]


def hash_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "native_hash", lambda _release, _native, salt=0: salt)
    monkeypatch.setattr(ids, "native_digests", lambda _release, natives: np.zeros(len(natives), np.uint64))


def test_collisions_are_settled_the_same_way(connection, release, monkeypatch, caplog) -> None:
    hash_all_alike(monkeypatch)
    base = int(hpx29(1.0, 1.0)) >> 34 << 35
    place = [1.0] * 3
    first = load_sources(connection, release, "r", ["b1", "b3", "b2"], place, place, None, None)
    assert first.tolist() == [base, base + 2, base + 1]
    second, count = load_sources_counted(connection, release, "r", ["b0", "b2", "b4"], place, place, None, None)
    assert second.tolist() == [base + 3, base + 1, base + 4]
    assert count == SourceCount(2, 0, 0, 1)
    other = add_release(connection, "q", survey="s")[0].release_id
    assert load_sources(connection, other, "q", ["b1"], [1.0], [1.0], None, None).tolist() == [base + 5]
    assert "is taken by r/b1" in caplog.text


def test_a_former_id_is_not_given_to_another(connection, release, monkeypatch) -> None:
    hash_all_alike(monkeypatch)
    (old,) = load_sources(connection, release, "r", ["a"], [1.0], [1.0], None, None)
    load_sources(connection, release, "r", ["a"], [1.0], [2.0], None, None)
    (other,) = load_sources(connection, release, "r", ["b"], [1.0], [1.0], None, None)
    assert other == old + 1


def test_survey_rows_keep_columns_that_are_not_given(connection, release) -> None:
    source = load_sources(connection, release, "r", ["a", "b"], [1, 2], [1, 2], None, None)
    table = "legacysurvey_dr9_object"
    assert load_survey_rows(connection, table, source, {"flux_g": np.array([1.0, 2.0]), "objid": np.array([1, 2])}) == 2
    assert load_survey_rows(connection, table, source, {"flux_g": np.array([1.0, 2.0])}) == 0
    changed = np.ma.array([5.0, 2.0], mask=[True, False])
    assert load_survey_rows(connection, table, source[::-1], {"flux_g": changed[::-1]}) == 1
    rows = connection.execute("SELECT objid, flux_g FROM archive.legacysurvey_dr9_object ORDER BY objid").fetchall()
    assert rows == [(1, None), (2, 2.0)]


@pytest.mark.parametrize(
    ("names", "dec", "message"),
    [(["a", "a"], [1, 2], "occurs twice"), (["a", "b"], [1, 91], "b: ra=1.0, dec=91.0 is not on the sky")],
)
def test_bad_rows_are_refused(connection, release, names, dec, message) -> None:
    with pytest.raises(GalbaseError, match=message):
        load_sources(connection, release, "r", names, [1, 1], dec, None, None)
    assert load_sources(connection, release, "r", [], [], [], None, None).shape == (0,)
