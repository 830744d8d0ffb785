"""HEALPix maps of how many of a release's images carry a flag of preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galbase.schema.errors import GalbaseError
from galbase.sql.sky_map import SkyMap, read_map

if TYPE_CHECKING:
    import psycopg

OUT = "OUT"
_FRACTION = """
SELECT healpix_cell, fraction, n_image FROM api.preprocess_flag_map({release}, {config}, {order})
WHERE flag_name = {flag} ORDER BY 1
"""


def read_flag_fraction(
    connection: psycopg.Connection, release: str, order: int, config_hash: str, config_name: str, flag: str
) -> SkyMap:
    """Share of the images of each cell that carry a flag.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    release : str
    order : int
        HEALPix order of the cells, 0 to 29.
    config_hash, config_name : str
        The preprocessing configuration, and what it is called on the map.
    flag : str
        Name of the flag; `OUT` for images that are not kept.

    Raises
    ------
    GalbaseError
        If there is no such release or order, or no judged image of the release has a position.
    """
    from psycopg import sql

    statement = sql.SQL(_FRACTION).format(
        release=sql.Literal(release),
        config=sql.Literal(config_hash),
        order=sql.Literal(order),
        flag=sql.Literal(flag),
    )
    what = "images that are out" if flag == OUT else f"images flagged {flag}"
    found = read_map(connection, statement, release, order, f"fraction of {what} by {config_name}", None, release)
    if not len(found.cells):
        raise GalbaseError(
            f"no image of release {release!r} with a position has a verdict of this configuration; run "
            f"`galbase preprocess --release {release} --config {config_name}` first."
        )
    return found
