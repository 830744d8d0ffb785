"""Where the galaxies of a simulated survey lie: drawn block by block, and yet never within 60 arcsec of another.

The footprint is a list of HEALPix cells of order 5. Each galaxy has a cell of order 10 (206 arcsec) to itself, found
by a keyed permutation of all cells, so that block n knows its galaxies' cells without knowing the other blocks'. One in
six galaxies, those in dense surroundings, live in groups of eight in the middle 4 x 4 cells of a cell of order 7, the
others in the cells around; a galaxy keeps a fifth of the cell's side from its border.
"""

from functools import lru_cache

import healpy
import numpy as np
from numpy.typing import NDArray

from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_SEPARATION_ARCSEC = 60.0
MIN_CELLS = 180
SKIES = ("main", "pretraining")
MAX_GALAXIES_PER_CELL = 600
GROUP_SIZE = 8
# groups a block may have; members beyond them lie in the field. 64 of 2560 rows: 15 groups a full order-5 cell of 16
_GROUPS_PER_ROW = 1 / 40
_ORDER, _GROUP_ORDER, _CELL_ORDER = 5, 7, 10
_SIDE = 1 << (_CELL_ORDER - _GROUP_ORDER)
_MARGIN = 0.2
_BITS = 12
_MAX_DEC = 70.0
_MIN_GALACTIC = 20.0

# RA from, RA to, Dec from, Dec to [deg]: filled first; the first crosses RA 0
STRIPS = (
    (348.0, 372.0, -3.0, 3.0), (140.0, 184.0, 0.0, 6.0), (120.0, 152.0, 25.0, 31.0), (30.0, 54.0, -9.0, -2.0),
    (186.0, 236.0, 6.0, 26.0), (140.0, 184.0, 6.0, 24.0), (20.0, 60.0, 3.0, 30.0), (300.0, 346.0, -30.0, 0.0),
)  # fmt: skip


@lru_cache(maxsize=1)
def _all_cells() -> IntArray:
    """Order-5 cells in the order in which they are taken: the strips, then the rest off the Galactic plane."""
    every = np.arange(healpy.nside2npix(1 << _ORDER))
    ra, dec = healpy.pix2ang(1 << _ORDER, every, nest=True, lonlat=True)
    # sine of the Galactic latitude: the pole lies at 192.859, 27.128 (J2000)
    pole = np.radians(27.128336)
    sine = np.sin(np.radians(dec)) * np.sin(pole)
    sine += np.cos(np.radians(dec)) * np.cos(pole) * np.cos(np.radians(ra - 192.859508))
    rank = np.where((np.abs(sine) > np.sin(np.radians(_MIN_GALACTIC))) & (np.abs(dec) < _MAX_DEC), len(STRIPS), 99)
    for number, (r0, r1, d0, d1) in reversed(list(enumerate(STRIPS))):
        inside = (np.mod(ra - r0, 360) < r1 - r0) & (dec >= d0) & (dec <= d1)
        rank[inside] = number
    order = np.lexsort((every, rank))
    cells: IntArray = order[rank[order] < 99]
    return cells


def footprint(size: int, sky: str = "main") -> IntArray:
    """Order-5 cells that a survey of some size covers.

    Parameters
    ----------
    size : int
        Number of galaxies.
    sky : {'main', 'pretraining'}
        Two thirds of the sky, filled from the strips on, or the other third, so that what a network was pretrained on
        is nowhere near what it is tested on.

    Raises
    ------
    GalbaseError
        If that sky is not large enough, or there is no such one.
    """
    if sky not in SKIES:
        raise GalbaseError(f"sky {sky!r}: name one of {', '.join(SKIES)}.")
    cells = _all_cells()
    border = 2 * len(cells) // 3
    own = cells[:border] if sky == "main" else cells[border:]
    needed = max(MIN_CELLS, -(-size // MAX_GALAXIES_PER_CELL))
    if needed > len(own):
        raise GalbaseError(
            f"A simulated survey of {size} galaxies does not fit the {sky} sky off the Galactic plane; ask for at most "
            f"{len(own) * MAX_GALAXIES_PER_CELL}, or make several with different seeds."
        )
    return own[:needed]


def permuted(index: IntArray, length: int, key: int) -> IntArray:
    """A permutation of range(length), by a four-round Feistel network and walking cycles until inside.

    Parameters
    ----------
    index : (n,) int64
        In range(length).
    length : int
        Below 2^48.
    key : int
        Which permutation.
    """
    half = max(1, -(-int(length - 1).bit_length() // 2))
    mask = np.uint64((1 << half) - 1)
    keys = np.random.default_rng([key, 13]).integers(1, 2**63, 4).astype(np.uint64)
    value = np.array(index, np.uint64)
    outside = np.ones(len(value), bool)
    while outside.any():
        now = value[outside]
        left, right = now >> np.uint64(half), now & mask
        for k in keys:
            mixed = (right + k) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        value[outside] = (left << np.uint64(half)) | right
        outside = value >= np.uint64(length)
    return value.astype(np.int64)


def _cells_of(cells: IntArray, rows: IntArray, block_rows: int, grouped: NDArray[np.bool_], seed: int) -> IntArray:
    """Order-10 cells of the galaxies of one block."""
    n_super = len(cells) << (2 * (_GROUP_ORDER - _ORDER))
    inner = np.array([y * _SIDE + x for y in range(2, 6) for x in range(2, 6)])
    outer = np.setdiff1d(np.arange(_SIDE * _SIDE), inner)
    cell = np.empty(len(rows), np.int64)

    per_block = max(1, int(block_rows * _GROUPS_PER_ROW))
    grouped = grouped & (np.cumsum(grouped) <= per_block * GROUP_SIZE)
    field = np.flatnonzero(~grouped)
    place = permuted(rows[field], n_super * len(outer), 2 * seed)
    cell[field] = _within(cells, place // len(outer), outer[place % len(outer)])

    member = np.flatnonzero(grouped)
    block = int(rows[0]) // block_rows
    number = block * per_block + np.arange(len(member)) // GROUP_SIZE
    slot = np.random.default_rng([seed, 14, block]).permuted(np.tile(np.arange(16), (per_block, 1)), axis=1)
    group = permuted(number, n_super, 2 * seed + 1)
    inside = slot[np.arange(len(member)) // GROUP_SIZE, np.arange(len(member)) % GROUP_SIZE]
    cell[member] = _within(cells, group, inner[inside])
    return cell


def _within(cells: IntArray, group: IntArray, place: IntArray) -> IntArray:
    """Order-10 cell at row and column `place` of the group-th order-7 cell of the footprint."""
    per_cell = 1 << (2 * (_GROUP_ORDER - _ORDER))
    parent = cells[group // per_cell] * per_cell + group % per_cell
    x, y, face = healpy.pix2xyf(1 << _GROUP_ORDER, parent, nest=True)
    column, row = x * _SIDE + place % _SIDE, y * _SIDE + place // _SIDE
    result: IntArray = healpy.xyf2pix(1 << _CELL_ORDER, column, row, face, nest=True)
    return result


def draw_positions(
    cells: IntArray, rows: IntArray, block_rows: int, grouped: NDArray[np.bool_], seed: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Positions of the galaxies of one block.

    Parameters
    ----------
    cells : (n_cell,) int64
        The survey's `footprint`.
    rows : (n,) int64
        Rows of this block's galaxies in the survey.
    block_rows : int
        Rows of a whole block.
    grouped : (n,) bool
        Members of groups.
    seed : int
        Seed of the survey.
    rng : numpy.random.Generator
        This block's generator.

    Returns
    -------
    ra, dec : (n,) float64
        [deg]
    """
    return positions_in(_cells_of(cells, rows, block_rows, grouped, seed), rng)


def positions_in(cell: IntArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A position [deg] in each of some order-10 cells, away from its border."""
    x, y, face = healpy.pix2xyf(1 << _CELL_ORDER, cell, nest=True)
    fine = 1 << _BITS
    shift = np.floor((_MARGIN + (1 - 2 * _MARGIN) * rng.random((2, len(cell)))) * fine).astype(np.int64)
    nside = 1 << (_CELL_ORDER + _BITS)
    pixel = healpy.xyf2pix(nside, x * fine + shift[0], y * fine + shift[1], face, nest=True)
    ra, dec = healpy.pix2ang(nside, pixel, nest=True, lonlat=True)
    return ra, dec
