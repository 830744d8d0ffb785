"""Catalogue files as units: the same archive in whatever order, however often, in bulk or not, killed or not."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from astropy.table import Table

from galbase.ingest import bulk_load, catalogue_job
from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.galaxies import rebuild_galaxies
from galbase.ingest.releases import add_release
from galbase.schema import deferred
from galbase.schema.errors import GalbaseError

# What does not depend on when rows were written: no serial numbers, no times.
CONTENT = """
SELECT md5(string_agg(t, '|' ORDER BY t)) FROM (
    SELECT (s.source_id, r.release, s.native_id, s.ra, s.dec, s.hpx29, s.flag, f.path)::text FROM archive.source s
    JOIN archive.data_release r USING (release_id) LEFT JOIN archive.data_file f USING (data_file_id)
    UNION ALL SELECT t::text FROM archive.legacysurvey_dr9_object t
    UNION ALL SELECT t::text FROM archive.sdss_galaxy t
    UNION ALL SELECT (v.source_id, c.name, v.value_float, v.value_integer, v.value_text, v.value_array)::text
    FROM archive.extra_value v JOIN archive.extra_column c USING (extra_column_id)
    UNION ALL SELECT (source_id, property_id, value, err)::text FROM archive.reference_value
    UNION ALL SELECT (f.path, f.sha256, f.state, f.reason, f.n_row, f.n_loaded, f.n_rejected)::text
    FROM archive.data_file f
    UNION ALL SELECT (f.path, w.row_index, w.native_id, w.reason)::text
    FROM archive.rejected_row w JOIN archive.data_file f USING (data_file_id)
) q (t)
"""
INDEXES = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace IN ('archive'::regnamespace, 'catalogue'::regnamespace)
UNION ALL SELECT tablename, '', regexp_replace(indexdef, 'INDEX \\S+', '') FROM pg_indexes
WHERE schemaname IN ('archive', 'catalogue')
ORDER BY 1, 2, 3
"""


@pytest.fixture
def connection(fresh_archive):
    """An autocommit connection to an archive of the test's own, with release r."""
    with fresh_archive.connect(autocommit=True) as made:
        add_release(made, "r", survey="s")
        yield made


def content(connection):
    """Digest of all rows, once galaxies are found as they should be."""
    again = rebuild_galaxies(connection)
    assert (again.galaxies_written, again.members_written) == (0, 0)
    return connection.execute(CONTENT).fetchone()[0]


def overlapping(folder, survey_files):
    """Four files that share detections in a chain, with other values, and two tables of spectra without positions."""
    made = survey_files.tractor(60, dr9=True)
    paths = []
    for number, name in enumerate("abcd"):
        part = made[number * 10 : number * 10 + 25].copy()
        part["FLUX_G"] = np.float32(number)
        part["DEC"] += number * 1e-7
        part["DEC"][0] = 95.0
        paths.append(survey_files.write(part, folder / f"{name}.fits"))
    return paths


@pytest.mark.parametrize("bulk", [False, True])
def test_any_order_in_one_call_or_several_gives_the_same(
    fresh_archive, connection, tmp_path, survey_files, bulk
) -> None:
    paths = overlapping(tmp_path, survey_files)
    found = set()
    for order in itertools.islice(itertools.permutations(paths), 0, None, 5):
        for path in order:
            report = run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions(), bulk=bulk)
            assert report.count("loaded") == 1, report.files
        found.add(content(connection))
        connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")
    for _ in range(3):
        report = run_catalogues(fresh_archive.config, "r", paths, CatalogueOptions(), bulk=bulk, workers=4)
        assert (report.count("loaded"), report.count("rejected")) == (4, 0)
        found.add(content(connection))
        fluxes = connection.execute(
            "SELECT flux_g, count(*) FROM archive.legacysurvey_dr9_object GROUP BY 1 ORDER BY 1"
        ).fetchall()
        # The last file by path that has a row wins; the bad first row of each is left to the file before it.
        assert fluxes == [(0.0, 10), (1.0, 10), (2.0, 10), (3.0, 24)]
        connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")
    assert len(found) == 1


def test_rows_that_a_changed_file_gives_up_go_back_to_the_file_that_has_them(
    fresh_archive, connection, tmp_path, survey_files
) -> None:
    made = survey_files.tractor(20, dr9=True)
    first, second = made[:15].copy(), made[5:].copy()
    second["FLUX_G"] = 7
    a, b = survey_files.write(first, tmp_path / "a.fits"), survey_files.write(second, tmp_path / "b.fits")
    run_catalogues(fresh_archive.config, "r", [a, b], CatalogueOptions())
    survey_files.write(second[10:], b)
    report = run_catalogues(fresh_archive.config, "r", [b], CatalogueOptions())
    assert {file.file: file.state for file in report.files} == {"a.fits": "merged again", "b.fits": "loaded"}
    rows = connection.execute("SELECT objid, flux_g FROM archive.legacysurvey_dr9_object ORDER BY 1").fetchall()
    assert rows == [(i, pytest.approx(float(first["FLUX_G"][i])) if i < 15 else 7.0) for i in range(20)]
    alone = content(connection)
    connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")
    run_catalogues(fresh_archive.config, "r", [tmp_path], CatalogueOptions())
    assert content(connection) == alone


def test_tables_without_positions_come_last(fresh_archive, connection, tmp_path, survey_files) -> None:
    made = survey_files.galspec(20)
    extra = made.copy()
    extra.remove_columns(["RA", "DEC"])
    survey_files.write(extra, tmp_path / "galSpecExtra.fits")
    survey_files.write(made["SPECOBJID", "RA", "DEC", "Z"], tmp_path / "galSpecInfo.fits")
    report = run_catalogues(fresh_archive.config, "r", [tmp_path], CatalogueOptions())
    assert (report.count("loaded"), report.count("rejected")) == (2, 0)
    again = connection.execute("SELECT count(lgm_fib_p50), count(z) FROM archive.sdss_galaxy").fetchone()
    assert again == (18, 20)
    # The table of positions comes anew: what the other says of its rows still stands.
    made["Z"][3] = 0.5
    survey_files.write(made["SPECOBJID", "RA", "DEC", "Z"], tmp_path / "galSpecInfo.fits")
    report = run_catalogues(fresh_archive.config, "r", [tmp_path / "galSpecInfo.fits"], CatalogueOptions())
    assert {file.file: file.state for file in report.files} == {
        "galSpecExtra.fits": "merged again",
        "galSpecInfo.fits": "loaded",
    }


def test_a_bulk_load_ends_with_every_index_and_constraint(fresh_archive, connection, tmp_path, survey_files) -> None:
    ra, dec = survey_files.sky(500)
    for number in range(4):
        table = Table({"id": np.arange(500) + 500 * number, "ra": ra, "dec": dec, "mag": np.ones(500)})
        table.write(tmp_path / f"{number}.fits")
    add_release(connection, "q", survey="s")
    run_catalogues(fresh_archive.config, "r", [tmp_path], CatalogueOptions(), bulk=False)
    wanted = connection.execute(INDEXES).fetchall()
    digest = content(connection)
    connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")
    connection.execute("DROP TABLE catalogue.r")
    connection.execute("DELETE FROM archive.catalogue_table")
    connection.execute("DELETE FROM archive.column_metadata WHERE table_name = 'r'")
    report = run_catalogues(fresh_archive.config, "r", [tmp_path], CatalogueOptions(), bulk=True)
    assert report.count("loaded") == 4
    assert connection.execute(INDEXES).fetchall() == wanted
    assert (content(connection), deferred.pending(connection)) == (digest, 0)


def test_a_repeated_detection_elsewhere_is_found_at_the_end_of_a_bulk_load(
    fresh_archive, connection, tmp_path, survey_files
) -> None:
    """Positions in other pixels give other source ids, so that only the unique constraint can tell."""
    made = survey_files.tractor(30, dr9=True)
    other = made[20:].copy()
    other["DEC"] = -other["DEC"]
    survey_files.write(made, tmp_path / "a.fits")
    survey_files.write(other, tmp_path / "b.fits")
    for bulk in (False, True):
        report = run_catalogues(fresh_archive.config, "r", [tmp_path], CatalogueOptions(), bulk=bulk)
        assert (report.count("loaded"), report.count("rejected")) == (2, 0), report.files
        rows = connection.execute("SELECT native_id, dec FROM archive.source").fetchall()
        wanted = {f"9010-330248-{i}": made["DEC"][i] * (1 if i < 20 else -1) for i in range(30)}
        assert dict(rows) == wanted
        connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")


def test_an_interrupted_bulk_load_is_finished_by_whoever_comes_next(
    fresh_archive, connection, tmp_path, survey_files, monkeypatch
) -> None:
    wanted = connection.execute(INDEXES).fetchall()
    path = survey_files.write(survey_files.tractor(50, dr9=True), tmp_path / "a.fits")

    def crash(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk_load, "finish", crash)
    with pytest.raises(KeyboardInterrupt):
        run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions(), bulk=True)
    monkeypatch.undo()
    assert deferred.pending(connection) > 5
    report = run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions())
    assert report.count("unchanged") == 1
    assert connection.execute(INDEXES).fetchall() == wanted
    assert deferred.pending(connection) == 0


def test_who_waits_for_a_killed_bulk_load_finishes_it(fresh_archive, connection, tmp_path, survey_files) -> None:
    """The server holds a killed client's lock until it notices; only then can the load be finished."""
    wanted = connection.execute(INDEXES).fetchall()
    path = survey_files.write(survey_files.tractor(50, dr9=True), tmp_path / "a.fits")
    with fresh_archive.connect(autocommit=True) as killed:
        lock = "hashtextextended('galbase bulk load', 0)"
        assert bulk_load.begin(killed) is not None
        timer = threading.Timer(1.0, killed.execute, [f"SELECT pg_advisory_unlock({lock})".encode()])
        timer.start()
        report = run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions(), bulk=False)
        timer.join()
    assert report.count("loaded") == 1
    assert connection.execute(INDEXES).fetchall() == wanted


def test_ingests_run_beside_each_other_but_not_beside_a_bulk_load(
    fresh_archive, connection, tmp_path, survey_files, monkeypatch
) -> None:
    assert deferred.pending(connection) == 0
    path = survey_files.write(survey_files.tractor(50, dr9=True), tmp_path / "a.fits")
    with fresh_archive.connect(autocommit=True) as other, bulk_load.ingest_turn(other):
        with pytest.raises(GalbaseError, match="another ingest is running"):
            run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions(), bulk=True)
        report = run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions())
        assert report.count("loaded") == 1
        assert bulk_load.begin(other) is not None
        monkeypatch.setattr(bulk_load, "_WAIT_SECONDS", 0.3)
        with pytest.raises(GalbaseError, match="another process is loading in bulk"):
            run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions())
        bulk_load.finish(other)
        assert run_catalogues(fresh_archive.config, "r", [path], CatalogueOptions()).count("unchanged") == 1


@pytest.mark.parametrize("stage", ["new", "changed"])
def test_galaxies_that_a_killed_load_owes_are_made_by_the_next(
    fresh_archive, connection, tmp_path, survey_files, monkeypatch, stage
) -> None:
    made = survey_files.tractor(50, dr9=True)
    path = survey_files.write(made, tmp_path / "a.fits")
    options = CatalogueOptions()
    if stage == "changed":
        run_catalogues(fresh_archive.config, "r", [path], options, bulk=False)
        made["RA"][:9] += 0.001
        survey_files.write(made[:40], path)

    def crash(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue_job, "update_galaxies", crash)
    with pytest.raises(KeyboardInterrupt):
        run_catalogues(fresh_archive.config, "r", [path], options, bulk=False)
    monkeypatch.undo()
    report = run_catalogues(fresh_archive.config, "r", [path], options)
    assert report.count("unchanged") == 1
    content(connection)
    assert connection.execute("SELECT count(*) FROM archive.galaxy").fetchone() == (40 if stage == "changed" else 50,)
    assert connection.execute("SELECT count(*) FROM archive.galaxy_update").fetchone() == (0,)


def test_a_file_that_is_merged_again_is_read_as_it_was(fresh_archive, connection, tmp_path, survey_files) -> None:
    """Its own columns of positions and its own run, not those of the call for another file."""
    ra, dec = survey_files.sky(20)
    table = Table({"id": np.arange(20), "X": ra, "Y": dec, "mag": np.full(20, 1.0)})
    late, early = tmp_path / "b.fits", tmp_path / "a.fits"
    table.write(late)
    run_catalogues(fresh_archive.config, "r", [late], CatalogueOptions(ra="X", dec="Y", id_column="id"))
    run_id = connection.execute("SELECT run_id FROM archive.data_file WHERE path = 'b.fits'").fetchone()
    table["mag"] = 2.0
    table["Y"] += 1e-7
    Table(table[:10]).write(early)
    report = run_catalogues(
        fresh_archive.config, "r", [early], CatalogueOptions(ra="X", dec="Y", id_column="id", null_values=("1.0",))
    )
    assert {file.file: file.state for file in report.files} == {"a.fits": "loaded", "b.fits": "merged again"}
    assert connection.execute("SELECT mag, count(*) FROM catalogue.r GROUP BY 1").fetchall() == [(1.0, 20)]
    assert connection.execute("SELECT run_id FROM archive.data_file WHERE path = 'b.fits'").fetchone() == run_id
    again = run_catalogues(fresh_archive.config, "r", [late], CatalogueOptions(ra="X", dec="Y", id_column="id"))
    assert again.count("unchanged") == 1


def test_first_files_of_a_release_make_its_table_side_by_side(fresh_archive, connection, tmp_path) -> None:
    """None waits for the table while it holds what the table's maker waits for."""
    rng = np.random.default_rng(2)
    for number in range(8):
        ra, dec = rng.uniform(0, 360, 3000), rng.uniform(-60, 60, 3000)
        Table({"id": np.arange(3000) + 3000 * number, "ra": ra, "dec": dec}).write(tmp_path / f"{number}.fits")
    for release in ("r", "q", "p"):
        if release != "r":
            add_release(connection, release, survey="s")
        before = deadlocks(connection)
        report = run_catalogues(fresh_archive.config, release, [tmp_path], CatalogueOptions(), bulk=False, workers=8)
        assert report.count("loaded") == 8
        assert deadlocks(connection) == before


def deadlocks(connection):
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()


@pytest.mark.parametrize("bulk", [False, True])
def test_killed_at_any_moment_and_called_again(fresh_archive, connection, tmp_path, survey_files, bulk) -> None:
    for number in range(12):
        made = survey_files.tractor(400, dr9=True, seed=number)
        made["BRICKID"] = number
        made["RA"][7] = np.nan
        survey_files.write(made, tmp_path / f"{number:02d}.fits")
    overlapping(tmp_path, survey_files)
    options = CatalogueOptions()
    run_catalogues(fresh_archive.config, "r", [tmp_path], options, bulk=bulk)
    wanted = content(connection)
    connection.execute("TRUNCATE archive.source, archive.data_file, archive.galaxy CASCADE")
    code = "from galbase.schema.cli import main; main()"
    arguments = ["ingest", "catalogue", str(tmp_path), "--release", "r", "--bulk" if bulk else "--no-bulk"]
    kills = 0
    rng = np.random.default_rng(3)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=fresh_archive.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(float(rng.uniform(1.5, 4.0)))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    report = run_catalogues(fresh_archive.config, "r", [tmp_path], options)
    assert report.count("rejected") == 0, report.files
    assert (content(connection), deferred.pending(connection)) == (wanted, 0)
    assert kills > 0
