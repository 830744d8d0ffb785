"""Value-added catalogues: the served predictions of a selection of galaxies, ready to be published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from galbase.schema.errors import UsageError
from galbase.schema.properties import PROPERTIES

if TYPE_CHECKING:
    import psycopg

# Who the galaxy is and what the survey says of it; release, brickid and objid are the Legacy Survey's own key.
_IDENTITY = ("galaxy_id", "ra", "dec", "photometry_source_id")
_LEGACY = ("release", "brickid", "objid")
_SURVEY = ("type", "mag_r", "z_phot", "z", "preprocess_flag")
_PARTS = ("", "_err", "_q025", "_q05", "_q16", "_q50", "_q84", "_q95", "_q975", "_flag", "_model", "_source_id")


def known_properties(names: Sequence[str]) -> tuple[str, ...]:
    """The properties' names, if there are such.

    Raises
    ------
    UsageError
    """
    known = [each.name for each in PROPERTIES]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UsageError(f"no property {unknown[0] if unknown else ''!r}; use one or several of {', '.join(known)}.")
    return tuple(dict.fromkeys(names))


def catalogue_statement(connection: psycopg.Connection, names: Sequence[str], where: str | None) -> str:
    """The statement whose rows are the catalogue: one a galaxy that has a value of at least one property.

    Values that a model trained on simulations gives of real images are not served, and neither are they here.

    Parameters
    ----------
    connection : psycopg.Connection
    names : sequence of str
        Properties.
    where : str or None
        Condition on the columns of ``api.galaxy_property``, in SQL; all galaxies when None.
    """
    chosen = known_properties(names)
    columns = [
        *(sql.Identifier("g", name) for name in _IDENTITY),
        *(sql.Identifier("l", name) for name in _LEGACY),
        *(sql.Identifier("g", name) for name in _SURVEY),
        *(sql.Identifier("g", name + part) for name in chosen for part in _PARTS),
    ]
    # On lines of its own, so that a comment at the condition's end does not hide what follows.
    statement = sql.SQL(
        "SELECT {columns} FROM (SELECT * FROM api.galaxy_property WHERE (\n{where}\n)) g "
        "LEFT JOIN api.legacysurvey_object l ON l.source_id = g.photometry_source_id "
        "WHERE {valued} ORDER BY g.hpx29, g.galaxy_id"
    ).format(
        columns=sql.SQL(", ").join(columns),
        where=sql.SQL(where or "true"),
        valued=sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("g", name)) for name in chosen),
    )
    return statement.as_string(connection)
