"""What the embedded server keeps in the data directory, and where its cluster lives."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from galbase.schema.errors import GalbaseError
from galbase.schema.server_user import ServerUser

HOME_NAME = "postgresql-18"
# The address of a Unix socket holds 104 bytes on some systems, its final zero included.
MAX_SOCKET_PATH = 103
STATE_DIRECTORIES = (Path("/var/lib/galbase"), Path("/var/tmp/galbase"))


@dataclass(frozen=True)
class ServerRecord:
    """Where a data directory's server lives; the file ``server.json``.

    Parameters
    ----------
    home : str
        The server's folder, relative to the data directory where it is inside: ``data`` is the cluster,
        ``server.log`` the log. Mode 0700, owned by the user that runs the server.
    port : int or None
        The TCP port last used, tried again at the next start so that saved connections stay valid.
    socket_directory : str or None
        Folder of the Unix socket.
    """

    home: str
    port: int | None = None
    socket_directory: str | None = None


@dataclass(frozen=True)
class DataDirectory:
    """The files of one data directory."""

    path: Path

    @property
    def lock_path(self) -> Path:
        """Lock held while the server is created, started or stopped."""
        return self.path / "server.lock"

    @property
    def credentials_path(self) -> Path:
        """Passwords by role name, mode 0600."""
        return self.path / "credentials.json"

    @property
    def record_path(self) -> Path:
        """The server's record."""
        return self.path / "server.json"

    def create(self) -> None:
        """Make the directory if it does not exist.

        Raises
        ------
        GalbaseError
            If it cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalbaseError(
                f"the data directory {self.path} cannot be made: {error.strerror}. "
                "Choose another with --data-dir or GALBASE_DATA_DIR."
            ) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise GalbaseError(
                f"the data directory {self.path} is not writable to uid {os.geteuid()}. "
                "Run the command as its owner, or choose another with --data-dir."
            )

    def record(self) -> ServerRecord | None:
        """Read the server's record; None if no server was ever made here."""
        text = self._read(self.record_path)
        return None if text is None else ServerRecord(**json.loads(text))

    def write_record(self, record: ServerRecord) -> None:
        """Replace the server's record."""
        self._write(self.record_path, json.dumps(asdict(record), indent=2) + "\n")

    def home(self, record: ServerRecord) -> Path:
        """Folder of the server."""
        return self.path / record.home

    def credentials(self) -> dict[str, str]:
        """Passwords by role name; empty if there are none yet."""
        text = self._read(self.credentials_path)
        return {} if text is None else {str(role): str(word) for role, word in json.loads(text).items()}

    def write_credentials(self, credentials: dict[str, str]) -> None:
        """Replace the passwords, in a file of mode 0600."""
        self._write(self.credentials_path, json.dumps(credentials, indent=2) + "\n")

    def _read(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise GalbaseError(
                f"{path} is not readable to uid {os.geteuid()}. Run the command as the owner of the data directory, "
                "or set GALBASE_DATABASE_URL to a server that you may use."
            ) from error

    def _write(self, path: Path, text: str) -> None:
        """Write a file at once and privately, owned by the owner of the data directory."""
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            self.give_to_owner(scratch)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)

    def give_to_owner(self, path: Path) -> None:
        """Where root works in a user's data directory, the files it makes belong to that user."""
        status = self.path.stat()
        if os.geteuid() == 0 and status.st_uid != 0:
            os.chown(path, status.st_uid, status.st_gid)


def choose_home(directory: DataDirectory, user: ServerUser) -> str:
    """Make the server's folder and return its name for the record.

    It lies in the data directory if `user` can enter that, and else in /var/lib/galbase: permissions of folders
    that exist are never changed.

    Raises
    ------
    GalbaseError
        If there is no place for it.
    """
    if user.can_enter(directory.path):
        home = directory.path / HOME_NAME
        if not home.is_dir():
            home.mkdir(mode=0o700)
            user.own(home)
        return HOME_NAME
    for state in state_directories():
        if user.can_enter(state):
            # Named at random: a data directory that was deleted and made again gets a new cluster.
            home = Path(tempfile.mkdtemp(prefix=f"{directory.path.name}-", dir=state))
            user.own(home)
            return str(home)
    raise GalbaseError(
        f"the database server must not run as root, and user {user.name!r}, which would run it, can enter neither "
        f"{directory.path} nor {STATE_DIRECTORIES[0]}. Choose a directory with --data-dir that it can enter, "
        "or run galbase as an ordinary user."
    )


def state_directories() -> list[Path]:
    """Folders for root's use outside the data directory that exist now, made if need be; best first."""
    usable = []
    for state in STATE_DIRECTORIES:
        try:
            state.mkdir(mode=0o755)
            state.chmod(0o755)  # whatever the umask was
        except FileExistsError:
            pass
        except OSError:
            continue
        status = state.lstat()
        # In a folder open to all, such as /var/tmp, another user may have been there first.
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            usable.append(state)
    return usable


def choose_socket_directory(home: Path, user: ServerUser, previous: str | None) -> Path:
    """Make or find a private folder whose path is short enough for a Unix socket.

    Parameters
    ----------
    home : Path
        The server's folder, used if its path is short enough.
    user : ServerUser
        Who runs the server.
    previous : str or None
        The folder used last, taken again if it is still there and private.
    """
    inside = home / "run"
    if len(os.fsencode(inside / ".s.PGSQL.65535.lock")) <= MAX_SOCKET_PATH:
        if not inside.is_dir():
            inside.mkdir(mode=0o700)
            user.own(inside)
        return inside
    if previous is not None and _is_private(Path(previous), user):
        return Path(previous)
    outside = Path(tempfile.mkdtemp(prefix="galbase-", dir="/tmp"))
    user.own(outside)
    return outside


def _is_private(path: Path, user: ServerUser) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user.uid and stat.S_IMODE(status.st_mode) == 0o700
