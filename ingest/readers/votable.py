"""VOTable, the XML tables of Virtual Observatory services (VOTable 1.5, Ochsenbein et al.)."""

from __future__ import annotations

import warnings
from typing import Any, BinaryIO

import numpy as np

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.schema.errors import GalbaseError


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

    try:
        with warnings.catch_warnings():
            # Deviations from the standard's style are common and harmless; what cannot be read raises.
            warnings.simplefilter("ignore")
            document = votable.parse(stream, verify="ignore")
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
