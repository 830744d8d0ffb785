"""Columns that cannot be made without a description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import SchemaItem


def column(
    name: str,
    type_: Any,
    *items: SchemaItem,
    doc: str,
    unit: str | None = None,
    ucd: str | None = None,
    **options: Any,
) -> sa.Column[Any]:
    """A table column with its description, unit (VOUnit) and UCD (UCD1+).

    Parameters
    ----------
    name : str
        Column name, lower case.
    type_ : SQLAlchemy type
    doc : str
        What the column holds; becomes the SQL COMMENT and the row of `api.column_description`.
    unit : str, optional
        VOUnit string such as ``arcsec`` or ``nmgy``; None for a dimensionless or textual column.
    ucd : str, optional
        UCD1+ such as ``pos.eq.ra;meta.main``.
    """
    if not doc:
        raise ValueError(f"column {name} has no description")
    return sa.Column(name, type_, *items, comment=doc, info={"unit": unit, "ucd": ucd}, **options)


def described_columns(metadata: sa.MetaData) -> Sequence[tuple[str, str, str, str | None, str | None, str]]:
    """Every column of `metadata` as (schema, table, column, unit, ucd, text)."""
    return [
        (str(table.schema), table.name, col.name, col.info.get("unit"), col.info.get("ucd"), str(col.comment))
        for table in metadata.sorted_tables
        for col in table.columns
    ]
