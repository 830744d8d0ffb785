"""Origins of labels: the catalogue or method that gave them, and whether they are for evaluation only."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from galbase.schema.errors import GalbaseError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_TRUTH = re.compile(r"(^|[._+-])truth$")
# Labels of the MPA-JHU catalogue follow its rows.
CATALOGUE_ORIGIN = "mpa-jhu"


def check_origin(origin: str) -> None:
    """Refuse what is no name of an origin, or the name of one that comes with a catalogue.

    Raises
    ------
    UsageError
    """
    if not _NAME.fullmatch(origin):
        raise UsageError(f"--origin {origin!r} is no name: use 1 to 63 letters, digits and . _ + -")
    if origin == CATALOGUE_ORIGIN:
        raise UsageError(
            f"labels of {CATALOGUE_ORIGIN} come with their galSpec tables: `galbase ingest catalogue`. Choose "
            "another --origin."
        )


def is_truth(origin: str) -> bool:
    """Whether an origin's name says that its labels are for evaluation only."""
    return _TRUTH.search(origin) is not None


def register_origin(connection: psycopg.Connection[Any], origin: str, evaluation_only: bool, fitted: bool) -> None:
    """Record an origin at its first labels. The caller commits.

    Parameters
    ----------
    connection : psycopg.Connection
    origin : str
    evaluation_only : bool
    fitted : bool
        Whether its labels are fits of the archive's spectra, and not from files.

    Raises
    ------
    GalbaseError
        If labels of this origin are for evaluation only and these are not, or the other way round; or if its labels
        come from files and these are fits, or the other way round.
    """
    connection.execute(
        "INSERT INTO archive.label_origin (origin, evaluation_only) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (origin, evaluation_only),
    )
    row = connection.execute(
        "SELECT evaluation_only, CASE WHEN %(fitted)s "
        "THEN EXISTS (SELECT FROM archive.reference_value v WHERE v.origin = l.origin AND v.data_file_id IS NOT NULL) "
        "ELSE EXISTS (SELECT FROM archive.label_fit f WHERE f.origin = l.origin) END "
        "FROM archive.label_origin l WHERE origin = %(origin)s",
        {"origin": origin, "fitted": fitted},
    ).fetchone()
    if row is None:
        raise RuntimeError("an origin that was registered is not there")
    for_evaluation, of_other_kind = row
    if for_evaluation != evaluation_only:
        raise GalbaseError(
            f"labels of origin {origin!r} are {'for evaluation only' if for_evaluation else 'for selections'} in this "
            f"archive; {'give --evaluation-only' if for_evaluation else 'leave out --evaluation-only'}, or choose "
            "another --origin."
        )
    if of_other_kind:
        raise GalbaseError(
            f"labels of origin {origin!r} {'were loaded from files' if fitted else 'are fits of spectra'} in this "
            "archive; choose another --origin."
        )
