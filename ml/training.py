"""Fitting a network to arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras
from galbase.ml.batches import TrainingBatches
from galbase.ml.calibration import LEVELS
from galbase.ml.checkpoint import NOTHING_DONE, Checkpoint, EpochKeeper, Progress
from galbase.ml.networks.network import Network
from galbase.ml.networks.quantile_output import PinballLoss
from galbase.ml.sampling import tail_weights
from galbase.schema.errors import GalbaseError

Inputs = dict[str, npt.NDArray[np.float32]]
OnEpoch = Callable[[int, dict[str, float]], None]
# Of trainings that fit several networks: the part's name first.
OnPartEpoch = Callable[[str, int, dict[str, float]], None]
_STEP_EPOCHS = 10
_HUBER_DELTA = 0.001
IN_PARTS = frozenset({"mmlforgalam_fused", "mmlforgalam_simulated"})
N_FOLD = 2
# Where schedules are short M1 learns longer than an image's network, a pass of which costs six of its own.
SPECTRUM_PASSES = {"tiny": 2, "small": 4, "paper": 1}


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted; the defaults are the GalEffNet paper's (section 3.1).

    Losses are those of labels scaled to 0-1.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training split, and rows a step.
    learning_rate : float
        Adam's, at the start.
    decay : str
        ``constant``; ``cosine``: falls to a hundredth of itself as a cosine (Loshchilov & Hutter 2017); ``step``: a
        tenth after every ten epochs.
    loss : str
        ``mae``, ``mse``, ``huber`` (delta 0.001, GaLNet) or ``pinball`` (of networks that give quantiles).
    patience : int
        Stop after this many epochs without progress.
    min_delta : float
        Least fall of the validation loss, on labels scaled to 0-1, that counts as progress.
    restore_best : bool
        Keep the weights of the best epoch instead of the last.
    augment : bool
        Random symmetry of the square on each batch.
    n_fold : int
        Parts of the training sky whose spectral features come from networks that did not see them, in the families
        that are trained in parts (`fused_training`); 0 for features of the rows that were fitted, as published.
    spectrum_passes : int
        Epochs of M1 in these families for each epoch of the other parts.
    tail_weight : float
        Power of the labels' density that rows are weighted with, as of `sampling.tail_weights`; 0 for equal weights.
    """

    epochs: int = 50
    batch_size: int = 256
    learning_rate: float = 3e-4
    decay: str = "constant"
    loss: str = "mae"
    patience: int = 5
    min_delta: float = 0.005
    restore_best: bool = False
    augment: bool = False
    n_fold: int = 0
    spectrum_passes: int = 1
    tail_weight: float = 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return asdict(self)


_STARS = TrainingConfig(epochs=100, batch_size=32, learning_rate=1e-4, loss="mse", patience=100)
# As published and improved, so that both take the same CPU-time on the simulated survey of 20,000. Published images of
# the stars' networks have four times the pixels.
_SMALL_EPOCHS = {
    ("galeffnet", "small"): (42, 18),
    ("gpm_resnet", "small"): (20, 40),
    ("mmlforgalam_m1", "small"): (100, 30),
    ("mmlforgalam_m3", "small"): (15, 20),
    ("mmlforgalam_fused", "small"): (15, 12),
    ("mmlforgalam_simulated", "small"): (12, 12),
}
# What the papers say: GalEffNet, section 3.1; GPM-ResNet, section 3.2; MMLforGalAM, section 3.5; of these the last two
# name no early stop. GaLNet names no rate: Adam's own.
_PUBLISHED = {
    "galeffnet": TrainingConfig(),
    "gpm_resnet": TrainingConfig(learning_rate=0.01, decay="step", loss="mse", patience=50),
    "mmlforgalam_m1": _STARS,
    "mmlforgalam_m3": _STARS,
    "mmlforgalam_m4": _STARS,
    "mmlforgalam_fused": _STARS,
    "mmlforgalam_simulated": _STARS,
    "galnet": TrainingConfig(learning_rate=1e-3, loss="huber", patience=50),
}


def training_config(family: str, mode: str, preset: str, epochs: int | None = None) -> TrainingConfig:
    """The schedule of a family, mode and preset.

    The published schedules need the published tens of thousands of images: on the few thousand that preset `tiny` is
    meant for, 256 a step are too few steps. `tiny` and `small` take smaller batches and stop later in either mode.

    Parameters
    ----------
    family : str
        A key of `networks.build.FAMILIES`.
    mode : str
        ``as-published`` or ``improved``.
    preset : str
        ``tiny``, ``small`` or ``paper``.
    epochs : int, optional
        Overrides the number of epochs.
    """
    published, improved = _PUBLISHED[family], mode == "improved"
    if preset == "paper":
        base = published
        if improved:
            base = replace(base, learning_rate=3e-4, decay="cosine", loss="pinball", restore_best=True, augment=True)
    else:
        base = replace(
            published,
            epochs=40 if preset == "tiny" else 60,
            batch_size=32,
            learning_rate=1e-3 if improved else min(published.learning_rate, 1e-3),
            decay="cosine" if improved else published.decay,
            loss="pinball" if improved else published.loss,
            patience=10,
            min_delta=0.0005,
            restore_best=True,
            augment=improved,
        )
    if (family, preset) in _SMALL_EPOCHS:
        base = replace(base, epochs=_SMALL_EPOCHS[family, preset][improved])
    if improved and family in IN_PARTS:
        base = replace(base, n_fold=N_FOLD, spectrum_passes=SPECTRUM_PASSES[preset])
    return base if epochs is None else replace(base, epochs=epochs)


def n_epoch(config: TrainingConfig, family: str) -> int:
    """How many epochs a training has, over all parts that `fused_training` fits one after the other."""
    if family not in IN_PARTS:
        return config.epochs
    drawn = 1 + config.n_fold
    simulated = drawn if family == "mmlforgalam_simulated" else 0
    return config.epochs * (drawn * config.spectrum_passes + simulated + (1 if config.n_fold else 2))


def training_loss(config: TrainingConfig, n_level: int) -> Any:
    """The loss of a schedule, for a network with so many quantiles; 0 for one value a property."""
    if config.loss == "pinball":
        # Of the median alone it is half of the mean absolute error.
        return PinballLoss(tuple(LEVELS.values())) if n_level else "mae"
    return keras.losses.Huber(delta=_HUBER_DELTA) if config.loss == "huber" else config.loss


def _rate(config: TrainingConfig, n_step: int) -> Any:
    """The learning rate: a number, or a schedule over `n_step` steps an epoch."""
    schedules = keras.optimizers.schedules
    if config.decay == "cosine":
        return schedules.CosineDecay(config.learning_rate, max(1, config.epochs * n_step), 0.01)
    if config.decay == "step":
        return schedules.ExponentialDecay(config.learning_rate, _STEP_EPOCHS * n_step, 0.1, staircase=True)
    return config.learning_rate


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
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Fit `network` in place with Adam.

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
        Called after each epoch with its number from 0 and its losses; of epochs before an interruption as well.
    checkpoint : Checkpoint, optional
        Where the state is kept after each epoch, and gone on from.

    Raises
    ------
    GalbaseError
        If a split is empty or the loss leaves the finite numbers.
    """
    if len(train[1]) == 0 or len(validation[1]) == 0:
        raise GalbaseError(
            f"{len(train[1])} images to train and {len(validation[1])} to validate on: choose a training set with both."
        )
    weight = tail_weights(train[1], config.tail_weight) if config.tail_weight else None
    batches = TrainingBatches(train[0], train[1], config.batch_size, seed, config.augment, weight)
    optimizer = keras.optimizers.Adam(_rate(config, len(batches)))
    done = NOTHING_DONE if checkpoint is None else checkpoint.find(network, optimizer)
    if on_epoch is not None:
        for epoch in range(done.epochs):
            on_epoch(epoch, {name: values[epoch] for name, values in done.history.items()})
    if not done.finished:
        done = _go_on(network, validation, config, batches, optimizer, on_epoch, checkpoint, done)
        if checkpoint is not None:
            checkpoint.keep(network, optimizer, done)
    n_seen = done.epochs * len(batches) * min(config.batch_size, len(train[1]))
    return TrainingResult(done.history, done.seconds, done.cpu_seconds, n_seen / done.seconds)


def _go_on(
    network: Network,
    validation: tuple[Inputs, npt.NDArray[np.float32]],
    config: TrainingConfig,
    batches: TrainingBatches,
    optimizer: Any,
    on_epoch: OnEpoch | None,
    checkpoint: Checkpoint | None,
    before: Progress,
) -> Progress:
    """Fit from the epoch after those that are done to the end."""
    network.training.compile(optimizer=optimizer, loss=training_loss(config, network.n_level))
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss",
        min_delta=config.min_delta,
        patience=config.patience,
        restore_best_weights=config.restore_best,
    )
    callbacks = [keras.callbacks.TerminateOnNaN(), stopping]
    if on_epoch is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: on_epoch(epoch, {name: float(v) for name, v in (logs or {}).items()})
            )
        )
    start, cpu_start = time.perf_counter(), time.process_time()

    def clock() -> tuple[float, float]:
        return time.perf_counter() - start, time.process_time() - cpu_start

    if checkpoint is not None:
        callbacks.append(EpochKeeper(checkpoint, network, batches, stopping, before, clock))
    history = network.training.fit(
        batches,
        validation_data=validation,
        validation_batch_size=min(config.batch_size * 4, len(validation[1])),
        epochs=config.epochs,
        initial_epoch=before.epochs,
        callbacks=callbacks,
        # Batches have their order from seed and epoch. Keras would draw theirs from Python's generator, which other
        # threads of a Dask worker draw from too.
        shuffle=False,
        verbose=0,
    ).history
    curves = {
        name: before.history.get(name, []) + [float(value) for value in values] for name, values in history.items()
    }
    if not np.isfinite(curves["loss"]).all():
        raise GalbaseError("training diverged: the loss is not finite; lower the learning rate or check the labels.")
    seconds, cpu_seconds = clock()
    return Progress(True, len(curves["loss"]), curves, before.seconds + seconds, before.cpu_seconds + cpu_seconds)
