"""Promotion: which model's values `api.galaxy_property` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galbase.ml.model_store import ModelRecord
from galbase.ml.prediction_store import stale_units
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg


def promote(connection: psycopg.Connection[Any], model: ModelRecord, n_unjudged: int) -> list[str]:
    """Let a model serve all its properties; the caller commits.

    A half-filled model is refused: every image of the archive must have the verdict of its preprocessing, and every
    kept image a current prediction. The model that served before is retired once it serves nothing any more, and is
    no longer refreshed.

    Parameters
    ----------
    connection : psycopg.Connection
    model : ModelRecord
    n_unjudged : int
        Images that lack a current verdict, of `refresh.n_unjudged`.

    Returns
    -------
    list of str
        Properties it serves now.

    Raises
    ------
    GalbaseError
        If the model is half-filled or retired.
    """
    if model.state not in ("candidate", "current"):
        raise GalbaseError(f"model {model.name!r} is {model.state}; only a candidate can be promoted. Train a new one.")
    n_stale = sum(unit.n_row for unit in stale_units(connection, model))
    if n_stale or n_unjudged:
        raise GalbaseError(
            f"model {model.name!r} is half-filled: {n_unjudged} images are not preprocessed and {n_stale} not "
            "predicted. Run `galbase refresh` first."
        )
    connection.execute(
        "INSERT INTO archive.served_model (property_id, input_kind, model_id) "
        "SELECT mp.property_id, m.input_kind, m.model_id FROM archive.model m JOIN archive.model_property mp "
        "USING (model_id) WHERE m.model_id = %s "
        "ON CONFLICT (property_id, input_kind) DO UPDATE SET model_id = excluded.model_id, modified_at = now() "
        "WHERE served_model.model_id <> excluded.model_id",
        (model.model_id,),
    )
    connection.execute(
        "UPDATE archive.model m SET state = CASE WHEN EXISTS (SELECT 1 FROM archive.served_model s "
        "WHERE s.model_id = m.model_id) THEN 'current' ELSE 'retired' END "
        "WHERE m.state = 'current' OR m.model_id = %s",
        (model.model_id,),
    )
    return list(model.property_id)
