"""Files of a run: what was given to an ingest, by number, so that a unit of work can be a range of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.found_file import FilePlace
from galbase.schema.bulk import copy_rows
from galbase.schema.ledger import WorkUnit


def record_files(connection: psycopg.Connection[Any], run_id: int, places: Sequence[FilePlace]) -> None:
    """Record the files of a run, numbered from 0; the caller commits."""
    rows = ((run_id, number, place.root_id, place.relative) for number, place in enumerate(places))
    copy_rows(connection, "archive", "run_file", ("run_id", "ordinal", "data_root_id", "path"), rows)


def files_of_unit(connection: psycopg.Connection[Any], unit: WorkUnit) -> list[FilePlace]:
    """Files of a unit, whose rows are numbers of files."""
    rows = connection.execute(
        "SELECT r.path, f.data_root_id, f.path FROM archive.run_file f JOIN archive.data_root r USING (data_root_id) "
        "WHERE f.run_id = %s AND f.ordinal >= %s AND f.ordinal < %s ORDER BY f.ordinal",
        (unit.run_id, unit.row_start, unit.row_stop),
    ).fetchall()
    return [FilePlace(Path(root, path), Path(root), int(root_id), str(path)) for root, root_id, path in rows]
