"""Fitting a network to arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras
from galbase.ml.batches import TrainingBatches
from galbase.ml.networks.network import Network
from galbase.schema.errors import GalbaseError

Inputs = dict[str, npt.NDArray[np.float32]]
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted; the defaults are the GalEffNet paper's (section 3.1).

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training split, and rows a step.
    learning_rate : float
        Adam's, at the start.
    cosine : bool
        Let the learning rate fall to zero as a cosine (Loshchilov & Hutter 2017); constant as published.
    patience : int
        Stop after this many epochs without progress.
    min_delta : float
        Least fall of the validation loss, on labels scaled to 0-1, that counts as progress.
    restore_best : bool
        Keep the weights of the best epoch instead of the last.
    augment : bool
        Random symmetry of the square on each batch.
    """

    epochs: int = 50
    batch_size: int = 256
    learning_rate: float = 3e-4
    cosine: bool = False
    patience: int = 5
    min_delta: float = 0.005
    restore_best: bool = False
    augment: bool = False

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return asdict(self)


def training_config(mode: str, preset: str, epochs: int | None = None) -> TrainingConfig:
    """The schedule of a mode and preset.

    The published schedule needs the published 60,000 images: on the few thousand that preset `tiny` is meant for,
    256 a step are too few steps. `tiny` and `small` take smaller batches and stop later in either mode.

    Parameters
    ----------
    mode : str
        ``as-published`` or ``improved``.
    preset : str
        ``tiny``, ``small`` or ``paper``.
    epochs : int, optional
        Overrides the number of epochs.
    """
    if preset == "paper":
        improved = mode == "improved"
        base = TrainingConfig(cosine=improved, restore_best=improved, augment=improved)
    else:
        base = TrainingConfig(
            epochs=40 if preset == "tiny" else 60,
            batch_size=32,
            learning_rate=3e-4 if mode == "as-published" else 1e-3,
            cosine=mode == "improved",
            patience=10,
            min_delta=0.0005,
            restore_best=True,
            augment=mode == "improved",
        )
    return base if epochs is None else TrainingConfig(**{**asdict(base), "epochs": epochs})


@dataclass(frozen=True)
class TrainingResult:
    """What a fit leaves beside the weights.

    Parameters
    ----------
    history : dict of str to list of float
        ``loss`` and ``val_loss`` an epoch, on scaled labels, L2 penalty included.
    seconds, cpu_seconds : float
        Wall-clock and processor time.
    images_per_second : float
        Training images a second, validation included.
    """

    history: dict[str, list[float]]
    seconds: float
    cpu_seconds: float
    images_per_second: float


def fit(
    network: Network,
    train: tuple[Inputs, npt.NDArray[np.float32]],
    validation: tuple[Inputs, npt.NDArray[np.float32]],
    config: TrainingConfig,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Fit `network` in place with MAE loss and Adam.

    Parameters
    ----------
    network : Network
        Freshly built, or holding weights to start from.
    train, validation : (inputs, label)
        Inputs by name and labels ``(n, n_property)``, scaled by what was fitted on the training split alone.
    config : TrainingConfig
    seed : int
        Seed of order, augmentation and, through the backend, dropout; call `backend.make_deterministic` first.
    on_epoch : callable, optional
        Called after each epoch with its number from 0 and its losses.

    Raises
    ------
    GalbaseError
        If a split is empty or the loss leaves the finite numbers.
    """
    if len(train[1]) == 0 or len(validation[1]) == 0:
        raise GalbaseError(
            f"{len(train[1])} images to train and {len(validation[1])} to validate on: choose a training set with both."
        )
    batches = TrainingBatches(train[0], train[1], config.batch_size, seed, config.augment)
    rate: Any = config.learning_rate
    if config.cosine:
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, max(1, config.epochs * len(batches)), 0.01)
    network.training.compile(optimizer=keras.optimizers.Adam(rate), loss="mae")
    callbacks = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.EarlyStopping(
            monitor="val_loss",
            min_delta=config.min_delta,
            patience=config.patience,
            restore_best_weights=config.restore_best,
        ),
    ]
    if on_epoch is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: on_epoch(epoch, {name: float(v) for name, v in (logs or {}).items()})
            )
        )
    start, cpu_start = time.perf_counter(), time.process_time()
    history = network.training.fit(
        batches,
        validation_data=validation,
        validation_batch_size=min(config.batch_size * 4, len(validation[1])),
        epochs=config.epochs,
        callbacks=callbacks,
        verbose=0,
    ).history
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    curves = {name: [float(value) for value in values] for name, values in history.items()}
    if not np.isfinite(curves["loss"]).all():
        raise GalbaseError("training diverged: the loss is not finite; lower the learning rate or check the labels.")
    n_seen = len(curves["loss"]) * len(batches) * min(config.batch_size, len(train[1]))
    return TrainingResult(curves, seconds, cpu_seconds, n_seen / seconds)
