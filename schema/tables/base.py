"""Metadata of schema `archive` and helpers shared by its tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from galbase.schema.column import column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(schema="archive", naming_convention=NAMING)


def identity(name: str, doc: str) -> sa.Column[Any]:
    """A primary key that the database numbers."""
    return column(name, sa.BigInteger, sa.Identity(), doc=doc, ucd="meta.id", primary_key=True)


def reference(name: str, target: str, doc: str, *, ondelete: str | None = None, **options: Any) -> sa.Column[Any]:
    """A foreign key to ``table.column`` of schema `archive`."""
    return column(
        name,
        sa.BigInteger,
        sa.ForeignKey(f"archive.{target}", ondelete=ondelete),
        doc=doc,
        ucd="meta.id",
        **options,
    )


def now_column(name: str, doc: str) -> sa.Column[Any]:
    """A time stamp that defaults to the transaction's time."""
    return column(name, sa.DateTime(timezone=True), doc=doc, ucd="time", nullable=False, server_default=sa.func.now())


def one_of(column_name: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """A CHECK that a text column holds one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column_name} IN ({listed})", name=column_name)
