"""Positions: HEALPix indices and separations."""

import healpy
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import angular_separation
from hypothesis import given
from hypothesis import strategies as st

from galbase.schema.errors import GalbaseError
from galbase.schema.healpix import hpx29, separation_arcsec, valid_position

RA = st.floats(0, 360, exclude_max=True)
DEC = st.floats(-90, 90)


def test_hpx29_is_healpy_nested_order_29() -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    expected = healpy.ang2pix(2**29, ra, dec, nest=True, lonlat=True)
    np.testing.assert_array_equal(hpx29(ra, dec), expected)


@given(RA, DEC)
def test_coarser_orders_are_shifts(ra: float, dec: float) -> None:
    coarse = healpy.ang2pix(2**12, ra, dec, nest=True, lonlat=True)
    centre = healpy.pix2ang(2**12, coarse, nest=True, lonlat=True)
    shifted = int(hpx29(ra, dec)) >> (2 * 17)
    if shifted != coarse:  # on a border either pixel may be meant; then both hold the point within rounding
        other = healpy.pix2ang(2**12, shifted, nest=True, lonlat=True)
        assert separation_arcsec(*centre, *other) < 200


@given(RA, DEC, st.integers(-3, 3))
def test_any_revolution_of_ra_is_the_same_place(ra: float, dec: float, turns: int) -> None:
    again = np.mod(ra + 360.0 * turns, 360.0)
    assert hpx29(ra + 360.0 * turns, dec) == hpx29(again, dec)


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0), (0, np.nan), (np.inf, 0), (10, 90.001), (10, -91)])
def test_a_position_off_the_sky_is_refused_with_its_value(ra: float, dec: float) -> None:
    with pytest.raises(GalbaseError, match="index 1 is not on the sky"):
        hpx29([0.0, ra], [0.0, dec])
    assert not valid_position(ra, dec)


@given(RA, DEC, RA, DEC)
def test_separation_is_astropys(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    expected = angular_separation(ra1 * u.deg, dec1 * u.deg, ra2 * u.deg, dec2 * u.deg).to_value(u.arcsec)
    # The haversine loses digits near the antipode only: half of sqrt(eps) radians there.
    tolerance = 1e-9 * expected + (5e-3 if expected > 647000 else 1e-9)
    assert abs(float(separation_arcsec(ra1, dec1, ra2, dec2)) - float(expected)) <= tolerance
