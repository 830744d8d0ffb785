"""Formats that results are written in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from galbase.schema.errors import UsageError


class OutputFormat(StrEnum):
    """How a result is written."""

    table = "table"
    csv = "csv"
    json = "json"
    fits = "fits"
    votable = "votable"
    parquet = "parquet"


_SUFFIXES = {
    ".csv": OutputFormat.csv, ".json": OutputFormat.json, ".fits": OutputFormat.fits, ".fit": OutputFormat.fits,
    ".vot": OutputFormat.votable, ".votable": OutputFormat.votable, ".xml": OutputFormat.votable,
    ".parquet": OutputFormat.parquet,
}  # fmt: skip


def choose_format(wanted: OutputFormat | None, out: Path | None) -> OutputFormat:
    """The format asked for, or the one that the file's name says; a table on the terminal without either.

    Raises
    ------
    UsageError
        If the name says nothing, or a binary format has no file.
    """
    if wanted is None:
        if out is None:
            return OutputFormat.table
        found = _SUFFIXES.get(out.suffix.lower())
        if found is None:
            raise UsageError(
                f"--out {out}: the ending {out.suffix!r} names no format; add --format, or end it in one of "
                f"{', '.join(_SUFFIXES)}."
            )
        return found
    if out is None and wanted in (OutputFormat.fits, OutputFormat.parquet):
        raise UsageError(f"--format {wanted} is binary and needs a file: add --out FILE.")
    return wanted
