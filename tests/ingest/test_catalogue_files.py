"""Catalogue files into SQL: exact values, counted NULLs, rejected rows and files, and nothing done twice."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release
from galbase.schema.errors import UsageError

DIGEST = """
SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (
    SELECT 'source', s::text, s.xmin::text FROM archive.source s
    UNION ALL SELECT 'dr9', t::text, t.xmin::text FROM archive.legacysurvey_dr9_object t
    UNION ALL SELECT 'sdss', t::text, t.xmin::text FROM archive.sdss_galaxy t
    UNION ALL SELECT 'extra', t::text, t.xmin::text FROM archive.extra_value t
    UNION ALL SELECT 'label', t::text, t.xmin::text FROM archive.reference_value t
    UNION ALL SELECT 'file', t::text, t.xmin::text FROM archive.data_file t
    UNION ALL SELECT 'row', t::text, t.xmin::text FROM archive.rejected_row t
    UNION ALL SELECT 'run', t::text, t.xmin::text FROM archive.run t
) t
"""


@pytest.fixture
def connection(fresh_archive):
    """An autocommit connection to an archive of the test's own."""
    with fresh_archive.connect(autocommit=True) as made:
        yield made


@pytest.fixture
def load(fresh_archive, connection):
    """Ingest files into release r, or another; a release that is not there is made."""

    def run(paths, release="r", bulk=None, **options):
        add_release(connection, release, survey="s")
        return run_catalogues(fresh_archive.config, release, paths, CatalogueOptions(**options), bulk=bulk)

    return run


def one(connection, query, *arguments):
    return connection.execute(query, arguments).fetchone()


def test_tractor_values_and_extra_columns_are_exact(load, connection, tmp_path, survey_files) -> None:
    made = survey_files.tractor(50, dr9=True)
    made["FLUX_G"][3] = np.inf
    made["FLUX_R"][4] = np.nan
    report = load([survey_files.write(made, tmp_path / "tractor.fits")])
    assert (report.count("loaded"), report.total("inserted"), report.nulls()) == (1, 50, {"infinite": 1, "nan": 1})
    rows = connection.execute(
        "SELECT objid, s.ra, s.dec, flux_g, flux_r, dchisq, brickname, sersic, s.flag, native_id "
        "FROM archive.legacysurvey_dr9_object JOIN archive.source s USING (source_id) ORDER BY objid"
    ).fetchall()
    for i, row in enumerate(rows):
        assert row[:3] == (i, made["RA"][i], made["DEC"][i])
        assert row[3] == (None if i == 3 else pytest.approx(float(made["FLUX_G"][i]), rel=1e-7))
        assert (row[4] is None) == (i == 4)
        assert np.float32(row[5]).tolist() == made["DCHISQ"][i].tolist()
        assert row[6:] == ("3301m002", pytest.approx(float(made["SERSIC"][i])), int(i == 3), f"9010-330248-{i}")
    extra = connection.execute(
        "SELECT objid, name, value_float, value_integer, value_array FROM archive.extra_value "
        "JOIN archive.extra_column USING (extra_column_id) JOIN archive.legacysurvey_dr9_object USING (source_id)"
    ).fetchall()
    assert len(extra) == 150
    for objid, name, real, whole, array in extra:
        if name == "bx":
            assert real == made["BX"][objid]
        elif name == "hash":
            assert whole == made["HASH"][objid]
        else:
            assert array == made["APFLUX_G"][objid].astype(float).tolist()


def test_second_run_changes_nothing(load, connection, tmp_path, survey_files) -> None:
    files = [
        survey_files.write(survey_files.tractor(30, dr9=True), tmp_path / "a.fits"),
        survey_files.write(survey_files.galspec(30), tmp_path / "b.fits"),
        tmp_path / "broken.fits",
    ]
    files[2].write_bytes(files[0].read_bytes()[:3000])
    first = load(files)
    assert (first.count("loaded"), first.count("rejected")) == (2, 1)
    before = one(connection, DIGEST)
    for path in files:
        os.utime(path, (1, 1))  # another time, the same content
    second = load(files)
    assert (second.count("unchanged"), second.count("rejected"), second.count("loaded")) == (2, 1, 0)
    assert one(connection, DIGEST) == before
    # Other options are another reading.
    assert load(files[:1], null_values=("-1",)).count("loaded") == 1


def test_changed_file_replaces_its_rows(load, connection, tmp_path, survey_files) -> None:
    path = tmp_path / "a.fits"
    made = survey_files.tractor(30, dr9=True)
    load([survey_files.write(made, path)])
    kept = dict(connection.execute("SELECT native_id, xmin::text FROM archive.source").fetchall())
    changed = made[5:]
    changed["FLUX_G"][0] = 99
    changed["DEC"][1] = 0.5
    added = survey_files.tractor(33, dr9=True, seed=2)[30:]
    both = Table({name: np.concatenate([changed[name], added[name]]) for name in made.colnames})
    report = load([survey_files.write(both, path)])
    assert (report.total("inserted"), report.total("deleted"), report.total("moved")) == (3, 5, 1)
    rows = connection.execute("SELECT native_id, xmin::text FROM archive.source").fetchall()
    assert {name for name, _ in rows} == {f"9010-330248-{i}" for i in range(5, 33)}
    untouched = [name for name, written in rows if kept.get(name) == written]
    assert len(untouched) == 24
    assert one(connection, "SELECT count(*) FROM archive.legacysurvey_dr9_object") == (28,)
    assert one(connection, "SELECT count(*) FROM archive.extra_value") == (28 * 3,)
    assert one(connection, "SELECT flux_g FROM archive.legacysurvey_dr9_object WHERE objid = 5") == (99,)
    assert one(connection, "SELECT count(*), min(n_row) FROM archive.data_file") == (1, 28)


def test_the_same_detection_in_two_files_is_one_row(load, connection, tmp_path, survey_files) -> None:
    made = survey_files.tractor(20, dr9=True)
    files = [survey_files.write(made[:15], tmp_path / "a.fits"), survey_files.write(made[5:], tmp_path / "b.fits")]
    load(files)
    assert one(connection, "SELECT count(*), count(DISTINCT native_id) FROM archive.source") == (20, 20)
    assert one(connection, "SELECT count(*) FROM archive.legacysurvey_dr9_object") == (20,)


def test_bad_rows_are_rejected_with_reasons(load, connection, tmp_path, survey_files) -> None:
    made = survey_files.tractor(12, dr9=True)
    made["RA"][0] = np.nan
    made["DEC"][1] = 91
    made["DEC"][2] = -np.inf
    made["OBJID"][3] = -7
    made["OBJID"][5] = 4
    made["RA"][6] = 360.0
    made["RA"][7] = 360.00001
    made["RA"][8] = -9999
    made["RA"][9] = 5000
    report = load([survey_files.write(made, tmp_path / "a.fits")])
    assert (report.total("loaded"), report.total("rejected")) == (5, 7)
    rows = connection.execute("SELECT row_index, native_id, reason FROM archive.rejected_row ORDER BY 1").fetchall()
    assert rows == [
        (0, "9010-330248-0", "no position: ra or dec is missing"),
        (1, "9010-330248-1", f"position ra={made['RA'][1]:.10g}, dec=91 is not on the sky"),
        (2, "9010-330248-2", f"position ra={made['RA'][2]:.10g}, dec=-inf is not on the sky"),
        (3, None, "no valid id"),
        (5, "9010-330248-4", "the id 9010-330248-4 is that of row 4"),
        (8, "9010-330248-8", f"position ra=-9999, dec={made['DEC'][8]:.10g} is not on the sky"),
        (9, "9010-330248-9", f"position ra=5000, dec={made['DEC'][9]:.10g} is not on the sky"),
    ]
    wrapped = connection.execute(
        "SELECT ra FROM archive.source WHERE native_id IN ('9010-330248-6', '9010-330248-7') ORDER BY native_id"
    ).fetchall()
    assert [row[0] for row in wrapped] == [0.0, pytest.approx(1e-5)]
    assert one(connection, "SELECT n_row, n_loaded, n_rejected FROM archive.data_file") == (12, 5, 7)


def test_broken_files_are_rejected_whole_and_the_others_load(load, connection, tmp_path, survey_files) -> None:
    made = survey_files.tractor(2000, dr9=True)
    sound = survey_files.write(made, tmp_path / "sound.fits")
    (tmp_path / "cut.fits").write_bytes(sound.read_bytes()[:-30000])
    wrong = made.copy()
    wrong["FLUX_R"] = ["x"] * 2000
    survey_files.write(wrong, tmp_path / "dtype.fits")
    del wrong["FLUX_R"]
    survey_files.write(wrong, tmp_path / "missing.fits")
    nowhere = made.copy()
    nowhere["RA"] = np.nan
    survey_files.write(nowhere, tmp_path / "nowhere.fits")
    report = load([tmp_path])
    assert (report.count("loaded"), report.count("rejected")) == (1, 4)
    rows = dict(connection.execute("SELECT path, reason FROM archive.data_file WHERE state = 'rejected'").fetchall())
    assert "cut short" in rows["cut.fits"] or "truncated" in rows["cut.fits"]
    assert "'FLUX_R' is text" in rows["dtype.fits"]
    assert "no column 'flux_r'" in rows["missing.fits"]
    assert "none of the 2000 rows can be loaded; the first: no position" in rows["nowhere.fits"]
    assert one(connection, "SELECT count(*) FROM archive.source") == (2000,)
    # Once mended, it loads.
    (tmp_path / "cut.fits").write_bytes(sound.read_bytes())
    assert load([tmp_path / "cut.fits"]).count("loaded") == 1


def test_a_broken_new_state_keeps_the_rows_of_the_old(load, connection, tmp_path, survey_files) -> None:
    path = survey_files.write(survey_files.tractor(10, dr9=True), tmp_path / "a.fits")
    load([path])
    path.write_bytes(path.read_bytes()[:4000])
    assert load([path]).count("rejected") == 1
    assert one(connection, "SELECT count(*) FROM archive.source") == (10,)


@pytest.mark.parametrize("text_ids", [False, True])
def test_galspec_rows_and_labels(load, connection, tmp_path, survey_files, text_ids) -> None:
    made = survey_files.galspec(40, text_ids=text_ids)
    load([survey_files.write(made, tmp_path / "galSpec.fits")])
    rows = connection.execute(
        "SELECT specobjid, native_id, lgm_fib_p50, z, spectrotype FROM archive.sdss_galaxy "
        "JOIN archive.source USING (source_id) ORDER BY specobjid"
    ).fetchall()
    assert [int(row[0]) for row in rows] == [2**63 + 1024 * i for i in range(40)]
    assert [row[1] for row in rows] == [str(2**63 + 1024 * i) for i in range(40)]
    assert [row[2] is None for row in rows] == [i % 10 == 0 for i in range(40)]
    labels = connection.execute(
        "SELECT p.name, s.native_id, value, err, q16, q84 FROM archive.reference_value "
        "JOIN archive.property p USING (property_id) JOIN archive.source s USING (source_id) WHERE origin = 'mpa-jhu'"
    ).fetchall()
    stems = {"log_mstar_fib": "LGM_FIB", "log_mstar_tot": "LGM_TOT", "log_ssfr_fib": "SPECSFR_FIB", "oh12": "OH"}
    assert len(labels) == 4 * 36
    for name, native, value, err, q16, q84 in labels:
        i, stem = (int(native) - 2**63) // 1024, stems[name]
        assert (value, q16, q84) == tuple(pytest.approx(float(made[f"{stem}_{p}"][i])) for p in ("P50", "P16", "P84"))
        assert err == pytest.approx(0.15, abs=1e-5)


def test_galspec_extra_table_joins_the_info_table(load, connection, tmp_path, survey_files) -> None:
    made = survey_files.galspec(20)
    info = made["SPECOBJID", "RA", "DEC", "PLATEID", "SPECTROTYPE", "RELIABLE", "Z"]
    extra = made.copy()
    extra.remove_columns([name for name in info.colnames if name != "SPECOBJID"])
    files = [survey_files.write(info[:18], tmp_path / "galSpecInfo.fits")]
    files.append(survey_files.write(extra, tmp_path / "galSpecExtra.fits"))
    alone = load(files[1:], release="alone")
    assert "galSpecInfo" in (alone.files[0].reason or "")
    assert load(files[1:]).count("rejected") == 1
    load(files[:1])
    # What was missing is there now.
    report = load(files[1:])
    assert (report.total("loaded"), report.total("rejected")) == (18, 2)
    row = one(connection, "SELECT spectrotype, lgm_fib_p50 FROM archive.sdss_galaxy WHERE specobjid = %s", 2**63 + 1024)
    assert row == ("GALAXY", pytest.approx(float(made["LGM_FIB_P50"][1])))
    assert one(connection, "SELECT count(*) FROM archive.reference_value") == (4 * 16,)


def test_own_table_keeps_columns_types_units_and_ucds(load, connection, tmp_path, survey_files) -> None:
    ra, dec = survey_files.sky(25)
    made = Table({"Source_ID": np.arange(25) + 2**62, "RAJ2000": ra, "DEJ2000": dec, "hpx29": np.arange(25)})
    made["z-LEDA"] = np.linspace(0, 1, 25)
    made["v"] = np.ones(25, np.float32)
    made["v"].unit = "km/s"
    made["v"].description = "velocity"
    made["name"] = ["same"] * 25
    made.write(tmp_path / "t.vot", format="votable")
    report = load([tmp_path / "t.vot"], release="My-Catalogue", id_column="Source_ID")
    assert report.count("loaded") == 1, report.files
    names = connection.execute(
        "SELECT column_name, unit, ucd, description FROM archive.column_metadata WHERE table_name = 'my_catalogue'"
    ).fetchall()
    by_name = {row[0]: row[1:] for row in names}
    assert sorted(by_name) == sorted(
        ["source_id", "ra", "dec", "hpx29", "source_id_file", "hpx29_file", "z_leda", "v", "name"]
    )
    assert by_name["v"] == ("km.s**-1", None, "velocity")
    assert by_name["ra"] == ("deg", "pos.eq.ra;meta.main", "Right ascension, ICRS")
    rows = connection.execute(
        "SELECT c.source_id_file, c.ra, c.dec, c.z_leda, s.native_id, c.hpx29 = s.hpx29 FROM catalogue.my_catalogue c "
        "JOIN archive.source s USING (source_id) ORDER BY 1"
    ).fetchall()
    assert rows == [(2**62 + i, ra[i], dec[i], made["z-LEDA"][i], str(2**62 + i), True) for i in range(25)]
    comment = one(connection, "SELECT col_description('catalogue.my_catalogue'::regclass, attnum) FROM pg_attribute "
                  "WHERE attrelid = 'catalogue.my_catalogue'::regclass AND attname = 'v'")  # fmt: skip
    assert comment == ("velocity",)


def test_files_of_one_release_share_their_table(load, connection, tmp_path, survey_files) -> None:
    ra, dec = survey_files.sky(20)
    made = Table({"id": np.arange(20), "ra": ra, "dec": dec, "m": np.ones(20)})
    made[:10].write(tmp_path / "a.csv", format="ascii.csv")
    made[10:].write(tmp_path / "b.fits")
    assert load([tmp_path / "a.csv", tmp_path / "b.fits"]).count("loaded") == 2
    assert one(connection, "SELECT count(*) FROM catalogue.r") == (20,)
    made["n"] = np.ones(20)
    made[:10].write(tmp_path / "c.fits")
    report = load([tmp_path / "c.fits"])
    assert "'n' is new. All files of release r share the table catalogue.r" in (report.files[0].reason or "")
    # A lone file may change its columns.
    made.write(tmp_path / "lone.fits")
    load([tmp_path / "lone.fits"], release="lone")
    made["k"] = np.ones(20)
    made.write(tmp_path / "lone.fits", overwrite=True)
    assert load([tmp_path / "lone.fits"], release="lone").count("loaded") == 1
    assert one(connection, "SELECT count(k) FROM catalogue.lone") == (20,)


@pytest.mark.parametrize("unit", ["option", "column"])
def test_radians_when_told(load, connection, tmp_path, survey_files, unit) -> None:
    ra, dec = survey_files.sky(40)
    made = Table({"name": [f"n{i}" for i in range(40)], "ra": np.radians(ra), "dec": np.radians(dec)})
    if unit == "column":
        made["ra"].unit = made["dec"].unit = "rad"
    made.write(tmp_path / "t.fits")
    untold = load([tmp_path / "t.fits"], release="untold")
    assert any("--angle-unit rad" in note for note in untold.files[0].notes) == (unit == "option")
    load([tmp_path / "t.fits"], **({"angle_unit": "rad"} if unit == "option" else {}))
    rows = connection.execute(
        "SELECT ra, dec, ra_file FROM catalogue.r JOIN archive.source s USING (source_id, ra, dec)"
    )
    found = np.array(sorted(rows.fetchall()))
    order = np.argsort(ra)
    assert found[:, 0] == pytest.approx(ra[order], abs=1e-12)
    assert found[:, 1] == pytest.approx(dec[order], abs=1e-12)
    assert (found[:, 2] == made["ra"][order]).all()
    assert one(
        connection, "SELECT unit FROM archive.column_metadata WHERE (table_name, column_name) = ('r', 'ra_file')"
    ) == ("rad",)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"id": [1, 2], "x": [1, 2], "y": [1, 2]}, {}, "no columns for the position.*The columns are: id, x, y"),
        ({"id": [1, 2], "ra": [1, 2], "dec": [1, 2]}, {"ra": "x", "dec": "y"}, "has no column 'x'"),
        ({"name": ["a", "a"], "ra": [1, 2], "dec": [1, 2]}, {}, "name one with --id. Not unique: name"),
        ({"mag": [1, 2], "ra": [1, 2], "dec": [1, 2]}, {}, "name one with --id. The columns are: mag, ra, dec"),
        ({"id": [1, 2], "ra": ["1h", "2h"], "dec": [1, 2]}, {}, "a position must be one real number a row"),
        ({"id": [1.5, 2], "ra": [1, 2], "dec": [1, 2]}, {"id_column": "id"}, "an id is integer or text"),
    ],
)  # fmt: skip
def test_unclear_columns_are_named(load, tmp_path, columns, options, message) -> None:
    Table(columns).write(tmp_path / "t.fits")
    report = load([tmp_path / "t.fits"], **options)
    assert report.count("rejected") == 1
    assert re.search(message, report.files[0].reason or ""), report.files[0].reason


def test_misuse_is_refused(load, tmp_path) -> None:
    for options, message in (
        ({"angle_unit": "hour"}, "use deg or rad"),
        ({"ra": "x"}, "give both --ra and --dec"),
        ({"null_values": ("",)}, "empty text"),
    ):
        with pytest.raises(UsageError, match=message):
            load([tmp_path], **options)
    with pytest.raises(UsageError, match="no catalogue files"):
        load([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        load([tmp_path / "none.fits"])


def test_command_reports_and_exits_with_1_on_a_broken_file(fresh_archive, tmp_path, survey_files) -> None:
    def galbase(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from galbase.schema.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], env=fresh_archive.env, capture_output=True, text=True
        )

    path = survey_files.write(survey_files.tractor(10, dr9=True), tmp_path / "a.fits")
    unknown = galbase("ingest", "catalogue", str(path), "--release", "r")
    assert (unknown.returncode, "galbase release add r --survey" in unknown.stderr) == (1, True)
    galbase("release", "add", "r", "--survey", "s")
    (tmp_path / "b.fits").write_bytes(b"")
    done = galbase("ingest", "catalogue", str(tmp_path), "--release", "r", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert (report["files_loaded"], report["files_rejected"], report["rows_loaded"]) == (1, 1, 10)
    again = galbase("ingest", "catalogue", str(path), "--release", "r")
    assert (again.returncode, "files unchanged  1" in again.stdout) == (0, True)
    assert galbase("ingest", "catalogue", str(path), "--release", "r", "--angle-unit", "h").returncode == 2
