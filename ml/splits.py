"""Splits by sky: whole HEALPix blocks of order 5, with a seam of 60 arcsec that belongs to no split.

The split of a block depends on the seed and the block alone. Two training sets with one seed therefore never hold
the same sky in different splits, whatever their selections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import ORDER, hpx29

SPLITS = ("train", "validation", "calibration", "test")
NO_SPLIT = "none"
FRACTIONS: Mapping[str, float] = {"train": 0.55, "validation": 0.08, "calibration": 0.185, "test": 0.185}
BLOCK_ORDER = 5
SEAM_ARCSEC = 60.0
_PARENT_ORDER = 3
_OVERSAMPLING = 4096  # the disc cover overshoots by a cell of order 5 + 12, 1.6 arcsec, and never falls short


def sky_block(ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """HEALPix nested pixel of order 5 (1.8 degrees) of positions in degrees."""
    return hpx29(ra, dec) >> 2 * (ORDER - BLOCK_ORDER)


def block_split(block: int, seed: int, fractions: Mapping[str, float] = FRACTIONS) -> str:
    """Split of one block.

    The 16 blocks of an order-3 pixel are put in random order and the splits take their shares of that order, so
    that every patch of 7 degrees has close to the wanted fractions; independent draws would miss them by 4 % on a
    hundred blocks.

    Parameters
    ----------
    block : int
        HEALPix nested pixel of order 5.
    seed : int
        Seed of the split.
    fractions : mapping
        Share of each split; they must sum to one.

    Raises
    ------
    GalbaseError
        If the fractions are negative or do not sum to one.
    """
    shares = np.array(list(fractions.values()), dtype=np.float64)
    if (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise GalbaseError(f"split fractions {dict(fractions)} must be non-negative and sum to one.")
    shift = 2 * (BLOCK_ORDER - _PARENT_ORDER)
    n_child = 1 << shift
    parent, child = block >> shift, block & (n_child - 1)
    digest = hashlib.sha256(f"galbase split {seed} {parent}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    rank = rng.permutation(n_child)[child]
    position = (rank + rng.random(n_child)[child]) / n_child
    index = int(np.searchsorted(np.cumsum(shares), position, side="right"))
    return list(fractions)[min(index, len(shares) - 1)]


def split_by_sky(
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    group: npt.ArrayLike,
    seed: int,
    fractions: Mapping[str, float] = FRACTIONS,
) -> npt.NDArray[np.str_]:
    """Split of each object.

    An object within 60 arcsec of a block of another split is in no split. All objects of a duplicate group follow
    the group's first object, unless they are themselves that near to another split's block: then they are in none.

    Parameters
    ----------
    ra, dec : (n,) array_like of float
        Positions, degrees.
    group : (n,) array_like of int
        Duplicate group of each object, such as its galaxy.
    seed : int
        Seed of the split.
    fractions : mapping
        Share of each split of the sky.

    Returns
    -------
    (n,) ndarray of str
        A key of `fractions`, or ``none``.

    Raises
    ------
    GalbaseError
        If a position is not on the sky or the fractions are not fractions.
    """
    import healpy

    ra_deg = np.atleast_1d(np.asarray(ra, dtype=np.float64))
    dec_deg = np.atleast_1d(np.asarray(dec, dtype=np.float64))
    groups = np.atleast_1d(np.asarray(group))
    blocks = sky_block(ra_deg, dec_deg)
    vectors = np.atleast_2d(healpy.ang2vec(ra_deg, dec_deg, lonlat=True))
    radius = np.radians(SEAM_ARCSEC / 3600)
    known: dict[int, str] = {}

    def split_of(block: int) -> str:
        if block not in known:
            known[block] = block_split(block, seed, fractions)
        return known[block]

    touched = [
        {
            split_of(int(near))
            for near in healpy.query_disc(
                1 << BLOCK_ORDER, vector, radius, inclusive=True, fact=_OVERSAMPLING, nest=True
            )
        }
        for vector in vectors
    ]
    own = np.array(
        [
            split_of(int(block)) if near <= {split_of(int(block))} else NO_SPLIT
            for block, near in zip(blocks, touched, strict=True)
        ],
        dtype=np.str_,
    )
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    followed = own[first][inverse]
    return np.where(followed == own, followed, NO_SPLIT).astype(np.str_)
