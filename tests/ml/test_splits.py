"""Splits by sky against distances to block borders that healpy draws."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from galbase.ml.splits import FRACTIONS, NO_SPLIT, SEAM_ARCSEC, SPLITS, block_split, sky_block, split_by_sky
from galbase.schema.errors import GalbaseError


def border_distance_arcsec(ra: float, dec: float, block: int) -> float:
    """Least distance of a position to the finely drawn border of an order-5 block."""
    corners = healpy.boundaries(32, block, step=2000, nest=True)
    vector = healpy.ang2vec(ra, dec, lonlat=True)
    return float(np.degrees(np.arcsin(np.clip(np.linalg.norm(corners.T - vector, axis=1).min() / 2, 0, 1)) * 2) * 3600)


def test_blocks_are_healpix_pixels_of_order_5() -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    assert (sky_block(ra, dec) == healpy.ang2pix(32, ra, dec, nest=True, lonlat=True)).all()


def test_a_block_depends_on_seed_and_block_alone_and_shares_are_kept() -> None:
    blocks = range(12 * 4**5)
    splits = [block_split(block, 7) for block in blocks]
    assert splits == [block_split(block, 7) for block in blocks]
    assert splits != [block_split(block, 8) for block in blocks]
    for name, share in FRACTIONS.items():
        assert np.mean([split == name for split in splits]) == pytest.approx(share, abs=0.01)
    for first in range(0, 12 * 4**5, 160):  # ten order-3 pixels: 160 blocks
        part = splits[first : first + 160]
        assert part.count("train") == pytest.approx(0.55 * len(part), abs=0.05 * 160)


@pytest.mark.parametrize("centre", [(10.0, 5.0), (0.0, 41.8), (45.0, 89.0), (359.9, -0.1)])
def test_nobody_within_60_arcsec_of_another_splits_block(centre: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    n = 1500
    dec = np.clip(centre[1] + rng.uniform(-4, 4, n), -89.9, 89.9)
    ra = np.mod(centre[0] + rng.uniform(-4, 4, n) / np.cos(np.radians(dec)), 360)
    block = sky_block(ra, dec)
    # Most test positions are moved close to a border, where the rule acts.
    for index in range(n // 2):
        border = healpy.boundaries(32, int(block[index]), step=50, nest=True).T
        point = border[rng.integers(len(border))]
        lon, lat = healpy.vec2ang(point[None, :], lonlat=True)
        dec[index] = np.clip(lat[0] + rng.uniform(-100, 100) / 3600, -90, 90)
        ra[index] = np.mod(lon[0] + rng.uniform(-100, 100) / 3600 / np.cos(np.radians(dec[index])), 360)
    split = split_by_sky(ra, dec, np.arange(n), seed=5)
    block = sky_block(ra, dec)
    n_wrong = 0
    for index in range(n):
        own = block_split(int(block[index]), 5)
        near = healpy.get_all_neighbours(32, int(block[index]), nest=True)
        distance = min(
            (
                border_distance_arcsec(ra[index], dec[index], int(other))
                for other in near
                if other >= 0 and block_split(int(other), 5) != own
            ),
            default=np.inf,
        )
        if distance < SEAM_ARCSEC:
            assert split[index] == NO_SPLIT
        elif distance > SEAM_ARCSEC + 5:
            n_wrong += split[index] != own
        if index > 500:  # the drawn borders are costly; the near-border half comes first
            break
    assert n_wrong == 0
    assert (split[:500] == NO_SPLIT).sum() > 50


def test_duplicates_follow_their_first_member() -> None:
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(100, 140, 300), rng.uniform(0, 40, 300)
    twice_ra, twice_dec = np.repeat(ra, 2), np.repeat(dec, 2)
    twice_dec[1::2] += 0.5 / 3600
    split = split_by_sky(twice_ra, twice_dec, np.repeat(np.arange(300), 2), seed=1)
    pairs = split.reshape(-1, 2)
    together = (pairs != NO_SPLIT).all(axis=1)
    assert (pairs[together, 0] == pairs[together, 1]).all()
    assert together.mean() > 0.9
    far = split_by_sky([10.0, 50.0], [5.0, 30.0], [0, 0], seed=0)
    first = block_split(int(sky_block(10.0, 5.0)), 0)
    second = block_split(int(sky_block(50.0, 30.0)), 0)
    assert far.tolist() == [first, first if first == second else NO_SPLIT]


def test_all_four_splits_on_a_hundred_blocks() -> None:
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(150, 170, 3000), rng.uniform(0, 20, 3000)
    assert len(np.unique(sky_block(ra, dec))) > 100
    split = split_by_sky(ra, dec, np.arange(3000), seed=11)
    for name in SPLITS:
        assert (split == name).mean() == pytest.approx(FRACTIONS[name], abs=0.06)
    assert (split == NO_SPLIT).mean() < 0.08


def test_fractions_must_be_fractions() -> None:
    with pytest.raises(GalbaseError, match="sum to one"):
        block_split(3, 1, {"train": 0.5, "test": 0.6})
