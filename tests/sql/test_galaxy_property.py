"""The wide view and its relatives against values computed from what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.sql.small_archive import N_GALAXY, fill_small_archive


@pytest.fixture(scope="module")
def small(archive: Any) -> Iterator[Any]:
    """The reader's connection, and what was written."""
    with archive.connect(autocommit=True) as owner:
        written = fill_small_archive(owner)
    with archive.connect(autocommit=True, role="reader") as connection:
        yield connection, written


def read(connection: Any, *names: str, where: str = "true") -> dict[int, Any]:
    """Columns of api.galaxy_property by number of the galaxy."""
    rows = connection.execute(
        f"SELECT galaxy_id - 1000, {', '.join(names)} FROM api.galaxy_property WHERE {where}".encode()  # noqa: S608
    ).fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] if len(names) > 1 else row[1] for row in rows}


def test_one_row_a_galaxy(small: Any) -> None:
    connection, _ = small
    assert set(read(connection, "ra")) == set(range(N_GALAXY))
    rows = connection.execute("SELECT * FROM api.galaxy_property").fetchall()
    assert len(rows) == N_GALAXY


def test_magnitudes_are_ab_with_first_order_errors(small: Any) -> None:
    connection, written = small
    for band, name in enumerate("grz"):
        got = read(connection, f"mag_{name}", f"mag_{name}_err", f"mag_{name}_dered")
        for i in range(N_GALAXY):
            flux, ivar, transmission = (float(x[i, band]) for x in (written.flux, written.ivar, written.transmission))
            if flux <= 0:
                assert got[i] == (None, None, None)
                continue
            assert got[i][0] == pytest.approx(22.5 - 2.5 * np.log10(flux), abs=1e-9)
            wanted = 2.5 / np.log(10) / np.sqrt(ivar) / flux if ivar > 0 else None
            assert got[i][1] == (None if wanted is None else pytest.approx(wanted, rel=1e-9))
            bright = 22.5 - 2.5 * np.log10(flux / transmission) if transmission > 0 else None
            assert got[i][2] == (None if bright is None else pytest.approx(bright, abs=1e-9))


@pytest.mark.parametrize("flux", ["0", "-1", "'NaN'", "'Infinity'", "'-Infinity'", "NULL"])
def test_a_flux_without_magnitude_gives_null(small: Any, flux: str) -> None:
    connection, _ = small
    row = connection.execute(f"SELECT api.ab_magnitude({flux}), api.ab_magnitude_err({flux}, 1)".encode()).fetchone()
    assert row == (None, None)
    assert connection.execute(f"SELECT api.ab_magnitude_err(1, {flux})".encode()).fetchone() == (None,)


def test_simulation_trained_values_are_hidden_on_real_images(small: Any) -> None:
    connection, written = small
    got = read(
        connection, "log_mstar_fib", "log_mstar_fib_q16", "log_mstar_fib_flag", "log_mstar_fib_model",
        "log_mstar_fib_source_id",
    )  # fmt: skip
    for i in range(N_GALAXY):
        if i == 7 or i >= 50:
            assert got[i] == (None, None, None, None, None)
        elif i >= 40:
            assert got[i] == (None, None, 1, "served", 1000 + i)
        else:
            # The simulated release comes first, so that its image counts where there are two.
            assert got[i][0] == pytest.approx(written.value[i], rel=1e-6)
            assert got[i][1] == pytest.approx(written.value[i] - 0.2, rel=1e-6)
            assert got[i][2:] == (0, "served", 1000 + i)
    rows = connection.execute(
        "SELECT observation_id, value, flags, model FROM api.prediction_all WHERE galaxy_id = 1045 ORDER BY model"
    ).fetchall()
    assert [row[1:] for row in rows] == [
        (pytest.approx(written.value[45] + 1, rel=1e-6), ["SIMULATION_TRAINED"], "other"),
        (pytest.approx(written.value[45], rel=1e-6), ["SIMULATION_TRAINED"], "served"),
    ]


def test_flag_missing_from_the_row_still_hides(small: Any, archive: Any) -> None:
    connection, _ = small
    with archive.connect(autocommit=True) as owner:
        owner.execute("UPDATE archive.prediction SET flag = 0 WHERE flag = 1")
        try:
            assert read(connection, "log_mstar_fib", "log_mstar_fib_flag")[45] == (None, 1)
        finally:
            owner.execute("UPDATE archive.prediction SET flag = 1 WHERE observation_id IN "
                          "(SELECT observation_id FROM archive.observation WHERE release_id = 2)")  # fmt: skip


def test_labels_redshifts_and_verdicts(small: Any) -> None:
    connection, written = small
    got = read(
        connection, "log_mstar_fib_ref", "log_mstar_fib_ref_err", "log_mstar_fib_ref_origin", "z", "z_warning",
        "redshift_source_id", "preprocess_kept", "preprocess_flags", "image_observation_id",
    )  # fmt: skip
    for i in range(N_GALAXY):
        if i < 30:
            assert got[i][:3] == (pytest.approx(written.label[i]), 0.1, "mpa-jhu")
            assert got[i][3:6] == (pytest.approx(0.1), 4 if i == 3 else 0, 3000 + i)
        else:
            assert got[i][:6] == (None,) * 6
    assert got[0][6:8] == (True, [])
    assert got[7][6:8] == (False, ["NO_CONTOUR", "BLENDED"])
    assert got[55][6:] == (None, None, None)
    assert got[2][8] == written.image_of[1002]


def plan(connection: Any, select: str, where: str = "true") -> str:
    rows = connection.execute(f"EXPLAIN SELECT {select} FROM api.galaxy_property WHERE {where}".encode()).fetchall()  # noqa: S608
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(
    ("select", "tables"),
    [
        ("galaxy_id, log_mstar_fib", set()),
        ("log_mstar_fib, log_mstar_fib_q16", {"served_log_mstar_fib"}),
        ("log_mstar_fib_model", {"served_log_mstar_fib", "model"}),
        ("log_mstar_fib_ref", {"reference_value"}),
        ("z", {"sdss_galaxy"}),
        ("mag_r", {"legacysurvey_dr8_object"}),
        ("preprocess_kept", {"preprocess"}),
    ],
)
def test_parts_that_a_query_does_not_ask_for_are_not_computed(small: Any, select: str, tables: set[str]) -> None:
    connection, _ = small
    found = set(re.findall(r"on (\w+)", plan(connection, select)))
    parts = {
        "served_log_mstar_fib", "served_oh12", "model", "reference_value", "sdss_galaxy", "legacysurvey_dr8_object",
        "preprocess", "prediction", "prediction_1",
    }  # fmt: skip
    # A served image model decides which configuration's verdicts count.
    assert found & parts - ({"model"} if "preprocess" in tables else set()) == tables
    assert "galaxy" in found


def test_conditions_on_values_and_sky_reach_the_indexes(small: Any) -> None:
    connection, _ = small
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL enable_seqscan = off")
        assert "ix_galaxy_log_mstar_fib" in plan(connection, "galaxy_id", "log_mstar_fib > 11")
        found = plan(connection, "z, mag_r, log_mstar_fib_err, oh12_ref", "api.in_cone(hpx29, ra, dec, 10, 0, 60)")
        assert "ix_galaxy_hpx29_order" in found
        for table in ("served_log_mstar_fib", "galaxy_member", "sdss_galaxy", "legacysurvey_dr9_object"):
            assert re.search(rf"Index Scan using \w+ on {table}\b", found), found


def test_training_set_tells_who_is_out_and_why(small: Any) -> None:
    connection, _ = small
    rows = connection.execute(
        "SELECT galaxy_id - 1000, selected, reason_out FROM api.training_set_galeffnet"
    ).fetchall()
    assert len(rows) == N_GALAXY
    got = {row[0]: row[1:] for row in rows}
    assert got[0] == (True, [])
    assert got[1] == (False, ["class is not GALAXY"])
    assert got[2] == (False, ["not reliable"])
    assert got[3] == (False, ["redshift warning"])
    assert got[4] == (False, ["S/N below 5"])
    assert got[5] == (False, ["no fibre sSFR"])
    assert got[7] == (False, ["image not kept"])
    assert got[45] == (False, ["no SDSS galaxy"])
    assert got[55] == (False, ["no SDSS galaxy", "no image"])
    assert sum(row[1] for row in rows) == 24


def test_stale_predictions_and_model_card(small: Any, archive: Any) -> None:
    connection, _ = small
    assert connection.execute("SELECT * FROM api.stale_prediction").fetchall() == []
    row = connection.execute("SELECT properties, serves, training_set FROM api.model_card WHERE model = 'served'")
    assert row.fetchone() == (["log_mstar_fib"], ["log_mstar_fib"], "set")
    with archive.connect() as owner:
        owner.execute("UPDATE archive.preprocess SET modified_at = now() + '1 s' WHERE observation_id = 3")
        owner.execute("DELETE FROM archive.embedding WHERE observation_id = 4 AND model_id = 1")
        owner.execute("UPDATE archive.preprocess SET kept = false WHERE observation_id = 5")
        owner.execute("DELETE FROM archive.preprocess WHERE observation_id = 6")
        owner.execute("UPDATE archive.observation SET source_id = 1000 WHERE observation_id = 9")
        rows = owner.execute("SELECT observation_id, reason, model FROM api.stale_prediction ORDER BY 1, 3").fetchall()
        owner.rollback()
    assert rows == [
        (3, "verdict changed", "other"), (3, "verdict changed", "served"), (4, "not predicted", "served"),
        (5, "no longer kept", "other"), (5, "no longer kept", "served"), (6, "not preprocessed", "other"),
        (6, "not preprocessed", "served"), (9, "source changed", "other"), (9, "source changed", "served"),
    ]  # fmt: skip


def test_legacysurvey_object_has_both_data_models(small: Any) -> None:
    connection, _ = small
    rows = connection.execute(
        "SELECT data_model, count(*), min(sersic) FROM api.legacysurvey_object GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [("dr8", 12, 1.0), ("dr9", 48, None)]


def nearest(written: Any, i: int, allowed: Any, k: int) -> list[tuple[int, float]]:
    """Galaxies by least distance of any of their images, from vectors in float32."""
    vec = written.vec.astype("f4")
    found = []
    for j in allowed:
        if j in (i, 7) or j >= 50:
            continue
        others = [vec[j]] + ([vec[j + 1]] if j < 10 else [])
        found.append((min(float(1 - vec[i] @ other) for other in others), j))
    return [(j, distance) for distance, j in sorted(found)[:k]]


@pytest.mark.parametrize("i", [0, 20, 45])
@pytest.mark.parametrize("k", [0, 1, 10, 1000])
def test_nearest_galaxies_are_exact(small: Any, i: int, k: int) -> None:
    connection, written = small
    rows = connection.execute("SELECT * FROM api.nearest_galaxies(%s, %s)", (1000 + i, k)).fetchall()
    wanted = nearest(written, i, range(N_GALAXY), k)
    assert [row[1] - 1000 for row in rows] == [j for j, _ in wanted]
    assert [row[0] for row in rows] == list(range(1, len(wanted) + 1))
    np.testing.assert_allclose([row[4] for row in rows], [distance for _, distance in wanted], atol=2e-6)
    assert {row[5] for row in rows} <= {"served"}


def test_nearest_galaxies_with_filter_model_and_any_member(small: Any) -> None:
    connection, written = small
    wanted = [j for j, _ in nearest(written, 0, range(10, 30), 5)]
    condition = "z > 0 AND galaxy_id >= 1010 -- a comment"
    for source in (1000, 3000):
        rows = connection.execute(
            "SELECT galaxy_id - 1000 FROM api.nearest_galaxies(%s, 5, 'other', %s)", (source, condition)
        ).fetchall()
        assert [row[0] for row in rows] == wanted
    rows = connection.execute("SELECT * FROM api.nearest_galaxies(1000, 5, filter => 'z > 1')").fetchall()
    assert rows == []
    assert connection.execute("SELECT * FROM api.nearest_galaxies(NULL, 5)").fetchall() == []
    assert connection.execute("SELECT * FROM api.nearest_galaxies(1055, 5)").fetchall() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("1000, -1", "k is -1"),
        ("99, 1", "source 99 belongs to no galaxy"),
        ("1000, 1, 'nobody'", 'no model "nobody"'),
        ("1000, 1, filter => 'no_such_column > 1'", "no_such_column"),
    ],
)
def test_wrong_arguments_of_nearest_galaxies_are_named(small: Any, call: str, message: str) -> None:
    connection, _ = small
    with pytest.raises(psycopg.Error, match=message):
        connection.execute(f"SELECT * FROM api.nearest_galaxies({call})".encode())  # noqa: S608


def test_a_filter_cannot_write(small: Any, archive: Any) -> None:
    del small
    with archive.connect(autocommit=True) as owner, pytest.raises(psycopg.Error) as caught:
        owner.execute(
            "SELECT * FROM api.nearest_galaxies(1000, 1, filter => 'true)) n; DELETE FROM archive.prediction; --')"
        )
    assert caught.value.sqlstate is not None
    with archive.connect() as owner, pytest.raises(psycopg.Error):
        owner.execute(
            "SELECT * FROM api.nearest_galaxies(1000, 1, filter => "
            "'EXISTS (WITH gone AS (DELETE FROM archive.prediction RETURNING 1) SELECT FROM gone)')"
        )
    with archive.connect() as owner:
        assert owner.execute("SELECT count(*) > 0 FROM archive.prediction").fetchone() == (True,)
