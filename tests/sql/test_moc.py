"""MOCs against mocpy, which is made by the authors of the standard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC

from galbase.schema.errors import GalbaseError
from galbase.sql.moc import Moc, write_moc_fits
from galbase.sql.query import ReleaseCredit
from tests.sql.conftest import awkward_positions

WHOLE_SKY = 12 << 58


def ranges_of(cells: Any, order: int) -> Any:
    """Half-open hpx29 ranges of cells, by brute force."""
    made: list[list[int]] = []
    for cell in sorted({int(cell) for cell in cells}):
        if made and made[-1][1] == cell:
            made[-1][1] = cell + 1
        else:
            made.append([cell, cell + 1])
    return np.array(made, dtype=np.int64).reshape(-1, 2) << (2 * (29 - order))


def all_equal(moc: Moc, wanted: MOC, folder: Path) -> None:
    """The map in each of its forms is the one wanted, order included."""
    path = folder / "moc.fits"
    write_moc_fits(moc, path, "test")
    read = [
        MOC.from_fits(path), MOC.from_string(moc.to_ascii(), "ascii"), MOC.from_string(moc.to_json(), "json"),
    ]  # fmt: skip
    assert [found == wanted for found in read] == [True] * 3
    assert [found.max_order for found in read] == [wanted.max_order] * 3
    assert moc.order == wanted.max_order


@pytest.mark.parametrize("order", [0, 1, 5, 11, 13, 14, 29])
@pytest.mark.parametrize("n", [1, 3000])
def test_every_form_is_that_of_mocpy(order: int, n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(order)
    hard_ra, hard_dec = awkward_positions()
    ra = np.concatenate([hard_ra, rng.uniform(0, 360, n)])[-n:]
    dec = np.concatenate([hard_dec, np.degrees(np.arcsin(rng.uniform(-1, 1, n)))])[-n:]
    if n > 1:
        ra[: len(hard_ra)], dec[: len(hard_ra)] = hard_ra, hard_dec
    cells = healpy.ang2pix(1 << order, ra, dec, nest=True, lonlat=True)
    moc = Moc(order, ranges_of(cells, order))
    wanted = MOC.from_healpix_cells(cells.astype("u8"), np.full(n, order, "u1"), max_depth=order)
    all_equal(moc, wanted, tmp_path)
    assert moc.n_cell == len(np.unique(cells)) == wanted.flatten().size
    assert moc.sky_fraction == pytest.approx(wanted.sky_fraction, rel=1e-12)
    assert moc.uniq().tolist() == sorted(wanted.uniq_hpx.tolist())
    assert moc.ranges.tolist() == wanted.to_depth29_ranges.tolist()


def test_a_region_is_coded_in_large_cells(tmp_path: Path) -> None:
    wanted = MOC.from_cone(10 * units.deg, 90 * units.deg, radius=20 * units.deg, max_depth=10)
    moc = Moc(10, wanted.to_depth29_ranges.astype(np.int64))
    all_equal(moc, wanted, tmp_path)
    assert moc.uniq().tolist() == sorted(wanted.uniq_hpx.tolist())
    assert moc.area_deg2 == pytest.approx(360**2 / np.pi * (1 - np.cos(np.radians(20))) / 2, rel=5e-3)


@settings(max_examples=100, deadline=None)
@given(order=st.integers(0, 3), data=st.data())
def test_cells_are_canonical(order: int, data: st.DataObject) -> None:
    cells = data.draw(st.sets(st.integers(0, 12 * 4**order - 1)))
    moc = Moc(order, ranges_of(cells, order))
    found: set[int] = set()
    for level, ranges in moc.cells().items():
        indices = [index for start, stop in ranges.tolist() for index in range(start, stop)]
        assert indices == sorted(indices)
        if level > 0:
            parents = [index // 4 for index in indices]
            assert all(parents.count(parent) < 4 for parent in parents)
        n_child = 4 ** (order - level)
        covered = [index * n_child + child for index in indices for child in range(n_child)]
        assert found.isdisjoint(covered)
        found.update(covered)
    assert found == cells
    if cells:
        wanted = MOC.from_healpix_cells(
            np.array(sorted(cells), "u8"), np.full(len(cells), order, "u1"), max_depth=order
        )
        assert MOC.from_string(moc.to_ascii()) == wanted


def test_whole_sky_and_nothing(tmp_path: Path) -> None:
    sky = Moc(7, np.array([[0, WHOLE_SKY]]))
    all_equal(sky, MOC.from_string("0/0-11 7/"), tmp_path)
    assert (sky.sky_fraction, sky.n_cell, sky.to_ascii()) == (1.0, 12 * 4**7, "0/0-11\n7/\n")
    assert sky.area_deg2 == pytest.approx(41252.96125)
    nothing = Moc(7, np.empty((0, 2), dtype=np.int64))
    all_equal(nothing, MOC.new_empty(7), tmp_path)
    assert (nothing.sky_fraction, nothing.n_cell, nothing.to_ascii()) == (0.0, 0, "7/\n")
    assert nothing.to_json() == '{"7": []}\n'


@pytest.mark.parametrize(("order", "tform"), [(13, "1J"), (14, "1K")])
def test_fits_header_is_that_of_the_standard(order: int, tform: str, tmp_path: Path) -> None:
    path = tmp_path / "moc.fits"
    credit = ReleaseCredit("dr", "CC0-1.0", "Müller et al. (2020)", None)
    write_moc_fits(Moc(order, np.array([[0, WHOLE_SKY]])), path, "dr", (credit,), "SELECT 1")
    header = fits.getheader(path, 1)
    wanted = {
        "TTYPE1": "UNIQ", "TFORM1": tform, "ORDERING": "NUNIQ", "COORDSYS": "C", "MOCDIM": "SPACE", "MOCVERS": "2.0",
        "MOCORD_S": order, "MOCORDER": order, "MOCTYPE": "CATALOG", "EXTNAME": "dr", "TFIELDS": 1,
        "LICEN1": "CC0-1.0", "CITE1": "Muller et al. (2020)", "RELEA1": "dr",
    }  # fmt: skip
    assert {key: header[key] for key in wanted} == wanted
    assert header["MOCTOOL"].startswith("galbase ")
    assert len(header["DATE"]) == len("2022-07-27T00:00:00")
    with fits.open(path) as hdus:
        hdus.verify("exception")


@pytest.mark.parametrize(
    ("order", "ranges", "message"),
    [
        (30, [[0, 1]], "order 30 is outside"),
        (-1, [[0, 1]], "order -1 is outside"),
        (29, [[1, 1]], "ascending"),
        (29, [[0, 2], [2, 3]], "not adjacent"),
        (29, [[5, 6], [1, 2]], "ascending"),
        (29, [[-1, 2]], "ascending"),
        (29, [[0, WHOLE_SKY + 1]], "ascending"),
        (28, [[0, 5]], "whole cells of order 28"),
    ],
)
def test_impossible_ranges_are_refused(order: int, ranges: list[list[int]], message: str) -> None:
    with pytest.raises(GalbaseError, match=message):
        Moc(order, np.array(ranges, dtype=np.int64))


def test_ranges_must_be_pairs() -> None:
    with pytest.raises(GalbaseError, match=r"shape \(3,\)"):
        Moc(29, np.array([1, 2, 3]))
