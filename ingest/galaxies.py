"""Galaxies: detections of all releases joined by the crossmatches, rebuilt by set-based SQL.

Two detections are linked where each is the other's nearest partner within the radius of a crossmatch of their
releases. A detection joins the galaxy of its linked partner in the release that comes first (lowest priority number,
then lowest release number) among those that come before its own; a detection without such a partner is a galaxy of
its own. Every step goes to a release that comes strictly earlier, so a chain is never longer than there are
releases, the galaxy's name is the detection in the release that comes first, and each detection is in exactly one.
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


# Nearest partner on both sides of each crossmatch; ties go to the lower id, so that the answer is always the same.
_LINK = """
CREATE TEMP TABLE galbase_link ON COMMIT DROP AS
WITH from_left AS (
    SELECT DISTINCT ON (crossmatch_run_id, left_source_id) crossmatch_run_id, left_source_id, right_source_id
    FROM archive.crossmatch
    ORDER BY crossmatch_run_id, left_source_id, separation_arcsec, right_source_id
), from_right AS (
    SELECT DISTINCT ON (crossmatch_run_id, right_source_id) crossmatch_run_id, left_source_id, right_source_id
    FROM archive.crossmatch
    ORDER BY crossmatch_run_id, right_source_id, separation_arcsec, left_source_id
)
SELECT left_source_id AS a, right_source_id AS b
FROM from_left JOIN from_right USING (crossmatch_run_id, left_source_id, right_source_id)
"""

_PARENT = """
CREATE TEMP TABLE galbase_parent ON COMMIT DROP AS
WITH place AS (
    SELECT release_id, row_number() OVER (ORDER BY priority, release_id) AS place FROM archive.data_release
), both_ways AS (
    SELECT a AS source_id, b AS parent_id FROM galbase_link UNION SELECT b, a FROM galbase_link
)
SELECT DISTINCT ON (l.source_id) l.source_id, l.parent_id
FROM both_ways l
JOIN archive.source s ON s.source_id = l.source_id
JOIN archive.source p ON p.source_id = l.parent_id
JOIN place sp ON sp.release_id = s.release_id
JOIN place pp ON pp.release_id = p.release_id
WHERE pp.place < sp.place
ORDER BY l.source_id, pp.place, l.parent_id
"""

_WANTED = """
CREATE TEMP TABLE galbase_member ON COMMIT DROP AS
WITH RECURSIVE up (source_id, ancestor_id, depth) AS (
    SELECT source_id, parent_id, 1 FROM galbase_parent
    UNION ALL
    SELECT up.source_id, p.parent_id, up.depth + 1 FROM up JOIN galbase_parent p ON p.source_id = up.ancestor_id
), root AS (
    SELECT DISTINCT ON (source_id) source_id, ancestor_id FROM up ORDER BY source_id, depth DESC
)
SELECT s.source_id, coalesce(root.ancestor_id, s.source_id) AS galaxy_id
FROM archive.source s LEFT JOIN root USING (source_id)
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
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('galbase galaxies'))")
        for statement in (_LINK, _PARENT, _WANTED):
            connection.execute(statement)
        connection.execute("ANALYZE galbase_member")
        galaxies = connection.execute(_GALAXY).rowcount
        members = connection.execute(_MEMBER).rowcount
        galaxies += connection.execute(_OBSOLETE).rowcount
        totals = connection.execute("SELECT count(DISTINCT galaxy_id), count(*) FROM galbase_member").fetchone()
        for table in ("galbase_link", "galbase_parent", "galbase_member"):
            connection.execute(_DROP[table])
    if totals is None:
        raise RuntimeError("a count returned no row")
    return GalaxyCount(int(totals[0]), int(totals[1]), galaxies, members)


_DROP = {
    "galbase_link": "DROP TABLE galbase_link",
    "galbase_parent": "DROP TABLE galbase_parent",
    "galbase_member": "DROP TABLE galbase_member",
}
