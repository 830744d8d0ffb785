"""Blank sky for Sersic stamps: patches free of sources, cut from survey frames, or simulated noise.

A frame is divided into blocks of 135 px, each of which belongs to one split, so that no pixel of a background is
in the training set and in the test set. Within a block a patch may start at any pixel where no source lies in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.noise import SIDE_TAP, sky_noise
from galbase.ml.stamps.frame import Frame
from galbase.ml.stamps.parameters import SPLIT_SHARE, SPLITS, STAMP_PX, StampParameters
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

# below this a network would see the same few noise patterns again and again
MIN_PATCHES = 12
_BLOCK_PX = 135
_N_ORIENTATION = 8


@dataclass(frozen=True, eq=False)
class BackgroundDraw:
    """Backgrounds of some stamps and where they come from; arrays are (m,) unless said otherwise.

    Attributes
    ----------
    image : (m, 61, 61) float32
        Sky-subtracted background [image unit].
    sigma : float64
        Noise a pixel [image unit].
    frame : int64
        Frame, -1 for simulated noise.
    x, y : int64
        First column and row of the patch in its frame, from 0; -1 for simulated noise.
    orientation : int64
        0-3 quarter turns, plus 4 where mirrored first; 0 for simulated noise.
    """

    image: Float32Array
    sigma: FloatArray
    frame: IntArray
    x: IntArray
    y: IntArray
    orientation: IntArray


class SimulatedSky:
    """Gaussian sky noise as a coadd has it; its depth varies from stamp to stamp."""

    kind = "simulated"

    def __init__(self, parameters: StampParameters) -> None:
        self._parameters = parameters

    def draw(self, rng: np.random.Generator, split: IntArray) -> BackgroundDraw:
        """Backgrounds of stamps of the given splits."""
        m = len(split)
        p = self._parameters
        sigma = p.sky_sigma * 10 ** (0.4 * p.sky_sigma_scatter_mag * rng.standard_normal(m))
        none = np.full(m, -1)
        # correlation takes part of the white noise's variance from single pixels
        white = sigma / ((1 - 2 * SIDE_TAP) ** 2 + 2 * SIDE_TAP**2)
        return BackgroundDraw(sky_noise(rng, white, STAMP_PX), sigma, none, none, none, np.zeros(m, np.int64))


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Free patch positions by split: frame, x and y of each."""

    frame: IntArray
    x: IntArray
    y: IntArray


class BlankSky:
    """Patches without sources from survey frames.

    Parameters
    ----------
    frames : sequence of Frame
    seed : int
        Decides which blocks go to which split.
    min_patches : int
        Fewest patches that do not overlap.

    Raises
    ------
    GalbaseError
        If the frames give too few patches.
    """

    kind = "real"

    def __init__(self, frames: Sequence[Frame], seed: int, min_patches: int = MIN_PATCHES) -> None:
        self._frames = list(frames)
        blocks = [block for number, frame in enumerate(frames) for block in _free_blocks(number, frame)]
        self.n_patches = sum(count for _, count in blocks)
        names = ", ".join(frame.name for frame in frames)
        if self.n_patches < min_patches or len(blocks) < len(SPLITS):
            raise GalbaseError(
                f"{names}: {self.n_patches} patches of {STAMP_PX}x{STAMP_PX} px without sources in {len(blocks)} "
                f"separate blocks; at least {max(min_patches, 1)} patches in {len(SPLITS)} blocks are needed. Give "
                "more or emptier frames."
            )
        order = np.random.default_rng([seed, 31]).permutation(len(blocks))
        split = _assign(np.array([blocks[k][1] for k in order]))
        self._parts = []
        self.patches_by_split = {}
        for number, name in enumerate(SPLITS):
            mine = [blocks[k] for k, s in zip(order, split, strict=True) if s == number]
            self._parts.append(
                _Blocks(*(np.concatenate([getattr(b, axis) for b, _ in mine]) for axis in ("frame", "x", "y")))
            )
            self.patches_by_split[name] = sum(count for _, count in mine)

    def draw(self, rng: np.random.Generator, split: IntArray) -> BackgroundDraw:
        """Backgrounds of stamps of the given splits, each from its own split's blocks."""
        m = len(split)
        size = np.array([len(part.x) for part in self._parts])
        pick = (rng.random(m) * size[split]).astype(np.int64)
        orientation = rng.integers(_N_ORIENTATION, size=m)
        image = np.empty((m, STAMP_PX, STAMP_PX), np.float32)
        sigma, frame, x, y = np.empty(m), np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
        for row in range(m):
            part = self._parts[split[row]]
            frame[row], x[row], y[row] = part.frame[pick[row]], part.x[pick[row]], part.y[pick[row]]
            source = self._frames[frame[row]]
            window = (slice(y[row], y[row] + STAMP_PX), slice(x[row], x[row] + STAMP_PX))
            image[row] = oriented(source.data[window], int(orientation[row]))
            sigma[row] = float(np.median(source.rms[window]))
        return BackgroundDraw(image, sigma, frame, x, y, orientation)


def oriented(patch: Float32Array, orientation: int) -> Float32Array:
    """A patch turned by `orientation` modulo 4 quarter turns, mirrored in x first from 4 on."""
    mirrored = patch[:, ::-1] if orientation >= 4 else patch
    return np.rot90(mirrored, orientation % 4)


def _assign(count: IntArray) -> IntArray:
    """Split of each block: each in turn goes where the share of patches falls shortest of its aim."""
    held = np.zeros(len(SPLITS))
    split = np.empty(len(count), np.int64)
    for k, n in enumerate(count):
        # the first blocks fill every split once
        short = held / np.array(SPLIT_SHARE)
        split[k] = k if k < len(SPLITS) else int(short.argmin())
        held[split[k]] += n
    return split


def _free_blocks(number: int, frame: Frame) -> list[tuple[_Blocks, int]]:
    """Blocks of a frame with their free positions and their number of patches that do not overlap."""
    total = np.zeros((frame.covered.shape[0] + 1, frame.covered.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(frame.covered, axis=0, dtype=np.int32), axis=1, out=total[1:, 1:])
    s = STAMP_PX
    free = total[s:, s:] - total[:-s, s:] - total[s:, :-s] + total[:-s, :-s] == 0
    found = []
    ny, nx = frame.covered.shape
    rows, columns = _edges(ny), _edges(nx)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            inside = free[top : bottom - s + 1, left : right - s + 1]
            y, x = np.nonzero(inside)
            if len(x):
                block = _Blocks(np.full(len(x), number), x.astype(np.int64) + left, y.astype(np.int64) + top)
                found.append((block, _disjoint(x, y)))
    return found


def _edges(length: int) -> list[int]:
    """Edges of equal blocks of at least `_BLOCK_PX`, or of one stamp where the frame is smaller than three."""
    n = max(length // _BLOCK_PX, min(length // STAMP_PX, len(SPLITS)))
    return [round(k * length / n) for k in range(n + 1)]


def _disjoint(x: IntArray, y: IntArray) -> int:
    """How many of these patches fit without overlap, taken greedily in reading order."""
    count = 0
    left = np.ones(len(x), bool)
    while left.any():
        first = int(left.argmax())
        count += 1
        left &= (np.abs(x - x[first]) >= STAMP_PX) | (np.abs(y - y[first]) >= STAMP_PX)
    return count
