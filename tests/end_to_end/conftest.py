"""One demonstration for all end-to-end tests: the default size, with the real samples where they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from galbase.schema import database
from galbase.schema.config import Config

GALBASE = Path(sys.executable).with_name("galbase")


@dataclass(frozen=True)
class CommandLine:
    """Commands on the archive of a directory."""

    directory: Path

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GALBASE_")}
        path = f"{GALBASE.parent}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"GALBASE_DATA_DIR": str(self.directory), "PATH": path}

    def galbase(self, *words: object, status: int = 0) -> str:
        """Run a command and return its standard output."""
        done = subprocess.run(
            [GALBASE, *map(str, words)], capture_output=True, text=True, env=self.env, check=False, timeout=900
        )
        assert done.returncode == status, f"galbase {words}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Demo(CommandLine):
    """A finished demonstration: its directory, what it printed, its figures."""

    printed: str
    figures: dict[str, Any]

    @property
    def config(self) -> Config:
        return Config(data_dir=self.directory)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query as the reader."""
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def again(self) -> subprocess.CompletedProcess[str]:
        """Run the demonstration once more in the same directory."""
        return run_demo(self.directory)

    def connect(self) -> psycopg.Connection[Any]:
        return database.connect(self.config, role="reader", autocommit=True)


def run_demo(directory: Path, *words: object) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALBASE_")}
    return subprocess.run(
        [GALBASE, "demo", "--data-dir", str(directory), "--json", *map(str, words)],
        capture_output=True, text=True, env=kept, check=False, timeout=1500,
    )  # fmt: skip


@pytest.fixture(scope="module")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Commands that are told their server by ``GALBASE_DATABASE_URL``."""
    return CommandLine(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """`galbase demo`, run once, on its own embedded server."""
    folder = Path(tempfile.mkdtemp(prefix="galbase-demo-", dir="/tmp"))
    folder.chmod(0o755)
    directory = folder / "archive"
    data = os.environ.get("GALBASE_TEST_DATA")
    words = ["--real", data] if data else []
    try:
        done = run_demo(directory, *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        yield Demo(directory, done.stdout, json.loads(done.stdout.strip().splitlines()[-1]))
    finally:
        subprocess.run([GALBASE, "--data-dir", directory, "db", "stop"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def real(demo: Demo, test_data: Path) -> Demo:
    """The demonstration that has loaded the real samples; without them the test is skipped, or fails in CI."""
    assert test_data.is_dir()
    return demo
