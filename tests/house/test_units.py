"""Units and UCDs of all columns, judged by astropy."""

import warnings

import pytest
from astropy import units
from astropy.io.votable.ucd import parse_ucd

from galbase.schema import flags
from galbase.schema.column import described_columns
from galbase.schema.properties import PROPERTIES
from galbase.schema.tables import metadata

COLUMNS = described_columns(metadata)
UNITS = sorted({c[3] for c in COLUMNS if c[3]} | {p.unit for p in PROPERTIES if p.unit})
UCDS = sorted({c[4] for c in COLUMNS if c[4]} | {p.ucd for p in PROPERTIES})


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_vounit(unit: str) -> None:
    with warnings.catch_warnings():
        # Angstrom is deprecated in VOUnit 1.1 in favour of 0.1nm, and still what every spectrum is written in.
        warnings.filterwarnings("ignore", message=".*Angstrom.*deprecated", category=units.UnitsWarning)
        units.Unit(unit, format="vounit")


@pytest.mark.parametrize("ucd", UCDS)
def test_ucds_are_in_the_controlled_vocabulary(ucd: str) -> None:
    parse_ucd(ucd, check_controlled_vocabulary=True)


def test_every_column_has_a_description() -> None:
    assert [c[:3] for c in COLUMNS if not c[5]] == []


def test_flags_are_single_bits_with_meanings() -> None:
    for item in flags.definitions():
        assert item.value.bit_count() == 1, item
        assert item.meaning
    assert len(flags.definitions()) == sum(len(kind) for kind in flags.REGISTRIES.values())
