"""Results as a Parquet file, written batch by batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.sql.column_values import number_rows, text_of
from galbase.sql.query import Result
from galbase.sql.result_column import ResultColumn

if TYPE_CHECKING:
    import pyarrow as pa


def write_parquet(result: Result, path: Path) -> int:
    """Write all rows to `path` and return their number.

    Each field's metadata holds ``unit``, ``ucd`` and ``description``; the file's holds ``releases`` (JSON: release,
    licence, citation, url) and ``statement``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([_field(column) for column in result.columns]).with_metadata(
        {
            "releases": json.dumps([vars(credit) for credit in result.credits]),
            "statement": result.statement,
            "creator": "galbase",
        }
    )
    n_row = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in result.batches:
            arrays = [
                pa.array(_values(column, list(values)), type=field.type)
                for column, values, field in zip(result.columns, zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            n_row += len(batch)
    return n_row


def _field(column: ResultColumn) -> pa.Field:
    import pyarrow as pa

    types: dict[str, Any] = {
        "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
        "float64": pa.float64(), "text": pa.string(), "texts": pa.list_(pa.string()),
        "floats": pa.list_(pa.float64()), "integers": pa.list_(pa.int64()),
    }  # fmt: skip
    metadata = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
    return pa.field(
        column.name, types[column.kind], metadata={key: text for key, text in metadata.items() if text} or None
    )


def _values(column: ResultColumn, values: list[Any]) -> list[Any]:
    if column.kind == "text":
        return [text_of(value) for value in values]
    if column.kind == "float64":
        # Sums and averages come as Decimal.
        return [None if value is None else float(value) for value in values]
    if column.kind in ("floats", "integers"):
        rows = number_rows(column, values)
        return [None if value is None else list(row) for value, row in zip(values, rows, strict=True)]
    return values
