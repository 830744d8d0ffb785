"""`galbase query` and `galbase cone` as a user runs them, and the example questions."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from tests.sql.small_archive import fill_small_archive

EXAMPLES = sorted(
    (item.name, item.read_text(encoding="utf-8"))
    for item in (files("galbase.sql") / "examples").iterdir()
    if item.name.endswith(".sql")
)


@pytest.fixture(scope="module")
def filled(archive: Any) -> Any:
    """The archive with galaxies in it."""
    with archive.connect(autocommit=True) as owner:
        fill_small_archive(owner)
        owner.execute(
            "INSERT INTO archive.served_model SELECT property_id, 'image', 1 FROM archive.property "
            "WHERE name = 'log_ssfr_fib'"
        )
        owner.execute(
            "INSERT INTO archive.prediction SELECT p.model_id, x.property_id, p.observation_id, p.source_id, -11.5, "
            "0.3, NULL, -12.3, -12.2, -11.8, -11.5, -11.2, -11, -10.9, p.flag, '' FROM archive.prediction p, "
            "archive.property x WHERE p.model_id = 1 AND x.name = 'log_ssfr_fib'"
        )
    return archive


def galbase(archive: Any, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from galbase.schema.cli import main; main()", *words],
        env=archive.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_query_writes_a_file_with_units(filled: Any, tmp_path: Path) -> None:
    out = tmp_path / "near.fits"
    done = galbase(filled, "query", "SELECT * FROM api.cone_search(10.5, 0, 600)", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert fits.getheader(out, 1)["TUNIT8"] == "arcsec"


def test_query_takes_parameters_files_and_limits(filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text(
        "SELECT galaxy_id, type FROM api.galaxy_property\n"
        "WHERE z < %(z_max)s AND type LIKE 'E%%' ORDER BY galaxy_id;\n",
        encoding="utf-8",
    )
    done = galbase(filled, "query", "--file", str(file), "--param", "z_max=0.2", "--limit", "3", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [row["galaxy_id"] for row in json.loads(done.stdout)["rows"]] == [1000, 1001, 1002]


def test_wrong_statements_and_usage_have_their_exit_status(filled: Any) -> None:
    wrong = galbase(filled, "query", "SELEKT 1")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert 'syntax error at or near "SELEKT"' in wrong.stderr
    assert "Traceback" not in wrong.stderr
    for words in (
        ["query"],
        ["query", "SELECT 1", "--format", "fits"],
        ["query", "SELECT 1", "--param", "novalue"],
        ["cone", "10", "91", "1arcsec"],
        ["cone", "10", "1", "1"],
    ):
        done = galbase(filled, *words)
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_cone_takes_sexagesimal_and_negative_declinations(filled: Any) -> None:
    found = []
    for ra, dec in (("10.5", "-0.5"), ("00:42:00", "-00:30:00"), ("0h42m", "-0d30m0s")):
        done = galbase(filled, "cone", ra, dec, "0.5deg", "--format", "csv", "--release", "sim-image")
        assert done.returncode == 0, done.stderr
        assert "sim-image; licence: CC0-1.0" in done.stderr
        assert "sdss" not in done.stderr
        found.append(done.stdout)
    assert found[0] == found[1] == found[2]
    lines = found[0].splitlines()
    assert lines[0].startswith("source_id,release,native_id,ra,dec")
    distances = [float(line.split(",")[-1]) for line in lines[1:]]
    assert distances == sorted(distances)
    assert 0 < len(distances) < 40


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_examples_answer_as_the_reader(filled: Any, name: str, text: str) -> None:
    with filled.connect(role="reader") as connection:
        cursor = connection.execute(text.encode())
        rows = cursor.fetchall()
    assert rows, name
    assert text.startswith("--")
    assert text.rstrip().endswith(";")
    columns = [column.name for column in cursor.description or ()]
    if name == "5_predicted_against_label.sql":
        assert rows[0][:2] == ("log_mstar_fib", 29)
    if name == "2_crossmatch.sql":
        assert dict(zip(columns, rows[0], strict=True))["n_best_match"] == 10
    if name == "4_nearest_galaxies.sql":
        assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
