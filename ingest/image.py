"""Ingest of images: judge each file, then store batches of those that can be loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from galbase.ingest.file_verdict import FileItem, IngestReport, Parallel, Reader, Writer, ingest_files
from galbase.ingest.found_file import FilePlace, FoundFile, hash_options
from galbase.ingest.image_store import PlacedImages, store_images
from galbase.ingest.manifest import Manifest
from galbase.ingest.observation_store import ObservationCount
from galbase.ingest.observed_source import Owners, find_owners, present_sources, refresh_catalogue_flag
from galbase.ingest.readers import display_image, fits_image, ssl_legacysurvey
from galbase.ingest.readers.image_file import ImageFile
from galbase.ingest.readers.position_name import position_from_name
from galbase.ingest.releases import Release
from galbase.ingest.stamp_shard import SUFFIX as STAMPS
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import ObservationFlag
from galbase.schema.healpix import separation_arcsec

DIFFERS_ARCSEC = 1.0
SHARDS = ("hdf5", "hdf5-stamps")
ALGORITHM_VERSION = 1


@dataclass(frozen=True)
class ImageOptions:
    """How images are read.

    Parameters
    ----------
    manifest : Manifest or None
        Positions, pixel scales and ids by file.
    position_from_name : bool
        Whether a file's name may give its position where manifest and header do not.
    pixel_scale_arcsec : float or None
        Used where neither manifest nor file tells.
    bands : tuple of str or None
        Bands of the planes of files that do not name them.
    """

    manifest: Manifest | None = None
    position_from_name: bool = False
    pixel_scale_arcsec: float | None = None
    bands: tuple[str, ...] | None = None


def image_format(path: Path) -> str | None:
    """Format of a file by its name: jpeg, png, fits-image, hdf5, hdf5-stamps (cut from frames), or None."""
    suffix = path.suffix.lower()
    if path.name.lower().endswith(STAMPS):
        return "hdf5-stamps"
    if suffix in display_image.FORMATS:
        return display_image.FORMATS[suffix]
    if suffix in ssl_legacysurvey.SUFFIXES:
        return "hdf5"
    return "fits-image" if fits_image.is_fits_name(path) else None


def ingest_images(
    connection: psycopg.Connection[Any],
    release: Release,
    paths: Sequence[Path],
    options: ImageOptions,
    *,
    parallel: Parallel | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> IngestReport:
    """Load images of files and folders into a release; each batch of files is one transaction.

    Parameters
    ----------
    connection : psycopg.Connection
        Not in a transaction.
    release : Release
    paths : sequence of Path
        Files, or folders that are searched for image files.
    options : ImageOptions
    parallel : Parallel, optional
        Work by units of the ledger, on Dask workers; in this process on the connection when None.
    advance : callable
        Called with the number of files done.

    Returns
    -------
    IngestReport

    Raises
    ------
    GalbaseError
        If a path does not exist. A file that cannot be loaded is rejected and reported instead.
    """

    reader = Reader(
        wanted=lambda path: image_format(path) is not None and not path.name.startswith("."),
        is_other=lambda path: image_format(path) == "fits-image" and fits_image.holds_no_image(path),
        formats=frozenset({"hdf5", "hdf5-stamps", "jpeg", "png", "fits-image"}),
        format_of=lambda path: image_format(path) or "unknown",
        options_hash=lambda place: _options_hash(place, options),
        read=lambda found: _read(found, options),
        store=_store,
        alone=lambda place: image_format(place.file) in SHARDS,
        rows=lambda path: ssl_legacysurvey.count_rows(path) if image_format(path) in SHARDS else 1,
    )
    report = ingest_files(connection, release, paths, reader, parallel=parallel, advance=advance)
    with connection.transaction():
        refresh_catalogue_flag(connection, release.release_id, int(ObservationFlag.NO_CATALOGUE_SOURCE))
    return report


def _options_hash(place: FilePlace, options: ImageOptions) -> str:
    row = None if options.manifest is None else options.manifest.find(place.file, place.root)
    return hash_options(
        {
            "algorithm_version": ALGORITHM_VERSION,
            "manifest": None if row is None else [row.ra, row.dec, row.pixel_scale_arcsec, row.native_id],
            "names": [options.position_from_name, options.manifest is not None],
            "pixel_scale_arcsec": options.pixel_scale_arcsec,
            "bands": options.bands,
        }
    )


def read_image_file(path: Path) -> ImageFile:
    """Read what the archive keeps of a file of images.

    Raises
    ------
    GalbaseError
        If the file is damaged or of no known format.
    """
    format = image_format(path)
    if format is None:
        raise GalbaseError(f"{path.name} is no image file: .jpg, .png, .fits (also .gz, .bz2, .fz) or .h5 is expected.")
    if format in SHARDS:
        return ssl_legacysurvey.read_shard(path)
    if format == "fits-image":
        return fits_image.read_fits_image(path)
    return display_image.read_display_image(path, format)


def _place(found: FoundFile, options: ImageOptions) -> PlacedImages:
    """Read a file and settle ids, positions, pixel scale, bands and flags."""
    place = found.place
    image = read_image_file(place.file)
    row = None if options.manifest is None else options.manifest.find(place.file, place.root)
    scale = None if row is None else row.pixel_scale()
    if scale is None:
        scale = options.pixel_scale_arcsec if image.pixel_scale_arcsec is None else image.pixel_scale_arcsec
    image = replace(image, pixel_scale_arcsec=scale, bands=_bands(image, options, place))
    flag = ObservationFlag(0)
    if image.is_display:
        flag |= ObservationFlag.DISPLAY_IMAGE
    if scale is None:
        flag |= ObservationFlag.PIXEL_SCALE_UNKNOWN
    rejected = {number for number, _, _ in image.rejected}
    rows = np.array([number for number in range(image.n_row) if number not in rejected], np.intp)
    ra, dec = image.ra[rows], image.dec[rows]
    native_ids: Sequence[str]
    is_shard = image_format(place.file) in SHARDS
    if is_shard or image.n_row > 1:
        if not is_shard and row is not None and row.position() is not None:
            raise GalbaseError(
                f"{place.relative} holds {image.n_row} images, for which manifest line {row.line} has one position; "
                "leave its ra and dec empty, or give each image its own file."
            )
        named = image.native_ids
        native_ids = [f"{place.relative}:{number}" if named is None else named[number] for number in rows.tolist()]
    else:
        position, position_flag = _position(place, image, row.position() if row is not None else None, options)
        flag |= position_flag
        ra, dec = (np.array([value], np.float64) for value in position)
        native_ids = [place.relative if row is None or row.native_id is None else row.native_id]
    flags = np.where(np.isfinite(ra), int(flag), int(flag | ObservationFlag.POSITION_UNKNOWN))
    if image.flags is not None:
        flags |= image.flags[rows]
    return PlacedImages(image, image_format(place.file) or "", rows, native_ids, ra, dec, flags.astype(np.int64))


def _position(
    place: FilePlace, image: ImageFile, stated: tuple[float, float] | None, options: ImageOptions
) -> tuple[tuple[float, float], ObservationFlag]:
    """Position of a file of one image: the manifest's, else the header's, else the name's; and what is to say of it."""
    header = (float(image.ra[0]), float(image.dec[0])) if np.isfinite(image.ra[0]) else None
    named = None
    if options.position_from_name or options.manifest is not None:
        named = position_from_name(place.file.name)
    flag = ObservationFlag(0)
    taken = stated or header
    if taken is None and options.position_from_name and named is not None:
        taken = named
        flag |= ObservationFlag.POSITION_FROM_NAME
    if taken is None:
        return (np.nan, np.nan), flag
    for other in (header, named):
        if other is not None and float(separation_arcsec(*taken, *other)) > DIFFERS_ARCSEC:
            flag |= ObservationFlag.POSITION_DIFFERS
    return taken, flag


def _bands(image: ImageFile, options: ImageOptions, place: FilePlace) -> tuple[str, ...]:
    unnamed = image.is_display or image.bands[0].startswith("band")
    if options.bands is None or not unnamed:
        return image.bands
    if len(options.bands) != len(image.bands):
        raise GalbaseError(
            f"{place.relative} has {len(image.bands)} planes, but --bands names {','.join(options.bands)}; name each."
        )
    return options.bands


def _read(found: FoundFile, options: ImageOptions) -> FileItem[PlacedImages]:
    placed = _place(found, options)
    return FileItem(found, placed, placed.image.n_row, len(placed.rows), placed.image.rejected)


def _store(
    writer: Writer, items: Sequence[FileItem[PlacedImages]]
) -> tuple[ObservationCount, list[tuple[FileItem[PlacedImages], str]]]:
    """Store a batch, without what has the id of another source."""
    kept, owners, refused = _settle(writer, list(items))
    if not kept:
        return ObservationCount(0, 0, 0), refused
    numbers = [writer.record_loaded(item) for item in kept]
    count = store_images(
        writer.connection,
        writer.release.release_id,
        writer.release.release,
        [(number, item.content) for number, item in zip(numbers, kept, strict=True)],
        owners,
        [number for number, item in zip(numbers, kept, strict=True) if item.found.content_changed],
        all_new=all(item.known_id is None for item in kept),
    )
    return count, refused


def _settle(
    writer: Writer, items: list[FileItem[PlacedImages]]
) -> tuple[list[FileItem[PlacedImages]], Owners, list[tuple[FileItem[PlacedImages], str]]]:
    """Items without the files or rows whose id is another source's, whose source each row is, and files refused."""
    native_ids = [native for item in items for native in item.content.native_ids]
    present = present_sources(writer.connection, writer.release.release_id, native_ids)
    refused: list[tuple[FileItem[PlacedImages], str]] = []
    while True:
        owners = find_owners(
            [native for item in items for native in item.content.native_ids],
            np.concatenate([np.empty(0), *[item.content.ra for item in items]]),
            np.concatenate([np.empty(0), *[item.content.dec for item in items]]),
            [item.known_id for item in items for _ in item.content.rows],
            present,
        )
        if not any(owners.refused):
            return items, owners, refused
        kept = []
        reasons = iter(owners.refused)
        for item in items:
            of_item = [next(reasons) for _ in item.content.rows]
            first = next(filter(None, of_item), None)
            if first is None:
                kept.append(item)
            elif item.n_row == 1:
                refused.append((item, first))
            else:
                kept.append(_without_rows(item, of_item))
        items = kept


def _without_rows(item: FileItem[PlacedImages], reasons: Sequence[str | None]) -> FileItem[PlacedImages]:
    """The item without the rows that have a reason, which are recorded as rejected."""
    placed = item.content
    keep = np.array([reason is None for reason in reasons])
    natives = [native for native, reason in zip(placed.native_ids, reasons, strict=True) if reason is None]
    left = replace(
        placed,
        rows=placed.rows[keep],
        native_ids=natives,
        ra=placed.ra[keep],
        dec=placed.dec[keep],
        flags=placed.flags[keep],
    )
    rejected = [
        (int(row), native, reason)
        for row, native, reason in zip(placed.rows, placed.native_ids, reasons, strict=True)
        if reason is not None
    ]
    return replace(item, content=left, n_loaded=len(natives), rejected_rows=[*item.rejected_rows, *rejected])
