"""Data releases: where rows come from, under which licence, and which release comes first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from galbase.ingest.catalogue_tables import stage
from galbase.schema.errors import GalbaseError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_FIELDS = ("survey", "url", "licence", "citation", "priority", "simulated")


@dataclass(frozen=True)
class Release:
    """A data release.

    Parameters
    ----------
    release_id : int
        Its number.
    release : str
        Its name, as in `--release`.
    survey : str
        Survey it belongs to.
    url, licence, citation : str or None
        Where it comes from, and what users owe its makers.
    priority : int
        The smallest number comes first where a galaxy is in several releases.
    simulated : bool
        Whether its data are simulated.
    """

    release_id: int
    release: str
    survey: str
    url: str | None
    licence: str | None
    citation: str | None
    priority: int
    simulated: bool


def require_release(connection: psycopg.Connection[Any], name: str) -> Release:
    """The release `name`.

    Raises
    ------
    GalbaseError
        If it is not registered; the message has the command that does it.
    """
    row = connection.execute(
        "SELECT release_id, release, survey, url, licence, citation, priority, simulated "
        "FROM archive.data_release WHERE release = %s",
        (name,),
    ).fetchone()
    if row is None:
        raise GalbaseError(
            f"there is no release {name!r}; register it first: galbase release add {name} --survey SURVEY "
            "--licence LICENCE --citation CITATION (galbase release list shows those that exist)."
        )
    return Release(*row)


def add_release(
    connection: psycopg.Connection[Any],
    name: str,
    *,
    survey: str | None = None,
    url: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
    priority: int | None = None,
    simulated: bool | None = None,
) -> tuple[Release, str]:
    """Register a release, or change the given fields of one that is registered.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    name : str
        1 to 63 letters, digits and ``. _ + -``, beginning with a letter or a digit.
    survey, url, licence, citation, priority, simulated
        Fields of `Release`; None leaves a registered value, or the default, as it is.

    Returns
    -------
    Release, str
        The release, and ``added``, ``changed`` or ``unchanged``.

    Raises
    ------
    UsageError
        If the name is not one, or a new release has no survey.
    GalbaseError
        If `simulated` would change for a release that holds files.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a release: use 1 to 63 letters, digits and . _ + -")
    given = (survey, url, licence, citation, priority, simulated)
    wanted = {field: value for field, value in zip(_FIELDS, given, strict=True) if value is not None}
    present = connection.execute(
        "SELECT release_id, release, survey, url, licence, citation, priority, simulated "
        "FROM archive.data_release WHERE release = %s FOR UPDATE",
        (name,),
    ).fetchone()
    if present is None:
        if survey is None:
            raise UsageError(f"release {name} is new: give its survey with --survey.")
        columns = ["release", *wanted]
        connection.execute(
            sql.SQL("INSERT INTO archive.data_release ({}) VALUES ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join([sql.Placeholder()] * len(columns))
            ),
            [name, *wanted.values()],
        )
        return require_release(connection, name), "added"
    release = Release(*present)
    changed = {field: value for field, value in wanted.items() if getattr(release, field) != value}
    if not changed:
        return release, "unchanged"
    if "simulated" in changed and _count(connection, "data_file", release.release_id):
        raise GalbaseError(
            f"release {name} holds files that were loaded as {'simulated' if release.simulated else 'observed'}; "
            "register the others under another name."
        )
    connection.execute(
        sql.SQL("UPDATE archive.data_release SET {} WHERE release_id = %s").format(
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(field)) for field in changed)
        ),
        [*changed.values(), release.release_id],
    )
    return require_release(connection, name), "changed"


def list_releases(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """All releases with what they hold, in order of priority and name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT r.release, r.survey, r.priority, r.simulated, r.licence, r.citation, r.url, "
            "(SELECT count(*) FROM archive.source s WHERE s.release_id = r.release_id) AS sources, "
            "(SELECT count(*) FROM archive.observation o WHERE o.release_id = r.release_id) AS observations, "
            "(SELECT count(*) FROM archive.data_file f WHERE f.release_id = r.release_id) AS files "
            "FROM archive.data_release r ORDER BY r.priority, r.release"
        ).fetchall()


def list_files(connection: psycopg.Connection[Any], release_id: int) -> list[dict[str, Any]]:
    """Files of a release with their verdicts."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT d.path AS directory, f.path, f.format, f.state, f.n_row AS rows, f.n_loaded AS loaded, "
            "f.n_rejected AS rejected, f.reason FROM archive.data_file f JOIN archive.data_root d USING (data_root_id) "
            "WHERE f.release_id = %s ORDER BY d.path, f.path",
            (release_id,),
        ).fetchall()


def drop_release(connection: psycopg.Connection[Any], name: str) -> dict[str, int]:
    """Delete a release with its detections, observations, what was computed from them, and its files' records.

    The files themselves stay on disk.

    Returns
    -------
    dict of str to int
        Number of sources, observations and files that were deleted.

    Raises
    ------
    GalbaseError
        If there is no such release, or a frozen training set holds its images.
    """
    release = require_release(connection, name)
    number = (release.release_id,)
    held = connection.execute(
        "SELECT DISTINCT t.name FROM archive.training_set t JOIN archive.training_member m USING (training_set_id) "
        "JOIN archive.observation o USING (observation_id) WHERE o.release_id = %s ORDER BY 1",
        number,
    ).fetchall()
    if held:
        names = ", ".join(row[0] for row in held)
        raise GalbaseError(f"release {name} cannot be dropped: training set {names} was frozen from its images.")
    for (crossmatch_run_id,) in connection.execute(
        "DELETE FROM archive.crossmatch_run WHERE left_release_id = %(r)s OR right_release_id = %(r)s "
        "RETURNING crossmatch_run_id",
        {"r": release.release_id},
    ).fetchall():
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage(crossmatch_run_id)))
    # By statements of their own, not by cascades: what galaxies show is renewed once a statement, and a cascade is one
    # a row.
    connection.execute(
        "DELETE FROM archive.prediction p USING archive.observation o WHERE o.observation_id = p.observation_id "
        "AND o.release_id = %s",
        number,
    )
    observations = connection.execute("DELETE FROM archive.observation WHERE release_id = %s", number).rowcount
    connection.execute(
        "DELETE FROM archive.galaxy_member m USING archive.source s WHERE s.release_id = %s "
        "AND s.source_id IN (m.source_id, m.galaxy_id)",
        number,
    )
    connection.execute(
        "DELETE FROM archive.galaxy g USING archive.source s WHERE s.source_id = g.galaxy_id AND s.release_id = %s",
        number,
    )
    own = connection.execute(
        "DELETE FROM archive.catalogue_table WHERE release_id = %s RETURNING table_name", number
    ).fetchone()
    if own is not None:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("catalogue", own[0])))
        connection.execute(
            "DELETE FROM archive.column_metadata WHERE table_schema = 'catalogue' AND table_name = %s", own
        )
    sources = connection.execute("DELETE FROM archive.source WHERE release_id = %s", number).rowcount
    connection.execute("DELETE FROM archive.extra_column WHERE release_id = %s", number)
    files = connection.execute("DELETE FROM archive.data_file WHERE release_id = %s", number).rowcount
    connection.execute("DELETE FROM archive.data_release WHERE release_id = %s", number)
    return {"sources": sources, "observations": observations, "files": files}


def _count(connection: psycopg.Connection[Any], table: str, release_id: int) -> int:
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE release_id = %s").format(sql.Identifier("archive", table)),
        (release_id,),
    ).fetchone()
    return int(row[0]) if row is not None else 0
