"""Positions of a release, as the survey gives them or at another epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from galbase.ingest.catalogue_tables import tables_of
from galbase.schema.errors import GalbaseError

_PM_RA, _PM_DEC, _EPOCH = "pos.pm;pos.eq.ra", "pos.pm;pos.eq.dec", "time.epoch"
# As Gaia and the Legacy Surveys name them.
_NAMES = {_PM_RA: "pmra", _PM_DEC: "pmdec", _EPOCH: "ref_epoch"}
_PM_UNIT = "mas.yr**-1"


@dataclass(frozen=True)
class Motion:
    """Where a release's proper motions are.

    Parameters
    ----------
    table : psycopg.sql.Identifier
        Table keyed by source_id.
    pmra, pmdec, ref_epoch : str
        Its columns: proper motions in ra, times cos(dec), and dec; epoch of the position, years.
    factor : float
        What proper motions are multiplied by to be mas/yr.
    """

    table: sql.Identifier
    pmra: str
    pmdec: str
    ref_epoch: str
    factor: float


def find_motion(connection: psycopg.Connection[Any], release_id: int) -> Motion | None:
    """Proper motions of a release's catalogue; None if it has none.

    Columns are found by their UCDs, or are named pmra, pmdec and ref_epoch; without a unit they are mas/yr.

    Raises
    ------
    GalbaseError
        If there are proper motions without an epoch, or in a unit that is none.
    """
    for schema, table in tables_of(connection, release_id):
        columns: dict[str, tuple[str, str | None]] = {}
        for role, name, unit in connection.execute(
            "SELECT w.ucd, m.column_name, m.unit FROM archive.column_metadata m "
            "JOIN unnest(%(ucds)s::text[], %(names)s::text[]) w (ucd, name) ON m.ucd = w.ucd OR m.column_name = w.name "
            "WHERE table_schema = %(schema)s AND table_name = %(table)s "
            "ORDER BY m.ucd IS NOT DISTINCT FROM w.ucd, 2 DESC",
            {"ucds": list(_NAMES), "names": list(_NAMES.values()), "schema": schema, "table": table},
        ):
            columns[role] = (name, unit)
        if _PM_RA not in columns or _PM_DEC not in columns:
            continue
        if _EPOCH not in columns:
            raise GalbaseError(
                f"{schema}.{table} has proper motions but no column of UCD {_EPOCH} or name {_NAMES[_EPOCH]}, the "
                "epoch of its positions; load the catalogue with one, or crossmatch without --epoch."
            )
        factors = {_factor(schema, table, *columns[ucd]) for ucd in (_PM_RA, _PM_DEC)}
        if len(factors) > 1:
            raise GalbaseError(f"proper motions of {schema}.{table} in ra and dec have different units.")
        names = [columns[ucd][0] for ucd in (_PM_RA, _PM_DEC, _EPOCH)]
        return Motion(sql.Identifier(schema, table), names[0], names[1], names[2], factors.pop())
    return None


def _factor(schema: str, table: str, name: str, unit: str | None) -> float:
    from astropy import units

    try:
        return float(units.Unit(unit or _PM_UNIT, format="vounit").to(units.Unit(_PM_UNIT, format="vounit")))
    except (ValueError, units.UnitConversionError) as error:
        raise GalbaseError(f"column {name} of {schema}.{table} has the unit {unit!r}, not one of proper motion.") from (
            error
        )


def positions(
    connection: psycopg.Connection[Any],
    release_id: int,
    motion: Motion | None = None,
    epoch: float | None = None,
    hpx29: tuple[int, int] | None = None,
) -> str:
    """A query of a release's positions, as `api.crossmatch_queries` takes it.

    Parameters
    ----------
    connection : psycopg.Connection
        For the quoting of names.
    release_id : int
    motion : Motion, optional
        Brings positions to `epoch`; they stay where they are when None, or without finite motion or epoch.
    epoch : float, optional
        Julian epoch, years.
    hpx29 : (int, int), optional
        Only sources whose catalogued position lies in this half-open range.
    """
    limits: sql.Composable = sql.SQL("")
    if hpx29 is not None:
        limits = sql.SQL(" AND s.hpx29 >= {} AND s.hpx29 < {}").format(*map(sql.Literal, hpx29))
    if motion is None:
        return (
            sql.SQL("SELECT s.source_id, s.ra, s.dec, s.hpx29 FROM archive.source s WHERE s.release_id = {}{}")
            .format(sql.Literal(release_id), limits)
            .as_string(connection)
        )
    number = "CASE WHEN c.{0}::double precision BETWEEN -1e9 AND 1e9 THEN c.{0} * {1}::double precision END"
    moved = [
        sql.SQL(number).format(sql.Identifier(name), sql.Literal(motion.factor)) for name in (motion.pmra, motion.pmdec)
    ]
    query = sql.SQL(
        "SELECT s.source_id, p.ra, p.dec, api.healpix(p.ra, p.dec, 29) FROM archive.source s "
        "LEFT JOIN {table} c USING (source_id) "
        "CROSS JOIN LATERAL api.at_epoch(s.ra, s.dec, {pmra}, {pmdec}, "
        # Surveys write 0 where there is no epoch.
        "CASE WHEN c.{ref} BETWEEN 1 AND 9999 THEN c.{ref} END, {epoch}) p WHERE s.release_id = {release}{limits}"
    ).format(
        table=motion.table,
        pmra=moved[0],
        pmdec=moved[1],
        ref=sql.Identifier(motion.ref_epoch),
        epoch=sql.Literal(epoch),
        release=sql.Literal(release_id),
        limits=limits,
    )
    return query.as_string(connection)
