"""What `api.galaxy_property` shows of each property: one table a property, one row a galaxy.

Triggers keep them, and the columns of the same values in `archive.galaxy`, in line with predictions, served models,
releases, observations and galaxies; nothing else writes them.
"""

from __future__ import annotations

import sqlalchemy as sa

from galbase.schema.column import column
from galbase.schema.properties import PROPERTIES, Property
from galbase.schema.tables.base import metadata

_LEVELS = {"q025": "2.5", "q05": "5", "q16": "16", "q50": "50", "q84": "84", "q95": "95", "q975": "97.5"}


def _served(each: Property) -> sa.Table:
    # No references: the triggers remove what goes, and a check of each of a million rows would cost as much again.
    return sa.Table(
        f"served_{each.name}",
        metadata,
        column(
            "galaxy_id", sa.BigInteger, doc="Galaxy", ucd="meta.id;meta.main", primary_key=True, autoincrement=False
        ),
        column(
            "source_id", sa.BigInteger, doc="Member whose image or spectrum was read", ucd="meta.id", nullable=False
        ),
        column(
            "observation_id", sa.BigInteger, doc="Image or spectrum it was read from", ucd="meta.id", nullable=False
        ),
        column("model_id", sa.BigInteger, doc="Model that made the prediction", ucd="meta.id", nullable=False),
        column(
            "value", sa.REAL, doc=f"{each.description}; NULL where it must not be shown", unit=each.unit, ucd=each.ucd
        ),
        column("err", sa.REAL, doc="One sigma: half the calibrated 68 % interval", unit=each.unit, ucd="stat.error"),
        *(
            column(name, sa.REAL, doc=f"{level} % quantile, calibrated", unit=each.unit, ucd="stat.value")
            for name, level in _LEVELS.items()
        ),
        column(
            "flag",
            sa.BigInteger,
            doc="Bits of registry 'prediction' in flag_definition",
            ucd="meta.code",
            nullable=False,
        ),
        comment=f"Served predictions of {each.name}; kept by triggers",
    )


TABLES = {each.name: _served(each) for each in PROPERTIES}
