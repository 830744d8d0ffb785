"""The commands of images, spectra, crossmatches and cutouts, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def galbase(archive: Any) -> Any:
    """Run a command and return (exit status, standard output, standard error)."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "galbase.schema.cli", *map(str, words)],
            capture_output=True, text=True, env=archive.env, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_from_files_to_cutouts(galbase: Any, archive: Any, test_data: Path, tmp_path: Path) -> None:
    pairs = test_data / "sdss-pairs"
    for name in ("images", "spectra"):
        status, _, text = galbase("release", "add", name, "--survey", "SDSS", "--licence", "free", "--citation", "Y1")
        assert status == 0, text
    status, out, text = galbase(
        "ingest", "images", pairs / "images", "--release", "images", "--position-from-name",
        "--pixel-scale-arcsec", "0.396", "--bands", "i,r,g", "--json",
    )  # fmt: skip
    assert status == 0, text
    assert json.loads(out) == {
        "files_loaded": 4, "files_unchanged": 0, "files_rejected": 0, "files_ignored": 0, "rows_rejected": 0,
        "inserted": 4, "changed": 0, "deleted": 0, "in_release": 4, "with_position": 4,
        "without_position": 0, "position_differs": 0, "manifest_rows_unused": 0, "rejected": [],
    }  # fmt: skip
    (tmp_path / "bad.fits").write_text("no FITS")
    status, out, text = galbase("ingest", "spectra", pairs / "spectra", tmp_path / "bad.fits", "--release", "spectra")
    assert status == 1
    assert "files rejected    1" in out
    assert "rejected bad.fits: bad.fits is damaged or no FITS file" in text
    status, out, text = galbase("crossmatch", "images", "spectra", "--radius-arcsec", "0.1", "--json")
    assert status == 0, text
    found = json.loads(out)
    assert (found["n_pair"], found["n_matched"], found["galaxies"], found["members"]) == (4, 4, 4, 8)
    with archive.connect() as connection:
        runs = connection.execute("SELECT kind, state, message FROM archive.run ORDER BY run_id").fetchall()
        source = connection.execute("SELECT min(source_id) FROM archive.observation WHERE kind = 'image'").fetchone()
    assert runs == [
        ("ingest", "done", "4 files loaded, 0 rejected"), ("ingest", "done", "4 files loaded, 1 rejected"),
        ("crossmatch", "done", "4 pairs"),
    ]  # fmt: skip
    assert source is not None
    status, out, text = galbase("cutout", source[0], "--out", tmp_path / "a.png")
    assert status == 0, text
    assert "citation   Y1" in out
    assert (tmp_path / "a.png").stat().st_size > 1000
    status, out, text = galbase("spectrum", source[0], "--out", tmp_path / "a.csv", "--json")
    assert status == 0, text
    assert f"Source {source[0]} has none of its own; this one is of source {json.loads(out)['source_id']}" in text


def test_failures_are_told_without_a_traceback(galbase: Any, tmp_path: Path) -> None:
    status, _, text = galbase("ingest", "images", tmp_path, "--release", "nowhere")
    assert (status, "there is no release 'nowhere'" in text) == (1, True)
    assert galbase("release", "add", "here", "--survey", "S")[0] == 0
    status, _, text = galbase("ingest", "images", tmp_path / "none", "--release", "here")
    assert (status, "does not exist" in text) == (2, True)
    status, _, text = galbase("ingest", "images", tmp_path, "--release", "here", "--bands", "g,,r")
    assert (status, "must name each plane once" in text) == (2, True)
    status, _, text = galbase("crossmatch", "here", "here", "--radius-arcsec", "1")
    assert (status, "cannot be crossmatched with itself" in text) == (2, True)
    status, _, text = galbase("cutout", "5", "--out", tmp_path / "a.png")
    assert (status, "there is no source 5" in text) == (1, True)
    assert "Traceback" not in text
