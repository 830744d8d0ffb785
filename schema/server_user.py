"""Which operating-system user runs the embedded server: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galbase.schema.errors import GalbaseError

PREFERRED = ("galbase", "nobody")


@dataclass(frozen=True)
class ServerUser:
    """The user that owns the cluster's files and runs its processes."""

    name: str
    uid: int
    gid: int

    @property
    def is_self(self) -> bool:
        """Whether this process already runs as that user."""
        return self.uid == os.geteuid()

    def run(self, command: Sequence[object], *, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, with a small fixed environment, in ``/``, and return its output as text.

        Raises
        ------
        GalbaseError
            If this process may not become that user.
        OSError
            If the program cannot be executed by that user.
        """
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": "/",
        }
        words = [str(word) for word in command]
        if self.is_self:
            return subprocess.run(
                words,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                umask=0o077,
            )
        try:
            return subprocess.run(
                words,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                umask=0o077,
                user=self.uid,
                group=self.gid,
                extra_groups=[],
            )
        except subprocess.SubprocessError as error:
            if isinstance(error, subprocess.TimeoutExpired):
                raise
            raise GalbaseError(
                f"the database server must not run as root, and this process may not become user {self.name!r} "
                f"(uid {self.uid}): {error}. Run galbase as an ordinary user, or set GALBASE_DATABASE_URL."
            ) from error

    def can_enter(self, directory: Path) -> bool:
        """Whether this user can traverse `directory` and all its parents (tried, not guessed from mode bits)."""
        return self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", directory]).returncode == 0

    def own(self, path: Path) -> None:
        """Give `path`, which this program has just created, to the user."""
        if not self.is_self:
            os.chown(path, self.uid, self.gid)

    def write(self, path: Path, text: str) -> None:
        """Make or replace a file of mode 0600 that belongs to this user, never writing through a link of theirs."""
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if not self.is_self:
                os.fchown(descriptor, self.uid, self.gid)
            file.write(text)
        scratch.replace(path)


def choose_user(data_dir: Path, home: Path | None) -> ServerUser:
    """Choose who runs the server.

    Parameters
    ----------
    data_dir : Path
        The data directory; it exists.
    home : Path or None
        The server's folder if there is one already: its owner is kept.

    Returns
    -------
    ServerUser
        This process's user; for root the owner of `home` or of `data_dir` where that is not root, and else the
        first existing user of ``galbase`` and ``nobody``.

    Raises
    ------
    GalbaseError
        If the server's folder belongs to another ordinary user, or root finds no user to run the server.
    """
    owner = home.stat().st_uid if home is not None else None
    me = os.geteuid()
    if me != 0:
        if owner is not None and owner != me:
            raise GalbaseError(
                f"{home} belongs to uid {owner}, and this is uid {me}. Run the command as that user, "
                "or choose another directory with --data-dir."
            )
        return _by_uid(me)
    for uid in (owner, data_dir.stat().st_uid):
        if uid:
            return _by_uid(uid)
    for name in PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, entry.pw_uid, entry.pw_gid)
    raise GalbaseError(
        f"the database server must not run as root, and none of the users {', '.join(PREFERRED)} exists. "
        "Create one (useradd --system galbase), run galbase as an ordinary user, or set GALBASE_DATABASE_URL."
    )


def _by_uid(uid: int) -> ServerUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise GalbaseError(
            f"uid {uid} has no entry in the user database, and PostgreSQL needs one. "
            "Add it to /etc/passwd, or set GALBASE_DATABASE_URL to use another server."
        ) from error
    return ServerUser(entry.pw_name, uid, entry.pw_gid)
