"""Batches of stamps for training: as `galbase.ml.batches`, and what turns a stamp turns its PSF and its vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras
from galbase.ml.batches import turned
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.inputs import Inputs, network_inputs
from galbase.ml.sersic.vector import turned_vectors
from galbase.ml.stamps.shard import Stamps


class StampBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Full batches in a new order each epoch, made from raw stamps one batch at a time.

    Parameters
    ----------
    stamps : Stamps
        With column ``sky_sigma``.
    label : (n, 7) float64
        In the properties' units.
    rows : (n_row,) int
        Stamps of the split.
    scaler : LabelScaler
    mode : str
    batch_size, seed : int
    augment : bool
        Turn each batch by one random element of the square's group; for labels that are vectors only.
    shuffle : bool
    """

    def __init__(
        self, stamps: Stamps, label: npt.NDArray[np.float64], rows: npt.NDArray[np.intp], scaler: LabelScaler,
        mode: str, batch_size: int, seed: int, *, augment: bool, shuffle: bool,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False)
        self._stamps, self._label, self._rows, self._scaler = stamps, label, rows, scaler
        self._mode, self._batch_size = mode, min(batch_size, len(rows))
        self._seed, self._augment, self._shuffle, self._epoch = seed, augment, shuffle, 0
        self._order = self._drawn()

    def _drawn(self) -> npt.NDArray[np.intp]:
        if not self._shuffle:
            return self._rows
        return np.random.default_rng((self._seed, self._epoch)).permutation(self._rows)

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return len(self._rows) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Inputs, npt.NDArray[Any]]:
        """Batch `index` of the epoch."""
        # in order of the file within a batch: rows nearby in memory are read together
        rows = np.sort(self._order[index * self._batch_size : (index + 1) * self._batch_size])
        sky_sigma = self._stamps.column["sky_sigma"][rows]
        inputs = network_inputs(self._mode, self._stamps.image[rows], self._stamps.psf[rows], sky_sigma)
        label = self._label[rows]
        if self._augment:
            element = int(np.random.default_rng((self._seed, self._epoch, index)).integers(8))
            inputs["image"], inputs["psf"] = turned(inputs["image"], element), turned(inputs["psf"], element)
            label = np.asarray(turned_vectors(label, element), np.float64)
        return inputs, self._scaler.scale(label).astype(np.float32)

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self._epoch += 1
        self._order = self._drawn()
