"""Files of a training's state: arrays and plain values, complete or absent, believed only as written.

Safetensors hold arrays and nothing else, and the plain values are JSON: nothing that is read here can execute code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.stamp_file import write_once
from galbase.schema.errors import GalbaseError

Arrays = dict[str, npt.NDArray[Any]]
# Raise when the layout changes; files of other layouts are not used.
_MAGIC = b"galbase checkpoint 1\n"
_VALUES = "values"


class UnusableCheckpointError(GalbaseError):
    """A checkpoint is not what was written, or not of this training."""


def write_checkpoint(path: Path, arrays: Mapping[str, npt.NDArray[Any]], values: Mapping[str, Any]) -> None:
    """Write a file in place of an older one; under its name there is one of both or none, whenever the machine stops.

    Parameters
    ----------
    path : Path
        The folder above its own must exist.
    arrays : mapping of str to ndarray
        Under any name but ``values``.
    values : mapping
        Of what JSON can hold.

    Raises
    ------
    OSError
        If it cannot be written; the older file stays then.
    """
    from safetensors.numpy import save

    text = json.dumps(values, sort_keys=True).encode()
    # Arrays of no dimension keep their shape only without `ascontiguousarray`.
    parts = {name: np.array(array, order="C") for name, array in arrays.items()}
    content = bytes(save({**parts, _VALUES: np.frombuffer(text, np.uint8)}))
    write_once(path, _MAGIC + hashlib.sha256(content).digest() + content)


def read_checkpoint(path: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Arrays and values of a file; None if there is none.

    Raises
    ------
    UnusableCheckpointError
        If it cannot be read or is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableCheckpointError(f"{path} cannot be read: {error.strerror}") from error
    start = len(_MAGIC) + hashlib.sha256().digest_size
    content = whole[start:]
    if not whole.startswith(_MAGIC) or hashlib.sha256(content).digest() != whole[len(_MAGIC) : start]:
        raise UnusableCheckpointError(f"{path} is not what was written")
    try:
        arrays = dict(load(content))
        values = json.loads(arrays.pop(_VALUES).tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise UnusableCheckpointError(f"{path} holds no checkpoint: {error}") from error
    return arrays, values
