"""The ledger: runs of batch steps, and their units of work, claimed and committed as one.

A worker claims a unit, computes, and in ONE transaction writes its rows and calls `complete`. A worker that died, or
whose lease ran out and whose unit another worker took, cannot complete: its rows roll back. So nothing is lost and
nothing is written twice, however often a scheduler runs a task.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg

from galbase.schema.bulk import copy_rows

RECORDED_PACKAGES = (
    "galbase",
    "numpy",
    "scipy",
    "astropy",
    "opencv-python-headless",
    "photutils",
    "scikit-image",
    "scikit-learn",
    "tensorflow",
    "keras",
    "ppxf",
    "dask",
    "psycopg",
)
MAX_ATTEMPTS = 5


class ClaimLostError(Exception):
    """A unit's claim is no longer this worker's: its lease ran out and the unit was claimed again."""


@dataclass(frozen=True)
class WorkUnit:
    """A claimed unit of work: rows `row_start` to `row_stop` (half-open) of a file, or a range of source_id.

    Parameters
    ----------
    work_unit_id, run_id : int
    step : str
    data_file_id : int or None
        None for steps inside the database.
    row_start, row_stop : int
    attempt : int
        Number of this claim; 1 is the first.
    owner : str
        Worker that holds the claim.
    """

    work_unit_id: int
    run_id: int
    step: str
    data_file_id: int | None
    row_start: int
    row_stop: int
    attempt: int
    owner: str


@dataclass(frozen=True)
class StaleUnit:
    """Rows of a file, half-open, of which `n_row` lack a current result: a unit of work to be.

    Without a file the rows are a range of a column of the database that the step knows.
    """

    data_file_id: int | None
    row_start: int
    row_stop: int
    n_row: int


def start_run(
    connection: psycopg.Connection[Any], kind: str, config: Mapping[str, Any], device: str | None = None
) -> int:
    """Record the beginning of a run with its configuration, code commit and versions, and return its number.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits; workers see the run only then.
    kind : str
        What runs: ingest, crossmatch, preprocess, train, predict.
    config : mapping
        Parameters, of what JSON can hold.
    device : str, optional
        What computes; the processor's architecture and number of cores when None.
    """
    row = connection.execute(
        "INSERT INTO archive.run (kind, config, git_commit, versions) VALUES (%s, %s, %s, %s) RETURNING run_id",
        (kind, json.dumps(dict(config)), git_commit(), json.dumps(versions(device))),
    ).fetchone()
    if row is None:
        raise RuntimeError("no run_id was returned")
    return int(row[0])


def finish_run(connection: psycopg.Connection[Any], run_id: int, state: str, message: str | None = None) -> None:
    """Record the end of a run: `state` is done or failed. The caller commits."""
    connection.execute(
        "UPDATE archive.run SET state = %s, message = %s, finished_at = clock_timestamp() WHERE run_id = %s",
        (state, message, run_id),
    )


def add_units(
    connection: psycopg.Connection[Any], run_id: int, step: str, units: Iterable[tuple[int | None, int, int]]
) -> int:
    """Add waiting units (data_file_id or None, row_start, row_stop) and return their number. The caller commits."""
    rows = ((run_id, step, data_file_id, start, stop) for data_file_id, start, stop in units)
    columns = ("run_id", "step", "data_file_id", "row_start", "row_stop")
    return copy_rows(connection, "archive", "work_unit", columns, rows)


def claim(
    connection: psycopg.Connection[Any],
    run_id: int,
    step: str,
    owner: str,
    lease_seconds: float,
    max_attempts: int = MAX_ATTEMPTS,
) -> WorkUnit | None:
    """Claim the next unit that waits, or whose claim ran out of lease.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction, so that the claim is committed when this returns.
    run_id, step
        The run and its step.
    owner : str
        Name of the worker.
    lease_seconds : float
        After this time another worker may take the unit; longer than any unit takes.
    max_attempts : int
        A unit abandoned this often is recorded as failed instead: it kills its workers.

    Returns
    -------
    WorkUnit or None
        None if nothing can be claimed now; other workers may still hold units.
    """
    with connection.transaction():
        connection.execute(
            "UPDATE archive.work_unit SET state = 'failed', modified_at = now(), message = format('abandoned by %%s "
            "workers, the last one %%s', attempt, owner) WHERE work_unit_id IN (SELECT work_unit_id "
            "FROM archive.work_unit WHERE run_id = %s AND step = %s AND state = 'claimed' "
            "AND lease_until < clock_timestamp() AND attempt >= %s FOR UPDATE SKIP LOCKED)",
            (run_id, step, max_attempts),
        )
        row = connection.execute(
            "UPDATE archive.work_unit SET state = 'claimed', owner = %s, attempt = attempt + 1, modified_at = now(), "
            "lease_until = clock_timestamp() + make_interval(secs => %s) WHERE work_unit_id = (SELECT work_unit_id "
            "FROM archive.work_unit WHERE run_id = %s AND step = %s AND ((state = 'waiting' "
            "AND (lease_until IS NULL OR lease_until < clock_timestamp())) "
            "OR (state = 'claimed' AND lease_until < clock_timestamp())) "
            "ORDER BY work_unit_id LIMIT 1 FOR UPDATE SKIP LOCKED) "
            "RETURNING work_unit_id, data_file_id, row_start, row_stop, attempt",
            (owner, lease_seconds, run_id, step),
        ).fetchone()
    if row is None:
        return None
    return WorkUnit(int(row[0]), run_id, step, row[1], int(row[2]), int(row[3]), int(row[4]), owner)


def renew(connection: psycopg.Connection[Any], unit: WorkUnit, lease_seconds: float) -> bool:
    """Extend the lease of a claim; False if it is no longer this worker's."""
    cursor = connection.execute(
        "UPDATE archive.work_unit SET lease_until = clock_timestamp() + make_interval(secs => %s) "
        "WHERE work_unit_id = %s AND owner = %s AND attempt = %s AND state = 'claimed'",
        (lease_seconds, unit.work_unit_id, unit.owner, unit.attempt),
    )
    return cursor.rowcount == 1


def complete(connection: psycopg.Connection[Any], unit: WorkUnit, n_row: int) -> None:
    """Record a unit as done, in the transaction that writes its rows.

    Raises
    ------
    ClaimLostError
        If the claim is no longer this worker's. Let it leave the transaction's block: the rows then roll back.
    """
    cursor = connection.execute(
        "UPDATE archive.work_unit SET state = 'done', n_row = %s, message = NULL, lease_until = NULL, "
        "modified_at = now() WHERE work_unit_id = %s AND owner = %s AND attempt = %s AND state = 'claimed'",
        (n_row, unit.work_unit_id, unit.owner, unit.attempt),
    )
    if cursor.rowcount != 1:
        raise ClaimLostError(f"unit {unit.work_unit_id}: attempt {unit.attempt} of {unit.owner} lost its claim")


def fail(connection: psycopg.Connection[Any], unit: WorkUnit, message: str) -> None:
    """Record that a unit failed, and why; without effect once another worker has claimed it."""
    with connection.transaction():
        connection.execute(
            "UPDATE archive.work_unit SET state = 'failed', message = %s, lease_until = NULL, modified_at = now() "
            "WHERE work_unit_id = %s AND owner = %s AND attempt = %s AND state = 'claimed'",
            (message, unit.work_unit_id, unit.owner, unit.attempt),
        )


def retry(
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    message: str,
    delay_seconds: float,
    max_attempts: int = MAX_ATTEMPTS,
) -> None:
    """Let a unit that met a passing error wait to be claimed again, or fail it if it was claimed `max_attempts` times.

    Without effect once another worker has claimed it.

    Parameters
    ----------
    connection : psycopg.Connection
    unit : WorkUnit
    message : str
        Why; kept until the unit is done.
    delay_seconds : float
        Nobody claims it earlier.
    max_attempts : int
    """
    given_up = unit.attempt >= max_attempts
    with connection.transaction():
        connection.execute(
            "UPDATE archive.work_unit SET state = %s, message = %s, modified_at = now(), owner = NULL, lease_until = "
            "CASE WHEN %s THEN NULL ELSE clock_timestamp() + make_interval(secs => %s) END "
            "WHERE work_unit_id = %s AND owner = %s AND attempt = %s AND state = 'claimed'",
            (
                "failed" if given_up else "waiting",
                f"{message} (tried {unit.attempt} times)" if given_up else message,
                given_up, delay_seconds, unit.work_unit_id, unit.owner, unit.attempt,
            ),
        )  # fmt: skip


def unit_states(connection: psycopg.Connection[Any], run_id: int, step: str) -> dict[str, int]:
    """Number of a step's units by state."""
    rows = connection.execute(
        "SELECT state, count(*) FROM archive.work_unit WHERE run_id = %s AND step = %s GROUP BY state", (run_id, step)
    ).fetchall()
    return {str(state): int(count) for state, count in rows}


def failed_units(connection: psycopg.Connection[Any], run_id: int, step: str) -> list[tuple[str | None, int, int, str]]:
    """Failed units as (path of the file, row_start, row_stop, message), in order."""
    rows = connection.execute(
        "SELECT f.path, u.row_start, u.row_stop, coalesce(u.message, '') FROM archive.work_unit u "
        "LEFT JOIN archive.data_file f USING (data_file_id) "
        "WHERE u.run_id = %s AND u.step = %s AND u.state = 'failed' ORDER BY u.work_unit_id",
        (run_id, step),
    ).fetchall()
    return [(path, int(start), int(stop), str(message)) for path, start, stop, message in rows]


def versions(device: str | None = None) -> dict[str, str]:
    """Versions of Python and of the packages that decide results, and the device."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["device"] = device or f"{platform.machine()} CPU, {os.cpu_count()} cores"
    return found


def git_commit() -> str | None:
    """Commit of the code's own checkout; None where it was installed, or git cannot tell."""
    root = Path(__file__).resolve().parents[1]
    # Installed inside another project's checkout, git would name that project's commit.
    if not ((root / ".git").exists() and (root / "pyproject.toml").is_file()):
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit = answer.stdout.strip()
    return commit if answer.returncode == 0 and len(commit) in (40, 64) else None
