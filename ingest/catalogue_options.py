"""How a catalogue file is read: which columns, and by which reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galbase.ingest.readers.detections import Detections
from galbase.ingest.readers.galspec import is_galspec, read_galspec
from galbase.ingest.readers.generic import read_generic
from galbase.ingest.readers.legacysurvey import is_legacysurvey, read_legacysurvey
from galbase.ingest.readers.sentinels import check_sentinels
from galbase.ingest.readers.table import read_table
from galbase.schema.errors import GalbaseError, UsageError

# Raised by hand when a reader makes other rows of the same bytes.
READER_VERSION = 1
SUFFIXES = (".fits", ".fit", ".fts", ".vot", ".votable", ".xml", ".parquet", ".pq", ".csv", ".tsv", ".ecsv")


@dataclass(frozen=True)
class CatalogueOptions:
    """How a catalogue is read; see `galbase ingest catalogue --help`."""

    ra: str | None = None
    dec: str | None = None
    id_column: str | None = None
    angle_unit: str | None = None
    null_values: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse options that make no sense."""
        if self.angle_unit not in (None, "deg", "rad"):
            raise UsageError(f"--angle-unit {self.angle_unit!r} is not known; use deg or rad.")
        if (self.ra is None) != (self.dec is None):
            raise UsageError("give both --ra and --dec, or neither.")
        check_sentinels(self.null_values)

    @property
    def names_columns(self) -> bool:
        """Whether a column or its unit is given."""
        return any(value is not None for value in (self.ra, self.dec, self.id_column, self.angle_unit))


def read_detections(path: Path, options: CatalogueOptions) -> Detections:
    """Read a file by the reader that its columns call for.

    Raises
    ------
    GalbaseError
        If the file is not sound, or options name columns of a survey file whose columns are known.
    """
    table = read_table(path)
    for is_of_survey, read, what in (
        (is_legacysurvey, read_legacysurvey, "a Legacy Survey catalogue"),
        (is_galspec, read_galspec, "an MPA-JHU galSpec table"),
    ):
        if is_of_survey(table):
            if options.names_columns:
                raise GalbaseError(
                    f"{path.name} is {what}, whose id and position columns are known: leave out --ra, --dec, --id "
                    "and --angle-unit."
                )
            return read(table, path.name, options.null_values)
    return read_generic(
        table,
        path.name,
        ra=options.ra,
        dec=options.dec,
        id_column=options.id_column,
        angle_unit=options.angle_unit,
        sentinels=options.null_values,
    )


def is_catalogue_name(path: Path) -> bool:
    """Whether a file of a folder is a catalogue by its name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".bz2"):
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES
