"""Malformed files of every format are refused as files, by name and fault, in little memory; the rest of a batch loads.

The files are those of `malformed_tables`, `malformed_images` and `malformed_spectra`; each is read in a process of its
own, whose memory is measured. Seconds are measured by ``benchmarks/refuse_files.py``.
"""

import gzip
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.readers.content import MAX_EXPANSION_VARIABLE
from galbase.ingest.readers.table import read_table
from galbase.ingest.releases import add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.schema.errors import GalbaseError, UsageError
from tests.ingest.spectrum_files import write_desi

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.ingest.malformed_spectra import spec
    from tests.ingest.refusals import CASES

ROOT = Path(__file__).parents[2]
MOST_MIB = 200


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each case."""
    folder = tmp_path_factory.mktemp("refused") / "files"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.ingest.refusals", str(folder)],
        capture_output=True, text=True, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {item["case"]: item for item in found}


def test_names_of_cases_are_unique(refused: dict[str, dict[str, Any]]) -> None:
    assert len({case.name for case in CASES}) == len(CASES) == len(refused)
    assert len(CASES) > 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_as_a_file(refused: dict[str, dict[str, Any]], case: Any) -> None:
    found = refused[case.name]
    assert found["error"] == "GalbaseError", found
    assert re.search(case.message, found["message"], re.DOTALL), found["message"]
    assert case.file in found["message"]
    assert found["added_mib"] < MOST_MIB, found


def test_the_bound_of_expansion_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 6 * 2**20
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(b"id,ra,dec\n" + b"1,2,3.000000\n" * rows)
    with pytest.raises(GalbaseError, match=r"more than 100 times its .* bytes.*GALBASE_MAX_EXPANSION=1000 galbase"):
        read_table(path)
    monkeypatch.setenv(MAX_EXPANSION_VARIABLE, "1000")
    assert read_table(path).n_row == rows
    monkeypatch.setenv(MAX_EXPANSION_VARIABLE, "much")
    with pytest.raises(UsageError, match="GALBASE_MAX_EXPANSION='much' is no positive number"):
        read_table(path)


def test_a_batch_of_catalogues_loads_but_for_the_bad(archive: Any, tmp_path: Path) -> None:
    tables = [case for case in CASES if case.reader == "table" and "bomb" not in case.name]
    for number, case in enumerate(tables):
        folder = tmp_path / f"bad{number}"
        folder.mkdir()
        case.make(folder / case.file)
    ra = np.array([10.0, np.nan, 12.0, 400000.0, 14.0])
    good = Table({"id": [1, 2, 3, 4, 4], "ra": ra, "dec": [0.0, 0.0, 95.0, 0.0, 0.0]})
    for name in ("first", "zlast"):
        good["id"] += 100
        good.write(tmp_path / f"{name}.fits")
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, "batch", survey="S")
        report = run_catalogues(archive.config, "batch", [tmp_path], CatalogueOptions(id_column="id"))
        assert (report.count("loaded"), report.count("rejected")) == (2, len(tables))
        reasons = connection.execute(
            "SELECT row_index, r.reason FROM archive.rejected_row r JOIN archive.data_file f USING (data_file_id) "
            "WHERE release_id = %s AND path = 'first.fits' ORDER BY 1",
            (release.release_id,),
        ).fetchall()
        states = connection.execute(
            "SELECT state, count(*) FROM archive.data_file WHERE release_id = %s GROUP BY 1", (release.release_id,)
        ).fetchall()
    assert dict(states) == {"loaded": 2, "rejected": len(tables)}
    assert [row for row, _ in reasons] == [1, 2, 3, 4]
    for (_, reason), wanted in zip(
        reasons, ("no position", "dec=95 is not on the sky", "ra=400000", "the id 104 is that of row 3"), strict=True
    ):
        assert wanted in reason


@pytest.mark.parametrize("kind", ["image", "spectrum"])
def test_a_batch_of_images_or_spectra_loads_but_for_the_bad(archive: Any, tmp_path: Path, kind: str) -> None:
    cases = [case for case in CASES if case.reader == kind and "bomb" not in case.name]
    for number, case in enumerate(cases):
        folder = tmp_path / f"bad{number}"
        folder.mkdir()
        case.make(folder / case.file)
    with archive.connect(autocommit=True) as connection:
        release, _ = add_release(connection, f"batch-{kind}", survey="S")
        if kind == "image":
            for name in ("a.png", "z.jpg"):
                Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / name)
            fits.PrimaryHDU(np.ones((8, 8), np.float32)).writeto(tmp_path / "m.fits")
            report = ingest_images(connection, release, [tmp_path], ImageOptions())
            good = 3
        else:
            spec(tmp_path / "a.fits")
            write_desi(tmp_path / "coadd.fits", 4, OBJTYPE=np.array(["TGT", "SKY", "TGT", "TGT"]))
            report = ingest_spectra(connection, release, [tmp_path])
            good = 2
        assert (report.loaded, report.ignored, report.rows_rejected) == (good, 0, 1 if kind == "spectrum" else 0)
        assert len(report.rejected) == len(cases), {
            case.name for i, case in enumerate(cases) if f"bad{i}/{case.file}" not in dict(report.rejected)
        }
    assert all(os.path.basename(name) in reason for name, reason in report.rejected)  # noqa: PTH119
