"""Labels of the MPA-JHU catalogue: rows of `archive.reference_value` from those of `archive.sdss_galaxy`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from galbase.schema.label_origin import CATALOGUE_ORIGIN as ORIGIN

# Property -> stem of the percentile columns.
LABELS = {
    "log_mstar_fib": "lgm_fib",
    "log_mstar_tot": "lgm_tot",
    "log_ssfr_fib": "specsfr_fib",
    "log_ssfr_tot": "specsfr_tot",
    "log_sfr_tot": "sfr_tot",
    "oh12": "oh",
}


def write_labels(connection: psycopg.Connection[Any], source_ids: npt.NDArray[np.int64]) -> int:
    """Bring the labels of the given sources in line with their galSpec rows; return the number written or deleted.

    The value is the median of the likelihood distribution, its error half the 16-84 % interval.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    source_ids : ndarray of int64, shape (n,)
    """
    written = 0
    listed = source_ids.tolist()
    for name, stem in LABELS.items():
        p16, p50, p84 = (sql.Identifier("g", f"{stem}_{part}") for part in ("p16", "p50", "p84"))
        written += connection.execute(
            sql.SQL(
                "INSERT INTO archive.reference_value AS t (source_id, property_id, origin, value, err, q16, q84) "
                "SELECT g.source_id, p.property_id, %(origin)s, {p50}, "
                "CASE WHEN {p84} >= {p16} THEN ({p84}::double precision - {p16}) / 2 END, {p16}, {p84} "
                "FROM archive.sdss_galaxy g JOIN archive.property p ON p.name = %(name)s "
                "WHERE g.source_id = ANY(%(ids)s) AND {p50} IS NOT NULL ORDER BY g.source_id "
                "ON CONFLICT (source_id, property_id, origin) DO UPDATE "
                "SET value = excluded.value, err = excluded.err, q16 = excluded.q16, q84 = excluded.q84 "
                "WHERE (t.value, t.err, t.q16, t.q84) "
                "IS DISTINCT FROM (excluded.value, excluded.err, excluded.q16, excluded.q84)"
            ).format(p16=p16, p50=p50, p84=p84),
            {"origin": ORIGIN, "name": name, "ids": listed},
        ).rowcount
        written += connection.execute(
            sql.SQL(
                "DELETE FROM archive.reference_value t USING archive.sdss_galaxy g, archive.property p "
                "WHERE t.source_id = g.source_id AND t.property_id = p.property_id AND p.name = %(name)s "
                "AND t.origin = %(origin)s AND g.source_id = ANY(%(ids)s) AND {p50} IS NULL"
            ).format(p50=p50),
            {"origin": ORIGIN, "name": name, "ids": listed},
        ).rowcount
    return written
