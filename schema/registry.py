"""Copies the code's registries (comments, units, flags, properties) into the database at every upgrade."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from galbase.schema import flags
from galbase.schema.column import described_columns
from galbase.schema.properties import PROPERTIES
from galbase.schema.tables import knowledge, metadata, provenance


def refresh(connection: sa.Connection) -> None:
    """Write COMMENTs, `column_metadata`, `flag_definition` and `property`, in the caller's transaction."""
    quote = connection.dialect.identifier_preparer.format_table
    statements = []
    for table in metadata.sorted_tables:
        statements.append(f"COMMENT ON TABLE {quote(table)} IS {_literal(str(table.comment))}")
        for col in table.columns:
            name = connection.dialect.identifier_preparer.format_column(col)
            statements.append(f"COMMENT ON COLUMN {quote(table)}.{name} IS {_literal(str(col.comment))}")
    connection.exec_driver_sql(";\n".join(statements).replace("%", "%%"))

    columns = provenance.column_metadata
    rows = [
        {
            "table_schema": schema,
            "table_name": table,
            "column_name": name,
            "unit": unit,
            "ucd": ucd,
            "description": text,
        }
        for schema, table, name, unit, ucd, text in described_columns(metadata)
    ]
    connection.execute(columns.delete().where(columns.c.table_schema == "archive"))
    connection.execute(columns.insert(), rows)

    definitions = provenance.flag_definition
    connection.execute(definitions.delete())
    connection.execute(
        definitions.insert(),
        [asdict(item) for item in flags.definitions()],
    )

    properties = knowledge.property_
    for prop in PROPERTIES:
        values = {
            "unit": prop.unit,
            "ucd": prop.ucd,
            "aperture": prop.aperture,
            "description": prop.description,
        }
        connection.execute(
            insert(properties)
            .values(name=prop.name, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values)
        )


def _literal(text: str) -> str:
    """An SQL string literal; COMMENT takes no parameters."""
    return "'" + text.replace("'", "''") + "'"
