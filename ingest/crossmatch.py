"""Crossmatches of two releases: what they are made of, and how they are stored."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.catalogue_tables import stage
from galbase.ingest.epoch import Motion, find_motion, positions
from galbase.ingest.galaxies import mark_changed
from galbase.ingest.releases import require_release
from galbase.schema import ledger
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.healpix import CELL_ORDERS, ORDER
from galbase.schema.ledger import StaleUnit, WorkUnit

STEP = "crossmatch"
LARGEST_RADIUS_ARCSEC = 648000.0
# Sources of the left release a unit: seconds of work.
UNIT_SOURCES = 100_000
# Pixels of 0.92 degrees, of which units are made.
_PLAN_ORDER = 6


@dataclass(frozen=True)
class CrossmatchOptions:
    """Which pairs to keep.

    Parameters
    ----------
    radius_arcsec : float
        Largest great-circle separation, 0 to 648000.
    min_radius_arcsec : float
        Smallest separation.
    nearest : int, optional
        Partners kept of each left source; all when None.
    mutual_best : bool
        Keep only pairs that are each other's nearest.
    epoch : float, optional
        Julian epoch, years, to which positions with proper motions are brought.

    Raises
    ------
    UsageError
        If a value is impossible.
    """

    radius_arcsec: float
    min_radius_arcsec: float = 0.0
    nearest: int | None = None
    mutual_best: bool = False
    epoch: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius_arcsec) and 0 <= self.radius_arcsec <= LARGEST_RADIUS_ARCSEC):
            raise UsageError(
                f"radius {self.radius_arcsec} arcsec is out of range; give 0 to {LARGEST_RADIUS_ARCSEC:.0f}."
            )
        if not 0 <= self.min_radius_arcsec <= self.radius_arcsec:
            raise UsageError(
                f"smallest radius {self.min_radius_arcsec} arcsec is out of range; give 0 to the radius, "
                f"{self.radius_arcsec}."
            )
        if self.nearest is not None and self.nearest < 1:
            raise UsageError(f"nearest is {self.nearest}; at least 1 is needed.")
        if self.epoch is not None and not 1000 <= self.epoch <= 3000:
            raise UsageError(f"epoch {self.epoch} is no year; give one like 2016.0.")


@dataclass(frozen=True)
class Sides:
    """The two releases of a crossmatch.

    Parameters
    ----------
    left_id, right_id : int
        Numbers of the releases.
    left, right : str
        Queries of their positions.
    left_motion : Motion or None
        Where the left release's proper motions are, if positions are brought to an epoch.
    moved : bool
        Whether the right query computes positions, so that they must be stored to be found by an index.
    n_left, n_right : int
        Sources.
    hash : str
        Of all positions.
    """

    left_id: int
    right_id: int
    left: str
    right: str
    left_motion: Motion | None
    moved: bool
    n_left: int
    n_right: int
    hash: str


@dataclass(frozen=True)
class UnitReport:
    """Left sources that units looked at, and pairs that they found."""

    n_row: int = 0
    n_pair: int = 0

    def __add__(self, other: UnitReport) -> UnitReport:
        return UnitReport(self.n_row + other.n_row, self.n_pair + other.n_pair)


def find_sides(connection: psycopg.Connection[Any], left: str, right: str, epoch: float | None) -> Sides:
    """Look at the releases of a crossmatch.

    Raises
    ------
    UsageError
        If they are one and the same, or neither has proper motions to bring to an epoch.
    GalbaseError
        If there is no such release.
    """
    if left == right:
        raise UsageError(f"{left} cannot be crossmatched with itself; `galbase duplicates` finds its duplicates.")
    ids = [require_release(connection, name).release_id for name in (left, right)]
    motions = [None if epoch is None else find_motion(connection, number) for number in ids]
    if epoch is not None and not any(motions):
        raise UsageError(f"neither {left} nor {right} has proper motions; crossmatch them without an epoch.")
    queries = [positions(connection, number, moved, epoch) for number, moved in zip(ids, motions, strict=True)]
    counted = [_hash(connection, query) for query in queries]
    return Sides(
        left_id=ids[0],
        right_id=ids[1],
        left=queries[0],
        right=queries[1],
        left_motion=motions[0],
        moved=motions[1] is not None,
        n_left=counted[0][0],
        n_right=counted[1][0],
        hash=f"{counted[0][1]}-{counted[1][1]}",
    )


def _hash(connection: psycopg.Connection[Any], query: str) -> tuple[int, str]:
    """Number of positions, and a hash of ids and places that does not depend on their order."""
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(hashint8(id # hpx29)), 0) FROM ({query}) p (id, ra, dec, hpx29)".encode()  # noqa: S608
    ).fetchone()
    if row is None:
        raise RuntimeError("a count returned no row")
    return int(row[0]), f"{row[0]}:{row[1]}"


def open_crossmatch(connection: psycopg.Connection[Any], sides: Sides, options: CrossmatchOptions) -> int:
    """Number of the crossmatch to go on with, or of a new one; the caller commits.

    One that was begun with the same options and positions goes on; any other unfinished one is discarded.
    """
    values = {**asdict(options), "left": sides.left_id, "right": sides.right_id, "hash": sides.hash}
    for number, same in connection.execute(
        "SELECT crossmatch_run_id, (radius_arcsec, min_radius_arcsec, nearest, mutual_best, epoch, positions_hash) "
        "IS NOT DISTINCT FROM (%(radius_arcsec)s::float8, %(min_radius_arcsec)s::float8, %(nearest)s::integer, "
        "%(mutual_best)s, %(epoch)s::float8, %(hash)s) FROM archive.crossmatch_run "
        "WHERE left_release_id = %(left)s AND right_release_id = %(right)s AND state = 'running'",
        values,
    ).fetchall():
        if same:
            return int(number)
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage(number)))
        connection.execute("DELETE FROM archive.crossmatch_run WHERE crossmatch_run_id = %s", (number,))
    row = connection.execute(
        "INSERT INTO archive.crossmatch_run (left_release_id, right_release_id, radius_arcsec, n_pair, "
        "min_radius_arcsec, nearest, mutual_best, epoch, positions_hash, state) VALUES (%(left)s, %(right)s, "
        "%(radius_arcsec)s, 0, %(min_radius_arcsec)s, %(nearest)s, %(mutual_best)s, %(epoch)s, %(hash)s, 'running') "
        "RETURNING crossmatch_run_id",
        values,
    ).fetchone()
    if row is None:
        raise RuntimeError("no crossmatch_run_id was returned")
    return int(row[0])


def stage_right(connection: psycopg.Connection[Any], crossmatch_run_id: int, sides: Sides) -> str:
    """Store the right positions, if they are computed; the query to find them by. The caller commits."""
    if not sides.moved:
        return sides.right
    table = stage(crossmatch_run_id)
    name = table.as_string(connection)
    found = connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
    if found is not None and found[0] is None:
        connection.execute(
            sql.SQL("CREATE TABLE {} AS SELECT * FROM ({}) p (source_id, ra, dec, hpx29) ORDER BY hpx29").format(
                table, sql.SQL(sides.right)
            )
        )
        for order in CELL_ORDERS:
            connection.execute(sql.SQL("CREATE INDEX ON {} ((hpx29 >> {}))").format(table, 2 * (ORDER - order)))
        connection.execute(sql.SQL("ANALYZE {}").format(table))
    return f"SELECT source_id, ra, dec, hpx29 FROM {name}"  # noqa: S608


def done_units(connection: psycopg.Connection[Any], crossmatch_run_id: int) -> set[tuple[int, int]]:
    """Ranges of hpx29 whose left sources are matched, in whatever run it was."""
    rows = connection.execute(
        "SELECT u.row_start, u.row_stop FROM archive.work_unit u JOIN archive.run r USING (run_id) "
        "WHERE r.kind = 'crossmatch' AND u.step = %s AND u.state = 'done' "
        "AND (r.config ->> 'crossmatch_run_id')::bigint = %s",
        (STEP, crossmatch_run_id),
    ).fetchall()
    return {(int(start), int(stop)) for start, stop in rows}


def open_units(connection: psycopg.Connection[Any], crossmatch_run_id: int, sides: Sides) -> list[StaleUnit]:
    """Ranges of hpx29 with about `UNIT_SOURCES` left sources each, without those that are done."""
    shift = 2 * (ORDER - _PLAN_ORDER)
    done = done_units(connection, crossmatch_run_id)
    ranges: list[StaleUnit] = []
    start, n_row = 0, 0
    for pixel, count in connection.execute(
        "SELECT hpx29 >> %s, count(*) FROM archive.source WHERE release_id = %s GROUP BY 1 ORDER BY 1",
        (shift, sides.left_id),
    ):
        n_row += int(count)
        if n_row >= UNIT_SOURCES:
            stop = (int(pixel) + 1) << shift
            ranges.append(StaleUnit(None, start, stop, n_row))
            start, n_row = stop, 0
    if n_row:
        ranges.append(StaleUnit(None, start, 12 << (2 * ORDER), n_row))
    return [unit for unit in ranges if (unit.row_start, unit.row_stop) not in done]


def match_unit(
    connection: psycopg.Connection[Any],
    unit: WorkUnit,
    crossmatch_run_id: int,
    left_id: int,
    left_motion: Motion | None,
    right: str,
    options: CrossmatchOptions,
) -> UnitReport:
    """Find and store the pairs of a claimed unit's left sources, in one transaction."""
    left = positions(connection, left_id, left_motion, options.epoch, (unit.row_start, unit.row_stop))
    with connection.transaction():
        # A worker of an interrupted run may still be at the same unit.
        place = (crossmatch_run_id, unit.row_start)
        connection.execute("SELECT pg_advisory_xact_lock(hashint8extended(%s, %s))", place)
        if done_units(connection, crossmatch_run_id) & {(unit.row_start, unit.row_stop)}:
            ledger.complete(connection, unit, 0)
            return UnitReport()
        n_pair = connection.execute(
            "INSERT INTO archive.crossmatch (crossmatch_run_id, left_source_id, right_source_id, separation_arcsec, "
            "rank, n_within) SELECT %s, left_id, right_id, separation_arcsec, rank, n_within "
            "FROM api.crossmatch_queries(%s, %s, %s, %s, %s)",
            # Who is whose nearest can be told only when all pairs are there.
            (crossmatch_run_id, left, right, options.radius_arcsec, options.min_radius_arcsec,
             None if options.mutual_best else options.nearest),
        ).rowcount  # fmt: skip
        n_row = connection.execute(f"SELECT count(*) FROM ({left}) p".encode()).fetchone()  # noqa: S608
        if n_row is None:
            raise RuntimeError("a count returned no row")
        ledger.complete(connection, unit, n_pair)
    return UnitReport(int(n_row[0]), n_pair)


def close_crossmatch(
    connection: psycopg.Connection[Any], crossmatch_run_id: int, sides: Sides, options: CrossmatchOptions, run_id: int
) -> tuple[int, int]:
    """Put a crossmatch whose units are done in the place of the earlier one, in one transaction.

    Returns
    -------
    (n_pair, n_matched)

    Raises
    ------
    GalbaseError
        If positions have changed since it was begun.
    """
    with connection.transaction():
        found = "-".join(_hash(connection, query)[1] for query in (sides.left, sides.right))
        if found != sides.hash:
            raise GalbaseError(
                "positions of these releases changed while they were crossmatched; run the command again."
            )
        if options.mutual_best:
            connection.execute(
                "DELETE FROM archive.crossmatch c WHERE crossmatch_run_id = %(run)s AND (rank > 1 OR EXISTS (SELECT "
                "FROM archive.crossmatch o WHERE o.crossmatch_run_id = %(run)s AND o.right_source_id = "
                "c.right_source_id AND (o.separation_arcsec, o.left_source_id) < "
                "(c.separation_arcsec, c.left_source_id)))",
                {"run": crossmatch_run_id},
            )
        connection.execute(
            "DELETE FROM archive.crossmatch_run WHERE left_release_id = %s AND right_release_id = %s "
            "AND state = 'done'",
            (sides.left_id, sides.right_id),
        )
        counts = connection.execute(
            "SELECT count(*), count(DISTINCT left_source_id) FROM archive.crossmatch WHERE crossmatch_run_id = %s",
            (crossmatch_run_id,),
        ).fetchone()
        if counts is None:
            raise RuntimeError("a count returned no row")
        connection.execute(
            "UPDATE archive.crossmatch_run SET n_pair = %s, run_id = %s, state = 'done', created_at = now() "
            "WHERE crossmatch_run_id = %s",
            (counts[0], run_id, crossmatch_run_id),
        )
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage(crossmatch_run_id)))
        mark_changed(connection, inserted=0, changed=1)
    return int(counts[0]), int(counts[1])
