"""Galaxies: detections of all releases joined by the crossmatches, rebuilt by set-based SQL.

Two detections are linked where each is the other's nearest partner within the radius of a crossmatch of their
releases. Detections that links connect are one galaxy, if every release occurs among them only once. Where a chain of
links would bring two detections of one release together (a crowded place), it is cut: each detection then joins its
linked partner in the release that comes first among those that come before its own, and of two of one release that
still meet, the one with fewer steps stays. So no galaxy has two detections of one release, each detection is in
exactly one galaxy, and one without a partner is a galaxy of its own.

Releases come in order of their priority number, then of their own number; a galaxy has the name and the position of
its detection in the release that comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg


@dataclass(frozen=True)
class GalaxyCount:
    """Galaxies there are, members there are, and rows written: galaxies and members inserted, changed or deleted."""

    galaxies: int
    members: int
    galaxies_written: int
    members_written: int


# Nearest partner on both sides of each crossmatch; ties go to the lower id, so that the answer is always the same. No
# join: planned without statistics, right after a first crossmatch, that took time with the square of the pairs.
_LINK = """
CREATE TEMP TABLE galbase_link ON COMMIT DROP AS
WITH from_left AS (
    SELECT DISTINCT ON (crossmatch_run_id, left_source_id) crossmatch_run_id, left_source_id, right_source_id
    FROM archive.crossmatch JOIN archive.crossmatch_run r USING (crossmatch_run_id) WHERE r.state = 'done'
    ORDER BY crossmatch_run_id, left_source_id, separation_arcsec, right_source_id
), from_right AS (
    SELECT DISTINCT ON (crossmatch_run_id, right_source_id) crossmatch_run_id, left_source_id, right_source_id
    FROM archive.crossmatch JOIN archive.crossmatch_run r USING (crossmatch_run_id) WHERE r.state = 'done'
    ORDER BY crossmatch_run_id, right_source_id, separation_arcsec, left_source_id
)
SELECT left_source_id AS a, right_source_id AS b
FROM (TABLE from_left INTERSECT TABLE from_right) both_ways
"""

_NEIGHBOUR = """
CREATE TEMP TABLE galbase_neighbour ON COMMIT DROP AS
WITH place AS (
    SELECT release_id, row_number() OVER (ORDER BY priority, release_id) AS place FROM archive.data_release
), both_ways AS (
    SELECT a AS source_id, b AS other_id FROM galbase_link UNION SELECT b, a FROM galbase_link
)
SELECT l.source_id, l.other_id, sp.release_id, sp.place, op.place AS other_place
FROM both_ways l
JOIN archive.source s ON s.source_id = l.source_id
JOIN archive.source o ON o.source_id = l.other_id
JOIN place sp ON sp.release_id = s.release_id
JOIN place op ON op.release_id = o.release_id
WHERE sp.place <> op.place
"""

# A label is [place of the release, source_id]; the least one among connected detections names their galaxy.
_LABEL = """
CREATE TEMP TABLE galbase_label ON COMMIT DROP AS
SELECT DISTINCT source_id, release_id, ARRAY[place, source_id] AS label FROM galbase_neighbour
"""

_SPREAD = """
UPDATE galbase_label l SET label = least.label
FROM (
    SELECT n.source_id, min(o.label) AS label
    FROM galbase_neighbour n JOIN galbase_label o ON o.source_id = n.other_id GROUP BY n.source_id
) least
WHERE least.source_id = l.source_id AND least.label < l.label
"""

# Among detections of which every release occurs once, a label has arrived everywhere after as many rounds as there
# are releases; where it has not, the chain is too long and is cut as well.
_CROWDED = """
CREATE TEMP TABLE galbase_crowded ON COMMIT DROP AS
SELECT label FROM galbase_label GROUP BY label HAVING count(*) > count(DISTINCT release_id)
UNION
SELECT a.label FROM galbase_neighbour n JOIN galbase_label a ON a.source_id = n.source_id
JOIN galbase_label b ON b.source_id = n.other_id WHERE a.label <> b.label
"""

_WANTED = """
CREATE TEMP TABLE galbase_member ON COMMIT DROP AS
WITH RECURSIVE parent AS (
    SELECT DISTINCT ON (n.source_id) n.source_id, n.release_id, n.other_id AS parent_id
    FROM galbase_neighbour n JOIN galbase_label l USING (source_id) JOIN galbase_crowded c ON c.label = l.label
    WHERE n.other_place < n.place
    ORDER BY n.source_id, n.other_place, n.other_id
), up (source_id, release_id, ancestor_id, depth) AS (
    SELECT source_id, release_id, parent_id, 1 FROM parent
    UNION ALL
    SELECT up.source_id, up.release_id, p.parent_id, up.depth + 1
    FROM up JOIN parent p ON p.source_id = up.ancestor_id
), root AS (
    SELECT DISTINCT ON (source_id) source_id, release_id, ancestor_id, depth FROM up ORDER BY source_id, depth DESC
), cut AS (
    SELECT source_id, ancestor_id,
        row_number() OVER (PARTITION BY ancestor_id, release_id ORDER BY depth, source_id) AS rank
    FROM root
)
SELECT s.source_id,
    CASE WHEN c.label IS NULL THEN coalesce(l.label[2], s.source_id)
         WHEN cut.rank = 1 THEN cut.ancestor_id ELSE s.source_id END AS galaxy_id
FROM archive.source s
LEFT JOIN galbase_label l USING (source_id)
LEFT JOIN galbase_crowded c ON c.label = l.label
LEFT JOIN cut USING (source_id)
"""

_GALAXY = """
INSERT INTO archive.galaxy AS t (galaxy_id, ra, dec, hpx29, n_member)
SELECT s.source_id, s.ra, s.dec, s.hpx29, m.n_member
FROM (SELECT galaxy_id, count(*)::integer AS n_member FROM galbase_member GROUP BY galaxy_id) m
JOIN archive.source s ON s.source_id = m.galaxy_id
ORDER BY s.hpx29
ON CONFLICT (galaxy_id) DO UPDATE
SET ra = excluded.ra, dec = excluded.dec, hpx29 = excluded.hpx29, n_member = excluded.n_member
WHERE (t.ra, t.dec, t.hpx29, t.n_member) IS DISTINCT FROM (excluded.ra, excluded.dec, excluded.hpx29, excluded.n_member)
"""

_MEMBER = """
INSERT INTO archive.galaxy_member AS t (source_id, galaxy_id, separation_arcsec)
SELECT m.source_id, m.galaxy_id, CASE WHEN m.source_id = m.galaxy_id THEN 0
    ELSE api.separation_arcsec(s.ra, s.dec, g.ra, g.dec) END
FROM galbase_member m
JOIN archive.source s ON s.source_id = m.source_id
JOIN archive.source g ON g.source_id = m.galaxy_id
ORDER BY s.hpx29
ON CONFLICT (source_id) DO UPDATE
SET galaxy_id = excluded.galaxy_id, separation_arcsec = excluded.separation_arcsec
WHERE (t.galaxy_id, t.separation_arcsec) IS DISTINCT FROM (excluded.galaxy_id, excluded.separation_arcsec)
"""

_OBSOLETE = """
DELETE FROM archive.galaxy g
WHERE NOT EXISTS (SELECT FROM galbase_member m WHERE m.galaxy_id = g.galaxy_id)
"""


_LONE = (
    "INSERT INTO archive.galaxy (galaxy_id, ra, dec, hpx29, n_member) SELECT s.source_id, s.ra, s.dec, s.hpx29, 1 "
    "FROM archive.source s WHERE NOT EXISTS (SELECT FROM archive.galaxy_member m WHERE m.source_id = s.source_id) "
    "AND NOT EXISTS (SELECT FROM archive.galaxy g WHERE g.galaxy_id = s.source_id) ORDER BY s.hpx29",
    "INSERT INTO archive.galaxy_member (source_id, galaxy_id, separation_arcsec) SELECT s.source_id, s.source_id, 0 "
    "FROM archive.source s WHERE NOT EXISTS (SELECT FROM archive.galaxy_member m WHERE m.source_id = s.source_id) "
    "ORDER BY s.hpx29",
)


def mark_changed(connection: psycopg.Connection[Any], *, inserted: int, changed: int) -> None:
    """Record, in the transaction that writes detections, that galaxies have to follow.

    Parameters
    ----------
    connection : psycopg.Connection
        In a transaction, which the caller commits.
    inserted : int
        Number of detections that came.
    changed : int
        Number of detections, or crossmatches, that changed or went.
    """
    if inserted or changed:
        connection.execute("INSERT INTO archive.galaxy_update (kind) VALUES (%s)", ("changed" if changed else "new",))


def update_galaxies(connection: psycopg.Connection[Any]) -> None:
    """Let galaxies follow what has been marked since they were last brought up to date, by whomever.

    Parameters
    ----------
    connection : psycopg.Connection
        As in `rebuild_galaxies`.
    """
    kinds = {row[0] for row in connection.execute("SELECT DISTINCT kind FROM archive.galaxy_update")}
    if "changed" in kinds:
        rebuild_galaxies(connection)
    elif kinds:
        add_galaxies(connection)


def _turn(connection: psycopg.Connection[Any], kinds: list[str]) -> None:
    """Be the only one who writes galaxies, and take the marks that there are now: later ones stay."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('galbase galaxies'))")
    connection.execute("DELETE FROM archive.galaxy_update WHERE kind = ANY(%s)", (kinds,))


def add_galaxies(connection: psycopg.Connection[Any]) -> int:
    """Make detections that are in no galaxy galaxies of their own, and return their number.

    That is all there is to do where detections only came, for crossmatches know nothing of them yet; it takes a small
    part of the time of `rebuild_galaxies`.

    Parameters
    ----------
    connection : psycopg.Connection
        The rows are written in one transaction, which is the caller's if there is one.
    """
    with connection.transaction():
        _turn(connection, ["new"])
        connection.execute(_LONE[0])
        return connection.execute(_LONE[1]).rowcount


def rebuild_galaxies(connection: psycopg.Connection[Any]) -> GalaxyCount:
    """Bring `galaxy` and `galaxy_member` in line with sources and crossmatches; rows that do not change stay untouched.

    Parameters
    ----------
    connection : psycopg.Connection
        The rows are written in one transaction, which is the caller's if there is one.

    Returns
    -------
    GalaxyCount
    """
    with connection.transaction():
        _turn(connection, ["new", "changed"])
        for statement in (_LINK, _NEIGHBOUR, "ANALYZE galbase_neighbour", _LABEL, "ANALYZE galbase_label"):
            connection.execute(statement)
        n_release = connection.execute("SELECT count(*) FROM archive.data_release").fetchone() or (0,)
        for _ in range(int(n_release[0])):
            if connection.execute(_SPREAD).rowcount == 0:
                break
        for statement in (_CROWDED, _WANTED, "ANALYZE galbase_member"):
            connection.execute(statement)
        galaxies = connection.execute(_GALAXY).rowcount
        members = connection.execute(_MEMBER).rowcount
        galaxies += connection.execute(_OBSOLETE).rowcount
        totals = connection.execute("SELECT count(DISTINCT galaxy_id), count(*) FROM galbase_member").fetchone()
        connection.execute("DROP TABLE galbase_link, galbase_neighbour, galbase_label, galbase_crowded, galbase_member")
    if totals is None:
        raise RuntimeError("a count returned no row")
    return GalaxyCount(int(totals[0]), int(totals[1]), galaxies, members)
