"""Coverage of a release: its cells on the sky, summed up or written as a MOC."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galbase.schema.errors import UsageError
from galbase.sql.column_values import by_column
from galbase.sql.moc import Moc, write_moc_fits
from galbase.sql.output_file import complete_file
from galbase.sql.query import ReleaseCredit, run_query

if TYPE_CHECKING:
    import psycopg

SUFFIXES = (".fits", ".txt", ".ascii", ".json")
_STATEMENT = "SELECT * FROM api.coverage({}, {})"


@dataclass(frozen=True)
class Coverage:
    """Where a release has sources.

    Parameters
    ----------
    moc : Moc
    n_source : int
        Sources of the release.
    credit : ReleaseCredit
        Licence and citation of the release.
    statement : str
        SQL that found the cells.
    """

    moc: Moc
    n_source: int
    credit: ReleaseCredit
    statement: str

    def summary(self) -> dict[str, Any]:
        """Cells, area [deg2], sky fraction, licence and citation, for a report."""
        return {
            "release": self.credit.release,
            "order": self.moc.order,
            "sources": self.n_source,
            "cells": self.moc.n_cell,
            "ranges": len(self.moc.ranges),
            "area_deg2": self.moc.area_deg2,
            "sky_fraction": self.moc.sky_fraction,
            "licence": self.credit.licence or "not stated",
            "citation": self.credit.citation or "not stated",
        }


def read_coverage(connection: psycopg.Connection, release: str, order: int) -> Coverage:
    """Read the cells that hold a source of a release.

    Parameters
    ----------
    connection : psycopg.Connection
        The reader's, not in a transaction.
    release : str
    order : int
        HEALPix order of the cells, 0 to 29.

    Raises
    ------
    GalbaseError
        If there is no such release or order, or the server cancels.
    """
    from psycopg import sql

    statement = sql.SQL(_STATEMENT).format(sql.Literal(release), sql.Literal(order)).as_string(connection)
    result = run_query(connection, statement, release=release)
    start, stop, n_source = by_column(result.batches, 3)
    ranges = np.array([start, stop], dtype=np.int64).T
    return Coverage(Moc(order, ranges), sum(n_source), result.credits[0], statement)


def check_suffix(out: Path) -> str:
    """The ending of a file's name, in lower case.

    Raises
    ------
    UsageError
        If it names none of the forms of a MOC.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: the ending {out.suffix!r} names no form of a MOC; use {', '.join(SUFFIXES)}.")
    return suffix


def write_coverage(coverage: Coverage, out: Path) -> None:
    """Write the MOC as FITS (.fits), ASCII (.txt, .ascii) or JSON (.json); only FITS holds licence and citation.

    Raises
    ------
    GalbaseError
        If the name has another ending or the file cannot be written.
    """
    suffix = check_suffix(out)
    with complete_file(out) as part:
        if suffix == ".fits":
            write_moc_fits(coverage.moc, part, coverage.credit.release, (coverage.credit,), coverage.statement)
        else:
            text = coverage.moc.to_json() if suffix == ".json" else coverage.moc.to_ascii()
            part.write_text(text, encoding="ascii")
