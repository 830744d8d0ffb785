"""Which schema a database has, and which one this program needs."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

INSTALLERS = "galbase.installers"
VERSIONS = Path(__file__).parent / "migrations" / "versions"


@dataclass(frozen=True)
class SchemaVersion:
    """Version of a database's schema; two are equal if nothing has to be upgraded.

    Parameters
    ----------
    tables : str or None
        Revision of the last migration; None where no migration ran.
    components : tuple of (str, str)
        Name and SHA-256 of every installed set of functions and views, sorted by name.
    """

    tables: str | None
    components: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [f"{name} {digest[:12]}" for name, digest in self.components]
        return " / ".join([f"tables {self.tables or 'absent'}", *parts])


def schema_version(connection: psycopg.Connection) -> SchemaVersion:
    """Version of the connected database, in the connection's current transaction.

    Parameters
    ----------
    connection : psycopg.Connection
        Of any user that may read schema `archive`.

    Returns
    -------
    SchemaVersion
        Its `tables` is None for a database without an archive.
    """
    row = connection.execute(
        "SELECT to_regclass('archive.alembic_version') IS NOT NULL, "
        "to_regclass('archive.installed_version') IS NOT NULL"
    ).fetchone()
    if row is None or not all(row):
        return SchemaVersion(None)
    tables = connection.execute("SELECT version_num FROM archive.alembic_version").fetchone()
    components = connection.execute("SELECT component, version FROM archive.installed_version ORDER BY component")
    return SchemaVersion(
        None if tables is None else str(tables[0]), tuple((str(name), str(version)) for name, version in components)
    )


def expected_version() -> SchemaVersion:
    """Version that this program's own files make."""
    return SchemaVersion(
        head_revision(VERSIONS), tuple((entry.name, component_digest(entry)) for entry in installers())
    )


def installers() -> list[EntryPoint]:
    """Installers of functions and views, sorted by name: entry points of group ``galbase.installers``.

    They are found so, and not imported, because the parts import each other only downwards.
    """
    return sorted(entry_points(group=INSTALLERS), key=lambda entry: entry.name)


def component_digest(installer: EntryPoint) -> str:
    """SHA-256 over names and contents of the ``api/*.sql`` files beside an installer, in the order of their names."""
    folder = files(installer.module.rpartition(".")[0]) / "api"
    digest = hashlib.sha256()
    for file in sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def head_revision(folder: Path) -> str:
    """Last migration in `folder`: the one revision that no other follows.

    Read from the files' syntax trees, because importing Alembic would double the time of a short command.

    Raises
    ------
    ValueError
        If the migrations have no or several heads, which is a fault of the program.
    """
    revisions: set[str] = set()
    followed: set[str] = set()
    for path in folder.glob("*.py"):
        for name, value in _assigned(path):
            if name == "revision":
                revisions.add(value)
            elif name == "down_revision":
                followed.add(value)
    heads = revisions - followed
    if len(heads) != 1:
        raise ValueError(f"the migrations in {folder} have {len(heads)} heads: {sorted(heads)}")
    return heads.pop()


def _assigned(path: Path) -> list[tuple[str, str]]:
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            text = node.value.value
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [(t.id, text) for t in targets if isinstance(t, ast.Name) and isinstance(text, str)]
    return found
