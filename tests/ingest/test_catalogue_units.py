"""Units and UCDs of users' files in the Virtual Observatory's forms."""

import warnings

import pytest
from astropy import units

from galbase.ingest.units import ucd1plus, vounit


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("deg", "deg"),
        ("km/s", "km/s"),
        ("km / s", "km.s**-1"),
        ("erg/s/cm^2", "erg.s**-1.cm**-2"),
        ("mJy", "mJy"),
        ("Angstrom", "Angstrom"),
        ("nanomaggies", "'nanomaggies'"),
        ("log(Msun)", None),
        ("---", None),
        ("", None),
        (None, None),
    ],
)
def test_vounit(written, wanted) -> None:
    assert vounit(written) == wanted
    if wanted is not None:
        with warnings.catch_warnings():
            # erg and Angstrom are deprecated in VOUnit, not invalid.
            warnings.filterwarnings("ignore", message=".*deprecated", category=units.UnitsWarning)
            units.Unit(wanted, format="vounit")


def test_ucd() -> None:
    assert ucd1plus("pos.eq.ra;meta.main") == "pos.eq.ra;meta.main"
    assert ucd1plus("POS_EQ_RA_MAIN") is None
    assert ucd1plus("blah.blub") is None
    assert ucd1plus(None) is None
