"""What a model reads of an observation: its image, its spectrum, or both, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ml.dataset import ImageFile, image_files, load_inputs
from galbase.ml.recipe import NONE, Recipe
from galbase.ml.spectra import SpectrumRow, load_spectra, spectrum_rows
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class InputFiles:
    """Where the inputs of observations are.

    Parameters
    ----------
    images : list of ImageFile
        Empty for a recipe without an image.
    spectra : dict of int to SpectrumRow
        By the observation that they are read for; empty for a recipe without a spectrum.
    """

    images: list[ImageFile]
    spectra: dict[int, SpectrumRow]


@dataclass(frozen=True)
class ModelInput:
    """Inputs of n observations before the recipe's scaling, in order of the files of their images (or spectra).

    Parameters
    ----------
    observation_id : list of int
    image : (n, side, side, 3) float32 or None
    spectrum : (n, n_wave, n_channel) float32 or None
    scalar : (n, n_scalar) float32
        The image's before the spectrum's.
    n_cached : int
        Images whose stamps came from the cache.
    """

    observation_id: list[int]
    image: Float32 | None
    spectrum: Float32 | None
    scalar: Float32
    n_cached: int


def find_input(
    connection: psycopg.Connection[Any],
    spectrum_of: Mapping[int, int | None],
    preprocess_config_id: int,
    recipe: Recipe,
) -> InputFiles:
    """Files and rows of the inputs of observations.

    Parameters
    ----------
    connection : psycopg.Connection
    spectrum_of : mapping of int to int or None
        Observations to read, each with the spectrum to read for it, itself where it is a spectrum; None where the
        recipe has none.
    preprocess_config_id : int
        Preprocessing that the images' targets were found with.
    recipe : Recipe

    Raises
    ------
    GalbaseError
        If a spectrum is wanted and not there.
    """
    images = image_files(connection, list(spectrum_of), preprocess_config_id) if recipe.kind != NONE else []
    if recipe.spectrum == NONE:
        return InputFiles(images, {})
    wanted = [each for each in spectrum_of.values() if each is not None]
    rows = {row.observation_id: row for row in spectrum_rows(connection, wanted)}
    missing = [key for key, each in spectrum_of.items() if each is None or each not in rows]
    if missing:
        raise GalbaseError(
            f"observation {missing[0]} and {len(missing) - 1} others have no spectrum in the archive, which this "
            "recipe reads; ingest the spectra, or use a family that reads images alone."
        )
    # In order of file, so that nothing jumps about on the disk.
    place = {observation: number for number, observation in enumerate(rows)}
    ordered = sorted(spectrum_of, key=lambda key: place[spectrum_of[key] or 0])
    return InputFiles(images, {key: rows[spectrum_of[key] or 0] for key in ordered})


def load_input(files: InputFiles, config: PreprocessConfig, recipe: Recipe, cache: Path | None = None) -> ModelInput:
    """Read and prepare the inputs; parameters as of `dataset.load_inputs`.

    Raises
    ------
    GalbaseError
        If a file is missing or damaged.
    """
    if recipe.kind != NONE:
        images = load_inputs(files.images, config, recipe, cache)
        ids, image, scalar, n_cached = images.observation_id, images.image, images.scalar, images.n_cached
    else:
        ids, image, n_cached = list(files.spectra), None, 0
        scalar = np.empty((len(ids), 0), np.float32)
    if recipe.spectrum == NONE:
        return ModelInput(ids, image, None, scalar, n_cached)
    planes, numbers = load_spectra([files.spectra[each] for each in ids], recipe.spectrum)
    return ModelInput(ids, image, planes, np.concatenate([scalar, numbers], axis=1), n_cached)
