"""Ingest of spectra: SDSS spec files become observations of the source with the same specObjID."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from galbase.ingest.file_verdict import FileItem, IngestReport, Reader, Writer, ingest_files
from galbase.ingest.found_file import FoundFile, hash_options
from galbase.ingest.observation_store import ObservationCount, stage_rows, write_observations
from galbase.ingest.observed_source import (
    KnownSource,
    find_owners,
    present_sources,
    refresh_catalogue_flag,
    settle_sources,
)
from galbase.ingest.readers.fits_image import is_fits_name
from galbase.ingest.readers.sdss_spectrum import SdssSpectrum, holds_no_spectrum, read_sdss_spectrum
from galbase.ingest.releases import Release
from galbase.schema.flags import ObservationFlag

FORMAT = "sdss-spec"
ALGORITHM_VERSION = 1
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
    run_id: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> IngestReport:
    """Load SDSS spec files into a release; each batch of files is one transaction.

    A spectrum belongs to the release's source with the same specObjID, as its native id or in `sdss_galaxy`; without
    one it brings a source of its own at the position of its fibre.

    Parameters
    ----------
    connection : psycopg.Connection
        In autocommit mode, or at least not in a transaction.
    release : Release
    paths : sequence of Path
        Files, or folders that are searched for FITS files.
    run_id : int, optional
        Run to record with each file.
    advance : callable
        Called with the number of files done.

    Raises
    ------
    UsageError
        If a path does not exist. A file that cannot be loaded is rejected and reported instead.
    """
    options_hash = hash_options({"algorithm_version": ALGORITHM_VERSION})
    reader = Reader(
        wanted=lambda path: is_fits_name(path) and not path.name.startswith("."),
        is_other=holds_no_spectrum,
        formats=frozenset({FORMAT}),
        format_of=lambda _: FORMAT,
        options_hash=lambda _: options_hash,
        read=_read,
        store=_store,
    )
    report = ingest_files(connection, release, paths, reader, run_id=run_id, advance=advance)
    with connection.transaction():
        refresh_catalogue_flag(connection, release.release_id, int(ObservationFlag.NO_CATALOGUE_SOURCE))
    return report


def _read(found: FoundFile) -> FileItem[SdssSpectrum]:
    return FileItem(found, read_sdss_spectrum(found.place.file), 1, 1, ())


def _store(
    writer: Writer, items: Sequence[FileItem[SdssSpectrum]]
) -> tuple[ObservationCount, list[tuple[FileItem[SdssSpectrum], str]]]:
    """Store a batch, without spectra whose specObjID belongs to a source elsewhere on the sky."""
    connection, release_id = writer.connection, writer.release.release_id
    natives = [str(item.content.specobjid) for item in items]
    present = _galaxies(connection, release_id, natives) | present_sources(connection, release_id, natives)
    owners = find_owners(natives, _ra(items), _dec(items), [item.known_id for item in items], present)
    refused = [(item, reason) for item, reason in zip(items, owners.refused, strict=True) if reason is not None]
    items = [item for item, reason in zip(items, owners.refused, strict=True) if reason is None]
    if not items:
        return ObservationCount(0, 0, 0), refused
    natives = [str(item.content.specobjid) for item in items]
    owners = find_owners(natives, _ra(items), _dec(items), [item.known_id for item in items], present)
    numbers = [writer.record_loaded(item) for item in items]
    file_ids = np.array(numbers, np.int64)
    source_ids, own = settle_sources(
        connection,
        release_id,
        writer.release.release,
        natives,
        _ra(items),
        _dec(items),
        np.zeros(len(items), np.int64),
        file_ids,
        owners,
    )
    columns = {
        "data_file_id": file_ids,
        "row_index": np.zeros(len(items), np.int64),
        "flag": np.where(own, int(ObservationFlag.NO_CATALOGUE_SOURCE), 0).astype(np.int64),
        **{name: _column([getattr(item.content, name) for item in items]) for name in _DETAILS},
    }
    stage_rows(connection, _DETAILS, columns, source_ids)
    changed = [number for number, item in zip(numbers, items, strict=True) if item.found.content_changed]
    count = write_observations(connection, "spectrum", release_id, numbers, changed, "spectrum", list(_DETAILS))
    return count, refused


def _galaxies(connection: psycopg.Connection[Any], release_id: int, natives: Sequence[str]) -> dict[str, KnownSource]:
    """Sources of the release by the specObjID that `sdss_galaxy` has for them; the lowest id where it is repeated."""
    rows = connection.execute(
        "SELECT DISTINCT ON (g.specobjid) g.specobjid::text, s.source_id, s.ra, s.dec, s.data_file_id "
        "FROM archive.sdss_galaxy g JOIN archive.source s USING (source_id) "
        "WHERE s.release_id = %s AND g.specobjid = ANY(%s::numeric[]) ORDER BY g.specobjid, s.source_id",
        (release_id, list(natives)),
    )
    return {row[0]: KnownSource(*row[1:]) for row in rows}


def _ra(items: Sequence[FileItem[SdssSpectrum]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([item.content.ra for item in items], np.float64)


def _dec(items: Sequence[FileItem[SdssSpectrum]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([item.content.dec for item in items], np.float64)


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    return np.array([*values, None], dtype=object)[:-1]
