"""The command line is light to start and every command shows an example."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = (
    "tensorflow", "keras", "dask", "distributed", "healpy", "cv2", "photutils", "astropy", "numpy", "h5py", "pyarrow",
    "sklearn", "scipy", "matplotlib", "sqlalchemy", "psycopg",
)  # fmt: skip


def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "galbase.schema.cli", *words, "--help"], capture_output=True, text=True, check=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip
    return done.stdout


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom galbase.schema import cli\n"
        "sys.argv = ['galbase', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "[~/.local/share/galbase]"),
        (("train",), "[family-preset-mode-training set]"),
        (("report",), "[all candidates and serving ones]"),
        (("training-set", "create"), "[the selection's own preset]"),
    ],
)
def test_what_is_in_brackets_is_shown(words: tuple[str, ...], shown: str) -> None:
    assert shown in help_of(*words)


@pytest.mark.parametrize("name", sorted(entry.name for entry in entry_points(group="galbase.commands")))
def test_every_command_has_an_example(name: str) -> None:
    assert f"galbase {name}" in help_of(name)
