"""One catalogue file as a unit of the ledger: loaded, left for later, unchanged or rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.catalogue import ConflictError, Merge
from galbase.ingest.catalogue_file import load_file, record_verdict, refuse_changed
from galbase.ingest.catalogue_options import READER_VERSION, CatalogueOptions, read_detections
from galbase.ingest.catalogue_report import CatalogueReport, FileReport
from galbase.ingest.found_file import FilePlace, hash_options, inspect_file, known_files
from galbase.ingest.releases import Release, require_release
from galbase.ingest.run_files import files_of_unit
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import WorkUnit, complete

WAITING = "waiting"
_MAX_DEADLOCK = 3
_MIB = 2**20


def options_hash(options: CatalogueOptions) -> str:
    """Hash of all that decides how a file is read."""
    return hash_options({"reader": READER_VERSION, **asdict(options)})


def load_unit(
    connection: psycopg.Connection[Any], unit: WorkUnit, release: str, options: Mapping[str, Any], merge: Merge
) -> CatalogueReport:
    """Load the files of a claimed unit, the last one in the transaction that completes it."""
    target = require_release(connection, release)
    read_by = CatalogueOptions(**{**options, "null_values": tuple(options["null_values"])})
    report = CatalogueReport()
    places = files_of_unit(connection, unit)
    for number, place in enumerate(places, start=1):
        last = unit if number == len(places) else None
        report.files.append(load_one(connection, target, place, read_by, unit.run_id, merge, last))
        report.megabytes += megabytes(place.file)
    return report


def load_one(
    connection: psycopg.Connection[Any],
    release: Release,
    place: FilePlace,
    options: CatalogueOptions,
    run_id: int,
    merge: Merge,
    unit: WorkUnit | None = None,
) -> FileReport:
    """Load a file, or record why it cannot be."""

    def settle() -> None:
        if unit is not None:
            complete(connection, unit, 1)

    known = known_files(connection, release.release_id, [place]).get((place.root_id, place.relative))
    found = inspect_file(place, known, options_hash(options))
    format = None
    if found.judged_before and known is not None and known.state == "loaded":
        settle()
        return FileReport(place.relative, "unchanged")
    try:
        if found.unreadable is not None:
            raise GalbaseError(found.unreadable)
        if merge != "all" and known is not None and (merge == "none" or _has_partners(connection, known.data_file_id)):
            format = known.format
            raise ConflictError("it may share detections with another file")
        detections = read_detections(place.file, options)
        format = detections.format
        refuse_changed(found)
        for attempt in range(_MAX_DEADLOCK):
            try:
                with connection.transaction():
                    report = load_file(connection, release, found, detections, run_id, merge)
                    settle()
                    return report
            except psycopg.errors.DeadlockDetected:
                if attempt == _MAX_DEADLOCK - 1:
                    raise
    except ConflictError:
        settle()
        return FileReport(place.relative, WAITING, format=format)
    except (GalbaseError, psycopg.DataError) as error:
        reason = str(error)
    with connection.transaction():
        if not found.judged_before or known is None or (known.state, known.reason) != ("rejected", reason):
            record_verdict(connection, release, found, run_id, format="unknown", state="rejected", reason=reason)
        settle()
    return FileReport(place.relative, "rejected", reason=reason)


def _has_partners(connection: psycopg.Connection[Any], data_file_id: int) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM archive.file_overlap WHERE %s IN (data_file_id, other_file_id))", (data_file_id,)
    ).fetchone()
    return row is not None and bool(row[0])


def megabytes(file: Path) -> int:
    """Size of a file in MiB, at least 1."""
    try:
        return max(1, file.stat().st_size // _MIB)
    except OSError:
        return 1
