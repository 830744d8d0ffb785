"""Results in every format, read back by the libraries astronomers use."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse, validate
from astropy.table import Table

from galbase.schema.errors import GalbaseError, UsageError
from galbase.sql.output import write_result
from galbase.sql.output_format import OutputFormat, choose_format
from galbase.sql.query import run_query
from tests.sql.small_archive import fill_small_archive

WIDE = """
SELECT g.galaxy_id, g.ra, g."dec", g.mag_g, g.z_warning, g.type, g.preprocess_kept, g.preprocess_flags, g.log_mstar_fib,
       s.specobjid, ARRAY[g.mag_g, 1.5, NULL] AS listed, ARRAY[1, 2]::bigint[] AS pair, now() AS asked,
       '{"a": 1}'::jsonb AS details, g.ra AS ra, 1.25 AS ratio, f.flux_g, 'é' AS accent, 12.5 AS far_arcsec
FROM api.galaxy_property g
LEFT JOIN archive.sdss_galaxy s ON s.source_id = g.galaxy_id + 2000
LEFT JOIN archive.legacysurvey_dr9_object f ON f.source_id = g.galaxy_id
ORDER BY g.galaxy_id
"""
N_ROW = 60


@pytest.fixture(scope="module")
def written(archive: Any) -> Any:
    with archive.connect(autocommit=True) as owner:
        return fill_small_archive(owner)


@pytest.fixture
def reader(archive: Any, written: Any) -> Iterator[Any]:
    del written
    with archive.connect(role="reader") as connection:
        yield connection


def wide(reader: Any, path: Path, wanted: OutputFormat) -> Path:
    reader.rollback()
    assert write_result(run_query(reader, WIDE), wanted, path) == N_ROW
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    return path


# dex and nanomaggy are no FITS units; they are written all the same, since nothing better says what the numbers are.
@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_fits_has_units_ucds_nulls_licence_and_citation(reader: Any, written: Any, tmp_path: Path) -> None:
    path = wide(reader, tmp_path / "wide.fits", OutputFormat.fits)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header = hdus[1].header
        columns = hdus[1].columns
        assert columns["ra"].unit == "deg"
        assert columns["mag_g"].unit == "mag"
        assert columns["log_mstar_fib"].unit == "dex"
        assert columns["flux_g"].unit == "nmgy"
        assert columns["far_arcsec"].unit == "arcsec"
        assert columns.names.count("ra_2") == 1
        number = columns.names.index("ra") + 1
        assert header[f"TUCD{number}"] == "pos.eq.ra;meta.main"
        assert header["CITE1"] == "Muller et al. (2020)"
        assert header["LICEN1"] == "CC0-1.0"
        assert hdus[0].header["RELEA3"] == "sdss"
        assert any("SQL: " in str(line) for line in header["COMMENT"])
    table = Table.read(path, hdu=1)
    assert table["mag_g"].mask[3]
    assert table["mag_g"][0] == pytest.approx(22.5 - 2.5 * np.log10(written.flux[0, 0]))
    assert table["z_warning"][3] == 4
    assert table["z_warning"].mask[45]
    assert table["galaxy_id"].tolist() == list(range(1000, 1060))
    # SDSS ids are unsigned 64-bit integers, which neither a float nor a FITS integer holds.
    assert table["specobjid"][1] == str(2**63 + 1)
    assert table["preprocess_kept"][0] == 1
    assert table["preprocess_kept"][7] == 0
    assert table["preprocess_kept"].mask[55]
    assert table["preprocess_flags"][7] == "NO_CONTOUR,BLENDED"
    assert table["pair"].shape == (N_ROW, 2)
    assert table["listed"].mask[0].tolist() == [False, False, True]
    assert table["accent"][0] == "e"


def test_votable_is_valid_and_keeps_nulls(reader: Any, tmp_path: Path) -> None:
    path = wide(reader, tmp_path / "wide.vot", OutputFormat.votable)
    complaints = io.StringIO()
    assert validate(str(path), output=complaints), complaints.getvalue()
    document = parse(str(path), verify="exception")
    assert document.version == "1.4"
    infos = [(info.name, info.value) for info in document.resources[0].infos]
    assert ("licence", "CC0-1.0") in infos
    assert ("citation", "Müller et al. (2020)") in infos
    assert ("QUERY", WIDE) in infos or any(name == "QUERY" for name, _ in infos)
    table = document.get_first_table()
    units = {field.name: str(field.unit) for field in table.fields}
    ucds = {field.name: field.ucd for field in table.fields}
    assert units["ra"] == "deg"
    assert units["flux_g"].strip("'") == "nmgy"
    assert ucds["mag_g"] == "phot.mag;em.opt.B"
    array = table.array
    assert array["z_warning"][3] == 4
    assert array["z_warning"].mask[45]
    assert array["mag_g"].mask[3]
    assert array["specobjid"][1] == str(2**63 + 1)
    assert array["galaxy_id"][59] == 1059
    assert bool(array["preprocess_kept"][0]) is True
    assert array["preprocess_kept"].mask[55]
    assert array["accent"][0] == "é"
    assert array["pair"][0].tolist() == [1, 2]
    assert array["listed"][0][1] == 1.5


def test_parquet_has_metadata_and_true_nulls(reader: Any, tmp_path: Path) -> None:
    table = pq.read_table(wide(reader, tmp_path / "wide.parquet", OutputFormat.parquet))
    releases = json.loads(table.schema.metadata[b"releases"])
    assert [item["release"] for item in releases] == ["sim-image", "real-image", "sdss"]
    assert releases[0]["citation"] == "Müller et al. (2020)"
    assert table.schema.field("mag_g").metadata[b"unit"] == b"mag"
    assert table.schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    assert table["mag_g"][3].as_py() is None
    assert table["preprocess_kept"].to_pylist()[:1] == [True]
    assert table["preprocess_flags"][7].as_py() == ["NO_CONTOUR", "BLENDED"]
    assert table["z_warning"].null_count == 30
    assert table["ratio"][0].as_py() == 1.25
    assert table["galaxy_id"].to_pylist() == list(range(1000, 1060))


def test_csv_and_json(reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wide(reader, tmp_path / "wide.csv", OutputFormat.csv)
    assert "licence: CC0-1.0; cite: Müller et al. (2020)" in capsys.readouterr().err
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[3]["mag_g"] == ""
    assert rows[0]["preprocess_kept"] == "true"
    assert float(rows[0]["ra"]) == float(rows[0]["ra_2"])
    path.unlink()
    document = json.loads(wide(reader, tmp_path / "wide.json", OutputFormat.json).read_text(encoding="utf-8"))
    assert document["rows"][3]["mag_g"] is None
    assert document["rows"][7]["preprocess_flags"] == ["NO_CONTOUR", "BLENDED"]
    assert {column["name"]: column["unit"] for column in document["columns"]}["dec"] == "deg"
    assert document["releases"][0]["licence"] == "CC0-1.0"


@pytest.mark.parametrize("wanted", [item for item in OutputFormat if item is not OutputFormat.table])
def test_no_rows_still_make_a_file_with_columns(reader: Any, tmp_path: Path, wanted: OutputFormat) -> None:
    path = tmp_path / f"empty.{wanted}"
    statement = "SELECT galaxy_id, ra, type, ARRAY[ra] AS listed FROM api.galaxy_property WHERE ra < 0 AND ra > %(low)s"
    assert write_result(run_query(reader, statement, {"low": 0.5}), wanted, path) == 0
    if wanted is OutputFormat.fits:
        assert fits.getdata(path).names == ["galaxy_id", "ra", "type", "listed"]
    if wanted is OutputFormat.votable:
        assert len(parse(str(path)).get_first_table().array) == 0
    if wanted is OutputFormat.parquet:
        assert pq.read_table(path).column_names == ["galaxy_id", "ra", "type", "listed"]


def test_table_shows_units_and_stops_at_a_thousand_rows(reader: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_result(
        run_query(reader, "SELECT ra, '[red]' AS said FROM api.galaxy_property LIMIT 2"), OutputFormat.table, None
    )
    shown = capsys.readouterr()
    assert "ra [deg]" in shown.out
    assert "[red]" in shown.out
    assert "2 rows" in shown.err
    reader.rollback()
    assert write_result(run_query(reader, "SELECT generate_series(1, 5000) AS n"), OutputFormat.table, None) == 1000
    assert "first 1000 rows" in capsys.readouterr().err


def test_large_results_are_streamed_and_limited(reader: Any, tmp_path: Path) -> None:
    statement = "SELECT n, n::float8 / 7 AS x FROM generate_series(1, 300000) n"
    path = tmp_path / "many.parquet"
    assert write_result(run_query(reader, statement), OutputFormat.parquet, path) == 300_000
    assert pq.read_table(path)["n"].to_pylist()[-1] == 300_000
    for limit in (0, 1, 2, 10_000, 10_001, 25_000):
        reader.rollback()
        assert sum(len(batch) for batch in run_query(reader, statement, limit=limit).batches) == limit


def test_cone_columns_have_the_units_of_the_function(reader: Any) -> None:
    result = run_query(reader, "SELECT * FROM api.cone_search(10.5, 0, 3600) ORDER BY separation_arcsec")
    units = {column.name: column.unit for column in result.columns}
    assert units == {
        "source_id": None, "release": None, "native_id": None, "ra": "deg", "dec": "deg", "hpx29": None, "flag": None,
        "separation_arcsec": "arcsec",
    }  # fmt: skip
    assert sum(len(batch) for batch in result.batches) > 0


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELEKT 1", 'syntax error at or near "SELEKT"'),
        ("DELETE FROM archive.source", "read-only transaction"),
        ("SELECT 1/0", "division by zero"),
        ("SELECT n / (n - 20000) FROM generate_series(1, 30000) n", "division by zero"),
        ("SET search_path = x", "has no result"),
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("SELECT * FROM pg_authid", "permission denied"),
    ],
)
def test_errors_are_postgresqls_and_leave_no_file(reader: Any, tmp_path: Path, statement: str, message: str) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(GalbaseError, match=message):
        write_result(run_query(reader, statement), OutputFormat.csv, path)
    assert path.read_text(encoding="utf-8") == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_formats_are_chosen_by_option_or_ending(tmp_path: Path) -> None:
    assert choose_format(None, None) is OutputFormat.table
    assert choose_format(None, Path("a.FITS")) is OutputFormat.fits
    assert choose_format(OutputFormat.csv, tmp_path / "x.txt") is OutputFormat.csv
    with pytest.raises(UsageError, match="'.txt' names no format"):
        choose_format(None, Path("x.txt"))
    with pytest.raises(UsageError, match="needs a file"):
        choose_format(OutputFormat.fits, None)


def test_a_folder_that_does_not_exist_is_named(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(GalbaseError, match="no/such"):
        write_result(run_query(reader, "SELECT 1 AS n"), OutputFormat.csv, tmp_path / "no/such/file.csv")
