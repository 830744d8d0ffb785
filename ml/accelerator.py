"""The array operations that ingest's pixel stages use on a worker with an accelerator."""

from __future__ import annotations

from galbase.ingest.preprocess.arrays import Arrays
from galbase.ml.backend import accelerator_name, keras
from galbase.schema.errors import GalbaseError

# 256 stamps of 152 x 152 x 3 and what is computed of them take less than a gigabyte.
BATCH_SIZE = 256


def keras_arrays(name: str) -> Arrays:
    """Keras' operations on the backend's device, which people call `name`."""
    ops = keras.ops
    return Arrays(name, ops, ops.convert_to_tensor, ops.convert_to_numpy, BATCH_SIZE)


def accelerator() -> Arrays:
    """Keras' operations on this machine's accelerator.

    Raises
    ------
    GalbaseError
        If the backend finds none.
    """
    name = accelerator_name()
    if name is None:
        raise GalbaseError(
            f"Keras finds no accelerator with backend {keras.backend.backend()!r}; install the backend's build for it, "
            "set KERAS_BACKEND to one that has it, or leave --device at cpu."
        )
    return keras_arrays(name)
