"""Store of images: what was read of a batch of files becomes sources, observations and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from galbase.ingest.catalogue import load_survey_rows
from galbase.ingest.extra_columns import ExtraColumn, load_extra_columns
from galbase.ingest.observation_store import ObservationCount, insert_observations, stage_rows, write_observations
from galbase.ingest.observed_source import OBSERVATION_FORMATS, Owners, settle_sources
from galbase.ingest.readers.image_file import ImageFile
from galbase.schema.flags import ObservationFlag, SourceFlag

Ints = npt.NDArray[np.int64]
SURVEY_TABLE = "legacysurvey_dr9_object"
_DETAILS = {
    "bands": "text[]",
    "pixel_scale_arcsec": "double precision",
    "width": "integer",
    "height": "integer",
    "is_display": "boolean",
    "psf_fwhm_arcsec": "real[]",
    "psf_depth": "real[]",
}


@dataclass(frozen=True)
class PlacedImages:
    """The images of one file with positions, ids and flags settled.

    Parameters
    ----------
    image : ImageFile
        As read, with pixel scale and bands settled.
    format : str
    rows : (n,) int
        Rows of the file that are loaded.
    native_ids : sequence of str, shape (n,)
    ra, dec : (n,) float64
        Degrees; NaN where unknown.
    flags : (n,) int64
        Bits of registry 'observation'.
    """

    image: ImageFile
    format: str
    rows: npt.NDArray[np.intp]
    native_ids: Sequence[str]
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    flags: Ints


def store_images(
    connection: psycopg.Connection[Any],
    release_id: int,
    release: str,
    files: Sequence[tuple[int, PlacedImages]],
    owners: Owners,
    changed_files: Sequence[int],
    *,
    all_new: bool,
) -> ObservationCount:
    """Write a batch of files: either many of one image, or one of many.

    Parameters
    ----------
    connection : psycopg.Connection
        The caller commits.
    release_id, release
        The release.
    files : sequence of (data_file_id, PlacedImages)
    owners : Owners
        Of all rows of all files, in order, none refused.
    changed_files : sequence of int
        Files whose bytes changed since they were last read.
    all_new : bool
        Whether none of the files was there before.
    """
    n_rows = [len(placed.rows) for _, placed in files]
    file_ids = np.repeat(np.array([number for number, _ in files], np.int64), n_rows)
    native_ids = [native for _, placed in files for native in placed.native_ids]
    ra = np.concatenate([placed.ra for _, placed in files])
    dec = np.concatenate([placed.dec for _, placed in files])
    flags = np.concatenate([placed.flags for _, placed in files])
    source_flags = np.concatenate([_source_flags(placed) for _, placed in files])
    source_ids, own = settle_sources(
        connection, release_id, release, native_ids, ra, dec, source_flags, file_ids, owners
    )
    without_catalogue = np.repeat([placed.format in OBSERVATION_FORMATS for _, placed in files], n_rows)
    flags = flags | np.where(own & without_catalogue, int(ObservationFlag.NO_CATALOGUE_SOURCE), 0)
    if len(files) == 1:
        _store_survey_rows(connection, release_id, files[0][1], source_ids, own, all_new=all_new)
    columns = {
        "data_file_id": file_ids,
        "row_index": np.concatenate([placed.rows for _, placed in files]).astype(np.int64),
        "flag": flags.astype(np.int64),
        **_details(files, n_rows),
    }
    if all_new:
        return insert_observations(
            connection, "image", release_id, "image", columns | {"bands": _band_column(files, n_rows)}, source_ids
        )
    bands = _bands(files, n_rows)
    stage_rows(connection, _DETAILS, columns, source_ids)
    for names, members in bands.items():
        connection.execute(
            "UPDATE galbase_staged_observation SET bands = %s WHERE data_file_id = ANY(%s)", (list(names), members)
        )
    numbers = [number for number, _ in files]
    return write_observations(connection, "image", release_id, numbers, changed_files, "image", list(_DETAILS))


def _source_flags(placed: PlacedImages) -> Ints:
    infinite = placed.image.non_finite
    if infinite is None:
        return np.zeros(len(placed.rows), np.int64)
    return np.where(infinite[placed.rows], int(SourceFlag.NON_FINITE_MEASUREMENT), 0).astype(np.int64)


def _details(files: Sequence[tuple[int, PlacedImages]], n_rows: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
    """Columns of table image but the bands, which differ in number from file to file."""
    images = [placed.image for _, placed in files]
    scales = np.array([np.nan if image.pixel_scale_arcsec is None else image.pixel_scale_arcsec for image in images])
    sizes = np.concatenate(
        [
            np.full((len(placed.rows), 2), (placed.image.width, placed.image.height), np.int64)
            if placed.image.sizes is None
            else placed.image.sizes[placed.rows]
            for _, placed in files
        ]
    )
    details: dict[str, npt.NDArray[Any]] = {
        "pixel_scale_arcsec": np.ma.masked_invalid(np.repeat(scales, n_rows)),
        "width": sizes[:, 0],
        "height": sizes[:, 1],
        "is_display": np.repeat(np.array([image.is_display for image in images], np.bool_), n_rows),
    }
    if len(files) == 1:
        for name in ("psf_fwhm_arcsec", "psf_depth"):
            values = getattr(images[0], name)
            if values is not None:
                details[name] = np.ma.masked_invalid(values[files[0][1].rows])
    return details


def _bands(files: Sequence[tuple[int, PlacedImages]], n_rows: Sequence[int]) -> dict[tuple[str, ...], list[int]]:
    """Files by their bands."""
    found: dict[tuple[str, ...], list[int]] = {}
    for (number, placed), count in zip(files, n_rows, strict=True):
        if count:
            found.setdefault(placed.image.bands, []).append(number)
    return found


def _band_column(files: Sequence[tuple[int, PlacedImages]], n_rows: Sequence[int]) -> npt.NDArray[Any]:
    """Names of the bands of every row."""
    names = [placed.image.bands for _, placed in files]
    if len({len(bands) for bands in names}) == 1:
        return np.repeat(np.array(names, np.str_), n_rows, axis=0)
    ragged = np.empty(len(names), object)
    ragged[:] = [np.array(bands, np.str_) for bands in names]
    return np.repeat(ragged, n_rows)


def _store_survey_rows(
    connection: psycopg.Connection[Any],
    release_id: int,
    placed: PlacedImages,
    source_ids: Ints,
    own: npt.NDArray[np.bool_],
    *,
    all_new: bool,
) -> None:
    """Catalogue columns of the sources that the file brings; those of a catalogue's sources are the catalogue's."""
    image = placed.image
    if not image.survey_columns and not image.extra_columns:
        return
    rows, sources = placed.rows[own], source_ids[own]
    survey = {name: _null_if_nan(values[rows]) for name, values in image.survey_columns.items()}
    load_survey_rows(connection, SURVEY_TABLE, sources, survey)
    extra = {name: ExtraColumn(_null_if_nan(values[rows])) for name, values in image.extra_columns.items()}
    load_extra_columns(connection, release_id, sources, extra, all_new=all_new)


def _null_if_nan(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ma.masked_invalid(values) if values.dtype.kind == "f" else values
