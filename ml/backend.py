"""Keras with its backend: the one place that imports it, quiet, seeded and deterministic."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["accelerator_name", "device", "keras", "make_deterministic"]


@contextmanager
def _without_start_up_messages() -> Iterator[None]:
    """Send the standard error of native code away while a backend starts.

    TensorFlow writes a dozen lines (GPU libraries it did not find, processor features it does not use) before any of
    its own settings is read. An error of the import itself is an exception and is not lost.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _start() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_start_up_messages():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            for gpu in tensorflow.config.list_physical_devices("GPU"):
                # All of its memory otherwise, at the first sum.
                tensorflow.config.experimental.set_memory_growth(gpu, True)
    return keras


keras = _start()


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and the backend, and ask the backend for deterministic operations."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def accelerator_name() -> str | None:
    """Name of the first accelerator that the backend computes on; None if it has none."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow

        gpus = tensorflow.config.list_physical_devices("GPU")
        return str(gpus[0].name) if gpus else None
    if name == "jax":
        import jax

        first = jax.devices()[0]
        return None if first.platform == "cpu" else str(first)
    if name == "torch":
        import torch

        return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None
    return None


def device() -> str:
    """Name of the first accelerator, or ``cpu``."""
    return accelerator_name() or "cpu"
