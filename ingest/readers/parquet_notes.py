"""Units, UCDs and descriptions that a Parquet file keeps of its columns, in the forms that are in use.

Metadata of a field with keys ``unit``, ``ucd`` and ``description``; astropy's table in YAML (key ``table_meta_yaml``,
written by ``Table.write(format="parquet")``); a VOTable without rows (key ``IVOA.VOTable-Parquet.content``, VOParquet
convention 1.0, which LSDB's and astropy's ``parquet.votable`` write).
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

from galbase.schema.errors import GalbaseError

_ASTROPY = b"table_meta_yaml"
_VOTABLE = b"IVOA.VOTable-Parquet.content"


@dataclass(frozen=True)
class Notes:
    """Unit, UCD and description of a column as written; None where there is none."""

    unit: str | None = None
    ucd: str | None = None
    description: str | None = None


def column_notes(schema: Any, name: str) -> dict[str, Notes]:
    """Notes of the columns of an Arrow schema; what stands at a field itself goes first.

    Raises
    ------
    GalbaseError
        If the file's description of its columns cannot be read.
    """
    described: dict[str, Notes] = {}
    metadata = schema.metadata or {}
    try:
        if _VOTABLE in metadata:
            described = _of_votable(metadata[_VOTABLE], name)
        elif _ASTROPY in metadata:
            described = _of_astropy(metadata[_ASTROPY])
    except GalbaseError:
        raise
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GalbaseError(f"{name}: its description of the columns is damaged: {text}. Fetch it again.") from error
    found = {}
    for field in schema:
        own = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        other = described.get(field.name, Notes())
        found[field.name] = Notes(
            own.get("unit") or other.unit, own.get("ucd") or other.ucd, own.get("description") or other.description
        )
    return found


def mask_columns(schema: Any) -> dict[str, str]:
    """Columns of booleans in which astropy keeps what is masked in others: name of the other to name of the mask."""
    content = (schema.metadata or {}).get(_ASTROPY)
    if content is None:
        return {}
    serialized = (_astropy_header(content).get("meta") or {}).get("__serialized_columns__", {})
    found = {}
    for column in serialized.values():
        data, mask = column.get("data"), column.get("mask")
        if isinstance(data, dict) and isinstance(mask, dict):
            found[str(data["name"])] = str(mask["name"])
    return found


def _astropy_header(content: bytes) -> Any:
    from astropy.table.meta import get_header_from_yaml

    return get_header_from_yaml(content.decode("utf-8").split("\n"))


def _of_astropy(content: bytes) -> dict[str, Notes]:
    header = _astropy_header(content)
    return {
        str(column["name"]): Notes(
            _text(column.get("unit")), _text((column.get("meta") or {}).get("ucd")), _text(column.get("description"))
        )
        for column in header["datatype"]
    }


def _of_votable(content: bytes, name: str) -> dict[str, Notes]:
    from astropy.io import votable

    from galbase.ingest.readers.votable import refuse_traps

    refuse_traps(io.BytesIO(content), name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = votable.parse(io.BytesIO(content), verify="ignore")
    return {
        str(field.name): Notes(_text(field.unit), _text(field.ucd), _text(field.description))
        for table in document.iter_tables()
        for field in table.fields
    }


def _text(value: Any) -> str | None:
    text = " ".join(str(value).split()) if value is not None else ""
    return text or None
