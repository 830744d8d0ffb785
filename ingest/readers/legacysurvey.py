"""Legacy Survey tractor and sweep catalogues, in the data models of DR8 and before, and of DR9 and after.

https://www.legacysurvey.org/dr8/catalogs and https://www.legacysurvey.org/dr9/catalogs
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galbase.ingest.readers.column import TableFile
from galbase.ingest.readers.detections import Detections, position, split_columns, whole_numbers
from galbase.ingest.readers.named_error import names_file
from galbase.schema.errors import GalbaseError
from galbase.schema.tables.legacysurvey import legacysurvey_dr8_object, legacysurvey_dr9_object

_SIGNATURE = frozenset({"brickid", "brickname", "objid", "flux_r", "flux_ivar_r", "mw_transmission_r", "dchisq"})
_BANDS = ("g", "r", "z")
REQUIRED = (
    *("release", "brickid", "objid", "ra", "dec", "type"),
    *(f"{stem}_{band}" for stem in ("flux", "flux_ivar", "mw_transmission") for band in _BANDS),
)


def is_legacysurvey(file: TableFile) -> bool:
    """Whether the columns are those of a tractor or sweep file, one or two of them missing or not."""
    names = {name.lower() for name in file.columns}
    return len(_SIGNATURE & names) >= len(_SIGNATURE) - 2


@names_file
def read_legacysurvey(file: TableFile, name: str, sentinels: Sequence[str] = ()) -> Detections:
    """Detections of a tractor or sweep file; ids are ``release-brickid-objid``.

    Parameters
    ----------
    file : TableFile
    name : str
        Name of the file, for messages.
    sentinels : sequence of str
        Values that mean missing.

    Raises
    ------
    GalbaseError
        If a column is missing or of a wrong type.
    """
    columns = file.lower()
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise GalbaseError(
            f"{name} looks like a Legacy Survey catalogue but has no column {missing[0]!r}; fetch the file again."
        )
    shapes = [shape for shape in ("shapedev_r", "shape_r") if shape in columns]
    if not shapes:
        raise GalbaseError(
            f"{name} has neither SHAPEDEV_R (data model of DR8) nor SHAPE_R (DR9); fetch the file again."
        )
    is_dr8 = shapes[0] == "shapedev_r"
    table = legacysurvey_dr8_object if is_dr8 else legacysurvey_dr9_object
    known, extra, nulls, non_finite = split_columns(columns, table, ("ra", "dec"), sentinels)
    parts = [whole_numbers(columns[part]) for part in ("release", "brickid", "objid")]
    valid = np.ones(file.n_row, np.bool_)
    for part in parts:
        valid &= ~np.ma.getmaskarray(part) & (np.ma.getdata(part) >= 0)
    native_ids = np.array([b""], "S1").repeat(file.n_row)
    if file.n_row:
        release, brick, objid = (np.ma.getdata(part).astype("S20") for part in parts)
        joined = np.strings.add(np.strings.add(np.strings.add(np.strings.add(release, b"-"), brick), b"-"), objid)
        native_ids = np.where(valid, joined, b"")
    return Detections(
        format=f"{file.format}/legacysurvey-{'dr8' if is_dr8 else 'dr9'}",
        n_row=file.n_row,
        native_ids=native_ids,
        ra=position(columns, "ra"),
        dec=position(columns, "dec"),
        table=table.name,
        columns=known,
        extra=extra,
        nulls=nulls,
        non_finite=non_finite,
    )
