"""Results as a VOTable."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from galbase.sql.column_values import by_column, masked_array, number_rows, text_of
from galbase.sql.query import Result

_DATATYPE = {
    "bool": "boolean", "int16": "short", "int32": "int", "int64": "long", "float32": "float", "float64": "double",
    "floats": "double", "integers": "long", "text": "unicodeChar", "texts": "unicodeChar",
}  # fmt: skip


def write_votable(result: Result, target: Path | BinaryIO) -> int:
    """Write all rows as VOTable 1.4 (TABLEDATA, so that NULL is an empty cell) and return their number.

    Units are VOUnits; licence, citation and the statement are INFO elements.
    """
    import numpy as np
    from astropy.io.votable import tree

    values = by_column(result.batches, len(result.columns))
    document = tree.VOTableFile(version="1.4")
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    for credit in result.credits:
        for name, value in (
            ("release", credit.release),
            ("licence", credit.licence or "not stated"),
            ("citation", credit.citation or "not stated"),
        ):
            resource.infos.append(tree.Info(name=name, value=value))
    resource.infos.append(tree.Info(name="QUERY", value=result.statement))
    table = tree.TableElement(document, name="result")
    resource.tables.append(table)
    for column in result.columns:
        is_variable = column.kind in ("text", "texts", "floats", "integers")
        made = tree.Field(
            document,
            name=column.name,
            datatype=_DATATYPE[column.kind],
            arraysize="*" if is_variable else None,
            unit=column.unit,
            ucd=column.ucd,
        )
        made.description = column.description
        table.fields.append(made)
    n_row = len(values[0])
    table.create_arrays(n_row)
    for field, column, read in zip(table.fields, result.columns, values, strict=True):
        # Through the data beneath the mask: a masked array refuses arrays as elements.
        cells = table.array.data[field.ID]
        if column.kind in ("floats", "integers"):
            for index, row in enumerate(number_rows(column, read)):
                cells[index] = np.ma.MaskedArray(row, mask=np.zeros(len(row), dtype=bool))
        elif column.kind in ("text", "texts"):
            for index, value in enumerate(read):
                cells[index] = text_of(value) or ""
        else:
            cells[:] = masked_array(column, read).data
        table.array.mask[field.ID] = np.fromiter((value is None for value in read), dtype=bool, count=n_row)
    document.to_xml(str(target) if isinstance(target, Path) else target)
    return n_row
