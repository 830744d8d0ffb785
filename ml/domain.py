"""Whether an image resembles what the network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

N_NEIGHBOUR = 5
N_REFERENCE = 4096
PERCENTILE = 99.0
Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Domain:
    """The part of embedding space that the training set fills.

    Parameters
    ----------
    reference : (n, dim) float32
        Normalised embeddings of training images, at most 4096 of them.
    threshold : float
        Mean cosine distance to the 5 nearest of `reference` that 99 % of the calibration split keep within.
    """

    reference: Embedding
    threshold: float

    @classmethod
    def fit(cls, train: Embedding, calibration: Embedding) -> Domain:
        """Take evenly spaced training rows as reference and the threshold from unseen rows of the same population."""
        usable = train[np.isfinite(train).all(axis=1)]
        step = max(1, -(-len(usable) // N_REFERENCE))
        reference = np.ascontiguousarray(usable[::step])
        distance = neighbour_distance(calibration, reference)
        return cls(reference, float(np.percentile(distance[np.isfinite(distance)], PERCENTILE)))

    def outside(self, embedding: Embedding) -> npt.NDArray[np.bool_]:
        """Whether each embedding ``(n, dim)`` lies outside; those that are not usable do."""
        return ~(neighbour_distance(embedding, self.reference) <= self.threshold)


def neighbour_distance(embedding: Embedding, reference: Embedding) -> npt.NDArray[np.float64]:
    """Mean cosine distance of each normalised row to its 5 nearest rows of `reference`; NaN for unusable rows."""
    result = np.full(len(embedding), np.nan)
    k = min(N_NEIGHBOUR, len(reference))
    for index, row in enumerate(embedding):  # row by row: a matrix product's rounding would depend on the batch
        if np.isfinite(row).all():
            distance = 1.0 - np.einsum("ij,j->i", reference, row).astype(np.float64)
            result[index] = np.partition(distance, k - 1)[:k].mean()
    return result
