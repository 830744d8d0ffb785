"""Manifests: CSV files that tell where images are on the sky."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from galbase.schema.errors import GalbaseError, UsageError

FILE = "file"
ID_COLUMNS = ("native_id", "id")
_MISSING = frozenset({"", "nan", "null", "none", "--", "n/a"})


@dataclass(frozen=True)
class ManifestRow:
    """What a manifest says of one file.

    Parameters
    ----------
    line : int
        Line in the manifest, from 1.
    file : str
        Name of the file as written.
    ra, dec : str
        Position, degrees, as written; empty where there is none.
    pixel_scale_arcsec : str
        As written; empty where there is none.
    native_id : str or None
        The survey's own id.
    """

    line: int
    file: str
    ra: str
    dec: str
    pixel_scale_arcsec: str
    native_id: str | None

    def position(self) -> tuple[float, float] | None:
        """(ra, dec) in degrees, or None if the row has no position.

        Raises
        ------
        GalbaseError
            If there is half a position, or one that is not on the sky.
        """
        if _is_missing(self.ra) and _is_missing(self.dec):
            return None
        ra, dec = self._number("ra", self.ra), self._number("dec", self.dec)
        if not (math.isfinite(ra) and -90 <= dec <= 90):
            raise GalbaseError(f"manifest line {self.line}: ra={self.ra}, dec={self.dec} is not on the sky.")
        return ra % 360.0, dec

    def pixel_scale(self) -> float | None:
        """Size of a pixel in arcsec, or None.

        Raises
        ------
        GalbaseError
            If it is no positive number.
        """
        if _is_missing(self.pixel_scale_arcsec):
            return None
        scale = self._number("pixel_scale_arcsec", self.pixel_scale_arcsec)
        if not 0 < scale < math.inf:
            raise GalbaseError(
                f"manifest line {self.line}: pixel_scale_arcsec={self.pixel_scale_arcsec} must be positive; correct it."
            )
        return scale

    def _number(self, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise GalbaseError(
                f"manifest line {self.line}: {name}={text!r} is no number; degrees and arcsec are expected."
            ) from error


class Manifest:
    """Rows of a manifest, found by file.

    Parameters
    ----------
    folder : Path
        Folder of the manifest; its file names are relative to this folder, or to the folder that is ingested.
    rows : iterable of ManifestRow
    """

    def __init__(self, folder: Path, rows: Iterable[ManifestRow]) -> None:
        self._folder = folder.absolute()
        self._rows: Mapping[str, ManifestRow] = {row.file: row for row in rows}
        self._used: set[str] = set()

    def find(self, path: Path, root: Path) -> ManifestRow | None:
        """The row of a file below `root`, or None."""
        absolute = path.absolute()
        for folder in (self._folder, root.absolute()):
            if absolute.is_relative_to(folder):
                name = absolute.relative_to(folder).as_posix()
                if name in self._rows:
                    self._used.add(name)
                    return self._rows[name]
        return None

    def unused(self) -> list[str]:
        """Names that no file asked for, in order."""
        return sorted(set(self._rows) - self._used)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest: a CSV file with column ``file`` and, where known, ``ra`` and ``dec`` (degrees, ICRS),
    ``pixel_scale_arcsec``, ``native_id`` or ``id``. Further columns are ignored; case does not matter.

    Raises
    ------
    UsageError
        If the file cannot be read as such a table, or names a file or an id twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            names = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
            if FILE not in names or not ({"ra", "dec"} <= set(names)):
                raise UsageError(
                    f"{path} needs the columns file, ra and dec; it has {', '.join(names) or 'none'}. Rename columns."
                )
            rows = [_row(reader.line_num, {key: record.get(name) for key, name in names.items()}) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the manifest {path} cannot be read: {error}.") from error
    nameless = [row.line for row in rows if not row.file]
    if nameless:
        raise UsageError(f"{path}: line {nameless[0]} names no file; fill it in or remove the line.")
    _refuse_repeated(path, [(row.line, row.file) for row in rows], "file")
    _refuse_repeated(path, [(row.line, row.native_id) for row in rows if row.native_id], "id")
    return Manifest(path.parent, rows)


def _row(line: int, record: Mapping[str, str | None]) -> ManifestRow:
    texts = {key: (value or "").strip() for key, value in record.items()}
    native = next((texts[name] for name in ID_COLUMNS if texts.get(name)), None)
    name = Path(texts[FILE]).as_posix() if texts[FILE] else ""
    return ManifestRow(line, name, texts["ra"], texts["dec"], texts.get("pixel_scale_arcsec", ""), native)


def _refuse_repeated(path: Path, named: list[tuple[int, str]], what: str) -> None:
    first: dict[str, int] = {}
    for line, name in named:
        if first.setdefault(name, line) != line:
            raise UsageError(f"{path}: lines {first[name]} and {line} name the same {what} {name!r}; keep one.")


def _is_missing(text: str) -> bool:
    return text.lower() in _MISSING
