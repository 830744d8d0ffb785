"""Where the image or the spectrum of a source is stored, and what its release asks of users."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from galbase.schema.errors import GalbaseError


@dataclass(frozen=True)
class StoredObservation:
    """An image or a spectrum, its file, its release, and the source it was asked for.

    Parameters
    ----------
    asked_id : int
        Source that was asked for; `source_id` is the detection that the observation belongs to.
    bands, pixel_scale_arcsec, is_display
        Of an image.
    z : float or None
        Redshift of a spectrum.
    wave_min_angstrom : float or None
        Least wavelength of a spectrum, vacuum.
    """

    asked_id: int
    observation_id: int
    source_id: int
    native_id: str
    ra: float
    dec: float
    release: str
    survey: str
    url: str | None
    licence: str | None
    citation: str | None
    simulated: bool
    file: Path
    format: str
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool
    z: float | None
    wave_min_angstrom: float | None = None

    def terms(self) -> dict[str, str]:
        """Source, release, licence and citation as texts, for headers and notes."""
        return {
            "source_id": str(self.source_id),
            "native_id": self.native_id,
            "release": f"{self.release} ({self.survey}{', simulated' if self.simulated else ''})",
            "licence": self.licence or "not stated",
            "citation": self.citation or "not stated",
            "url": self.url or "not stated",
        }


# An observation of the detection itself goes first, then one of another detection of the same galaxy, by priority of
# the releases; fluxes go before display colours.
_FIND = """
WITH asked AS (
    SELECT coalesce((SELECT a.source_id FROM archive.source_alias a WHERE a.old_source_id = %(id)s), %(id)s)
        AS source_id
), candidate AS (
    SELECT source_id, 0 AS distance FROM asked
    UNION ALL
    SELECT other.source_id, 1 FROM asked JOIN archive.galaxy_member own USING (source_id)
    JOIN archive.galaxy_member other ON other.galaxy_id = own.galaxy_id AND other.source_id <> own.source_id
)
SELECT o.observation_id, s.source_id, s.native_id, s.ra, s.dec, r.release, r.survey, r.url, r.licence, r.citation,
    r.simulated, d.path AS root, f.path, f.format, f.size_bytes, f.mtime, o.row_index, i.bands, i.pixel_scale_arcsec,
    i.is_display, p.z, p.wave_min_angstrom
FROM candidate c
JOIN archive.source s USING (source_id)
JOIN archive.observation o USING (source_id)
JOIN archive.data_release r ON r.release_id = o.release_id
JOIN archive.data_file f ON f.data_file_id = o.data_file_id
JOIN archive.data_root d USING (data_root_id)
LEFT JOIN archive.image i USING (observation_id)
LEFT JOIN archive.spectrum p USING (observation_id)
WHERE o.kind = %(kind)s
ORDER BY c.distance, i.is_display, r.priority, r.release_id, o.observation_id
LIMIT 1
"""


def find_observation(connection: psycopg.Connection[Any], source_id: int, kind: str) -> StoredObservation:
    """The image or spectrum of a source, or of another detection of the same galaxy.

    Parameters
    ----------
    connection : psycopg.Connection
    source_id : int
        A source's id, also one it had before its position was corrected.
    kind : {'image', 'spectrum'}

    Raises
    ------
    GalbaseError
        If there is no such source, it has no such observation, or the file is gone or was changed.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_FIND, {"id": source_id, "kind": kind}).fetchone()
        if row is None:
            known = cursor.execute(
                "SELECT FROM archive.source WHERE source_id = %(id)s UNION ALL "
                "SELECT FROM archive.source_alias WHERE old_source_id = %(id)s",
                {"id": source_id},
            ).fetchone()
    if row is None:
        if known is None:
            raise GalbaseError(f"there is no source {source_id}; find one with galbase cone RA DEC RADIUS.")
        raise GalbaseError(
            f"source {source_id} has no {kind}, nor has another detection of its galaxy; load one with galbase ingest."
        )
    file = Path(row.pop("root")) / row.pop("path")
    refuse_changed(file, row.pop("size_bytes"), row.pop("mtime"))
    row["bands"] = tuple(row["bands"] or ())
    row["is_display"] = bool(row["is_display"])
    return StoredObservation(asked_id=source_id, file=file, **row)


def check_output(out: Path, suffixes: tuple[str, ...]) -> str:
    """The suffix of a file to write, lower case.

    Raises
    ------
    GalbaseError
        If it is none of `suffixes`, or the folder does not exist.
    """
    suffix = out.suffix.lower()
    if suffix not in suffixes:
        raise GalbaseError(f"{out} cannot be written: its name must end in {', '.join(suffixes)}.")
    if not out.absolute().parent.is_dir():
        raise GalbaseError(f"{out} cannot be written: make the folder {out.parent} first.")
    return suffix


def ascii_text(text: str) -> str:
    """Text in ASCII, as FITS headers need: accents are dropped, other characters become question marks."""
    letters = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return " ".join(letters.encode("ascii", "replace").decode().split())


def refuse_changed(file: Path, size_bytes: int, mtime: datetime) -> None:
    """Refuse a file that is not what was ingested.

    Raises
    ------
    GalbaseError
        If it is gone, or its size or time of change differ.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise GalbaseError(f"{file} cannot be read: {error.strerror}. Put it back or ingest it again.") from error
    if (status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) != (size_bytes, mtime):
        raise GalbaseError(f"{file} was changed since it was ingested; ingest it again.")
