"""The packaging, the size of files, and who may import what."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("schema", "sql", "ingest", "ml")
HEAVY = {"ml": {"tensorflow", "keras"}}


def python_files() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module} | {f"{node.module}.{alias.name}" for alias in node.names})
    return names


def test_packages_listed_equal_the_tree() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "galbase." + ".".join(path.parent.relative_to(ROOT).parts)
        for part in PARTS
        for path in (ROOT / part).rglob("__init__.py")
    }
    assert listed == found


def test_sql_files_are_packaged() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packaged = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")[1:]).glob(pattern)
    }
    assert {path for part in PARTS for path in (ROOT / part).rglob("*.sql")} <= packaged


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in python_files()}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_typed_and_linked_for_mypy(part: str) -> None:
    assert (ROOT / part / "py.typed").exists()
    assert (ROOT / ".typing" / "galbase" / part).resolve() == ROOT / part


def test_no_namespace_folder() -> None:
    assert not (ROOT / "galbase").exists()


def test_files_stay_under_400_lines() -> None:
    files = [*python_files(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "sql").rglob("*.sql")]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_dask_only_in_jobs() -> None:
    users = [path for path in python_files() if any(n.split(".")[0] in ("dask", "distributed") for n in imported(path))]
    assert {path.name for path in users} == {"jobs.py"}


def test_keras_only_in_ml() -> None:
    users = {
        path.relative_to(ROOT).parts[0]
        for path in python_files()
        if any(name.split(".")[0] in ("keras", "tensorflow") for name in imported(path))
    }
    assert users == {"ml"}


def test_ml_imports_only_preprocess_of_ingest() -> None:
    wrong = {
        (path.name, name)
        for path in (ROOT / "ml").rglob("*.py")
        for name in imported(path)
        if name.startswith("galbase.ingest") and not name.startswith("galbase.ingest.preprocess")
    }
    assert wrong == set()
