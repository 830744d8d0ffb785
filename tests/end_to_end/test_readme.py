"""Every command of the README is run, in its order; its queries and the tour are `test_demo`'s."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.end_to_end.readme import ROOT, section, shell

MAKE = ("make demo\n", "make test\n")


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    assert section("The two commands") == list(MAKE)
    for command in MAKE:
        done = subprocess.run(
            ["make", "--dry-run", command.split()[1]], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert "galbase demo" in done.stdout or "pytest" in done.stdout


@pytest.fixture(scope="module")
def own_files(command_line: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with survey files laid out as the README says."""
    folder = tmp_path_factory.mktemp("own")
    command_line.galbase("simulate", "--out", folder / "survey", "--size", 1600, "--seed", 5)
    for name in ("sweep", "cutouts", "mpa-jhu"):
        (folder / name).mkdir()
    shutil.move(folder / "survey" / "legacysurvey" / "sweep-sim.fits", folder / "sweep")
    for shard in (folder / "survey" / "legacysurvey").glob("*.h5"):
        shutil.move(shard, folder / "cutouts")
    shutil.move(folder / "survey" / "sdss" / "galSpec-sim.fits", folder / "mpa-jhu")
    shutil.move(folder / "survey" / "sdss" / "spectra", folder / "spectra")
    return folder


def test_own_files_and_an_external_server(command_line: Any, server: Any, own_files: Path) -> None:
    """The README's own-files commands, on a fresh database of an external server."""
    blocks = section("Your own survey files")
    assert len(blocks) == 4
    config = server.create()
    url = str(config.database_url)
    try:
        external, cluster = section("An external server and a Dask cluster")
        written = "postgresql://postgres:secret@db.example.org:5432/galbase"
        assert written in external
        roles = {"GALBASE_OWNER_ROLE": config.owner_role, "GALBASE_READER_ROLE": config.reader_role}
        printed = shell(external.replace(written, url), command_line, own_files, **roles)
        assert config.reader_role in printed
        for block in blocks:
            shell(block, command_line, own_files, GALBASE_DATABASE_URL=url, **roles)
        for name in ("galaxy", "spectrum", "why", "blends", "flags"):
            assert (own_files / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(log_mstar_fib), count(*) FROM api.galaxy_property").fetchone()
        assert row is not None
        assert row[0] > 100
        _refresh_on_a_cluster(cluster, command_line, own_files, GALBASE_DATABASE_URL=url, **roles)
    finally:
        server.drop(config)


def _refresh_on_a_cluster(block: str, command_line: Any, folder: Path, **variables: str) -> None:
    """A scheduler and a worker as separate programs, and the README's command with their address."""
    written = "tcp://scheduler.example.org:8786"
    assert written in block
    binaries = Path(command_line.env["PATH"].split(os.pathsep)[0])
    file = folder / "scheduler.json"
    options = {"cwd": folder, "env": command_line.env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    listen = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([binaries / "dask", "scheduler", *listen], **options)
    worker = subprocess.Popen(
        [binaries / "dask", "worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard"], **options
    )
    try:
        for _ in range(300):
            if file.exists() and file.stat().st_size:
                break
            subprocess.run(["sleep", "0.2"], check=True)
        address = json.loads(file.read_text())["address"]
        with psycopg.connect(variables["GALBASE_DATABASE_URL"]) as connection:
            connection.execute("DELETE FROM archive.prediction WHERE observation_id % 7 = 0")
            connection.execute("DELETE FROM archive.preprocess WHERE observation_id % 5 = 0")
        shell(block.replace(written, address), command_line, folder, **variables)
        with psycopg.connect(variables["GALBASE_DATABASE_URL"]) as connection:
            row = connection.execute(
                "SELECT count(*) FROM archive.observation LEFT JOIN archive.preprocess USING (observation_id) "
                "LEFT JOIN archive.prediction USING (observation_id) WHERE kind = 'image' "
                "AND (preprocess.kept IS NULL OR preprocess.kept AND prediction.value IS NULL)"
            ).fetchone()
        assert row == (0,)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(timeout=60)
