"""Labels of a table: columns that are named as properties, with their errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.sentinels import clean
from galbase.ingest.units import vounit
from galbase.schema.errors import GalbaseError
from galbase.schema.properties import PROPERTIES

# Columns beside a label, by what they are appended to its name as.
COMPANIONS = ("err", "q16", "q84")
# No property is that far from zero in dex, but values that mean missing are, such as -9999.
LARGEST_DEX = 1000.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelColumn:
    """A label of each row.

    Parameters
    ----------
    property : str
        Name of the property.
    column : str
        Column it comes from.
    value, err, q16, q84 : (n,) ndarray of float64
        In the property's unit; NaN where missing.
    """

    property: str
    column: str
    value: Floats
    err: Floats
    q16: Floats
    q84: Floats


@dataclass(frozen=True)
class LabelTable:
    """Labels of a table.

    Parameters
    ----------
    labels : tuple of LabelColumn
    n_row : int
    nulls : Counter
        Values that count as missing, by cause.
    """

    labels: tuple[LabelColumn, ...]
    n_row: int
    nulls: Counter[str]


def has_labels(table: TableFile) -> bool:
    """Whether a column is named as a property."""
    return bool({prop.name for prop in PROPERTIES} & set(table.lower()))


def read_labels(
    table: TableFile, name: str, *, columns: Mapping[str, str] | None = None, sentinels: Sequence[str] = ()
) -> LabelTable:
    """Labels of a table, one column a property, with one sigma and quantiles where there are such columns.

    Parameters
    ----------
    table : TableFile
    name : str
        Name of the file, for messages.
    columns : mapping of str to str, optional
        Column of a property that is named otherwise; columns named as properties are read in any case.
    sentinels : sequence of str
        Values that mean missing.

    Raises
    ------
    GalbaseError
        If no column holds a label, a named one is missing, or one is not real numbers or of another unit than its
        property.
    """
    lower = table.lower()
    wanted = {prop.name: lower[prop.name] for prop in PROPERTIES if prop.name in lower}
    for prop, named in (columns or {}).items():
        if prop not in _BASE:
            raise GalbaseError(f"there is no property {prop!r}; the properties are {', '.join(_BASE)}.")
        found = table.columns.get(named) or lower.get(named.lower())
        if found is None:
            raise GalbaseError(f"{name} has no column {named!r}; the columns are {', '.join(table.columns)}.")
        wanted[prop] = found
    if not wanted:
        raise GalbaseError(
            f"{name} has no column that is named as a property ({', '.join(_BASE)}); name one with "
            f"--column PROPERTY=COLUMN. The columns are {', '.join(table.columns)}."
        )
    nulls: Counter[str] = Counter()
    labels = []
    for prop, column in wanted.items():
        _check_unit(prop, column, name)
        beside = [lower.get(f"{column.name.lower()}_{part}") for part in COMPANIONS]
        for companion in beside:
            if companion is not None:
                _check_unit(prop, companion, name)
        value, *others = (
            np.full(table.n_row, np.nan) if each is None else _values(each, name, sentinels, nulls)
            for each in (column, *beside)
        )
        negative = others[0] < 0
        if negative.any():
            nulls["negative error"] += int(negative.sum())
            others[0] = np.where(negative, np.nan, others[0])
        labels.append(LabelColumn(prop, column.name, value, *others))
    return LabelTable(tuple(labels), table.n_row, nulls)


def _base_unit(description: str) -> str | None:
    found = re.search(r"\[([^\]]+)\]$", description)
    return found[1] if found else None


_UNIT = {prop.name: prop.unit for prop in PROPERTIES}
# How files write that a column has none.
_NO_UNIT = ("", "-", "---")
# Unit of the quantity whose logarithm a property is; None for a ratio.
_BASE = {prop.name: _base_unit(prop.description) for prop in PROPERTIES}


def _check_unit(prop: str, column: FileColumn, name: str) -> None:
    """Refuse a column whose unit says that it is not what the property is, mostly a logarithm."""
    from astropy import units

    text = (column.unit or "").strip()
    unit = _UNIT[prop]
    if unit != "'dex'":
        if text not in _NO_UNIT and vounit(text) != unit:
            raise GalbaseError(
                f"{name}: column {column.name!r} is in {text!r}, but property {prop} is in {unit or 'no unit'}; "
                "convert the column, or leave it out of the file."
            )
        return
    # `dex`, no unit, and the logarithm of the property's unit in the notations of astropy and the CDS.
    if text.strip("'") in (*_NO_UNIT, "dex"):
        return
    base = _BASE[prop]
    inner = re.fullmatch(r"(?:dex|log|log10)\s*\((.+)\)|\[(.+)\]", text)
    if inner and base is not None:
        written = vounit(inner[1] or inner[2])
        if written is not None and not written.startswith("'"):
            factor = units.Unit(written, format="vounit") / units.Unit(base)
            if factor.is_unity():
                return
    wanted = "dex" if base is None else f"dex, of a quantity in {base}"
    raise GalbaseError(
        f"{name}: column {column.name!r} is in {text!r}, but property {prop} is in {wanted}; convert the column, or "
        "leave it out of the file."
    )


def _values(column: FileColumn, name: str, sentinels: Sequence[str], nulls: Counter[str]) -> Floats:
    if column.kind not in ("float", "integer") or column.is_array:
        raise GalbaseError(f"{name}: column {column.name!r} is not one real number a row, as a label must be.")
    cleaned = clean(column, sentinels)
    nulls.update(cleaned.nulls)
    return np.ma.filled(np.ma.asarray(cleaned.values, dtype=np.float64), np.nan)
