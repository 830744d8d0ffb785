"""Loads catalogue files as units of the ledger: in parallel, each exactly once, whatever their order.

New files, and changed ones that share no detection with another file, are loaded by Dask workers, each in a
transaction. Those that meet rows of other files wait, and are merged afterwards in the order of their paths, tables
without positions last; what comes later wins. A file that was loaded before and comes after one that is merged is
merged again, so that the archive ends the same in whatever order and in how many calls the files came.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from galbase.ingest import bulk_load
from galbase.ingest.catalogue import Merge
from galbase.ingest.catalogue_merge import merge_files, merge_key, unmerged
from galbase.ingest.catalogue_options import SUFFIXES, CatalogueOptions, is_catalogue_name, read_detections
from galbase.ingest.catalogue_report import CatalogueReport, FileReport
from galbase.ingest.catalogue_unit import WAITING, load_unit, megabytes, options_hash
from galbase.ingest.found_file import FilePlace, KnownFile, inspect_file, known_files, list_files, place_files
from galbase.ingest.galaxies import update_galaxies
from galbase.ingest.releases import Release, require_release
from galbase.ingest.run_files import record_files
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import LEASE_SECONDS, Batch, cluster, run_batch
from galbase.schema.ledger import StaleUnit

STEP = "ingest catalogue"


def run_catalogues(
    config: Config,
    release: str,
    paths: Sequence[Path],
    options: CatalogueOptions,
    *,
    root: Path | None = None,
    bulk: bool | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
    lease_seconds: float = LEASE_SECONDS,
) -> CatalogueReport:
    """Load new and changed catalogue files, and make their detections galaxies.

    A file that is not sound is recorded as rejected.

    Parameters
    ----------
    config : Config
    release : str
        Name of a registered release.
    paths : sequence of Path
        Files, and folders that are searched for files of known suffixes.
    options : CatalogueOptions
    root : Path, optional
        Directory that paths are recorded relative to; the folder given, or the file's parent, when None.
    bulk : bool, optional
        Whether indexes and foreign keys are made when all rows are in; when None, if the files are large and the
        archive is not.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``; threads of this process when None.
    workers : int, optional
        Number of threads of this process: one a core when None.
    progress : Progress, optional
        Told the megabytes of all files and those that are done.
    announce : callable
        Told in words what takes long.
    lease_seconds : float
        After this time without a sign of life another worker may take over a file.

    Raises
    ------
    UsageError
        If a path does not exist or an option makes no sense.
    GalbaseError
        If there is no such release, another process loads in bulk, or workers failed.
    """
    options.check()
    started = time.monotonic()
    files = list_files(paths, is_catalogue_name)
    if not files:
        raise UsageError(f"no catalogue files in {', '.join(map(str, paths))}; they end in {', '.join(SUFFIXES)}.")
    if root is not None:
        files = [(file, _under(file, root.absolute())) for file, _ in files]
    report = CatalogueReport()
    with connect(config, autocommit=True) as connection, bulk_load.ingest_turn(connection):
        target = require_release(connection, release)
        with connection.transaction():
            places = place_files(connection, target.release_id, files)
            known = known_files(connection, target.release_id, places)
        todo = _stale(places, known, options, report)
        if todo or unmerged(connection, target.release_id):
            recorded = {"command": "catalogue", "release": release, "paths": [str(path.absolute()) for path in paths]}
            recorded |= asdict(options)
            pays = bool(todo) and (bulk or (bulk is None and bulk_load.pays(connection, _likely_rows(todo))))
            with bulk_load.in_bulk(connection, pays, announce) as in_bulk:
                if bulk and todo and not in_bulk:
                    raise GalbaseError("another ingest is running, so that --bulk is not possible; wait for its end.")
                made = _load_parallel(
                    config, target, todo, options, recorded, "none" if in_bulk else "own",
                    scheduler, workers, progress, lease_seconds,
                )  # fmt: skip
            report = report + made.without(WAITING)
            by_name = {place.relative: place for place in todo}
            waiting = {
                merge_key(file.format, by_name[file.file]): by_name[file.file]
                for file in made.files
                if file.state == WAITING
            }
            if waiting or unmerged(connection, target.release_id):
                given = {place.relative for place in places}
                report.merge(merge_files(connection, target, waiting, given, options, recorded))
        update_galaxies(connection)
    report.files.sort(key=lambda file: file.file)
    report.seconds = time.monotonic() - started
    return report


def _likely_rows(places: Sequence[FilePlace]) -> int:
    return bulk_load.likely_rows([place.file for place in places])


def _under(file: Path, root: Path) -> Path:
    if not file.is_relative_to(root):
        raise UsageError(f"{file} does not lie under --root {root}.")
    return root


def _stale(
    places: Sequence[FilePlace],
    known: Mapping[tuple[int, str], KnownFile],
    options: CatalogueOptions,
    report: CatalogueReport,
) -> list[FilePlace]:
    """Files that have to be loaded; those that need not be go to the report."""
    wanted = options_hash(options)

    def is_settled(place: FilePlace) -> FileReport | None:
        record = known.get((place.root_id, place.relative))
        if record is None or record.options_hash != wanted:
            return None
        found = inspect_file(place, record, wanted)
        if not found.judged_before:
            return None
        if record.state == "loaded":
            return FileReport(place.relative, "unchanged")
        # A rejected file is judged again at every run, because what was missing may be there now.
        try:
            if found.unreadable is not None:
                raise GalbaseError(found.unreadable)
            read_detections(place.file, options)
        except GalbaseError as error:
            if str(error) == record.reason:
                return FileReport(place.relative, "rejected", reason=record.reason)
        return None

    todo = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for place, settled in zip(places, pool.map(is_settled, places), strict=True):
            if settled is None:
                todo.append(place)
            else:
                report.files.append(settled)
    return todo


def _load_parallel(
    config: Config,
    release: Release,
    todo: Sequence[FilePlace],
    options: CatalogueOptions,
    recorded: Mapping[str, Any],
    merge: Merge,
    scheduler: str | None,
    workers: int | None,
    progress: Progress | None,
    lease_seconds: float,
) -> CatalogueReport:
    if not todo:
        return CatalogueReport()
    units = [StaleUnit(None, i, i + 1, megabytes(place.file)) for i, place in enumerate(todo)]
    batch = Batch(
        "ingest", STEP, recorded, units, load_unit, (release.release, asdict(options), merge), CatalogueReport(),
        lease_seconds, lambda connection, run_id: record_files(connection, run_id, todo),
    )  # fmt: skip
    n_thread = min(workers or len(os.sched_getaffinity(0)), len(units))
    alone = scheduler is None and n_thread == 1
    with nullcontext() if alone else cluster(scheduler, threads=n_thread) as client:
        _, report = run_batch(
            config,
            client,
            batch,
            progress,
            lambda it: (
                f"{it.count('loaded')} files loaded, {it.count('rejected')} rejected, {it.count(WAITING)} merged"
            ),
        )
    return report
