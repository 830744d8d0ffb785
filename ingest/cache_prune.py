"""What the stamp cache holds, and what of it nobody needs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.preprocess.stamp_file import PARTIAL_SUFFIX, SUFFIX
from galbase.ingest.stamp_cache import discard
from galbase.schema.cache_folder import CHECKPOINT_SUFFIX

# A file younger than this may be one whose row another job is about to commit.
MIN_AGE_HOURS = 1.0
# Nobody goes on with a training that was interrupted so long ago.
CHECKPOINT_HOURS = 30 * 24.0


@dataclass(frozen=True)
class CachedConfig:
    """What the cache holds of one configuration.

    Parameters
    ----------
    name, hash : str
        Preset that it started from, and hash of its parameters.
    n_file, n_stamp, n_byte : int
        As recorded.
    n_missing : int
        Recorded files that are not there.
    superseded : bool
        See `superseded_configs`.
    """

    name: str
    hash: str
    n_file: int
    n_stamp: int
    n_byte: int
    n_missing: int
    superseded: bool


@dataclass(frozen=True)
class PruneReport:
    """What a prune removes.

    Parameters
    ----------
    superseded, gone, missing : int
        Rows of configurations that are superseded; of images that are gone or no longer kept; whose file is not there.
    orphans : int
        Files that no row knows, partly written ones included, and checkpoints of trainings that did not go on.
    n_file, n_byte : int
        Files deleted, and their bytes.
    configs : list of str
        Hashes of the superseded configurations.
    """

    superseded: int = 0
    gone: int = 0
    missing: int = 0
    orphans: int = 0
    n_file: int = 0
    n_byte: int = 0
    configs: list[str] = field(default_factory=list)


# One that a training set froze, or a model that is not retired reads, is needed however old it is.
_SUPERSEDED = (
    "SELECT c.preprocess_config_id, c.hash FROM archive.preprocess_config c WHERE EXISTS ("
    "SELECT FROM archive.preprocess_config n WHERE n.name = c.name AND n.preprocess_config_id > c.preprocess_config_id "
    "AND EXISTS (SELECT FROM archive.preprocess p WHERE p.preprocess_config_id = n.preprocess_config_id)) "
    "AND NOT EXISTS (SELECT FROM archive.training_set t WHERE t.preprocess_config_id = c.preprocess_config_id) "
    "AND NOT EXISTS (SELECT FROM archive.model m WHERE m.preprocess_config_id = c.preprocess_config_id "
    "AND m.state <> 'retired')"
)


def superseded_configs(connection: psycopg.Connection[Any]) -> dict[int, str]:
    """Numbers and hashes of configurations that a newer one of the same preset has taken the place of.

    The newer one has verdicts, and neither a training set nor a model that is not retired reads the older.
    """
    return {int(number): digest for number, digest in connection.execute(_SUPERSEDED).fetchall()}


def cached_configs(connection: psycopg.Connection[Any], folder: Path) -> list[CachedConfig]:
    """What the cache holds, by configuration, oldest first."""
    superseded = superseded_configs(connection)
    rows = connection.execute(
        "SELECT c.preprocess_config_id, c.name, c.hash, array_agg(s.path), sum(s.n_stamp), sum(s.size_bytes) "
        "FROM archive.stamp_file s JOIN archive.preprocess_config c USING (preprocess_config_id) GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [
        CachedConfig(
            name, digest, len(paths), int(n_stamp), int(n_byte),
            sum(not (folder / path).is_file() for path in paths), number in superseded,
        )
        for number, name, digest, paths, n_stamp, n_byte in rows
    ]  # fmt: skip


def prune(
    connection: psycopg.Connection[Any], folder: Path, *, dry_run: bool = False, min_age_hours: float = MIN_AGE_HOURS
) -> PruneReport:
    """Remove rows without file, files without row, and stamps that nobody needs.

    Rows go first, in one transaction; a prune that is killed after that leaves files that the next one finds.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction.
    folder : Path
        The archive's cache folder.
    dry_run : bool
        Only tell.
    min_age_hours : float
        Files that no row knows are left alone while younger; checkpoints while younger than `CHECKPOINT_HOURS` too.

    Returns
    -------
    PruneReport
    """
    with connection.transaction():
        superseded = superseded_configs(connection)
        rows = connection.execute(
            "SELECT s.stamp_file_id, s.preprocess_config_id, s.path, EXISTS (SELECT FROM archive.observation o "
            "JOIN archive.preprocess p ON p.observation_id = o.observation_id "
            "AND p.preprocess_config_id = s.preprocess_config_id WHERE o.data_file_id = s.data_file_id "
            "AND o.row_index >= s.row_start AND o.row_index < s.row_stop AND p.kept) FROM archive.stamp_file s"
        ).fetchall()
        reasons = {
            int(number): "superseded" if config in superseded
            else "gone" if not used
            else "missing" if not (folder / path).is_file()
            else ""
            for number, config, path, used in rows
        }  # fmt: skip
        removed = {row[0]: row[2] for row in rows if reasons[row[0]]}
        if not dry_run:
            # A row that another job has rewritten meanwhile names another file.
            deleted = connection.execute(
                "DELETE FROM archive.stamp_file s USING unnest(%s::bigint[], %s::text[]) AS v (id, path) "
                "WHERE s.stamp_file_id = v.id AND s.path = v.path RETURNING s.stamp_file_id",
                (list(removed), list(removed.values())),
            ).fetchall()
            removed = {number: removed[number] for (number,) in deleted}
    unneeded = [path for path in removed.values() if (folder / path).is_file()]
    known = {row[2] for row in rows}
    now = time.time()
    orphans = _unknown_files(folder, (SUFFIX, PARTIAL_SUFFIX), known, now - 3600 * min_age_hours)
    orphans += _unknown_files(folder, CHECKPOINT_SUFFIX, set(), now - 3600 * max(min_age_hours, CHECKPOINT_HOURS))
    n_byte = sum(_size(folder / path) for path in [*unneeded, *orphans])
    if not dry_run:
        discard(folder, [*unneeded, *orphans])
        _remove_empty_folders(folder)
    tally = [reasons[number] for number in removed]
    return PruneReport(
        tally.count("superseded"), tally.count("gone"), tally.count("missing"), len(orphans),
        len(unneeded) + len(orphans), n_byte, sorted(superseded.values()),
    )  # fmt: skip


def _unknown_files(folder: Path, suffix: str | tuple[str, ...], known: set[str], before: float) -> list[str]:
    """Paths under the folder of files of a suffix that no row knows and that were last written before a time."""
    found = []
    for path in sorted(folder.glob("*/*")):
        relative = path.relative_to(folder).as_posix()
        if path.name.endswith(suffix) and relative not in known and path.is_file() and path.stat().st_mtime <= before:
            found.append(relative)
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _remove_empty_folders(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not any(path.iterdir()):
            try:
                path.rmdir()
            except OSError:
                continue  # a job has just begun to write there
