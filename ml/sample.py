"""Arrays of a frozen training set: what a network learns from and is scored on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.model_input import find_input, load_input
from galbase.ml.photometry import photometry
from galbase.ml.recipe import NONE, Recipe
from galbase.ml.splits import SPLITS, sky_block
from galbase.ml.training_set import TrainingSet, members

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """Arrays of a training set, in order of file and row.

    Parameters
    ----------
    observation_id : (n,) int64
        Images.
    predicted_id : (n,) int64
        Observations that predictions belong to: the spectra, for a recipe without an image.
    split : (n,) str
    block : (n,) int64
        Patch of sky.
    label : (n, n_property) float64
    image : (n, side, side, 3) float32 or None
    spectrum : (n, n_wave, n_channel) float32 or None
    scalar : (n, n_scalar) float32
        Raw, the image's before the spectrum's.
    feature : (n, n_feature) float64 or None
        Catalogue features for the baselines.
    n_cached : int
        Images whose stamps came from the cache.
    """

    observation_id: npt.NDArray[np.int64]
    predicted_id: npt.NDArray[np.int64]
    split: npt.NDArray[np.str_]
    block: npt.NDArray[np.int64]
    label: Array
    image: Float32 | None
    spectrum: Float32 | None
    scalar: Float32
    feature: Array | None
    n_cached: int = 0

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Positions of a split's rows."""
        return np.flatnonzero(self.split == split)

    def digest(self) -> str:
        """SHA-256 over all arrays: what is learned from, in its order."""
        whole = hashlib.sha256()
        for field in fields(self):
            array = getattr(self, field.name)
            if isinstance(array, np.ndarray):
                whole.update(f"{field.name} {array.dtype} {array.shape}\n".encode())
                whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()


def load_sample(connection: Any, training_set: TrainingSet, recipe: Recipe, cache: Path | None = None) -> Sample:
    """Read labels, stamps and catalogue features of a training set; members on the seam are left out."""
    images, split = members(connection, training_set)
    used = {image.observation_id: (image, part) for image, part in zip(images, split, strict=True) if part in SPLITS}
    spectrum_of = {key: image.spectrum_observation_id for key, (image, _) in used.items()}
    files = find_input(connection, spectrum_of, training_set.preprocess_config_id, recipe)
    loaded = load_input(files, training_set.preprocess, recipe, cache)
    found = [used[each] for each in loaded.observation_id]
    predicted = [image.observation_id if recipe.kind != NONE else image.spectrum_observation_id for image, _ in found]
    return Sample(
        observation_id=np.array(loaded.observation_id, dtype=np.int64),
        predicted_id=np.array(predicted, dtype=np.int64),
        split=np.array([part for _, part in found], dtype=np.str_),
        block=sky_block([image.ra for image, _ in found], [image.dec for image, _ in found]),
        label=np.array([image.label for image, _ in found], dtype=np.float64),
        image=loaded.image,
        spectrum=loaded.spectrum,
        scalar=loaded.scalar,
        feature=photometry(connection, loaded.observation_id),
        n_cached=loaded.n_cached,
    )
