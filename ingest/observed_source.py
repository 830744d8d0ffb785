"""Sources of images and spectra: one that the release has already, or one that the observation itself brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.catalogue import load_sources
from galbase.schema.healpix import separation_arcsec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Fibre, cutout and catalogue positions of one galaxy lie closer; two objects that share an id by mistake do not.
SAME_SOURCE_ARCSEC = 10.0
# Formats whose sources come without a catalogue row.
OBSERVATION_FORMATS = (
    "jpeg",
    "png",
    "fits-image",
    "hdf5-stamps",
    "sdss-spec",
    "desi-coadd",
    "spectrum-stack",
    "spectrum",
)


@dataclass(frozen=True)
class KnownSource:
    """A source that the release has already."""

    source_id: int
    ra: float
    dec: float
    data_file_id: int | None


@dataclass(frozen=True)
class Owners:
    """Whose source each row is, before anything is written.

    Parameters
    ----------
    known : tuple of KnownSource or None
        Source of another file that the row belongs to; None where the row brings its own.
    first : (n,) int
        For a row that brings its own: the first row of the batch with its id (mostly itself).
    refused : tuple of str or None
        Why a row cannot be loaded.
    """

    known: tuple[KnownSource | None, ...]
    first: npt.NDArray[np.intp]
    refused: tuple[str | None, ...]


def find_owners(
    native_ids: Sequence[str],
    ra: Floats,
    dec: Floats,
    data_file_ids: Sequence[int | None],
    present: dict[str, KnownSource],
) -> Owners:
    """Decide which rows belong to sources that are there already.

    Parameters
    ----------
    native_ids : sequence of str, shape (n,)
    ra, dec : (n,) float64
        Positions, degrees; NaN where unknown, which belongs to no source.
    data_file_ids : sequence of int or None, shape (n,)
        File of each row; None for a file that is new.
    present : dict of str to KnownSource
        Sources of the release by id, see `present_sources`.
    """
    n_row = len(native_ids)
    known: list[KnownSource | None] = [None] * n_row
    refused: list[str | None] = [None] * n_row
    first = np.arange(n_row)
    seen: dict[str, int] = {}
    for row in np.flatnonzero(np.isfinite(ra)).tolist():
        native = native_ids[row]
        found = present.get(native)
        other = seen.setdefault(native, row)
        if found is not None and (found.data_file_id is None or found.data_file_id != data_file_ids[row]):
            known[row] = found
            place, whose = (found.ra, found.dec), "a source of the release"
        elif other != row:
            first[row] = first[other]
            place, whose = (float(ra[other]), float(dec[other])), "another file"
        else:
            continue
        apart = float(separation_arcsec(ra[row], dec[row], *place))
        if apart > SAME_SOURCE_ARCSEC:
            refused[row] = (
                f"its id {native!r} is that of {whose} {apart:.1f} arcsec away; give it its own id in a manifest, "
                "or ingest the folder above, so that names differ"
            )
    return Owners(tuple(known), first, tuple(refused))


def present_sources(
    connection: psycopg.Connection[Any], release_id: int, native_ids: Sequence[str]
) -> dict[str, KnownSource]:
    """Sources of a release that have one of these ids."""
    rows = connection.execute(
        "SELECT native_id, source_id, ra, dec, data_file_id FROM archive.source "
        "WHERE release_id = %s AND native_id = ANY(%s)",
        (release_id, list(set(native_ids))),
    )
    return {row[0]: KnownSource(*row[1:]) for row in rows}


def settle_sources(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    native_ids: Sequence[str],
    ra: Floats,
    dec: Floats,
    flags: Ints,
    data_file_ids: Ints,
    owners: Owners,
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Load the sources that rows bring, and return the source of every row.

    Rows must not be refused by `find_owners`.

    Returns
    -------
    source_ids : (n,) int64
        -1 where the position is unknown.
    own : (n,) bool
        Rows that bring their source, each source once.
    """
    n_row = len(native_ids)
    source_ids = np.full(n_row, -1, np.int64)
    for row, source in enumerate(owners.known):
        if source is not None:
            source_ids[row] = source.source_id
    brings = np.isfinite(ra) & (source_ids < 0)
    own = brings & (owners.first == np.arange(n_row))
    rows = np.flatnonzero(own)
    if rows.size:
        source_ids[rows] = load_sources(
            connection,
            release_id,
            release,
            [native_ids[row] for row in rows.tolist()],
            ra[rows],
            dec[rows],
            flags[rows],
            data_file_ids[rows],
        )
    source_ids[brings] = source_ids[owners.first[brings]]
    return source_ids, own


def drop_vanished(connection: psycopg.Connection[Any], data_file_ids: Sequence[int], table: str) -> int:
    """Delete observations of files, and sources that these files brought, that are not in the temporary `table`.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    data_file_ids : sequence of int
        The files that `table` holds the rows of.
    table : str
        Temporary table with columns data_file_id, row_index, source_id.

    Returns
    -------
    int
        Observations deleted.
    """
    from psycopg import sql

    staged = sql.Identifier(table)
    files = {"files": list(data_file_ids)}
    cursor = connection.execute(
        sql.SQL(
            "DELETE FROM archive.observation o WHERE o.data_file_id = ANY(%(files)s) AND NOT EXISTS (SELECT FROM {} t "
            "WHERE t.data_file_id = o.data_file_id AND t.row_index = o.row_index)"
        ).format(staged),
        files,
    )
    connection.execute(
        sql.SQL(
            "DELETE FROM archive.source s WHERE s.data_file_id = ANY(%(files)s) "
            "AND NOT EXISTS (SELECT FROM {} t WHERE t.source_id = s.source_id) "
            "AND NOT EXISTS (SELECT FROM archive.observation o WHERE o.source_id = s.source_id)"
        ).format(staged),
        files,
    )
    return cursor.rowcount


def refresh_catalogue_flag(connection: psycopg.Connection[Any], release_id: int, flag: int) -> int:
    """Set or clear the flag NO_CATALOGUE_SOURCE where a catalogue has since brought, or lost, an observation's source.

    A source belongs to the file that brought it last; a catalogue loaded after the images takes over its own.

    Returns
    -------
    int
        Observations changed.
    """
    cursor = connection.execute(
        "UPDATE archive.observation o SET flag = o.flag # %(flag)s, modified_at = now() "
        "FROM archive.source s LEFT JOIN archive.data_file f USING (data_file_id) "
        "WHERE o.release_id = %(release)s AND s.source_id = o.source_id AND (o.flag & %(flag)s <> 0) IS DISTINCT FROM "
        "(f.format IS NOT NULL AND f.format = ANY(%(formats)s))",
        {"flag": flag, "release": release_id, "formats": list(OBSERVATION_FORMATS)},
    )
    return cursor.rowcount
