"""Crossmatches of two releases, stored as pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import psycopg

from galbase.ingest.releases import require_release
from galbase.schema.errors import UsageError

LARGEST_RADIUS_ARCSEC = 648000.0


@dataclass(frozen=True)
class CrossmatchReport:
    """A crossmatch: sources of either release, pairs, and left sources with at least one partner."""

    left: str
    right: str
    radius_arcsec: float
    n_left: int
    n_right: int
    n_pair: int
    n_matched: int


def crossmatch(
    connection: psycopg.Connection[Any], left: str, right: str, radius_arcsec: float, *, run_id: int | None = None
) -> CrossmatchReport:
    """Find all pairs of sources of two releases within a radius, and store them instead of an earlier crossmatch.

    Parameters
    ----------
    connection : psycopg.Connection
        The pairs are written in one transaction, which is the caller's if there is one.
    left, right : str
        Names of two releases.
    radius_arcsec : float
        Largest great-circle separation, 0 to 648000.
    run_id : int, optional
        Run to record with it.

    Raises
    ------
    UsageError
        If the releases are one and the same, or the radius is out of range.
    GalbaseError
        If there is no such release.
    """
    if left == right:
        raise UsageError(f"{left} cannot be crossmatched with itself; name two releases.")
    if not (math.isfinite(radius_arcsec) and 0 <= radius_arcsec <= LARGEST_RADIUS_ARCSEC):
        raise UsageError(f"radius {radius_arcsec} arcsec is out of range; give 0 to {LARGEST_RADIUS_ARCSEC:.0f}.")
    with connection.transaction():
        left_id, right_id = (require_release(connection, name).release_id for name in (left, right))
        # One crossmatch of a pair at a time; the second one replaces the first.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('galbase crossmatch'))")
        connection.execute(
            "DELETE FROM archive.crossmatch_run WHERE left_release_id = %s AND right_release_id = %s",
            (left_id, right_id),
        )
        made = connection.execute(
            "INSERT INTO archive.crossmatch_run (left_release_id, right_release_id, radius_arcsec, n_pair, run_id) "
            "VALUES (%s, %s, %s, 0, %s) RETURNING crossmatch_run_id",
            (left_id, right_id, radius_arcsec, run_id),
        ).fetchone()
        if made is None:
            raise RuntimeError("no crossmatch_run_id was returned")
        # Only a plan made for this radius knows which index on cells serves it.
        connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        n_pair = connection.execute(
            "INSERT INTO archive.crossmatch (crossmatch_run_id, left_source_id, right_source_id, separation_arcsec, "
            "rank, n_within) SELECT %s, left_source_id, right_source_id, separation_arcsec, "
            "row_number() OVER (PARTITION BY left_source_id ORDER BY separation_arcsec, right_source_id), "
            "count(*) OVER (PARTITION BY left_source_id) FROM api.crossmatch_pairs(%s, %s, %s) "
            "ORDER BY left_source_id, 5",
            (made[0], left_id, right_id, radius_arcsec),
        ).rowcount
        connection.execute("SET LOCAL plan_cache_mode TO DEFAULT")  # the transaction may be the caller's
        connection.execute(
            "UPDATE archive.crossmatch_run SET n_pair = %s WHERE crossmatch_run_id = %s", (n_pair, made[0])
        )
        counts = connection.execute(
            "SELECT count(*) FILTER (WHERE release_id = %(left)s), count(*) FILTER (WHERE release_id = %(right)s), "
            "(SELECT count(*) FROM archive.crossmatch WHERE crossmatch_run_id = %(run)s AND rank = 1) "
            "FROM archive.source WHERE release_id IN (%(left)s, %(right)s)",
            {"left": left_id, "right": right_id, "run": made[0]},
        ).fetchone()
    if counts is None:
        raise RuntimeError("a count returned no row")
    return CrossmatchReport(left, right, radius_arcsec, int(counts[0]), int(counts[1]), n_pair, int(counts[2]))


def repeat_crossmatches(connection: psycopg.Connection[Any], *, run_id: int | None = None) -> list[CrossmatchReport]:
    """Make every stored crossmatch again with its radius, for sources that came or moved since; in order of age."""
    pairs = connection.execute(
        "SELECT l.release, r.release, c.radius_arcsec FROM archive.crossmatch_run c "
        "JOIN archive.data_release l ON l.release_id = c.left_release_id "
        "JOIN archive.data_release r ON r.release_id = c.right_release_id ORDER BY c.crossmatch_run_id"
    ).fetchall()
    return [crossmatch(connection, left, right, radius, run_id=run_id) for left, right, radius in pairs]
