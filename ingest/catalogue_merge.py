"""Merges catalogue files that share detections, in the order of their paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest.catalogue_file import UNMERGED
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.catalogue_report import CatalogueReport, FileReport
from galbase.ingest.catalogue_unit import load_one
from galbase.ingest.found_file import FilePlace
from galbase.ingest.readers.galspec import EXTRA
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import finish_run, start_run

AGAIN = "merged again"
Key = tuple[bool, str, int]


def merge_key(format: str | None, place: FilePlace) -> Key:
    """What files are merged in the order of: those without positions last, then by path."""
    return (format or "").endswith(EXTRA), place.relative, place.root_id


def unmerged(connection: psycopg.Connection[Any], release_id: int) -> dict[Key, FilePlace]:
    """Files whose values another file has overwritten since, or whose rows were taken out: they are to be merged."""
    rows = connection.execute(
        "SELECT f.format, r.path, f.data_root_id, f.path FROM archive.data_file f "
        "JOIN archive.data_root r USING (data_root_id) WHERE f.release_id = %s AND f.options_hash = %s",
        (release_id, UNMERGED),
    ).fetchall()
    places = [
        (format, FilePlace(Path(root, path), Path(root), int(root_id), path)) for format, root, root_id, path in rows
    ]
    return {merge_key(format, place): place for format, place in places}


def merge_files(
    connection: psycopg.Connection[Any],
    release: Release,
    waiting: Mapping[Key, FilePlace],
    given: Collection[str],
    options: CatalogueOptions,
    recorded: Mapping[str, Any],
) -> CatalogueReport:
    """Load files that meet rows of others, one after the other by path, and those that come after them.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode.
    release : Release
    waiting : mapping of Key to FilePlace
        Files to load.
    given : collection of str
        Paths that the user named; others are merged again for their sake.
    options : CatalogueOptions
        How to read those; others are read as they were when they were loaded, and still count as that run's.
    recorded : mapping
        Parameters to record with the run.
    """
    report, run_id = CatalogueReport(), start_run(connection, "ingest", {**recorded, "phase": "merge"})
    left, gone = dict(waiting), set[Key]()
    try:
        while queue := {
            key: place for key, place in (unmerged(connection, release.release_id) | left).items() if key not in gone
        }:
            key = min(queue)
            place = queue[key]
            left.pop(key, None)
            if place.relative not in given and not place.file.exists():
                gone.add(key)
                text = f"{place.file} is gone; where it shares detections with other files, their values stand."
                report.files.append(FileReport(place.relative, "unchanged", notes=[text]))
                continue
            if place.relative in given:
                made = load_one(connection, release, place, options, run_id, "all")
            else:
                made = load_one(connection, release, place, *_loaded_by(connection, release, place), "all")
            if made.state == "rejected":
                gone.add(key)
            elif place.relative not in given:
                made.state = AGAIN
            report.merge(CatalogueReport([made]))
    except BaseException as error:
        if not connection.broken:
            finish_run(connection, run_id, "failed", str(error) or type(error).__name__)
        raise
    finish_run(connection, run_id, "done", f"{len(report.files)} files merged")
    return report


def _loaded_by(connection: psycopg.Connection[Any], release: Release, place: FilePlace) -> tuple[CatalogueOptions, int]:
    """The options of the run that loaded a file, and its number."""
    row = connection.execute(
        "SELECT r.config, r.run_id FROM archive.data_file f JOIN archive.run r USING (run_id) "
        "WHERE f.release_id = %s AND f.data_root_id = %s AND f.path = %s",
        (release.release_id, place.root_id, place.relative),
    ).fetchone()
    if row is None:
        raise GalbaseError(f"{place.file} shares detections with a file of this run; name it too, to merge it again.")
    given = {item.name: row[0][item.name] for item in fields(CatalogueOptions) if item.name in row[0]}
    return CatalogueOptions(**{**given, "null_values": tuple(given.get("null_values", ()))}), int(row[1])
