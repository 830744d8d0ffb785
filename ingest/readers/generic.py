"""Any catalogue with an id and a position: which columns these are, by option, UCD or name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.detections import Detections, position
from galbase.ingest.readers.named_error import names_file
from galbase.ingest.readers.sentinels import clean
from galbase.schema.errors import GalbaseError
from galbase.schema.ids import NativeIds, as_native_ids

# In order of preference. J2000 is taken for ICRS, which differs from it by 0.02 arcsec.
POSITION_NAMES = (
    ("ra", "dec"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("_raj2000", "_dej2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_j2000", "de_j2000"),
    ("alpha_j2000", "delta_j2000"),
    ("alphawin_j2000", "deltawin_j2000"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("ra_deg", "dec_deg"),
    ("radeg", "de_deg"),
    ("ra2000", "dec2000"),
    ("target_ra", "target_dec"),
    ("plug_ra", "plug_dec"),
    ("plugra", "plugdec"),
    ("ra_mean", "dec_mean"),
    ("ramean", "decmean"),
    ("objra", "objdec"),
    ("ifura", "ifudec"),
    ("right_ascension", "declination"),
    ("lon", "lat"),
)
ID_NAMES = (
    "source_id",
    "objid",
    "specobjid",
    "targetid",
    "object_id",
    "objectid",
    "designation",
    "name",
    "id",
    "main_id",
    "sga_id",
    "mangaid",
    "iauname",
)
_ID_PATTERN = re.compile(r"(^|_)id($|_)|^id|id$|^name|name$|^recno$")
_RADIANS = ("rad", "radian", "radians")
_DEGREES = ("deg", "degree", "degrees", "°", "")
_LOOKS_RADIAN_ROWS = 20


@names_file
def read_generic(
    file: TableFile,
    name: str,
    *,
    ra: str | None = None,
    dec: str | None = None,
    id_column: str | None = None,
    angle_unit: str | None = None,
    sentinels: Sequence[str] = (),
) -> Detections:
    """Detections of a catalogue of any survey.

    Parameters
    ----------
    file : TableFile
    name : str
        Name of the file, for messages.
    ra, dec, id_column : str, optional
        Names of the columns; guessed from UCDs and names when None.
    angle_unit : {'deg', 'rad'}, optional
        Unit of the position; what the file says, or degrees, when None.
    sentinels : sequence of str
        Values that mean missing.

    Raises
    ------
    GalbaseError
        If no column, or more than one, can be the position or the id; the message lists the columns.
    """
    places = read_positions(file, name, ra=ra, dec=dec, angle_unit=angle_unit)
    key = find_id(file, name, id_column)
    nulls: Counter[str] = Counter()
    non_finite = np.zeros(file.n_row, np.bool_)
    columns = []
    for column in file.columns.values():
        is_position = column.name in places.columns
        # A coordinate in degrees is what `ra` and `dec` hold already.
        if is_position and not places.in_radians:
            continue
        cleaned = clean(column, sentinels)
        columns.append((replace(column, unit="rad") if is_position else column, cleaned))
        if not is_position:
            nulls.update(cleaned.nulls)
            if cleaned.infinite_rows is not None:
                non_finite |= cleaned.infinite_rows
    return Detections(
        format=file.format,
        n_row=file.n_row,
        native_ids=ids_of(key),
        ra=places.ra,
        dec=places.dec,
        table=None,
        columns={},
        extra=tuple(columns),
        nulls=nulls,
        non_finite=non_finite,
        notes=places.notes,
    )


@dataclass(frozen=True)
class Positions:
    """Positions of a file's rows.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        ICRS, degrees, NaN where unknown.
    columns : tuple of str
        Columns that hold them.
    in_radians : bool
        Whether these are radians.
    notes : tuple of str
        What the user should know.
    """

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    columns: tuple[str, str]
    in_radians: bool
    notes: tuple[str, ...]


@names_file
def read_positions(
    file: TableFile, name: str, *, ra: str | None = None, dec: str | None = None, angle_unit: str | None = None
) -> Positions:
    """Positions of a table's rows; parameters and errors as in `read_generic`."""
    ra_column, dec_column = _find_position(file, name, ra, dec)
    in_radians = _in_radians(ra_column, dec_column, angle_unit)
    names = {ra_column.name: ra_column, dec_column.name: dec_column}
    ra_deg, dec_deg = position(names, ra_column.name), position(names, dec_column.name)
    notes: tuple[str, ...] = ()
    if in_radians:
        ra_deg, dec_deg = np.degrees(ra_deg), np.degrees(dec_deg)
    elif angle_unit is None and _looks_radian(ra_deg, dec_deg):
        notes = (f"{name}: all positions lie within 2 pi and pi/2; if they are radians, give --angle-unit rad.",)
    return Positions(ra_deg, dec_deg, (ra_column.name, dec_column.name), in_radians, notes)


def ids_of(column: FileColumn) -> NativeIds:
    """Ids as UTF-8, empty where missing or blank."""
    values = column.values
    if values.dtype.kind == "O":
        values = np.array(["" if value is None else str(value) for value in values], np.str_)
    found = np.strings.strip(as_native_ids(values))
    if column.mask is not None:
        found = np.where(column.mask, b"", found)
    return np.asarray(found, np.bytes_)


def _find_position(file: TableFile, name: str, ra: str | None, dec: str | None) -> tuple[FileColumn, FileColumn]:
    if ra is not None or dec is not None:
        if ra is None or dec is None:
            raise GalbaseError("give both --ra and --dec, or neither.")
        return _named(file, name, ra, "--ra"), _named(file, name, dec, "--dec")
    for suffix in (";meta.main", ""):
        by_ucd = [
            [column for column in file.columns.values() if (column.ucd or "").lower() == f"pos.eq.{axis}{suffix}"]
            for axis in ("ra", "dec")
        ]
        if all(len(columns) == 1 for columns in by_ucd):
            return by_ucd[0][0], by_ucd[1][0]
    lower = file.lower()
    for pair in POSITION_NAMES:
        if pair[0] in lower and pair[1] in lower:
            return lower[pair[0]], lower[pair[1]]
    raise GalbaseError(
        f"{name}: no columns for the position; name them with --ra and --dec. The columns are: {_listed(file)}."
    )


def find_id(file: TableFile, name: str, id_column: str | None = None) -> FileColumn:
    """The column of ids: as named, or the first of unique values by UCD and name; parameters as in `read_generic`."""
    if id_column is not None:
        column = _named(file, name, id_column, "--id")
        if column.is_array or column.kind not in ("integer", "text"):
            raise GalbaseError(f"{name}: --id {id_column} holds {column.values.dtype}; an id is integer or text.")
        return column
    lower = {key: column for key, column in file.lower().items() if not column.is_array}
    by_ucd = [column for column in lower.values() if (column.ucd or "").lower() == "meta.id;meta.main"]
    preferred = [lower[key] for key in ID_NAMES if key in lower]
    others = [column for key, column in lower.items() if key not in ID_NAMES and _ID_PATTERN.search(key)]
    repeated = []
    for column in (*by_ucd, *preferred, *others):
        if column.kind not in ("integer", "text"):
            continue
        found = ids_of(column)
        n_distinct = _n_distinct(column, found)
        if n_distinct == len(found):
            return column
        repeated.append(f"{column.name} ({len(found) - n_distinct} of {len(found)} repeated or missing)")
    hint = f" Not unique: {', '.join(repeated)}." if repeated else ""
    raise GalbaseError(
        f"{name}: no column whose values can be the ids; name one with --id.{hint} The columns are: {_listed(file)}."
    )


def _n_distinct(column: FileColumn, found: NativeIds) -> int:
    if column.kind == "integer" and column.mask is None:
        # Ten times faster than a set, and without its memory.
        ordered = np.sort(column.values)
        return int((ordered[1:] != ordered[:-1]).sum()) + bool(len(ordered))
    return len(set(found[found != b""].tolist()))


def _named(file: TableFile, name: str, wanted: str, option: str) -> FileColumn:
    column = file.columns.get(wanted) or file.lower().get(wanted.lower())
    if column is None:
        raise GalbaseError(f"{name} has no column {wanted!r} ({option}). The columns are: {_listed(file)}.")
    return column


def _listed(file: TableFile) -> str:
    return ", ".join(file.columns)


def _in_radians(ra: FileColumn, dec: FileColumn, angle_unit: str | None) -> bool:
    if angle_unit is not None:
        return angle_unit == "rad"
    units = {(column.unit or "").strip().lower() for column in (ra, dec)}
    if units <= set(_RADIANS):
        return True
    strange = sorted(units - set(_DEGREES))
    if strange:
        raise GalbaseError(
            f"columns {ra.name!r} and {dec.name!r} are in {strange[0]!r}; positions must be in degrees or radians "
            "(--angle-unit overrides the file)."
        )
    return False


def _looks_radian(ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]) -> bool:
    known = np.isfinite(ra) & np.isfinite(dec)
    if known.sum() < _LOOKS_RADIAN_ROWS:
        return False
    # A patch of sky near the origin is small; radians fill the whole range.
    return bool(
        (np.abs(ra[known]) <= 2 * np.pi).all() and (np.abs(dec[known]) <= np.pi / 2).all() and np.ptp(ra[known]) > 1.0
    )
