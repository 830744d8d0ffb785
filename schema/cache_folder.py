"""The folder of cached files: one an archive, shared by all machines that work for it, and never needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    import psycopg

    from galbase.schema.config import Config

NO_CACHE = "none"
# Ends the names of what an interrupted training goes on from, in a folder a training.
CHECKPOINT_SUFFIX = ".checkpoint"


def cache_folder(connection: psycopg.Connection[Any], config: Config) -> Path | None:
    """The archive's own folder in the cache directory; None where the configuration wants no cache.

    It bears the identity of server and database, so that archives which share a cache directory, or are copies of each
    other, do not prune each other's files. Only `make_cache_folder` makes it: a worker without it has no cache.

    Parameters
    ----------
    connection : psycopg.Connection
    config : Config
        Its `cache_dir`.
    """
    if config.cache_dir == NO_CACHE:
        return None
    base = Path(config.cache_dir).expanduser() if config.cache_dir else config.data_dir / "cache"
    if not base.is_absolute():
        raise UsageError(f"cache_dir is {config.cache_dir!r}; give an absolute path, the same on all machines.")
    row = connection.execute(
        "SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d WHERE d.datname = "
        "current_database()"
    ).fetchone()
    if row is None:
        raise RuntimeError("the server does not tell its identity")
    return base / f"{int(row[0]):x}-{int(row[1])}"


def make_cache_folder(connection: psycopg.Connection[Any], config: Config) -> Path | None:
    """`cache_folder`, made if it does not exist.

    Raises
    ------
    GalbaseError
        If it cannot be made or written to.
    """
    folder = cache_folder(connection, config)
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise GalbaseError(_remedy(folder, str(error.strerror))) from error
    if not writable:
        raise GalbaseError(_remedy(folder, "it may not be written to"))
    return folder


def _remedy(folder: Path, reason: str) -> str:
    return (
        f"the cache folder {folder} is not usable: {reason}. Set GALBASE_CACHE_DIR to another folder, or to "
        f"{NO_CACHE!r} to work without a cache."
    )
