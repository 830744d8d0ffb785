"""Where pixel stages compute: numpy on a worker's processor, or the array operations of an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Arrays:
    """An array namespace and the way to it and back.

    Parameters
    ----------
    name : str
        Of the device, for people.
    xp : module
        Functions by numpy's names on the device's arrays.
    to_device : callable
        From a numpy array.
    to_numpy : callable
        To a numpy array.
    batch_size : int
        Images computed together: one stays in a processor's cache, an accelerator wants many.
    """

    name: str
    xp: Any
    to_device: Callable[[Any], Any]
    to_numpy: Callable[[Any], Any]
    batch_size: int


NUMPY = Arrays("cpu", np, np.asarray, np.asarray, 1)
