"""A trained model as a file: what another archive's training may start from.

Arrays in safetensors, and as its metadata plain JSON of what they mean. Nothing in it can execute code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galbase.ml.model_store import find_model, read_artifact
from galbase.ml.recipe import Recipe
from galbase.ml.scaling import LabelScaler
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

SUFFIX = ".safetensors"
_FORMAT = "1"
_MEANING = ("name", "family", "mode", "preset", "options", "scaler", "recipe", "cpu_seconds")


@dataclass(frozen=True)
class ModelFile:
    """A model to start from.

    Parameters
    ----------
    sha256 : str
        Of the file.
    name, family, mode, preset : str
    options : dict
        Those it was built with.
    scaler : LabelScaler
    recipe : Recipe
        With the scaling that its scalars had.
    cpu_seconds : float
        Processor time that its own training took.
    weights : bytes
        As `weights.fill_weights` takes them.
    """

    sha256: str
    name: str
    family: str
    mode: str
    preset: str
    options: dict[str, Any]
    scaler: LabelScaler
    recipe: Recipe
    cpu_seconds: float
    weights: bytes

    def check(self, family: str, mode: str, preset: str, options: dict[str, Any], recipe: Recipe) -> None:
        """Refuse to start another network, or one that is shown something else, from this file.

        Raises
        ------
        GalbaseError
        """
        mine = {"family": self.family, "mode": self.mode, "preset": self.preset, **self.options, **_shown(self.recipe)}
        wanted = {"family": family, "mode": mode, "preset": preset, **options, **_shown(recipe)}
        for key in sorted(mine.keys() | wanted.keys()):
            if mine.get(key) != wanted.get(key):
                raise GalbaseError(
                    f"--weights of model {self.name!r} are of {key} {mine.get(key)!r}, {wanted.get(key)!r} is asked: "
                    "start from a model that was trained with the same family, mode, preset and options."
                )


def write_model_file(connection: psycopg.Connection[Any], name: str, path: Path) -> str:
    """Write a registered model's weights and what they mean; returns the file's SHA-256.

    Raises
    ------
    GalbaseError
        If there is no such model, or the file exists.
    """
    from safetensors.numpy import load, save

    record = find_model(connection, name)
    if record.training_set_id is None:
        raise GalbaseError(
            f"model {name!r} is a GaLNet; the folder that it was registered from holds its weights, and no training "
            "starts from them."
        )
    if path.suffix != SUFFIX:
        raise GalbaseError(f"--out {path} does not end in {SUFFIX}; name it so, as `galbase train --weights` expects.")
    row = connection.execute("SELECT metrics FROM archive.model WHERE model_id = %s", (record.model_id,)).fetchone()
    meaning = {
        "name": record.name, "family": record.family, "mode": record.mode, "preset": record.preset,
        "options": record.options, "scaler": record.calibration["scaler"], "recipe": record.calibration["recipe"],
        "cpu_seconds": (row[0] if row else {})["seconds"]["cpu"],
    }  # fmt: skip
    data = save(
        load(read_artifact(connection, record.model_id, "weights")),
        {"galbase": _FORMAT, **{key: json.dumps(value, sort_keys=True) for key, value in meaning.items()}},
    )
    try:
        with path.open("xb") as stream:
            stream.write(data)
    except FileExistsError as error:
        raise GalbaseError(f"--out {path} exists already; name another file.") from error
    return hashlib.sha256(data).hexdigest()


def read_model_file(path: Path, sha256: str | None = None) -> ModelFile:
    """Read what `write_model_file` wrote.

    Parameters
    ----------
    path : Path
    sha256 : str, optional
        What the file's must be.

    Raises
    ------
    GalbaseError
        If the file is missing, another one than was asked for, or no model of galbase.
    """
    from safetensors import SafetensorError, safe_open

    data = checked_bytes(path, sha256)
    try:
        with safe_open(path, framework="numpy") as stream:
            meaning = stream.metadata() or {}
    except SafetensorError as error:
        raise GalbaseError(f"--weights {path} is not in safetensors format: {error}") from error
    if meaning.get("galbase") != _FORMAT or any(key not in meaning for key in _MEANING):
        raise GalbaseError(
            f"--weights {path} is no model of galbase; write one with `galbase weights MODEL --out FILE{SUFFIX}`."
        )
    values = {key: json.loads(meaning[key]) for key in _MEANING}
    return ModelFile(
        hashlib.sha256(data).hexdigest(),
        **{
            **values,
            "scaler": LabelScaler.from_mapping(values["scaler"]),
            "recipe": Recipe.from_mapping(values["recipe"]),
        },
        weights=data,
    )


def checked_bytes(path: Path, sha256: str | None) -> bytes:
    """A file of weights, whole.

    Raises
    ------
    GalbaseError
        If it is missing, or its SHA-256 is not the one given.
    """
    if not path.is_file():
        raise GalbaseError(f"--weights {path} is not a file; name a weights file.")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise GalbaseError(
            f"--weights {path} has SHA-256 {found}, not {sha256}: it is damaged or another file, and is not used."
        )
    return data


def _shown(recipe: Recipe) -> dict[str, Any]:
    return {
        f"recipe {key}": value for key, value in recipe.to_mapping().items() if key not in ("scalar_mean", "scalar_std")
    }
