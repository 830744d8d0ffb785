"""Positions in file names, against astropy and the real samples' own table."""

import csv
from pathlib import Path

import pytest
from astropy.coordinates import Angle
from hypothesis import given
from hypothesis import strategies as st

from galbase.ingest.readers.position_name import position_from_name
from galbase.schema.errors import GalbaseError


def test_real_decimal_names(test_data: Path) -> None:
    found = {path.name: position_from_name(path.name) for path in (test_data / "sdss-pairs" / "images").iterdir()}
    assert found == {
        "5.79056_-0.60395.jpg": (5.79056, -0.60395),
        "225.3958_41.02205.jpg": (225.3958, 41.02205),
        "4.891205_0.062894.jpg": (4.891205, 0.062894),
        "3.468576_-0.3967.jpg": (3.468576, -0.3967),
    }


def test_real_iau_names_give_the_published_positions(test_data: Path) -> None:
    with (test_data / "gz-coords-sample" / "manifest.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["ra_from_name"]]
    assert len(rows) == 18
    for row in rows:
        position = position_from_name(Path(row["file"]).name)
        assert position == pytest.approx((float(row["ra_from_name"]), float(row["dec_from_name"])), abs=1e-12)


@given(st.integers(0, 8639999), st.integers(-3239999, 3239999), st.sampled_from(["", "SDSS", "cutout_", "gz "]))
def test_any_iau_name_reads_as_astropy_reads_it(centiseconds: int, tenths: int, prefix: str) -> None:
    minutes, seconds = divmod(centiseconds, 6000)
    arcmin, arcsec = divmod(abs(tenths), 600)
    ra_text = f"{minutes // 60:02d}{minutes % 60:02d}{seconds / 100:05.2f}"
    dec_text = f"{'-' if tenths < 0 else '+'}{arcmin // 60:02d}{arcmin % 60:02d}{arcsec / 10:04.1f}"
    expected_ra = Angle(f"{ra_text[:2]}h{ra_text[2:4]}m{ra_text[4:]}s").deg
    expected_dec = Angle(f"{dec_text[:3]}d{dec_text[3:5]}m{dec_text[5:]}s").deg
    position = position_from_name(f"{prefix}J{ra_text}{dec_text}.png")
    assert position == pytest.approx((expected_ra, expected_dec), abs=1e-9)


def test_minus_zero_degrees_keep_their_sign() -> None:
    assert position_from_name("J134305.21-000639.5.png") == pytest.approx((205.771708333, -0.110972222))


@pytest.mark.parametrize(
    "name",
    ["242195.jpg", "106587.jpg", "12_34.jpg", "1237_5.fits", "spec-0389-51795-0269.fits", "J1234.jpg",
     "1.5_2.5_3.5.jpg", "images_npix152_000000000_001000000.h5", "PJ081412.47+2208530.png", "a1.5_2.5.jpg"],
)  # fmt: skip
def test_other_names_hold_no_position(name: str) -> None:
    assert position_from_name(name) is None


@pytest.mark.parametrize("name", ["10.5_-3.25.fits.gz", "10.5_-3.25.fits.fz", "10.5_-3.25.JPG", "10.5_-3.25"])
def test_any_suffix(name: str) -> None:
    assert position_from_name(name) == (10.5, -3.25)


@pytest.mark.parametrize(
    "name", ["400.5_10.0.jpg", "10.5_95.0.jpg", "J251412.47+220853.0.png", "J081412.47+920853.0.png"]
)
def test_impossible_positions_are_named(name: str) -> None:
    with pytest.raises(GalbaseError, match="not on the sky"):
        position_from_name(name)
