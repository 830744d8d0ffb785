"""What `galbase train` asks a worker for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingRequest:
    """What `galbase train` asks for.

    Parameters
    ----------
    name, family, mode, preset : str
        Of the new model.
    training_set : str
        Name of a frozen training set.
    seed : int
        Seed of weights, order, augmentation and dropout.
    epochs : int or None
        Overrides the schedule's number of epochs.
    options : dict
        Options of the family.
    weights_path : str or None
        File to start from, on the machine that trains: a model of galbase (``.safetensors``), or ImageNet weights for
        the backbone.
    weights_sha256 : str or None
        What its SHA-256 must be.
    learning_rate : float or None
        Overrides the schedule's.
    run_id : int or None
        Row of table `run`.
    bands : tuple of str
        Bands that are shown; empty for all.
    resolution_px : int
        Side in pixels that images are resampled to; 0 for none.
    tail_weight : float or None
        Overrides the schedule's.
    """

    name: str
    family: str
    mode: str
    preset: str
    training_set: str
    seed: int
    epochs: int | None
    options: dict[str, Any]
    weights_path: str | None
    run_id: int | None
    weights_sha256: str | None = None
    learning_rate: float | None = None
    bands: tuple[str, ...] = ()
    resolution_px: int = 0
    tail_weight: float | None = None


def request_config(request: TrainingRequest) -> dict[str, Any]:
    """The request as the configuration of a run."""
    return asdict(request)
