"""Labels from files: which source a row belongs to, what is refused, and what a second ingest does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.table import Table

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.label_file import LabelOptions, LabelReport, ingest_labels
from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.label_table import read_labels
from galbase.ingest.releases import Release, add_release, drop_release
from galbase.schema.errors import GalbaseError, UsageError

Connection = psycopg.Connection[Any]
N = 40


@pytest.fixture
def connection(fresh_archive: Any) -> Iterator[Connection]:
    with fresh_archive.connect(autocommit=True) as made:
        yield made


@pytest.fixture
def sdss(fresh_archive: Any, connection: Connection, tmp_path: Path, survey_files: Any) -> tuple[Release, Table]:
    """A release with a galSpec table of 40 galaxies, and the table."""
    made = survey_files.galspec(N)
    release = add_release(connection, "sdss", survey="SDSS")[0]
    folder = tmp_path / "catalogue"
    folder.mkdir()
    path = survey_files.write(made, folder / "galSpec.fits")
    run_catalogues(fresh_archive.config, "sdss", [path], CatalogueOptions())
    return release, made


def stellarpop(made: Table, seed: int = 3) -> Table:
    """Labels as full-spectrum fitting gives them: the columns of the simulated survey's stellarpop-sim.fits."""
    rng = np.random.default_rng(seed)
    labels = Table({"SPECOBJID": made["SPECOBJID"], "RA": made["RA"], "DEC": made["DEC"]})
    labels["LOG_AGE"], labels["LOG_AGE_ERR"] = rng.uniform(8.5, 10.1, N).astype("f4"), np.full(N, 0.1, "f4")
    labels["MH"], labels["MH_ERR"] = rng.uniform(-1.5, 0.3, N).astype("f4"), np.full(N, 0.05, "f4")
    return labels


def load(connection: Connection, release: Release, path: Path, **options: Any) -> LabelReport:
    return ingest_labels(connection, release, [path], LabelOptions(**{"origin": "ppxf", **options}))


def stored(connection: Connection, origin: str = "ppxf") -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT s.native_id, p.name, v.value, v.err, v.q16, v.q84 FROM archive.reference_value v "
        "JOIN archive.source s USING (source_id) JOIN archive.property p USING (property_id) WHERE v.origin = %s",
        (origin,),
    ).fetchall()
    return {(row[0], row[1]): row[2:] for row in rows}


def rejected(connection: Connection) -> dict[int, str]:
    return dict(
        connection.execute(
            "SELECT row_index, r.reason FROM archive.rejected_row r JOIN archive.data_file USING (data_file_id) "
            "WHERE format = 'labels'"
        ).fetchall()
    )


@pytest.mark.parametrize("suffix", ["fits", "parquet", "csv", "vot"])
def test_labels_by_specobjid(connection: Connection, sdss: Any, tmp_path: Path, suffix: str) -> None:
    release, made = sdss
    labels = stellarpop(made)
    path = tmp_path / f"labels.{suffix}"
    if suffix == "parquet":
        import pyarrow
        import pyarrow.parquet

        arrays = {name: np.asarray(labels[name]) for name in labels.colnames}
        pyarrow.parquet.write_table(pyarrow.table(arrays), path)
    else:
        if suffix == "vot":
            # VOTable has no unsigned 64-bit integers.
            labels["SPECOBJID"] = [str(value) for value in labels["SPECOBJID"].tolist()]
        labels.write(path, format={"fits": "fits", "csv": "ascii.csv", "vot": "votable"}[suffix])
    report = load(connection, release, path)
    assert report.files.rejected == []
    assert (report.rows_loaded, report.files.inserted, report.files.rows_rejected) == (N, 2 * N, 0)
    assert report.labels == {"log_age": N, "mh": N}
    got = stored(connection)
    assert len(got) == 2 * N
    for i, native in enumerate(made["SPECOBJID"].tolist()):
        # Ids above 2^63 are exact; sources that doubles cannot tell apart have their own labels.
        assert got[str(native), "log_age"] == (pytest.approx(labels["LOG_AGE"][i]), pytest.approx(0.1), None, None)
        assert got[str(native), "mh"][:2] == (pytest.approx(labels["MH"][i]), pytest.approx(0.05))
    again = load(connection, release, path)
    assert (again.files.loaded, again.files.unchanged) == (0, 1)


def test_rows_that_cannot_be_loaded(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    labels = stellarpop(made)
    labels["SPECOBJID"][3] = 17
    labels["SPECOBJID"][5] = labels["SPECOBJID"][4]
    labels["LOG_AGE"][6] = labels["MH"][6] = np.nan
    labels["LOG_AGE"][7] = np.inf
    labels["MH"][8] = -9999
    labels["LOG_AGE_ERR"][9] = -1
    labels.write(tmp_path / "labels.fits")
    report = load(connection, release, tmp_path / "labels.fits")
    reasons = rejected(connection)
    assert reasons == {
        3: "release sdss has no source with this id",
        5: "its source is that of row 4",
        6: "no label: all its values are missing",
        8: "MH=-9999 is no value in dex; if it means missing, give --null-value -9999",
    }
    assert (report.rows_loaded, report.files.rows_rejected) == (N - 4, 4)
    counts = connection.execute(
        "SELECT n_row, n_loaded, n_rejected FROM archive.data_file WHERE format = 'labels'"
    ).fetchone()
    assert counts == (N, N - 4, 4)
    got = stored(connection)
    natives = [str(value) for value in made["SPECOBJID"].tolist()]
    assert (natives[7], "log_age") not in got
    assert (natives[7], "mh") in got
    assert got[natives[9], "log_age"][1] is None
    assert report.nulls == {"nan": 2, "infinite": 1, "negative error": 1}
    # Said to be missing, the sentinel costs the row one label and not both; other options read the file again.
    report = load(connection, release, tmp_path / "labels.fits", null_values=("-9999",))
    assert report.rows_loaded == N - 3
    assert (natives[8], "log_age") in stored(connection)
    assert (natives[8], "mh") not in stored(connection)


def test_a_changed_file_replaces_its_labels_and_no_others(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    labels = stellarpop(made)
    labels[:20].write(tmp_path / "a.fits")
    labels[20:].write(tmp_path / "b.fits")
    load(connection, release, tmp_path)
    before = stored(connection)
    assert len(before) == 2 * N
    changed = stellarpop(made, seed=4)[5:20]
    changed.remove_columns(["MH", "MH_ERR"])
    changed.write(tmp_path / "a.fits", overwrite=True)
    report = load(connection, release, tmp_path)
    assert (report.files.loaded, report.files.unchanged) == (1, 1)
    assert (report.files.inserted, report.files.changed, report.files.deleted) == (0, 15, 25)
    natives = [str(value) for value in made["SPECOBJID"].tolist()]
    after = stored(connection)
    assert set(after) == {(native, "log_age") for native in natives[5:20]} | {
        (native, name) for native in natives[20:] for name in ("log_age", "mh")
    }
    assert all(after[key] == before[key] for key in after if natives.index(key[0]) >= 20)
    for i in range(5, 20):
        assert after[natives[i], "log_age"][0] == pytest.approx(changed["LOG_AGE"][i - 5])
    # Cut short, it is refused, and its labels stay.
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(whole[:-2880])
    assert len(load(connection, release, tmp_path / "a.fits").files.rejected) == 1
    assert stored(connection) == after


def test_sources_that_come_later_are_labelled_at_the_next_ingest(
    fresh_archive: Any, connection: Connection, tmp_path: Path, survey_files: Any
) -> None:
    made = survey_files.galspec(N)
    release = add_release(connection, "sdss", survey="SDSS")[0]
    stellarpop(made).write(tmp_path / "labels.fits")
    report = load(connection, release, tmp_path / "labels.fits")
    assert "none of the 40 rows can be loaded; the first: release sdss has no source" in report.files.rejected[0][1]
    (tmp_path / "later").mkdir()
    for name, part, n_loaded in (("first.fits", made[:30], 30), ("second.fits", made[30:], 40)):
        path = survey_files.write(part, tmp_path / "later" / name)
        run_catalogues(fresh_archive.config, "sdss", [path], CatalogueOptions())
        report = load(connection, release, tmp_path / "labels.fits")
        assert (report.rows_loaded, report.files.rows_rejected) == (n_loaded, 40 - n_loaded)
    assert load(connection, release, tmp_path / "labels.fits").files.unchanged == 1


def test_labels_by_position(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    labels = stellarpop(made)
    labels.remove_column("SPECOBJID")
    step = np.full(N, 0.4 / 3600)
    step[3], step[4] = 1.5 / 3600, np.nan
    labels["DEC"] = np.clip(labels["DEC"] + step, -90, 90)
    labels.add_row(labels[7])
    labels["DEC"][N] -= 0.3 / 3600
    labels.write(tmp_path / "labels.fits")
    report = load(connection, release, tmp_path / "labels.fits", radius_arcsec=1.0)
    assert report.rows_loaded == N - 2
    reasons = rejected(connection)
    assert set(reasons) == {3, 4, 7}
    assert reasons[3] == "release sdss has no source within 1 arcsec"
    assert "is not on the sky" in reasons[4]
    assert reasons[7] == "row 40 is nearer to its source"
    got = stored(connection)
    for i, native in enumerate(made["SPECOBJID"].tolist()):
        if i not in (3, 4):
            assert got[str(native), "log_age"][0] == pytest.approx(labels["LOG_AGE"][i])


def test_columns_of_other_names_and_quantiles(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    table = Table({"name": [str(value) for value in made["SPECOBJID"].tolist()], "oh": np.linspace(8, 9, N)})
    table["oh_q16"], table["oh_q84"], table["oh_err"] = table["oh"] - 0.1, table["oh"] + 0.1, np.full(N, 0.1)
    table["log_mstar_tot"] = np.linspace(9, 11, N)
    table.write(tmp_path / "mine.csv", format="ascii.csv")
    load(connection, release, tmp_path / "mine.csv", columns={"oh12": "OH"}, id_column="name", origin="mine")
    got = stored(connection, "mine")
    native = str(made["SPECOBJID"][2])
    assert len(got) == 2 * N
    assert got[native, "oh12"] == pytest.approx((table["oh"][2], 0.1, table["oh"][2] - 0.1, table["oh"][2] + 0.1))


@pytest.mark.parametrize("unit", ["", "dex", "log(yr)", "[yr]", "dex(yr)"])
def test_units_that_are_the_propertys(connection: Connection, sdss: Any, tmp_path: Path, unit: str) -> None:
    release, made = sdss
    write_with_unit(stellarpop(made), tmp_path / "labels.fits", unit)
    assert load(connection, release, tmp_path / "labels.fits").rows_loaded == N


@pytest.mark.parametrize("unit", ["Gyr", "yr", "log(Gyr)", "log(solMass)", "mag"])
def test_units_that_are_not(connection: Connection, sdss: Any, tmp_path: Path, unit: str) -> None:
    release, made = sdss
    write_with_unit(stellarpop(made), tmp_path / "labels.fits", unit)
    (_, reason), = load(connection, release, tmp_path / "labels.fits").files.rejected  # fmt: skip
    assert f"column 'LOG_AGE' is in '{unit}', but property log_age is in dex, of a quantity in yr" in reason
    assert stored(connection) == {}


@pytest.mark.parametrize(
    ("prop", "unit", "wanted"),
    [
        ("re_sersic", "arcsec", None), ("re_sersic", "", None), ("n_sersic", "---", None), ("mag_sersic", "mag", None),
        ("re_sersic", "deg", "arcsec"), ("re_sersic", "dex", "arcsec"), ("n_sersic", "mag", "no unit"),
    ],
)  # fmt: skip
def test_units_of_properties_that_are_no_logarithms(prop: str, unit: str, wanted: str | None) -> None:
    name = prop.upper()
    column = FileColumn(name, values=np.ones(3), unit=unit)
    columns = {each: FileColumn(each, np.ones(3)) for each in ("ra", "dec")}
    table = TableFile("csv", {**columns, name: column}, 3)
    if wanted is None:
        read_labels(table, "labels.fits")
        return
    with pytest.raises(GalbaseError, match=f"is in '{unit}', but property {prop} is in {wanted}"):
        read_labels(table, "labels.fits")


def write_with_unit(table: Table, path: Path, unit: str) -> None:
    from astropy.io import fits

    table.write(path)
    with fits.open(path, mode="update") as hdus:
        number = hdus[1].columns.names.index("LOG_AGE") + 1
        hdus[1].header[f"TUNIT{number}"] = unit


def test_files_that_hold_no_labels(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    labels = stellarpop(made)
    labels["SPECOBJID", "RA", "DEC"].write(tmp_path / "none.fits")
    as_real = labels.copy()
    as_real["SPECOBJID"] = as_real["SPECOBJID"].astype("f8")
    as_real.write(tmp_path / "real.fits")
    labels["LOG_AGE", "MH"].write(tmp_path / "noid.fits")
    as_text = labels.copy()
    as_text["MH"] = [str(value) for value in as_text["MH"]]
    as_text.write(tmp_path / "text.fits")
    report = load(connection, release, tmp_path)
    # The galSpec table of the fixture lies in a folder below.
    assert report.files.ignored == 2
    reasons = dict(report.files.rejected)
    assert "cannot hold a 64-bit id exactly" in reasons["real.fits"]
    assert "no column of ids" in reasons["noid.fits"]
    assert "column 'MH' is not one real number a row" in reasons["text.fits"]
    alone = load(connection, release, tmp_path / "none.fits")
    assert "no column that is named as a property" in alone.files.rejected[0][1]
    with_other = load(connection, release, tmp_path / "none.fits", columns={"age": "RA"})
    assert "there is no property 'age'" in with_other.files.rejected[0][1]


def test_truth_is_for_evaluation_only(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    stellarpop(made).write(tmp_path / "labels.fits")
    load(connection, release, tmp_path / "labels.fits", origin="truth")
    assert connection.execute("SELECT origin, evaluation_only FROM archive.label_origin").fetchall() == [
        ("truth", True)
    ]
    source = connection.execute("SELECT source_id FROM archive.reference_value LIMIT 1").fetchone()
    assert source is not None
    for origin, n_row in ((None, 0), ("truth", 1)):
        rows = connection.execute(
            "SELECT log_age FROM api.source_label(%s, %s::text) WHERE log_age IS NOT NULL", (source[0], origin)
        ).fetchall()
        assert len(rows) == n_row
    load(connection, release, tmp_path / "labels.fits", origin="other")
    assert len(stored(connection, "truth")) == 0
    assert len(stored(connection, "other")) == 2 * N
    with pytest.raises(GalbaseError, match="are for selections in this archive"):
        load(connection, release, tmp_path / "labels.fits", origin="other", evaluation_only=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"origin": "two words"}, "is no name"),
        ({"origin": "mpa-jhu"}, "come with their galSpec tables"),
        ({"ra": "RA", "dec": "DEC"}, "needs --radius-arcsec"),
        ({"radius_arcsec": 1.0, "id_column": "SPECOBJID"}, "exclude each other"),
        ({"radius_arcsec": 1.0, "ra": "RA"}, "give both"),
        ({"null_values": ("",)}, "empty text"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LabelOptions(**{"origin": "ppxf", **options}).check()


def test_a_dropped_release_takes_its_labels_along(connection: Connection, sdss: Any, tmp_path: Path) -> None:
    release, made = sdss
    stellarpop(made).write(tmp_path / "labels.fits")
    load(connection, release, tmp_path / "labels.fits")
    assert drop_release(connection, "sdss")["files"] == 2
    assert connection.execute("SELECT count(*) FROM archive.reference_value").fetchone() == (0,)


def test_command(fresh_archive: Any, tmp_path: Path, survey_files: Any) -> None:
    def galbase(*words: Any, status: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "galbase.schema.cli", *map(str, words), "--json"],
            env=fresh_archive.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    made = survey_files.galspec(N)
    labels = stellarpop(made)
    labels["SPECOBJID"][0] = 1
    labels.write(tmp_path / "stellarpop-sim.fits")
    galbase("release", "add", "sdss", "--survey", "SDSS", "--simulated")
    galbase("ingest", "catalogue", survey_files.write(made, tmp_path / "galSpec.fits"), "--release", "sdss")
    words = ("ingest", "labels", tmp_path / "stellarpop-sim.fits", "--release", "sdss", "--origin", "stellarpop-sim")
    payload = galbase(*words)
    assert (payload["rows_loaded"], payload["rows_rejected"], payload["labels_inserted"]) == (N - 1, 1, 2 * N - 2)
    assert payload["labels"] == {"log_age": N - 1, "mh": N - 1}
    assert galbase(*words)["files_unchanged"] == 1
    galbase(*words, "--column", "log_age", status=2)
    (tmp_path / "empty.fits").write_bytes(b"")
    refused = galbase("ingest", "labels", tmp_path / "empty.fits", "--release", "sdss", "--origin", "x", status=1)
    assert refused["files_rejected"] == 1
