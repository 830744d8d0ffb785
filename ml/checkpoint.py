"""Checkpoints of a training: after each epoch all that decides the rest of it, so that it can be killed and go on.

They lie in the archive's cache folder under a hash of all that decides the weights, one file a network that is fitted,
and are removed when the model is registered. A training that went on ends with the weights of one that was never
interrupted, to the bit, where it computes on the same kind of device.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.backend import keras
from galbase.ml.batches import TrainingBatches
from galbase.ml.checkpoint_file import Arrays, UnusableCheckpointError, read_checkpoint, write_checkpoint
from galbase.ml.networks.network import Network
from galbase.schema import __version__
from galbase.schema.cache_folder import CHECKPOINT_SUFFIX
from galbase.schema.errors import GalbaseError

_log = logging.getLogger(__name__)
Tell = Callable[[str], None]
# Raise when the same configuration learns other weights: checkpoints of before are then not used.
ALGORITHM_VERSION = 1


class TrainingEndedError(GalbaseError):
    """Nobody waits for this training any more; it goes on when the command is given again."""


@dataclass(frozen=True)
class Progress:
    """How far the fit of a network is.

    Parameters
    ----------
    finished : bool
        Whether nothing is left to do.
    epochs : int
        Epochs done.
    history : dict of str to list of float
        Losses of these.
    seconds, cpu_seconds : float
        Time that they took.
    batch_epoch : int
        Epoch of `batches.TrainingBatches`, which Keras also moves on when it begins.
    wait, best, best_epoch
        Of early stopping.
    """

    finished: bool
    epochs: int
    history: dict[str, list[float]]
    seconds: float
    cpu_seconds: float
    batch_epoch: int = 0
    wait: int = 0
    best: float | None = None
    best_epoch: int = 0


NOTHING_DONE = Progress(False, 0, {}, 0.0, 0.0)


class Checkpoint:
    """The state of one network's fit, on disk.

    Parameters
    ----------
    path : Path or None
        File; None for none, which keeps nothing.
    name : str
        What is fitted, for messages.
    tell, goes_on : callable
        As of `Checkpoints`.
    """

    def __init__(self, path: Path | None, name: str, tell: Tell, goes_on: Callable[[], bool] | None = None) -> None:
        self._path, self._name, self._tell, self._goes_on = path, name, tell, goes_on
        self._arrays: Arrays = {}
        self._failed = False

    def find(self, network: Network, optimizer: Any) -> Progress:
        """Fill network and optimiser with the state on disk; neither is touched if there is none that can be used.

        The optimiser is left alone where the fit is finished.
        """
        if self._path is None:
            return NOTHING_DONE
        try:
            read = read_checkpoint(self._path)
            if read is None:
                return NOTHING_DONE
            arrays, values = read
            progress = Progress(**values)
            variables = list(network.training.variables)
            kinds = {"variable": variables}
            if not progress.finished:
                optimizer.build(network.training.trainable_variables)
                kinds["optimizer"] = list(optimizer.variables)
            for kind, wanted in kinds.items():
                self._check(arrays, kind, wanted)
        except (UnusableCheckpointError, TypeError) as error:
            self._tell(f"the checkpoint of {self._name} is not used, and it is trained from its first epoch: {error}.")
            return NOTHING_DONE
        for kind, wanted in kinds.items():
            for index, variable in enumerate(wanted):
                variable.assign(arrays[_key(kind, index)])
        self._arrays = arrays
        done = "is finished" if progress.finished else f"goes on after epoch {progress.epochs}"
        self._tell(f"{self._name} {done}, from its checkpoint.")
        return progress

    @staticmethod
    def _check(arrays: Arrays, kind: str, wanted: list[Any]) -> None:
        found = [key for key in arrays if key.startswith(f"{kind}/")]
        if len(found) != len(wanted):
            raise UnusableCheckpointError(f"it holds {len(found)} arrays of the {kind}, of {len(wanted)}")
        for index, variable in enumerate(wanted):
            array = arrays.get(_key(kind, index))
            if array is None or array.shape != tuple(variable.shape):
                raise UnusableCheckpointError(
                    f"its array {index} of the {kind} is not of shape {tuple(variable.shape)}"
                )

    def best_weights(self) -> list[npt.NDArray[Any]] | None:
        """Weights of the best epoch, as `find` read them; None where none are kept."""
        found = [self._arrays[key] for key in sorted(self._arrays) if key.startswith("best/")]
        return found or None

    def step(self) -> None:
        """A step is done.

        Raises
        ------
        TrainingEndedError
            If there shall be no other.
        """
        if self._goes_on is not None and not self._goes_on():
            raise TrainingEndedError(
                f"the training of {self._name} was ended; give the command again to go on with it."
            )

    def keep(
        self, network: Network, optimizer: Any, progress: Progress, best_weights: list[npt.NDArray[Any]] | None = None
    ) -> None:
        """Write the state; where it cannot be written, that is told once and the fit goes on."""
        if self._path is None:
            return
        groups: dict[str, list[Any]] = {"variable": list(network.training.variables)}
        if not progress.finished:
            groups |= {"optimizer": list(optimizer.variables), "best": best_weights or []}
        arrays = {_key(kind, index): _numpy(value) for kind, each in groups.items() for index, value in enumerate(each)}
        try:
            write_checkpoint(self._path, arrays, vars(progress))
        except OSError as error:
            if not self._failed:
                self._tell(f"no checkpoint of {self._name} could be written ({error.strerror}): {self._path.parent}.")
            self._failed = True


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints of all networks that a training fits.

    Parameters
    ----------
    folder : Path or None
        Their folder; None keeps none.
    tell : callable
        Told in a line what a user should know.
    goes_on : callable, optional
        Asked after each step whether to make another.
    """

    folder: Path | None
    tell: Tell
    goes_on: Callable[[], bool] | None = None

    @classmethod
    def of(
        cls,
        cache: Path | None,
        decides: Mapping[str, Any],
        tell: Tell | None = None,
        goes_on: Callable[[], bool] | None = None,
    ) -> Checkpoints:
        """Checkpoints of a training.

        Parameters
        ----------
        cache : Path or None
            The archive's cache folder.
        decides : mapping
            All that decides the weights, of what JSON can hold; this version of the program, of Keras and of its
            backend are added.
        tell : callable, optional
            Goes to the log when None.
        goes_on : callable, optional
            As of `Checkpoints`.
        """
        tell = tell or _log.warning
        if cache is None or not cache.is_dir():
            where = "there is no cache folder" if cache is None else f"this worker does not see {cache}"
            tell(f"without checkpoints: {where}, so that this training cannot go on when it is interrupted.")
            return cls(None, tell, goes_on)
        return cls(cache / f"training-{training_key(decides)}", tell, goes_on)

    def part(self, name: str) -> Checkpoint:
        """The checkpoint of one network."""
        path = None if self.folder is None else self.folder / f"{name}{CHECKPOINT_SUFFIX}"
        return Checkpoint(path, name, self.tell, self.goes_on)

    def remove(self) -> None:
        """Remove all; what cannot be removed is left to `galbase cache prune`."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def training_key(decides: Mapping[str, Any]) -> str:
    """32 hexadecimal digits of SHA-256 over all that decides the weights, and what computes them."""
    whole = {
        "decides": dict(decides),
        "algorithm": ALGORITHM_VERSION,
        "galbase": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


class EpochKeeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps a checkpoint after each epoch but the last, and begins where one left off.

    The last of the callbacks: it keeps and fills what early stopping has done before.

    Parameters
    ----------
    checkpoint : Checkpoint
    network : Network
    batches : TrainingBatches
    stopping : keras.callbacks.EarlyStopping
    begun : Progress
        What `Checkpoint.find` found.
    clock : callable
        Seconds and processor seconds since this process began to fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: Network,
        batches: TrainingBatches,
        stopping: Any,
        begun: Progress,
        clock: Callable[[], tuple[float, float]],
    ) -> None:
        super().__init__()
        self._checkpoint, self._network, self._batches, self._stopping = checkpoint, network, batches, stopping
        self._begun, self._clock = begun, clock
        self._history = {name: list(values) for name, values in self._begun.history.items()}

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 -- Keras' signature
        """Put order and early stopping where they were; Keras has just set both to their beginning."""
        if self._begun.epochs:
            self._batches.begin(self._begun.batch_epoch)
            self._stopping.wait, self._stopping.best = self._begun.wait, self._begun.best
            self._stopping.best_epoch = self._begun.best_epoch
            self._stopping.best_weights = self._checkpoint.best_weights()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 -- Keras' signature
        """End between two steps, if it shall end."""
        self._checkpoint.step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the state, if there is another epoch to come."""
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        if self.model.stop_training or epoch + 1 == self.params["epochs"]:
            return
        seconds, cpu_seconds = self._clock()
        stopping = self._stopping
        progress = Progress(
            False, epoch + 1, self._history, self._begun.seconds + seconds, self._begun.cpu_seconds + cpu_seconds,
            self._batches.epoch, stopping.wait, stopping.best, stopping.best_epoch,
        )  # fmt: skip
        self._checkpoint.keep(self._network, self.model.optimizer, progress, stopping.best_weights)


def _key(kind: str, index: int) -> str:
    return f"{kind}/{index:05d}"


def _numpy(value: Any) -> npt.NDArray[Any]:
    # Weights of no dimension come as numpy's scalars.
    return np.asarray(value if isinstance(value, np.ndarray | np.generic) else value.numpy())
