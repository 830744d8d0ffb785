"""Predictions and the database: what is stale, and one unit of work read, predicted and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql

from galbase.ml.calibration import LEVELS
from galbase.ml.model_store import ModelRecord
from galbase.ml.predictor import Predictions, Predictor
from galbase.schema.bulk import upsert
from galbase.schema.flags import PredictionFlag, PreprocessFlag
from galbase.schema.ledger import StaleUnit, WorkUnit, complete

if TYPE_CHECKING:
    import psycopg

STEP = "predict"
UNIT_ROWS = 256
# Raise when the same pixels, verdict and weights give other numbers; stored rows are then stale.
ALGORITHM_VERSION = 2
PREDICTION_COLUMNS = (
    "model_id", "property_id", "observation_id", "source_id", "value", "err", "mc_err", "q025", "q05", "q16", "q50",
    "q84", "q95", "q975", "flag", "input_hash",
)  # fmt: skip
EMBEDDING_COLUMNS = ("model_id", "observation_id", "source_id", "vec", "flag", "input_hash")

# PostgreSQL writes the hash both for the list of stale rows and for the rows that are written.
_WANTED = sql.SQL(
    "left(encode(sha256(convert_to(o.content_hash || '|' || %(weights)s::text || '|' || %(calibration)s::text || '|' "
    "|| %(version)s::text, 'UTF8')), 'hex'), 32)"
)
_INPUTS = sql.SQL(
    "api.model_input(%(model_id)s) o "
    "LEFT JOIN archive.embedding e ON e.model_id = %(model_id)s AND e.observation_id = o.observation_id"
)
# A row that is not wanted must have no prediction; others must have all the wanted ones, of this source. Images
# without a verdict are neither.
_IS_STALE = sql.SQL(
    "CASE WHEN o.is_wanted THEN e.input_hash IS DISTINCT FROM {wanted} OR e.source_id IS DISTINCT FROM o.source_id "
    "OR (SELECT count(*) FROM archive.prediction q WHERE q.model_id = %(model_id)s "
    "AND q.observation_id = o.observation_id AND q.property_id = ANY(%(properties)s) AND q.input_hash = {wanted} "
    "AND q.source_id IS NOT DISTINCT FROM o.source_id) < cardinality(%(properties)s) "
    "WHEN NOT o.is_wanted THEN e.observation_id IS NOT NULL OR EXISTS (SELECT FROM archive.prediction q "
    "WHERE q.model_id = %(model_id)s AND q.observation_id = o.observation_id) ELSE false END"
).format(wanted=_WANTED)


@dataclass(frozen=True)
class UnitReport:
    """What a unit did: observations brought up to date, and of these, those whose obsolete predictions were removed."""

    n_row: int = 0
    n_removed: int = 0

    def __add__(self, other: UnitReport) -> UnitReport:
        """Both together."""
        return UnitReport(self.n_row + other.n_row, self.n_removed + other.n_removed)


@dataclass(frozen=True)
class _Row:
    observation_id: int
    source_id: int | None
    spectrum_observation_id: int | None
    kept: bool
    preprocess_flag: int
    pixel_scale_known: bool
    psf_missing: bool
    simulated: bool
    in_training_set: bool
    wanted_hash: str | None


def stale_units(connection: psycopg.Connection[Any], model: ModelRecord) -> list[StaleUnit]:
    """Units with observations whose prediction by this model is missing, outdated or no longer wanted.

    A prediction is current if it was computed from the current verdict, pixels and spectrum, by these weights and
    calibration, and belongs to the observation's present source. Which observations a model predicts, and with which
    spectrum, is what ``api.model_input`` says. Images without a verdict are preprocessing's to find.
    """
    query = sql.SQL(
        "SELECT o.data_file_id, min(o.row_index), max(o.row_index) + 1, count(*) FROM {} WHERE {} "
        "GROUP BY o.data_file_id, o.row_index / %(unit_rows)s ORDER BY 1, 2"
    ).format(_INPUTS, _IS_STALE)
    rows = connection.execute(query, {**_parameters(model), "unit_rows": UNIT_ROWS}).fetchall()
    return [StaleUnit(int(a), int(b), int(c), int(d)) for a, b, c, d in rows]


def predict_unit(
    connection: psycopg.Connection[Any], unit: WorkUnit, model: Predictor, cache: Path | None = None
) -> UnitReport:
    """Predict a unit's stale observations and write all of it in one transaction.

    Parameters
    ----------
    connection : psycopg.Connection
        Outside a transaction.
    unit : WorkUnit
        Claimed by this worker.
    model : Predictor
    cache : Path, optional
        The archive's cache folder; none when None.

    Raises
    ------
    GalbaseError
        If a file cannot be read.
    ClaimLostError
        If the unit's claim was lost; nothing was written then.
    """
    record = model.record
    with connection.transaction():
        rows = _stale_rows(connection, unit, record)
        wanted = {row.observation_id: row for row in rows if row.kept}
        spectrum_of = {row.observation_id: row.spectrum_observation_id for row in wanted.values()}
        files = model.find(connection, spectrum_of)
    found = model.predict(files, cache)
    chosen = [wanted[each] for each in found.observation_id]
    flags = [_flag(row, record, bool(far)) for row, far in zip(chosen, found.outside, strict=True)]
    obsolete = [row.observation_id for row in rows if not row.kept]
    with connection.transaction():
        # Predictions last: where the model serves, the first of them takes the turn of all who renew served values,
        # and vectors are slow to write.
        _delete(connection, f"embedding_{record.model_id}", obsolete)
        _write(connection, record, chosen, found, flags)
        _delete(connection, f"prediction_{record.model_id}", obsolete)
        complete(connection, unit, len(chosen) + len(obsolete))
    return UnitReport(len(chosen) + len(obsolete), len(obsolete))


def _parameters(model: ModelRecord) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "weights": model.weights_sha256,
        "calibration": model.calibration_hash(),
        "version": str(ALGORITHM_VERSION),
        "properties": list(model.property_id.values()),
    }


def _stale_rows(connection: psycopg.Connection[Any], unit: WorkUnit, model: ModelRecord) -> list[_Row]:
    query = sql.SQL(
        "SELECT o.observation_id, o.source_id, o.spectrum_observation_id, o.is_wanted, o.preprocess_flag, "
        "o.pixel_scale_known, o.psf_missing, o.simulated, EXISTS (SELECT 1 FROM archive.training_member t "
        "WHERE t.training_set_id = %(training_set_id)s AND t.split IN ('train', 'validation', 'calibration') "
        "AND (t.observation_id = o.observation_id OR t.spectrum_observation_id = o.observation_id "
        "OR t.galaxy_id = m.galaxy_id)), {} FROM {} LEFT JOIN archive.galaxy_member m ON m.source_id = o.source_id "
        "WHERE o.data_file_id = %(file)s AND o.row_index >= %(start)s AND o.row_index < %(stop)s AND {} "
        "ORDER BY o.row_index"
    ).format(_WANTED, _INPUTS, _IS_STALE)
    parameters = {
        **_parameters(model),
        "training_set_id": model.training_set_id,
        "file": unit.data_file_id,
        "start": unit.row_start,
        "stop": unit.row_stop,
    }
    return [_Row(*row) for row in connection.execute(query, parameters).fetchall()]


def _flag(row: _Row, model: ModelRecord, outside: bool) -> int:
    flag = PredictionFlag(0)
    if model.trained_on == "simulation" and not row.simulated:
        flag |= PredictionFlag.SIMULATION_TRAINED
    if not row.pixel_scale_known:
        flag |= PredictionFlag.PIXEL_SCALE_UNKNOWN
    if row.psf_missing:
        flag |= PredictionFlag.PSF_UNKNOWN
    if outside:
        flag |= PredictionFlag.OUT_OF_DOMAIN
    if row.in_training_set:
        flag |= PredictionFlag.IN_TRAINING_SET
    if row.preprocess_flag & (PreprocessFlag.BLENDED | PreprocessFlag.BLENDED_SECOND_CHECK):
        flag |= PredictionFlag.BLENDED
    return int(flag)


def _delete(connection: psycopg.Connection[Any], partition: str, observation_ids: Sequence[int]) -> None:
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE observation_id = ANY(%s)").format(sql.Identifier("archive", partition)),
        (list(observation_ids),),
    )


def _write(
    connection: psycopg.Connection[Any],
    record: ModelRecord,
    rows: Sequence[_Row],
    found: Predictions,
    flags: Sequence[int],
) -> None:
    from pgvector import HalfVector
    from pgvector.psycopg import register_vector

    predictions: list[tuple[Any, ...]] = []
    for k, (name, property_id) in enumerate(record.property_id.items()):
        quantiles = found.quantiles[name]
        spreads = [None] * len(rows) if found.mc_err is None else found.mc_err[:, k].tolist()
        columns = np.column_stack([quantiles[level] for level in LEVELS])
        err = (quantiles["q84"] - quantiles["q16"]) / 2
        for row, flag, value, error, spread, levels in zip(
            rows, flags, quantiles["q50"], err, spreads, columns, strict=True
        ):
            predictions.append((
                record.model_id, property_id, row.observation_id, row.source_id, float(value), float(error),
                spread, *levels.tolist(), flag, row.wanted_hash,
            ))  # fmt: skip
    usable = [bool(np.isfinite(vector).all()) for vector in found.embedding]
    embeddings = [
        (
            record.model_id, row.observation_id, row.source_id, HalfVector(vector) if good else None,
            flag if good else flag | int(PredictionFlag.UNUSABLE_VECTOR), row.wanted_hash,
        )
        for row, flag, vector, good in zip(rows, flags, found.embedding, usable, strict=True)
    ]  # fmt: skip
    register_vector(connection)
    # Into the partitions themselves: only there can an upsert tell inserted rows from updated ones.
    key = ("model_id", "property_id", "observation_id")
    upsert(
        connection, "archive", f"embedding_{record.model_id}", EMBEDDING_COLUMNS, embeddings,
        key=("model_id", "observation_id"), compare=("input_hash", "source_id"), touch="modified_at",
    )  # fmt: skip
    upsert(
        connection, "archive", f"prediction_{record.model_id}", PREDICTION_COLUMNS, predictions, key=key,
        compare=("input_hash", "source_id"), touch="modified_at",
    )  # fmt: skip
