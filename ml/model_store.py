"""Models in the database: registry row, weights in checked chunks, partitions of their results.

A network is rebuilt by our own code from family, preset and options, and filled with its stored weights (`weights`).
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from psycopg import sql

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ml.domain import Domain
from galbase.schema import __version__
from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    import psycopg

CHUNK_BYTES = 4 << 20
CODE_VERSION = f"galbase {__version__}"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class NewModel(ABC):
    """What `register_model` stores; what its predictions are made with is up to the kinds of models.

    Parameters
    ----------
    name, family, mode, preset : str
    options : mapping
        The family's options, and ``properties`` in the order of the outputs.
    preprocess_config_id : int
    training_set_id : int or None
        None for a model that learned from stamps outside the archive.
    run_id : int or None
        Run that trained it.
    trained_on : str
        ``simulation`` or ``observation``.
    weights : bytes
        Of `weights_to_bytes`.
    domain : Domain
    metrics : mapping
        Scores, curves and baselines, plain values.
    """

    name: str
    family: str
    mode: str
    preset: str
    options: Mapping[str, Any]
    preprocess_config_id: int
    training_set_id: int | None
    run_id: int | None
    trained_on: str
    weights: bytes
    domain: Domain
    metrics: Mapping[str, Any]

    @property
    @abstractmethod
    def input_kind(self) -> str:
        """``image``, ``spectrum`` or ``image+spectrum``."""

    @abstractmethod
    def calibration(self) -> dict[str, Any]:
        """What its predictions are made with beside the weights, plain values; ``recipe`` says what it reads."""


@dataclass(frozen=True)
class ModelRecord:
    """A row of the registry.

    Parameters
    ----------
    model_id : int
    name, family, mode, preset : str
    options : dict
    preprocess_config_id : int
    preprocess_name : str
        Preset that the preprocessing started from.
    preprocess : PreprocessConfig
    training_set_id : int or None
    trained_on, weights_sha256, state : str
    input_kind : str
        ``image``, ``spectrum`` or ``image+spectrum``: what it reads.
    calibration : dict
        Scaler, recipe, conformal offsets, domain threshold and PSF range, and embedding_dim, plain values.
    property_id : dict of str to int
        Properties in the order of the outputs.
    """

    model_id: int
    name: str
    family: str
    mode: str
    preset: str
    options: dict[str, Any]
    preprocess_config_id: int
    preprocess_name: str
    preprocess: PreprocessConfig
    training_set_id: int | None
    trained_on: str
    weights_sha256: str
    state: str
    input_kind: str
    calibration: dict[str, Any]
    property_id: dict[str, int]

    def calibration_hash(self) -> str:
        """32 hexadecimal digits of SHA-256 over the calibration; a new one makes stored predictions stale."""
        text = json.dumps(self.calibration, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_name(connection: psycopg.Connection[Any], name: str) -> None:
    """Refuse a name that no model can have, or that one has.

    Raises
    ------
    GalbaseError
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"model name {name!r} may hold letters, digits, '.', '_' and '-' only, 100 at most.")
    if connection.execute("SELECT 1 FROM archive.model WHERE name = %s", (name,)).fetchone():
        raise GalbaseError(f"model {name!r} exists already; choose another --name.")


def register_model(connection: psycopg.Connection[Any], model: NewModel) -> int:
    """Store a model as a candidate, with its partitions of `prediction` and `embedding`; the caller commits.

    Returns
    -------
    int
        model_id.

    Raises
    ------
    GalbaseError
        If the name cannot be used.
    """
    check_name(connection, model.name)
    calibration = {
        **model.calibration(),
        "domain_threshold": model.domain.threshold,
        "embedding_dim": int(model.domain.reference.shape[1]),
    }
    if model.domain.psf_range is not None:
        calibration["domain_psf"] = model.domain.psf_range.tolist()
    row = connection.execute(
        "INSERT INTO archive.model (name, family, mode, preset, options, code_version, preprocess_config_id, "
        "training_set_id, trained_on, run_id, weights_sha256, metrics, calibration, input_kind, state) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'candidate') RETURNING model_id",
        (
            model.name, model.family, model.mode, model.preset, json.dumps(dict(model.options)), CODE_VERSION,
            model.preprocess_config_id, model.training_set_id, model.trained_on, model.run_id,
            hashlib.sha256(model.weights).hexdigest(), json.dumps(dict(model.metrics)), json.dumps(calibration),
            model.input_kind,
        ),
    ).fetchone()  # fmt: skip
    if row is None:
        raise RuntimeError("no model_id was returned")
    model_id = int(row[0])
    for index, name in enumerate(model.options["properties"]):
        connection.execute(
            "INSERT INTO archive.model_property (model_id, property_id, output_index) "
            "SELECT %s, property_id, %s FROM archive.property WHERE name = %s",
            (model_id, index, name),
        )
    _write_artifact(connection, model_id, "weights", model.weights)
    _write_artifact(connection, model_id, "domain", _arrays_to_bytes({"reference": model.domain.reference}))
    _make_partitions(connection, model_id)
    return model_id


def _make_partitions(connection: psycopg.Connection[Any], model_id: int) -> None:
    """Partitions of one model. Vectors are stored PLAIN: a vector search reads them all, and TOAST doubles its cost."""
    for table in ("prediction", "embedding"):
        connection.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES IN ({})").format(
                sql.Identifier("archive", f"{table}_{model_id}"),
                sql.Identifier("archive", table),
                sql.Literal(model_id),
            )
        )
    connection.execute("SELECT archive.watch_predictions(%s)", (model_id,))
    connection.execute(
        sql.SQL("ALTER TABLE {} ALTER COLUMN vec SET STORAGE PLAIN").format(
            sql.Identifier("archive", f"embedding_{model_id}")
        )
    )


def embedding_index(model_id: int) -> str:
    """Name of a model's vector index."""
    return f"ix_embedding_{model_id}_vec"


def build_embedding_index(connection: psycopg.Connection[Any], model_id: int, dimension: int) -> bool:
    """Build a model's HNSW index where there is none, after its first fill; the caller commits.

    m 16 and ef_construction 128 gave recall@10 of 0.979, 0.995 and 0.997 at ef 40, 100 and 200 on 200,000 vectors of
    512 dimensions. Queries must write the cast of the index.

    Returns
    -------
    bool
        Whether it was built.
    """
    name = embedding_index(model_id)
    if connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"archive.{name}",)).fetchone() == (True,):
        return False
    connection.execute(
        sql.SQL(
            "CREATE INDEX {} ON {} USING hnsw ((vec::halfvec({})) halfvec_ip_ops) WITH (m = 16, ef_construction = 128)"
        ).format(sql.Identifier(name), sql.Identifier("archive", f"embedding_{model_id}"), sql.Literal(dimension))
    )
    return True


def _write_artifact(connection: psycopg.Connection[Any], model_id: int, name: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    for chunk, start in enumerate(range(0, max(len(data), 1), CHUNK_BYTES)):
        connection.execute(
            "INSERT INTO archive.model_artifact (model_id, name, chunk, data, sha256) VALUES (%s, %s, %s, %s, %s)",
            (model_id, name, chunk, data[start : start + CHUNK_BYTES], digest),
        )


def read_artifact(connection: psycopg.Connection[Any], model_id: int, name: str) -> bytes:
    """An artifact's bytes, checked.

    Raises
    ------
    GalbaseError
        If it is missing or its SHA-256 is not the one it was stored with.
    """
    rows = connection.execute(
        "SELECT data, sha256 FROM archive.model_artifact WHERE model_id = %s AND name = %s ORDER BY chunk",
        (model_id, name),
    ).fetchall()
    data = b"".join(bytes(row[0]) for row in rows)
    digest = hashlib.sha256(data).hexdigest()
    if not rows or any(row[1] != digest for row in rows):
        raise GalbaseError(
            f"artifact {name!r} of model {model_id} is "
            + (f"damaged (SHA-256 {digest[:12]}, stored {rows[0][1][:12]})" if rows else "missing")
            + "; it is not loaded. Restore the database from a dump or train the model again."
        )
    return data


_RECORD = (
    "SELECT m.model_id, m.name, m.family, m.mode, m.preset, m.options, m.preprocess_config_id, c.name, c.parameters, "
    "m.training_set_id, m.trained_on, m.weights_sha256, m.state, m.input_kind, m.calibration, "
    "(SELECT jsonb_object_agg(p.name, p.property_id) FROM archive.model_property mp JOIN archive.property p "
    "USING (property_id) WHERE mp.model_id = m.model_id) "
    "FROM archive.model m JOIN archive.preprocess_config c USING (preprocess_config_id) "
)


def find_model(connection: psycopg.Connection[Any], name: str) -> ModelRecord:
    """The model of this name, or of this number.

    Raises
    ------
    GalbaseError
        If there is none.
    """
    row = connection.execute(
        _RECORD + "WHERE m.name = %s OR m.model_id::text = %s ORDER BY m.name = %s DESC", (name, name, name)
    ).fetchone()
    if row is None:
        known = [str(found[0]) for found in connection.execute("SELECT name FROM archive.model ORDER BY model_id")]
        raise GalbaseError(
            f"no model {name!r}; "
            + (f"there are {', '.join(known)}." if known else "train one with `galbase train galeffnet`.")
        )
    return _record(row)


def kept_models(connection: psycopg.Connection[Any]) -> list[ModelRecord]:
    """Models whose results are kept up to date: candidates and those that serve."""
    rows = connection.execute(_RECORD + "WHERE m.state IN ('candidate', 'current') ORDER BY m.model_id").fetchall()
    return [_record(row) for row in rows]


def _record(row: Sequence[Any]) -> ModelRecord:
    options, numbers = row[5], row[15] or {}
    missing = [name for name in options["properties"] if name not in numbers]
    if missing:
        raise GalbaseError(f"property {missing[0]!r} of model {row[1]!r} is not registered; run `galbase db upgrade`.")
    number, name, family, mode, preset, _, config_id, config_name, parameters, *rest = row[:15]
    training_set_id, trained_on, weights_sha256, state, input_kind, calibration = rest
    return ModelRecord(
        number, name, family, mode, preset, options, config_id, config_name, PreprocessConfig.from_dict(parameters),
        training_set_id, trained_on, weights_sha256, state, input_kind,
        calibration, {each: int(numbers[each]) for each in options["properties"]},
    )  # fmt: skip


def read_weights(connection: psycopg.Connection[Any], record: ModelRecord) -> bytes:
    """A model's weights, checked.

    Raises
    ------
    GalbaseError
        If they are missing, damaged or not those that it was registered with.
    """
    weights = read_artifact(connection, record.model_id, "weights")
    if hashlib.sha256(weights).hexdigest() != record.weights_sha256:
        raise GalbaseError(
            f"the weights of model {record.name!r} are not those it was registered with; they are not loaded. Restore "
            "the database from a dump or train the model again."
        )
    return weights


def read_domain(connection: psycopg.Connection[Any], record: ModelRecord) -> Domain:
    """What a model was trained on, as far as it can be told from embeddings and PSFs.

    Raises
    ------
    GalbaseError
        If it is missing or damaged.
    """
    reference = _bytes_to_arrays(read_artifact(connection, record.model_id, "domain"))["reference"]
    psf = record.calibration.get("domain_psf")
    threshold = float(record.calibration["domain_threshold"])
    return Domain(reference.astype(np.float32), threshold, None if psf is None else np.array(psf))


def _arrays_to_bytes(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _bytes_to_arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    from safetensors.numpy import load

    return dict(load(data))
