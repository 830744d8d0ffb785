"""Positions and radii as astronomers write them, against astropy."""

from __future__ import annotations

import pytest
from astropy.coordinates import Angle, SkyCoord

from galbase.schema.errors import UsageError
from galbase.sql.position import parse_dec, parse_ra, parse_radius_arcsec


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("10:00:00.5", "-01:02:03"),
        ("10h00m00.5s", "-1d02m03s"),
        ("10 00 00.5", "-00 30 15.25"),
        ("23:59:59.999", "+89:59:59"),
        ("00h01m", "-00:00:01"),
    ],
)
def test_sexagesimal_is_that_of_astropy(ra: str, dec: str) -> None:
    wanted = SkyCoord(ra, dec, unit=("hourangle", "deg"))
    assert parse_ra(ra) == pytest.approx(wanted.ra.deg, abs=1e-11)
    assert parse_dec(dec) == pytest.approx(wanted.dec.deg, abs=1e-11)


@pytest.mark.parametrize(("text", "value"), [("150.1", 150.1), ("-0.5", -0.5), ("1e1", 10.0), ("150.1d", 150.1)])
def test_degrees(text: str, value: float) -> None:
    assert parse_ra(text) == value
    assert parse_dec("-1.2") == -1.2
    assert parse_dec("−1.2") == -1.2


@pytest.mark.parametrize(
    ("text", "unit"),
    [("10arcsec", "arcsec"), ("1arcmin", "arcmin"), ("0.5deg", "deg"), ("500 mas", "mas"), ("2e-3rad", "rad")],
)
def test_radii(text: str, unit: str) -> None:
    number = float(text.removesuffix(unit))
    assert parse_radius_arcsec(text) == pytest.approx(Angle(number, unit).arcsec, rel=1e-12)


@pytest.mark.parametrize("text", ["25:00:00", "10:61:00", "ten", "", "nan", "10h", "-10:00:00"])
def test_wrong_right_ascensions_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=repr(text)):
        parse_ra(text)


@pytest.mark.parametrize("text", ["91", "-90:00:01", "1h2m3s", "inf", "1:2:60", ""])
def test_wrong_declinations_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=repr(text)):
        parse_dec(text)


@pytest.mark.parametrize("text", ["10", "-1arcsec", "200deg", "1parsec", "1.2.3deg", "arcsec", "nandeg"])
def test_wrong_radii_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=repr(text)):
        parse_radius_arcsec(text)
