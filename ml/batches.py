"""Batches for training: shuffled and augmented from the seed, the epoch and the batch number alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras

Inputs = dict[str, npt.NDArray[np.float32]]


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Full batches of a training split in a new order each epoch; the remainder waits for another epoch's order.

    Parameters
    ----------
    inputs : dict of str to (n, ...) ndarray
        Inputs of the network; ``image`` is ``(n, ny, nx, n_band)``.
    label : (n, n_property) ndarray
        Scaled labels.
    batch_size : int
        Rows of a batch, at most n.
    seed : int
        Seed of order and augmentation.
    augment : bool
        Apply one random element of the square's symmetry group D4 to the images of each batch, if it has any: turning
        the sky does not change a galaxy. One an entire batch, since a copy an image costs more than it brings.
    weight : (n,) ndarray, optional
        Of each row in the loss; all the same when None.

    On the TensorFlow backend Keras reads it through a prefetching `tf.data.Dataset`.
    """

    def __init__(
        self, inputs: Inputs, label: npt.NDArray[np.float32], batch_size: int, seed: int, augment: bool,
        weight: npt.NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False)
        self._inputs, self._label, self._weight = inputs, label, weight
        self._batch_size = min(batch_size, len(label))
        self._seed, self._augment, self._epoch = seed, augment, 0
        self._order = self._shuffled()

    def _shuffled(self) -> npt.NDArray[np.intp]:
        return np.random.default_rng((self._seed, self._epoch)).permutation(len(self._label))

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return len(self._label) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Batch `index` of the epoch: inputs, labels and, where there are some, weights."""
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        batch = {name: values[rows] for name, values in self._inputs.items()}
        if self._augment and "image" in batch:
            rng = np.random.default_rng((self._seed, self._epoch, index))
            batch["image"] = turned(batch["image"], int(rng.integers(8)))
        if self._weight is None:
            return batch, self._label[rows]
        return batch, self._label[rows], self._weight[rows]

    @property
    def epoch(self) -> int:
        """Number of the epoch that decides order and augmentation."""
        return self._epoch

    def begin(self, epoch: int) -> None:
        """Draw the order of an epoch."""
        self._epoch = epoch
        self._order = self._shuffled()

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.begin(self._epoch + 1)


def turned(images: npt.NDArray[Any], element: int) -> npt.NDArray[Any]:
    """Images ``(n, ny, nx, n_band)`` under element 0 to 7 of D4: quarter turns, then a mirror image."""
    rotated = np.rot90(images, element % 4, axes=(1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if element >= 4 else rotated)
