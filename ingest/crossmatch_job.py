"""Crossmatches by units of the sky, that go on where they were interrupted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from galbase.ingest.bulk_load import settle
from galbase.ingest.crossmatch import (
    STEP,
    CrossmatchOptions,
    UnitReport,
    close_crossmatch,
    done_units,
    find_sides,
    match_unit,
    open_crossmatch,
    open_units,
    stage_right,
)
from galbase.schema import ledger
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError
from galbase.schema.jobs import LEASE_SECONDS, Batch, cluster, finish, run_batch


@dataclass(frozen=True)
class CrossmatchReport:
    """A crossmatch.

    Parameters
    ----------
    left, right : str
        Releases.
    options : CrossmatchOptions
    n_left, n_right : int
        Sources of the releases.
    n_pair, n_matched : int
        Pairs, and left sources with at least one.
    n_unit, n_unit_before : int
        Units of sky that were matched now, and those that an interrupted run had matched.
    """

    left: str
    right: str
    options: CrossmatchOptions
    n_left: int
    n_right: int
    n_pair: int
    n_matched: int
    n_unit: int
    n_unit_before: int


def run_crossmatch(
    config: Config,
    left: str,
    right: str,
    options: CrossmatchOptions,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> CrossmatchReport:
    """Find the pairs of two releases' sources, and store them instead of an earlier crossmatch of the two.

    Units of sky are matched by Dask workers, each in a transaction. A run that is interrupted leaves its finished
    units, and the same call goes on with the others, if no position has changed. Until all are done, the earlier
    crossmatch is the one that galaxies are built from.

    Parameters
    ----------
    config : Config
        Where the archive is.
    left, right : str
        Names of two releases.
    options : CrossmatchOptions
        Which pairs to keep.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``; workers in this process when None.
    workers : int, optional
        Number of workers in this process: one a core when None.
    progress : Progress, optional
        Told the number of left sources and each unit's that are done.
    lease_seconds : float
        After this time another worker may take over a unit.

    Raises
    ------
    UsageError
        If the releases are one and the same.
    GalbaseError
        If there is no such release, another process matches the two, or units failed.
    """
    with connect(config, autocommit=True) as connection, _only_one(connection, left, right):
        settle(connection)
        # Releases loaded a moment ago have no statistics yet, and their plans would be those of empty tables.
        connection.execute("ANALYZE archive.source")
        with connection.transaction():
            sides = find_sides(connection, left, right, options.epoch)
            number = open_crossmatch(connection, sides, options)
            right_query = stage_right(connection, number, sides)
        units = open_units(connection, number, sides)
        recorded = {"left": left, "right": right, **asdict(options), "crossmatch_run_id": number}
        n_before = len(done_units(connection, number))
        if units:
            batch = Batch(
                "crossmatch", STEP, recorded, units, match_unit,
                (number, sides.left_id, sides.left_motion, right_query, options), UnitReport(), lease_seconds,
            )  # fmt: skip
            n_thread = min(workers or len(os.sched_getaffinity(0)), len(units))
            alone = scheduler is None and n_thread == 1
            with nullcontext() if alone else cluster(scheduler, threads=n_thread) as client:
                run_id, _ = run_batch(config, client, batch, progress, lambda it: f"{it.n_pair} pairs")
        else:
            # Nothing to match, or all was matched before the end.
            run_id = ledger.start_run(connection, "crossmatch", recorded)
            finish(config, run_id, "done", "no unit was left to match")
        n_pair, n_matched = close_crossmatch(connection, number, sides, options, run_id)
        connection.execute("ANALYZE archive.crossmatch")
    return CrossmatchReport(left, right, options, sides.n_left, sides.n_right, n_pair, n_matched, len(units), n_before)


@contextmanager
def _only_one(connection: psycopg.Connection[Any], left: str, right: str) -> Iterator[None]:
    """Keep other processes from matching the same releases; a lock of the session."""
    key = f"galbase crossmatch {left} {right}"
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
    if row is None or not row[0]:
        raise GalbaseError(f"{left} and {right} are being crossmatched by another process; wait for its end.")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))


def repeat_crossmatches(
    config: Config, *, scheduler: str | None = None, workers: int | None = None, progress: Progress | None = None
) -> list[CrossmatchReport]:
    """Make every stored crossmatch again with its options, for sources that came or moved since; in order of age."""
    with connect(config) as connection:
        stored = connection.execute(
            "SELECT l.release, r.release, c.radius_arcsec, c.min_radius_arcsec, c.nearest, c.mutual_best, c.epoch "
            "FROM archive.crossmatch_run c JOIN archive.data_release l ON l.release_id = c.left_release_id "
            "JOIN archive.data_release r ON r.release_id = c.right_release_id WHERE c.state = 'done' "
            "ORDER BY c.crossmatch_run_id"
        ).fetchall()
    return [
        run_crossmatch(
            config, left, right, CrossmatchOptions(*options), scheduler=scheduler, workers=workers, progress=progress
        )
        for left, right, *options in stored
    ]
