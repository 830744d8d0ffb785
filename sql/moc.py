"""Coverage of the sky as a Multi-Order Coverage map (MOC), and the forms that the standard gives it.

IVOA Recommendation "MOC: Multi-Order Coverage map", version 2.0 (Fernique et al. 2022): cells of HEALPix, nested
scheme, ICRS, in canonical form: ascending, and four siblings never stand for their parent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galbase.schema import __version__
from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import ORDER

if TYPE_CHECKING:
    from galbase.sql.query import ReleaseCredit

IntArray = npt.NDArray[np.int64]
SKY_DEG2 = 360.0**2 / np.pi
# The finest order whose NUNIQ numbers, less than 16 * 4^order, are 32-bit integers.
_LAST_32_BIT_ORDER = 13


@dataclass(frozen=True)
class Moc:
    """Cells of one order on the sky, and all that holds of them.

    Parameters
    ----------
    order : int
        HEALPix order of the map, 0 to 29: its resolution.
    ranges : ndarray of int64, shape (n_range, 2)
        Half-open ranges of hpx29, ascending, disjoint, not adjacent, of whole cells of that order.

    Raises
    ------
    GalbaseError
        If the order or the ranges are not such.
    """

    order: int
    ranges: IntArray

    def __post_init__(self) -> None:
        """Check what every form relies on."""
        if not 0 <= self.order <= ORDER:
            raise GalbaseError(f"HEALPix order {self.order} is outside [0, {ORDER}].")
        if self.ranges.ndim != 2 or self.ranges.shape[1] != 2:
            raise GalbaseError(f"ranges of shape {self.ranges.shape} are not pairs (n_range, 2).")
        ends = self.ranges.ravel()
        if len(ends) and (ends[0] < 0 or ends[-1] > 12 << 2 * ORDER or (np.diff(ends) <= 0).any()):
            raise GalbaseError(f"ranges must be ascending, disjoint and not adjacent, in [0, {12 << 2 * ORDER}].")
        if (ends & ((1 << self._shift) - 1)).any():
            raise GalbaseError(f"ranges must be of whole cells of order {self.order}.")

    @property
    def _shift(self) -> int:
        return 2 * (ORDER - self.order)

    @property
    def n_cell(self) -> int:
        """Number of cells of the map's order."""
        return int((np.diff(self.ranges, axis=1) >> self._shift).sum())

    @property
    def sky_fraction(self) -> float:
        """Covered part of the sky, 0 to 1."""
        return self.n_cell / (12 << 2 * self.order)

    @property
    def area_deg2(self) -> float:
        """Covered area in square degrees."""
        return float(self.sky_fraction * SKY_DEG2)

    def cells(self) -> dict[int, IntArray]:
        """Ranges of cells in canonical form, by order.

        Returns
        -------
        dict of int to ndarray of int64, shape (n, 2)
            Half-open ranges of HEALPix indices of that order, ascending; orders without a cell are left out.
        """
        start, stop = (self.ranges >> self._shift).T
        found: dict[int, IntArray] = {}
        for order in range(self.order, -1, -1):
            # What has no place in a whole parent stays at this order; the parents go on.
            parent_start, parent_stop = (start + 3) >> 2, stop >> 2
            whole = (parent_start < parent_stop) & (order > 0)
            left_stop = np.where(whole, parent_start << 2, stop)
            right_start = np.where(whole, parent_stop << 2, stop)
            pieces = np.concatenate([np.stack([start, left_stop], axis=1), np.stack([right_start, stop], axis=1)])
            pieces = pieces[pieces[:, 0] < pieces[:, 1]]
            if len(pieces):
                found[order] = pieces[np.argsort(pieces[:, 0])]
            start, stop = parent_start[whole], parent_stop[whole]
        return dict(sorted(found.items()))

    def uniq(self) -> IntArray:
        """NUNIQ numbers of the canonical cells, ascending: 4 * 4^order + index."""
        numbers = [(4 << 2 * order) + _expand(ranges) for order, ranges in self.cells().items()]
        return np.concatenate(numbers) if numbers else np.empty(0, dtype=np.int64)

    def to_ascii(self) -> str:
        """The map in the standard's ASCII form: ``order/index first-last ...``, one line an order."""
        lines = []
        cells = self.cells()
        for order, ranges in cells.items():
            items = (str(a) if b - a == 1 else f"{a}-{b - 1}" for a, b in ranges.tolist())
            lines.append(f"{order}/{' '.join(items)}")
        # The resolution is told apart where no cell does.
        if self.order not in cells:
            lines.append(f"{self.order}/")
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """The map in the JSON form that the standard suggests: an object of lists of indices by order."""
        lists = {str(order): _expand(ranges).tolist() for order, ranges in self.cells().items()}
        lists.setdefault(str(self.order), [])
        return json.dumps(lists) + "\n"


def _expand(ranges: IntArray) -> IntArray:
    """All indices of half-open ranges."""
    counts = ranges[:, 1] - ranges[:, 0]
    offsets = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(ranges[:, 0] - offsets, counts), dtype=np.int64)


def write_moc_fits(moc: Moc, path: Path, name: str, credits: Sequence[ReleaseCredit] = (), statement: str = "") -> None:
    """Write a map as a FITS file of the standard, in NUNIQ packaging, which readers of every version know.

    Parameters
    ----------
    moc : Moc
    path : Path
        File to write; one that exists is replaced.
    name : str
        What is covered.
    credits : sequence of ReleaseCredit
        Releases that the map was made of; their licence and citation stand in both headers.
    statement : str
        SQL that found the cells, for the comments.
    """
    from astropy.io import fits

    from galbase.sql.output_fits import ascii_text, credit_header

    letter = "J" if moc.order <= _LAST_32_BIT_ORDER else "K"
    table = fits.BinTableHDU.from_columns([fits.Column("UNIQ", format=f"1{letter}", array=moc.uniq())])
    cards = {
        "MOCVERS": ("2.0", "MOC standard version"),
        "MOCDIM": ("SPACE", "physical dimension"),
        "ORDERING": ("NUNIQ", "coding: 4 * 4^order + index"),
        "COORDSYS": ("C", "ICRS"),
        "MOCORD_S": (moc.order, "MOC resolution: best order"),
        "MOCORDER": (moc.order, "the same, for readers of MOC 1"),
        "MOCTYPE": ("CATALOG", "source type"),
        "MOCTOOL": (f"galbase {__version__}", "name of the MOC generator"),
        "DATE": (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] when the MOC was made"),
        "EXTNAME": (ascii_text(name), "what is covered"),
    }
    primary = fits.PrimaryHDU()
    table.header.update(cards)
    for header in (primary.header, table.header):
        credit_header(header, credits, statement)
    fits.HDUList([primary, table]).writeto(path, overwrite=True)
