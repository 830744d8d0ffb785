"""Training of GaLNet from a folder of stamps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml import backend
from galbase.ml.backend import keras
from galbase.ml.networks.build import build
from galbase.ml.networks.galnet import IMPROVED, PUBLISHED
from galbase.ml.networks.gaussian import gaussian_loss
from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.batches import StampBatches
from galbase.ml.sersic.inputs import N_SCALAR
from galbase.ml.sersic.vector import Instrument, published_of_truth, vectors_of_truth
from galbase.ml.stamps.parameters import SPLITS
from galbase.ml.stamps.shard import Stamps, read_manifest, read_stamps
from galbase.schema.errors import GalbaseError, UsageError

OnEpoch = Callable[[int, dict[str, float]], None]
MODES = ("as-published", "improved")
_TRUTH = ("mag", "re_arcsec", "n", "q", "pa_deg", "dx_px", "dy_px", "sky_sigma", "split", "snr")
_HUBER_DELTA = 0.001
_CLIP = 5.0
_WARM_UP = 0.03


@dataclass(frozen=True)
class Schedule:
    """How GaLNet is fitted; there is no early stop, so that the validation split is as unseen as the test split.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
        Adam's, at the start; in mode improved reached after 3 % of the steps, then falling as a cosine.
    """

    epochs: int
    batch_size: int
    learning_rate: float


# The published text has Adam and the Huber loss, and neither rate nor epochs: Adam's own rate. Of the presets `small`
# keeps to 20 minutes of a processor on 160,000 stamps.
_SCHEDULES = {
    "tiny": Schedule(epochs=30, batch_size=32, learning_rate=1e-3),
    "small": Schedule(epochs=6, batch_size=64, learning_rate=1e-3),
    "paper": Schedule(epochs=50, batch_size=256, learning_rate=1e-3),
}


@dataclass(frozen=True, eq=False)
class StampSet:
    """A whole set of stamps in memory.

    Attributes
    ----------
    stamps : Stamps
    instrument : Instrument
    digest : str
        SHA-256 of the set.
    parameters : dict
        What it was drawn from.
    seed : int
    frames : tuple of str
        SHA-256 of the frames that its sky was cut from; empty for simulated noise.
    """

    stamps: Stamps
    instrument: Instrument
    digest: str
    parameters: dict[str, Any]
    seed: int
    frames: tuple[str, ...]

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Rows of ``train``, ``validation`` or ``test``."""
        return np.flatnonzero(self.stamps.column["split"] == SPLITS.index(split))


@dataclass(frozen=True, eq=False)
class TrainedGalnet:
    """A fitted network with what its outputs mean.

    Attributes
    ----------
    network : Network
    scaler : LabelScaler
    mode, preset : str
    options : dict
        What the network is built from.
    metrics : dict
        Curves, seconds and settings, plain values.
    """

    network: Network
    scaler: LabelScaler
    mode: str
    preset: str
    options: dict[str, Any]
    metrics: dict[str, Any]


def load_stamp_set(folder: Path, size: int | None = None) -> StampSet:
    """Read a set, or its first `size` stamps.

    Raises
    ------
    GalbaseError
        If the folder holds no finished set of stamps.
    """
    record: dict[str, Any] = read_manifest(folder)
    whole = int(record["size"])
    stamps = read_stamps(folder, 0, min(whole, size or whole), _TRUTH)
    parameters = dict(record["parameters"])
    instrument = Instrument(*(float(parameters[name]) for name in ("zero_point", "pixel_scale_arcsec", "gain")))
    frames = tuple(each["sha256"] for each in record["background"]["frames"])
    return StampSet(stamps, instrument, str(record["digest"]), parameters, int(record["seed"]), frames)


def galnet_options(mode: str) -> dict[str, Any]:
    """Options of the network of a mode.

    Raises
    ------
    UsageError
        If the mode does not exist.
    """
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is neither 'as-published' nor 'improved'.")
    if mode == "as-published":
        return {"properties": list(PUBLISHED)}
    return {"properties": list(IMPROVED), "n_scalar": N_SCALAR, "covariance": True}


def schedule(preset: str, epochs: int | None = None) -> Schedule:
    """The schedule of a preset, with another number of epochs if one is given.

    Raises
    ------
    UsageError
        If the preset does not exist.
    """
    if preset not in _SCHEDULES:
        raise UsageError(f"GaLNet has no preset {preset!r}; use one of {', '.join(_SCHEDULES)}.")
    chosen = _SCHEDULES[preset]
    return chosen if epochs is None else replace(chosen, epochs=epochs)


def compile_galnet(network: Network, mode: str, plan: Schedule, n_step: int) -> None:
    """Give the network loss and optimiser of a mode; `n_step` steps will be made in all."""
    if mode == "as-published":
        optimizer = keras.optimizers.Adam(plan.learning_rate)
        network.training.compile(optimizer=optimizer, loss=keras.losses.Huber(delta=_HUBER_DELTA))
        return
    warm = max(1, int(_WARM_UP * n_step))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, n_step - warm), 0.01, warmup_target=plan.learning_rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=_CLIP)
    network.training.compile(optimizer=optimizer, loss=gaussian_loss(len(network.properties)))


def train_galnet(
    data: StampSet, mode: str, preset: str, seed: int, epochs: int | None = None, on_epoch: OnEpoch | None = None
) -> TrainedGalnet:
    """Fit GaLNet on the training split of a set of stamps.

    Parameters
    ----------
    data : StampSet
    mode : str
        ``as-published``: seven parameters under the Huber loss. ``improved``: vectors of `galbase.ml.sersic.vector`
        with a full covariance under the Gaussian likelihood, inputs in units of the noise, stamps turned.
    preset : str
        ``tiny``, ``small`` or ``paper``.
    seed : int
    epochs : int, optional
    on_epoch : callable, optional
        Called after each epoch with its number from 0 and its losses.

    Raises
    ------
    GalbaseError
        If a split is empty or the training diverges.
    """
    options, plan = galnet_options(mode), schedule(preset, epochs)
    parts = {name: data.rows(name) for name in ("train", "validation")}
    if min(len(rows) for rows in parts.values()) == 0:
        raise GalbaseError(
            f"{len(parts['train'])} stamps to train and {len(parts['validation'])} to validate on: simulate more."
        )
    truth = vectors_of_truth if mode == "improved" else published_of_truth
    label = truth({name: data.stamps.column[name] for name in _TRUTH}, data.instrument)
    scaler = LabelScaler.fit(label[parts["train"]])
    backend.make_deterministic(seed)
    network = build("galnet", preset, options)
    # half of the validation split for the curve; the other half is left to calibrate on
    batches = [
        StampBatches(
            data.stamps, label, rows, scaler, mode, plan.batch_size, seed,
            augment=shuffle and mode == "improved", shuffle=shuffle,
        )
        for rows, shuffle in ((parts["train"], True), (parts["validation"][::2], False))
    ]  # fmt: skip
    compile_galnet(network, mode, plan, plan.epochs * len(batches[0]))
    callbacks = [keras.callbacks.TerminateOnNaN()]
    if on_epoch is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: on_epoch(epoch, {name: float(v) for name, v in (logs or {}).items()})
            )
        )
    start, cpu_start = time.perf_counter(), time.process_time()
    history = network.training.fit(
        batches[0], validation_data=batches[1], epochs=plan.epochs, callbacks=callbacks, verbose=0
    ).history
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    curves = {name: [float(value) for value in values] for name, values in history.items()}
    if not np.isfinite(curves["loss"]).all():
        raise GalbaseError("training diverged: the loss is not finite; check the stamps.")
    metrics = {
        "history": curves,
        "training": asdict(plan),
        "seed": seed,
        "n": {name: len(rows) for name, rows in parts.items()},
        "n_parameter": network.n_parameter,
        "seconds": {"fit": seconds, "cpu": cpu_seconds},
        "images_per_second": len(curves["loss"]) * len(parts["train"]) / seconds,
        "stamps_sha256": data.digest,
        "stamps_seed": data.seed,
        "stamps_frames": list(data.frames),
        "label_mean": label[parts["train"]].mean(axis=0).tolist(),
    }
    return TrainedGalnet(network, scaler, mode, preset, options, metrics)
