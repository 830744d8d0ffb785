"""Files of images and spectra as units of the ledger: read in parallel, stored one batch after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from galbase.ingest import bulk_load
from galbase.ingest.file_verdict import BATCH_FILES, IngestReport, Reader, load_batch
from galbase.ingest.found_file import FilePlace
from galbase.ingest.galaxies import update_galaxies
from galbase.ingest.releases import require_release
from galbase.ingest.run_files import files_of_unit, record_files
from galbase.schema.config import Config
from galbase.schema.console import Progress
from galbase.schema.jobs import LEASE_SECONDS, Batch, cluster, run_batch
from galbase.schema.ledger import StaleUnit, WorkUnit, complete

STEP = "ingest files"
# Below this number of files a worker process takes longer to start than they take to read.
_FEW_FILES = 200


@dataclass(frozen=True)
class LedgerRun:
    """A run of an ingest of files.

    Parameters
    ----------
    config : Config
    recorded : mapping
        Parameters to record with the run.
    connection : psycopg.Connection
        In autocommit mode, within `bulk_load.ingest_turn`; drops and makes indexes of a bulk load.
    scheduler : str or None
        Address of a Dask scheduler; processes of our own when None.
    workers : int or None
        Number of processes of our own: one a core when None.
    progress : Progress or None
    announce : callable
        Told in words what takes long.
    bulk : bool or None
        Whether indexes are made at the end; when None, if the rows are many and the archive has few.
    """

    config: Config
    recorded: Mapping[str, Any]
    connection: psycopg.Connection[Any]
    scheduler: str | None = None
    workers: int | None = None
    progress: Progress | None = None
    announce: Callable[[str], None] = lambda _: None
    bulk: bool | None = None

    def _n_worker(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def batch_files(self, n_file: int) -> int:
        """Files in a batch: few enough that every worker gets several batches."""
        return max(1, min(BATCH_FILES, n_file // (4 * self._n_worker())))

    def run(
        self, places: Sequence[FilePlace], batches: Sequence[tuple[int, int]], arguments: tuple[Any, ...]
    ) -> IngestReport:
        """Load ranges of files, see `Parallel`, and make their sources galaxies."""
        with bulk_load.in_bulk(self.connection, self._may_be_bulk(places, arguments), self.announce):
            report = self._run(places, batches, arguments)
        update_galaxies(self.connection)
        return report

    def _may_be_bulk(self, places: Sequence[FilePlace], arguments: tuple[Any, ...]) -> bool:
        """Only the first files of a release: known rows are found by an index that is not there then."""
        release, reader, _ = arguments
        if self.bulk is False:
            return False
        row = self.connection.execute(
            "SELECT EXISTS (SELECT FROM archive.data_file f JOIN archive.data_release r USING (release_id) "
            "WHERE r.release = %s)",
            (release,),
        ).fetchone()
        if row is None or row[0]:
            return False
        return bool(self.bulk) or bulk_load.pays(self.connection, sum(reader.rows(place.file) for place in places))

    def _run(
        self, places: Sequence[FilePlace], batches: Sequence[tuple[int, int]], arguments: tuple[Any, ...]
    ) -> IngestReport:
        units = [StaleUnit(None, start, stop, stop - start) for start, stop in batches]
        batch = Batch(
            "ingest", STEP, self.recorded, units, load_files, arguments, IngestReport(), LEASE_SECONDS,
            lambda connection, run_id: record_files(connection, run_id, places),
        )  # fmt: skip
        n_process = min(self._n_worker(), len(units))
        here = self.scheduler is None and (n_process == 1 or len(places) < _FEW_FILES)
        with nullcontext() if here else cluster(self.scheduler, processes=n_process) as client:
            _, report = run_batch(
                self.config,
                client,
                batch,
                self.progress,
                lambda it: f"{it.loaded} files loaded, {len(it.rejected)} rejected",
            )
        return report


def load_files(
    connection: psycopg.Connection[Any], unit: WorkUnit, release: str, reader: Reader[Any], named: Collection[Path]
) -> IngestReport:
    """Load the files of a claimed unit. A file that another worker has loaded meanwhile counts as unchanged."""
    target = require_release(connection, release)
    report = load_batch(connection, target, files_of_unit(connection, unit), reader, named, unit.run_id)
    with connection.transaction():
        complete(connection, unit, report.files)
    return report
