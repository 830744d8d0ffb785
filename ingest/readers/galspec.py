"""MPA-JHU galSpec value-added catalogues of SDSS (galSpecInfo, galSpecExtra, galSpecIndx, or all in one table).

https://www.sdss4.org/dr17/spectro/galaxy_mpajhu/; missing values are -9999. galSpecExtra and galSpecIndx have no
positions: their rows go to the detections that galSpecInfo brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from galbase.ingest.readers.column import FileColumn, TableFile
from galbase.ingest.readers.detections import Detections, position, split_columns
from galbase.ingest.readers.named_error import names_file
from galbase.schema.errors import GalbaseError
from galbase.schema.ids import as_native_ids
from galbase.schema.tables.sdss import sdss_galaxy

SENTINELS = ("-9999",)
# End of the format's name where the rows belong to detections of other files.
EXTRA = "-extra"
_SIGNATURE = frozenset(
    {"bptclass", "oh_p50", "lgm_tot_p50", "lgm_fib_p50", "sfr_tot_p50", "specsfr_tot_p50", "specsfr_fib_p50"}
)
_SIGNATURE_INFO = frozenset({"spectrotype", "reliable", "e_bv_sfd", "plateid"})
_MAX_ID = 2**64 - 1


def is_galspec(file: TableFile) -> bool:
    """Whether the columns are those of a galSpec table."""
    names = {name.lower() for name in file.columns}
    return len(_SIGNATURE & names) >= 3 or len(_SIGNATURE_INFO & names) >= 3 or {"specobjid", "d4000_n"} <= names


@names_file
def read_galspec(file: TableFile, name: str, sentinels: Sequence[str] = ()) -> Detections:
    """Detections of a galSpec table; ids are the decimal digits of specObjID.

    Parameters
    ----------
    file : TableFile
    name : str
        Name of the file, for messages.
    sentinels : sequence of str
        Values that mean missing, besides -9999.

    Raises
    ------
    GalbaseError
        If specObjID is missing or not exact, or a column is of a wrong type.
    """
    columns = file.lower()
    if "specobjid" not in columns:
        raise GalbaseError(f"{name} looks like a galSpec table but has no column 'specobjid'; fetch the file again.")
    if ("ra" in columns) != ("dec" in columns):
        raise GalbaseError(f"{name} has only one of the columns 'ra' and 'dec'; fetch the file again.")
    exact = _ids(columns["specobjid"], name)
    known, extra, nulls, non_finite = split_columns(
        columns, sdss_galaxy, ("ra", "dec", "specobjid"), (*SENTINELS, *sentinels)
    )
    numbers = np.empty(file.n_row, object)
    numbers[:] = [None if native is None else int(native) for native in exact]
    known["specobjid"] = numbers
    has_position = "ra" in columns
    return Detections(
        format=f"{file.format}/galspec{'' if has_position else EXTRA}",
        n_row=file.n_row,
        native_ids=as_native_ids(exact),
        ra=position(columns, "ra") if has_position else None,
        dec=position(columns, "dec") if has_position else None,
        table=sdss_galaxy.name,
        columns=known,
        extra=extra,
        nulls=nulls,
        non_finite=non_finite,
    )


def _ids(column: FileColumn, name: str) -> list[str | None]:
    """specObjID as exact decimal digits, None where it is none."""
    if column.is_array or column.kind not in ("integer", "text"):
        raise GalbaseError(
            f"{name}: {column.name} is {column.values.dtype}, which cannot hold a 64-bit specObjID exactly; an integer "
            "or text column is needed."
        )
    mask = column.mask if column.mask is not None else np.zeros(len(column.values), np.bool_)
    return [None if masked else _exact(value) for value, masked in zip(column.values.tolist(), mask, strict=True)]


def _exact(value: Any) -> str | None:
    if isinstance(value, str):
        value = value.strip()
        if not value.isdecimal():
            return None
        value = int(value)
    return str(value) if value is not None and 0 < value <= _MAX_ID else None
