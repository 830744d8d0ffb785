"""Ingest of spectra: those of SDSS, DESI and MaNGA-like files become observations of the source with the same id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from galbase.ingest.file_verdict import FileItem, IngestReport, Parallel, Reader, Writer, ingest_files
from galbase.ingest.found_file import FilePlace, FoundFile, hash_options
from galbase.ingest.observation_store import ObservationCount, insert_observations, stage_rows, write_observations
from galbase.ingest.observed_source import (
    KnownSource,
    Owners,
    find_owners,
    present_sources,
    refresh_catalogue_flag,
    settle_sources,
)
from galbase.ingest.readers import sdss_spectrum
from galbase.ingest.readers.desi_spectrum import redshift_file
from galbase.ingest.readers.fits_image import is_fits_name
from galbase.ingest.readers.spectra import FORMATS, UNKNOWN, read_spectra, spectrum_format
from galbase.ingest.readers.spectrum_file import SpectrumFile
from galbase.ingest.releases import Release
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.files import file_facts
from galbase.schema.flags import ObservationFlag

ALGORITHM_VERSION = 2
_DETAILS = {
    "wave_min_angstrom": "double precision",
    "wave_max_angstrom": "double precision",
    "n_pixel": "integer",
    "z": "double precision",
    "z_err": "double precision",
    "z_warning": "integer",
    "spectral_class": "text",
    "spectral_subclass": "text",
    "sn_median": "real",
    "specobjid": "numeric",
}


def ingest_spectra(
    connection: psycopg.Connection[Any],
    release: Release,
    paths: Sequence[Path],
    *,
    wavelengths_in: str | None = None,
    parallel: Parallel | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> IngestReport:
    """Load files of spectra into a release; each batch of files is one transaction.

    A spectrum belongs to the release's source with the same id (an SDSS one also by specObjID in `sdss_galaxy`);
    without one it brings a source of its own at the position of its fibre. The formats are those of `readers.spectra`.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, or at least not in a transaction.
    release : Release
    paths : sequence of Path
        Files, or folders that are searched for FITS files.
    wavelengths_in : {'vacuum', 'air'} or None
        What wavelengths are, where a file does not say.
    parallel : Parallel, optional
        Work by units of the ledger, on Dask workers; in this process on the connection when None.
    advance : callable
        Called with the number of files done.

    Raises
    ------
    UsageError
        If a path does not exist, or `wavelengths_in` is neither. A file that cannot be loaded is rejected and reported
        instead.
    """
    if wavelengths_in not in (None, "vacuum", "air"):
        raise UsageError(f"--wavelengths {wavelengths_in!r} is not known; use vacuum or air.")
    reader = Reader(
        wanted=lambda path: is_fits_name(path) and not path.name.startswith("."),
        is_other=lambda path: spectrum_format(path) is None,
        formats=frozenset(FORMATS),
        format_of=lambda path: spectrum_format(path) or UNKNOWN,
        options_hash=lambda place: _options_hash(place, wavelengths_in),
        read=lambda found: _read(found, wavelengths_in),
        store=_store,
    )
    report = ingest_files(connection, release, paths, reader, parallel=parallel, advance=advance)
    with connection.transaction():
        refresh_catalogue_flag(connection, release.release_id, int(ObservationFlag.NO_CATALOGUE_SOURCE))
    return report


def _options_hash(place: FilePlace, wavelengths_in: str | None) -> str:
    """Hash of what a file's rows depend on besides its bytes: for DESI the redshifts beside it."""
    beside = redshift_file(place.file)
    try:
        redshifts = None if beside is None else file_facts(beside).sha256
    except GalbaseError:
        redshifts = "unreadable"
    return hash_options(
        {"algorithm_version": ALGORITHM_VERSION, "wavelengths_in": wavelengths_in, "redshifts": redshifts}
    )


def _read(found: FoundFile, wavelengths_in: str | None) -> FileItem[SpectrumFile]:
    return _item(found, read_spectra(found.place.file, wavelengths_in))


def _item(found: FoundFile, content: SpectrumFile) -> FileItem[SpectrumFile]:
    return FileItem(found, content, content.n_row, len(content.rows), content.rejected)


def _store(
    writer: Writer, items: Sequence[FileItem[SpectrumFile]]
) -> tuple[ObservationCount, list[tuple[FileItem[SpectrumFile], str]]]:
    """Store a batch, without spectra whose id belongs to a source elsewhere on the sky."""
    connection, release_id = writer.connection, writer.release.release_id
    kept, owners, refused = _settle(writer, items)
    if not kept:
        return ObservationCount(0, 0, 0), refused
    numbers = [writer.record_loaded(item) for item in kept]
    n_rows = [len(item.content.rows) for item in kept]
    file_ids = np.repeat(np.array(numbers, np.int64), n_rows)
    source_ids, own = settle_sources(
        connection,
        release_id,
        writer.release.release,
        _natives(kept),
        _joined(kept, "ra"),
        _joined(kept, "dec"),
        np.zeros(len(file_ids), np.int64),
        file_ids,
        owners,
    )
    columns = {
        "data_file_id": file_ids,
        "row_index": _joined(kept, "rows"),
        "flag": np.where(own, int(ObservationFlag.NO_CATALOGUE_SOURCE), 0).astype(np.int64),
        **{name: _column([value for item in kept for value in item.content.details[name]]) for name in _DETAILS},
    }
    if all(item.known_id is None for item in kept):
        return insert_observations(connection, "spectrum", release_id, "spectrum", columns, source_ids), refused
    stage_rows(connection, _DETAILS, columns, source_ids)
    changed = [number for number, item in zip(numbers, kept, strict=True) if item.found.content_changed]
    count = write_observations(connection, "spectrum", release_id, numbers, changed, "spectrum", list(_DETAILS))
    return count, refused


def _settle(
    writer: Writer, items: Sequence[FileItem[SpectrumFile]]
) -> tuple[list[FileItem[SpectrumFile]], Owners, list[tuple[FileItem[SpectrumFile], str]]]:
    """Items without the rows whose id is another source's, whose source each row is, and files left without a row."""
    release_id = writer.release.release_id
    left = list(items)
    sdss = [
        native for item in left if item.content.format == sdss_spectrum.FORMAT for native in item.content.native_ids
    ]
    present = _galaxies(writer.connection, release_id, sdss) | present_sources(
        writer.connection, release_id, _natives(left)
    )
    refused: list[tuple[FileItem[SpectrumFile], str]] = []
    while True:
        known = [item.known_id for item in left for _ in item.content.rows]
        owners = find_owners(_natives(left), _joined(left, "ra"), _joined(left, "dec"), known, present)
        if not any(owners.refused):
            return left, owners, refused
        kept = []
        reasons = iter(owners.refused)
        for item in left:
            content = item.content
            of_item = [next(reasons) for _ in content.rows]
            good = np.array([reason is None for reason in of_item], np.bool_)
            rows = zip(content.rows.tolist(), content.native_ids, of_item, strict=True)
            rejected = [(row, native, reason) for row, native, reason in rows if reason is not None]
            if not good.any():
                refused.append((item, rejected[0][2]))
            else:
                kept.append(_item(item.found, content.keep(good, rejected)))
        left = kept


def _natives(items: Sequence[FileItem[SpectrumFile]]) -> list[str]:
    return [native for item in items for native in item.content.native_ids]


def _joined(items: Sequence[FileItem[SpectrumFile]], name: str) -> np.ndarray[Any, Any]:
    parts = [getattr(item.content, name) for item in items]
    return np.concatenate(parts) if parts else np.empty(0)


def _galaxies(connection: psycopg.Connection[Any], release_id: int, natives: Sequence[str]) -> dict[str, KnownSource]:
    """Sources of the release by the specObjID that `sdss_galaxy` has for them; the lowest id where it is repeated."""
    rows = connection.execute(
        "SELECT DISTINCT ON (g.specobjid) g.specobjid::text, s.source_id, s.ra, s.dec, s.data_file_id "
        "FROM archive.sdss_galaxy g JOIN archive.source s USING (source_id) "
        "WHERE s.release_id = %s AND g.specobjid = ANY(%s::numeric[]) ORDER BY g.specobjid, s.source_id",
        (release_id, list(natives)),
    )
    return {row[0]: KnownSource(*row[1:]) for row in rows}


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    return np.array([*values, None], dtype=object)[:-1]
