"""Which rows of a catalogue can be loaded, and why the others cannot: only a bad id or position rejects a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.catalogue import Ints, wrap_ra
from galbase.ingest.readers.detections import Detections
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import hpx29, valid_position
from galbase.schema.ids import NativeIds, native_digests, native_text, repeated

Floats = npt.NDArray[np.float64]
# A right ascension may be a turn off; what is farther off is a sentinel or a unit mistaken.
_RA_RANGE = (-360.0, 720.0)


@dataclass(frozen=True)
class Judged:
    """Rows that can be loaded.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Their indices in the file.
    native_ids : ndarray of bytes, shape (m,)
        UTF-8.
    digests : ndarray of uint64, shape (m,)
        See `galbase.schema.ids.native_digests`.
    ra, dec : ndarray of float64, shape (m,)
        Degrees; RA in [0, 360).
    hpx29 : ndarray of int64, shape (m,)
    source_ids : ndarray of int64, shape (m,), or None
        Detections that the rows refer to, where the file has no positions.
    rejected : list of (row index, native id, reason)
    """

    rows: npt.NDArray[np.intp]
    native_ids: NativeIds
    digests: npt.NDArray[np.uint64]
    ra: Floats
    dec: Floats
    hpx29: Ints
    source_ids: Ints | None
    rejected: list[tuple[int, str | None, str]]


def judge_rows(connection: psycopg.Connection[Any], release: Release, detections: Detections) -> Judged:
    """Tell the rows that can be loaded from those that cannot.

    Parameters
    ----------
    connection : psycopg.Connection
        Read where the file has no positions.
    release : Release
    detections : Detections

    Raises
    ------
    GalbaseError
        If the file has no positions and the release none of its detections.
    """
    digests = native_digests(release.release, detections.native_ids)
    good, rejected = _judge_ids(detections, digests)
    if detections.ra is None or detections.dec is None:
        return _judge_references(connection, release, detections, digests, good, rejected)
    ra, dec = detections.ra, detections.dec
    on_sky = valid_position(ra, dec) & (ra >= _RA_RANGE[0]) & (ra <= _RA_RANGE[1])
    for row in np.flatnonzero(good & ~on_sky):
        native = native_text(detections.native_ids[row])
        rejected.append((int(row), native, _bad_position(ra[row], dec[row])))
    rows = np.flatnonzero(good & on_sky)
    wrapped = wrap_ra(ra[rows])
    return Judged(
        rows=rows,
        native_ids=detections.native_ids[rows],
        digests=digests[rows],
        ra=wrapped,
        dec=dec[rows],
        hpx29=hpx29(wrapped, dec[rows]) if rows.size else np.empty(0, np.int64),
        source_ids=None,
        rejected=sorted(rejected),
    )


def _bad_position(ra: float, dec: float) -> str:
    if np.isnan(ra) or np.isnan(dec):
        return "no position: ra or dec is missing"
    return f"position ra={ra:.10g}, dec={dec:.10g} is not on the sky"


def _judge_ids(
    detections: Detections, digests: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.bool_], list[tuple[int, str | None, str]]]:
    """Rows with an id of their own: of several rows with one id the first is kept."""
    natives = detections.native_ids
    good = natives != b""
    rejected: list[tuple[int, str | None, str]] = [(row, None, "no valid id") for row in np.flatnonzero(~good).tolist()]
    seen: dict[bytes, int] = {}
    for row in np.flatnonzero(good & repeated(digests)).tolist():
        first = seen.setdefault(natives[row], row)
        if first != row:
            good[row] = False
            native = native_text(natives[row])
            rejected.append((row, native, f"the id {native} is that of row {first}"))
    return good, rejected


def _judge_references(
    connection: psycopg.Connection[Any],
    release: Release,
    detections: Detections,
    digests: npt.NDArray[np.uint64],
    good: npt.NDArray[np.bool_],
    rejected: list[tuple[int, str | None, str]],
) -> Judged:
    """Rows without positions go to detections that another file brought."""
    texts = [native_text(native) for native in detections.native_ids.tolist()]
    wanted = [native for native in texts if native is not None]
    found = {
        native: (source_id, ra, dec, pixel)
        for native, source_id, ra, dec, pixel in connection.execute(
            "SELECT native_id, source_id, ra, dec, hpx29 FROM archive.source "
            "WHERE release_id = %s AND native_id = ANY(%s)",
            (release.release_id, wanted),
        )
    }
    if wanted and not found:
        raise GalbaseError(
            f"the file has no positions and release {release.release} none of its {len(wanted)} detections: load the "
            "table with ra and dec (galSpecInfo) into this release first."
        )
    rows = []
    for row in np.flatnonzero(good):
        native = texts[row]
        if native in found:
            rows.append(int(row))
        else:
            rejected.append((int(row), native, "no position: the release has no detection with this id"))
    matched = [found[str(texts[row])] for row in rows]
    return Judged(
        rows=np.array(rows, np.intp),
        native_ids=detections.native_ids[np.array(rows, np.intp)],
        digests=digests[np.array(rows, np.intp)],
        ra=np.array([item[1] for item in matched], np.float64),
        dec=np.array([item[2] for item in matched], np.float64),
        hpx29=np.array([item[3] for item in matched], np.int64),
        source_ids=np.array([item[0] for item in matched], np.int64),
        rejected=sorted(rejected),
    )
