"""The Keras backend: quiet, seeded and deterministic."""

from __future__ import annotations

import os
from typing import Any


def load_keras() -> Any:
    """Import Keras with its backend's start-up messages off; call it before any other import of Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and the backend, and ask the backend for deterministic operations."""
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def device() -> str:
    """Name of the first accelerator, or ``cpu``."""
    keras = load_keras()
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        gpus = tensorflow.config.list_physical_devices("GPU")
        return str(gpus[0].name) if gpus else "cpu"
    return "default"
