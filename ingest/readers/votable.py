"""VOTable, the XML tables of Virtual Observatory services (VOTable 1.5, Ochsenbein et al.)."""

from __future__ import annotations

import re
import warnings
from typing import Any, BinaryIO

import numpy as np

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.schema.errors import GalbaseError

_HEAD_BYTES = 4 * 2**20
_DATA = re.compile(rb"<(?:\w+:)?DATA\b")
_ELSEWHERE = re.compile(rb"<(?:\w+:)?(?:STREAM|FITS)\b[^>]{0,150}\bhref\s*=", re.DOTALL)
_N_ROW = re.compile(rb"<(?:\w+:)?TABLE\b[^>]*\bnrows\s*=\s*[\"'](\d+)")
_ARRAY = re.compile(rb"\barraysize\s*=\s*[\"']([\dx]+)")
_INVALID = re.compile(r"W30: Invalid literal for float '(.*)'")
_NULL_WORDS = frozenset({"", "-", "--", "n/a", "na", "null", "none", "nan"})


def read_votable(stream: BinaryIO, name: str) -> TableFile:
    """Read the first table of a VOTable file, with units, UCDs and descriptions.

    Parameters
    ----------
    stream : binary file
        The unpacked file.
    name : str
        Its name, for messages.

    Raises
    ------
    GalbaseError
        If it is not a sound VOTable, or a service's error message.
    """
    from astropy.io import votable

    refuse_traps(stream, name)
    try:
        with warnings.catch_warnings(record=True) as collected:
            # Deviations from the standard's style are common and harmless; what cannot be read raises.
            warnings.simplefilter("always")
            document = votable.parse(stream, verify="warn")
            _refuse_changed_values(collected, name)
            _refuse_errors(document, name)
            table = document.get_first_table()
            columns = {str(field.name): _column(table, field) for field in table.fields}
    except GalbaseError:
        raise
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GalbaseError(f"{name} is not a sound VOTable: {text}. Fetch it again.") from error
    if len(columns) != len(table.fields):
        raise GalbaseError(f"{name}: two fields of the VOTable have the same name; rename one.")
    return TableFile("votable", columns, len(table.array))


def refuse_traps(stream: BinaryIO, name: str) -> None:
    """Refuse what takes memory or reads files before a fault could show, from the text before the first row.

    XML entities that stand for others, or for files; data in another file; sizes of arrays and numbers of rows that are
    larger than the file could hold.
    """
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if b"<!ENTITY" in head[: head.find(b"<VOTABLE")]:
        raise GalbaseError(f"{name} defines XML entities, which no VOTable needs; fetch it from a service you trust.")
    if len(head) == _HEAD_BYTES and _DATA.search(head) is None:
        raise GalbaseError(
            f"{name} is nested or described over more than {_HEAD_BYTES >> 20} MiB before its first row."
        )
    body = head
    while body:
        if _ELSEWHERE.search(body):
            raise GalbaseError(f"{name} has its data in other files (STREAM with href); fetch them as one VOTable.")
        further = stream.read(_HEAD_BYTES)
        body = body[-200:] + further if further else b""
    stream.seek(0)
    for pattern, what in ((_N_ROW, "nrows"), (_ARRAY, "arraysize")):
        for match in pattern.finditer(head):
            promised = 1
            for number in re.findall(rb"\d+", match[1]):
                promised *= int(number)
            if promised > size:
                raise GalbaseError(f"{name}: {what}={match[1].decode()} is more than its {size:,} bytes can hold.")


def _refuse_changed_values(collected: list[warnings.WarningMessage], name: str) -> None:
    """Refuse values that astropy puts others in the place of: an integer out of range, or text for a number."""
    for warning in collected:
        text = " ".join(str(warning.message).split())
        invalid = _INVALID.search(text)
        if "W51" in text or (invalid is not None and invalid[1].strip().lower() not in _NULL_WORDS):
            raise GalbaseError(
                f"{name} is not a sound VOTable: {text.rstrip('.')}. Declare the column as text (char), or correct it."
            )


def _refuse_errors(document: Any, name: str) -> None:
    for resource in document.resources:
        for info in resource.infos:
            if info.name == "QUERY_STATUS" and str(info.value).upper() in ("ERROR", "OVERFLOW"):
                raise GalbaseError(
                    f"{name}: the service that made this VOTable says {info.value}: "
                    f"{info.content or 'no reason given'}. The table is not complete; query again."
                )


def _column(table: Any, field: Any) -> FileColumn:
    data = table.array[field.ID]
    values = np.ma.getdata(data)
    if values.dtype.kind == "c":
        raise GalbaseError(f"column {field.name} holds complex numbers, which have no type in SQL; split it in two.")
    found = np.ma.getmaskarray(data)
    mask = found if found.dtype.kind == "b" and found.shape == values.shape and found.any() else None
    return FileColumn(
        name=str(field.name),
        values=np.array(values, values.dtype.newbyteorder("=")) if values.dtype.kind != "O" else values,
        mask=mask,
        unit=str(field.unit).strip() or None if field.unit is not None else None,
        ucd=field.ucd or None,
        description=" ".join(str(field.description).split()) or None if field.description else None,
    )
