"""Whether an image resembles what the network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

N_NEIGHBOUR = 5
N_REFERENCE = 4096
PERCENTILE = 99.0
PSF_PERCENTILES = (0.1, 99.9)
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
    psf_range : (2, 3) float64, optional
        Narrowest and widest PSF [arcsec] of each plane that the network has seen, 0.1 % of the training split on either
        side left out; None for networks that are not told the PSF. A robust embedding does not tell how blurred an
        image is, and what a network makes of widths that it never saw is a guess.
    """

    reference: Embedding
    threshold: float
    psf_range: npt.NDArray[np.float64] | None = None

    @classmethod
    def fit(cls, train: Embedding, calibration: Embedding, psf: npt.NDArray[np.float32] | None = None) -> Domain:
        """Take training rows as reference and the threshold from unseen rows of the same population.

        Parameters
        ----------
        train, calibration : (n, dim) float32
            Of the training split those of `evenly_spaced`.
        psf : (n, 3) float32, optional
            Widths of the PSF of all training rows; NaN for unknown.
        """
        reference = np.ascontiguousarray(train[np.isfinite(train).all(axis=1)])
        distance = neighbour_distance(calibration, reference)
        threshold = float(np.percentile(distance[np.isfinite(distance)], PERCENTILE))
        if psf is None or not np.isfinite(psf).any(axis=0).all():
            return cls(reference, threshold)
        return cls(reference, threshold, np.nanpercentile(psf.astype(np.float64), PSF_PERCENTILES, axis=0))

    def outside(self, embedding: Embedding, psf: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.bool_]:
        """Whether each row lies outside, by its embedding ``(n, dim)`` or by its PSF ``(n, 3)`` [arcsec].

        Embeddings that are not usable do; a width that is not known does not, and has a flag of its own.
        """
        outside = ~(neighbour_distance(embedding, self.reference) <= self.threshold)
        if self.psf_range is not None and psf is not None:
            low, high = self.psf_range
            outside |= ((psf < low) | (psf > high)).any(axis=1)
        return outside


def evenly_spaced(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """At most 4096 of some rows, those that a `Domain` keeps as reference: no others need an embedding."""
    return rows[:: max(1, -(-len(rows) // N_REFERENCE))]


def neighbour_distance(embedding: Embedding, reference: Embedding) -> npt.NDArray[np.float64]:
    """Mean cosine distance of each normalised row to its 5 nearest rows of `reference`; NaN for unusable rows."""
    result = np.full(len(embedding), np.nan)
    k = min(N_NEIGHBOUR, len(reference))
    for index, row in enumerate(embedding):  # row by row: a matrix product's rounding would depend on the batch
        if np.isfinite(row).all():
            distance = 1.0 - np.einsum("ij,j->i", reference, row).astype(np.float64)
            result[index] = np.partition(distance, k - 1)[:k].mean()
    return result
