"""Network inputs of images in the archive: stamps from the cache, or else made from the images' files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.preprocess.stamp_file import UnusableStampFileError, read_stamps
from galbase.ml.image_scalars import psf_scalars
from galbase.ml.recipe import Recipe, prepare, prepare_target

if TYPE_CHECKING:
    import psycopg

_log = logging.getLogger(__name__)
READ_ROWS = 128
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageRow:
    """An image in its file, with its target.

    Parameters
    ----------
    observation_id : int
    row_index : int
        Row in the file.
    bands : tuple of str
    pixel_scale_arcsec : float or None
        None where it is unknown.
    is_display : bool
    ellipse : Ellipse
        The target before enlargement.
    input_hash : str
        Of the verdict; a cached stamp must bear the same.
    psf_fwhm_arcsec : tuple of float or None, optional
        Width of the PSF in each band; None where it is not known.
    """

    observation_id: int
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool
    ellipse: Ellipse
    input_hash: str
    psf_fwhm_arcsec: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class CachedFile:
    """A file of the stamp cache, as recorded: path under the cache folder, and hash of its content."""

    path: str
    content_hash: str


@dataclass(frozen=True)
class ImageFile:
    """A file and the rows wanted of it, in order of row, with the cached files that may hold their stamps."""

    path: Path
    format: str
    rows: tuple[ImageRow, ...]
    cached: tuple[CachedFile, ...] = ()


@dataclass(frozen=True)
class LoadedInputs:
    """Network inputs of n images, in order of file and row.

    Parameters
    ----------
    observation_id : list of int
    image : (n, side, side, 3) float32
    scalar : (n, n_scalar) float32
        Raw, before the recipe's scaling.
    n_cached : int
        Images whose stamps came from the cache; those of the others were made anew.
    """

    observation_id: list[int]
    image: Float32
    scalar: Float32
    n_cached: int


def image_files(
    connection: psycopg.Connection[Any], observation_id: Sequence[int], preprocess_config_id: int
) -> list[ImageFile]:
    """Files and rows of images that a preprocessing found a target in, in order of file and row."""
    rows = connection.execute(
        "SELECT f.data_file_id, d.path, f.path, f.format, o.observation_id, o.row_index, i.bands, "
        "i.pixel_scale_arcsec, i.is_display, p.ellipse_x, p.ellipse_y, p.ellipse_a, p.ellipse_b, p.ellipse_theta, "
        "p.input_hash, i.psf_fwhm_arcsec "
        "FROM archive.observation o JOIN archive.image i USING (observation_id) "
        "JOIN archive.preprocess p ON p.observation_id = o.observation_id AND p.preprocess_config_id = %s "
        "JOIN archive.data_file f ON f.data_file_id = o.data_file_id JOIN archive.data_root d USING (data_root_id) "
        "WHERE o.observation_id = ANY(%s) AND p.ellipse_a IS NOT NULL ORDER BY f.data_file_id, o.row_index",
        (preprocess_config_id, list(observation_id)),
    ).fetchall()
    cached: dict[int, list[CachedFile]] = {}
    for file_id, path, digest in connection.execute(
        "SELECT data_file_id, path, content_hash FROM archive.stamp_file WHERE preprocess_config_id = %s "
        "AND data_file_id = ANY(%s) ORDER BY data_file_id, row_start",
        (preprocess_config_id, sorted({row[0] for row in rows})),
    ).fetchall():
        cached.setdefault(file_id, []).append(CachedFile(path, digest))
    files: dict[int, tuple[Path, str, list[ImageRow]]] = {}
    for file_id, root, path, fmt, observation, index, bands, scale, is_display, *axes, digest, psf in rows:
        _, _, found = files.setdefault(file_id, (Path(root) / path, fmt, []))
        widths = None if psf is None else tuple(psf)
        found.append(ImageRow(observation, index, tuple(bands), scale, is_display, Ellipse(*axes), digest, widths))
    return [
        ImageFile(path, fmt, tuple(found), tuple(cached.get(file_id, ())))
        for file_id, (path, fmt, found) in files.items()
    ]


def load_inputs(
    files: Sequence[ImageFile], config: PreprocessConfig, recipe: Recipe, cache: Path | None = None
) -> LoadedInputs:
    """Read and prepare all rows of the files.

    Cached files are read one after the other, each as a whole. What they do not hold, or hold of another verdict, is
    made from the images' files; the inputs are the same to the bit.

    Parameters
    ----------
    files : sequence of ImageFile
    config : PreprocessConfig
        Configuration the targets were found with.
    recipe : Recipe
        What the network is shown.
    cache : Path, optional
        The archive's cache folder; none when None.

    Raises
    ------
    GalbaseError
        If a file of images that are not cached is missing or damaged.
    """
    ids: list[int] = []
    images: list[Float32] = []
    scalars: list[Float32] = []
    n_cached = 0
    for file in files:
        # Without the shared folder a worker has no cache, which needs no warning a file.
        prepared = _from_cache(file, config, recipe, cache) if cache is not None and cache.is_dir() else {}
        n_cached += len(prepared)
        missing = [row for row in file.rows if row.row_index not in prepared]
        for rows in _windows(missing):
            first = rows[0].row_index
            pixels = read_cutouts(file.path, file.format, first, rows[-1].row_index + 1).pixels
            for row in rows:
                prepared[row.row_index] = prepare(
                    pixels[row.row_index - first],
                    row.bands,
                    row.pixel_scale_arcsec,
                    row.is_display,
                    row.ellipse,
                    config,
                    recipe,
                )
        for row in file.rows:
            image, scalar = prepared[row.row_index]
            if recipe.reads_psf:
                scalar = np.concatenate([scalar, psf_scalars(row.bands, row.psf_fwhm_arcsec, recipe.bands)])
            ids.append(row.observation_id)
            images.append(image)
            scalars.append(scalar)
    if not ids:
        side = recipe.side_px(config.stamp_px)
        return LoadedInputs(
            [], np.empty((0, side, side, 3), np.float32), np.empty((0, recipe.n_image_scalar), np.float32), 0
        )
    return LoadedInputs(ids, np.stack(images), np.stack(scalars), n_cached)


def _from_cache(
    file: ImageFile, config: PreprocessConfig, recipe: Recipe, cache: Path
) -> dict[int, tuple[Float32, Float32]]:
    """Prepared inputs of the rows whose stamps are cached, by row."""
    prepared: dict[int, tuple[Float32, Float32]] = {}
    for cached in file.cached:
        try:
            stamps = read_stamps(cache / cached.path, cached.content_hash)
        except UnusableStampFileError as error:
            # The stamps are made anew, which is slower and no less right.
            _log.warning("stamp cache: %s", error)
            continue
        for row in file.rows:
            target = stamps.find(row.row_index, row.input_hash)
            if target is not None:
                prepared[row.row_index] = prepare_target(target, config, recipe)
    return prepared


def _windows(rows: Sequence[ImageRow]) -> Iterator[tuple[ImageRow, ...]]:
    """Runs of rows that one read covers."""
    window: list[ImageRow] = []
    for row in rows:
        if window and row.row_index >= window[0].row_index + READ_ROWS:
            yield tuple(window)
            window = []
        window.append(row)
    if window:
        yield tuple(window)
