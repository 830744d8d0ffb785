"""Network inputs of images that are registered in the archive: pixels from their files, targets from preprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ml.recipe import Recipe, prepare

if TYPE_CHECKING:
    import psycopg

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
    """

    observation_id: int
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool
    ellipse: Ellipse


@dataclass(frozen=True)
class ImageFile:
    """A file and the rows wanted of it, in order of row."""

    path: Path
    format: str
    rows: tuple[ImageRow, ...]


def image_files(
    connection: psycopg.Connection[Any], observation_id: Sequence[int], preprocess_config_id: int
) -> list[ImageFile]:
    """Files and rows of images that a preprocessing found a target in, in order of file and row."""
    rows = connection.execute(
        "SELECT f.data_file_id, d.path, f.path, f.format, o.observation_id, o.row_index, i.bands, "
        "i.pixel_scale_arcsec, i.is_display, p.ellipse_x, p.ellipse_y, p.ellipse_a, p.ellipse_b, p.ellipse_theta "
        "FROM archive.observation o JOIN archive.image i USING (observation_id) "
        "JOIN archive.preprocess p ON p.observation_id = o.observation_id AND p.preprocess_config_id = %s "
        "JOIN archive.data_file f ON f.data_file_id = o.data_file_id JOIN archive.data_root d USING (data_root_id) "
        "WHERE o.observation_id = ANY(%s) AND p.ellipse_a IS NOT NULL ORDER BY f.data_file_id, o.row_index",
        (preprocess_config_id, list(observation_id)),
    ).fetchall()
    files: dict[int, tuple[Path, str, list[ImageRow]]] = {}
    for file_id, root, path, fmt, observation, index, bands, scale, is_display, x, y, a, b, theta in rows:
        _, _, found = files.setdefault(file_id, (Path(root) / path, fmt, []))
        found.append(ImageRow(observation, index, tuple(bands), scale, is_display, Ellipse(x, y, a, b, theta)))
    return [ImageFile(path, fmt, tuple(found)) for path, fmt, found in files.values()]


def load_inputs(
    files: Sequence[ImageFile], config: PreprocessConfig, recipe: Recipe
) -> tuple[list[int], Float32, Float32]:
    """Read and prepare all rows of the files.

    Parameters
    ----------
    files : sequence of ImageFile
    config : PreprocessConfig
        Configuration the targets were found with.
    recipe : Recipe
        What the network is shown.

    Returns
    -------
    observation_id : list of int
        In order of file and row.
    image : (n, side, side, 3) float32
    scalar : (n, n_scalar) float32
        Raw, before the recipe's scaling.

    Raises
    ------
    GalbaseError
        If a file is missing or damaged.
    """
    ids: list[int] = []
    images: list[Float32] = []
    scalars: list[Float32] = []
    for file in files:
        for rows in _windows(file.rows):
            first = rows[0].row_index
            pixels = read_cutouts(file.path, file.format, first, rows[-1].row_index + 1).pixels
            for row in rows:
                image, scalar = prepare(
                    pixels[row.row_index - first],
                    row.bands,
                    row.pixel_scale_arcsec,
                    row.is_display,
                    row.ellipse,
                    config,
                    recipe,
                )
                ids.append(row.observation_id)
                images.append(image)
                scalars.append(scalar)
    side = config.stamp_px
    if not ids:
        return [], np.empty((0, side, side, 3), np.float32), np.empty((0, recipe.n_scalar), np.float32)
    return ids, np.stack(images), np.stack(scalars)


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
