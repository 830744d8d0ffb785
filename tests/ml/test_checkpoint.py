"""Trainings that are interrupted go on from their last epoch and end with the very same weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from galbase.ml import checkpoint_file
from galbase.ml.backend import keras, make_deterministic
from galbase.ml.checkpoint import Checkpoints, training_key
from galbase.ml.checkpoint_file import UnusableCheckpointError, read_checkpoint, write_checkpoint
from galbase.ml.fused_training import fit_fused
from galbase.ml.networks.blocks import DropBlock, convolution
from galbase.ml.networks.image_network import image_network
from galbase.ml.networks.network import Network
from galbase.ml.networks.options import ImageOptions
from galbase.ml.training import TrainingConfig, TrainingResult, fit
from galbase.ml.weights import weights_to_bytes
from tests.ml import test_fused_training as fused

SIDE, N, N_VALIDATION = 16, 96, 32
IMPROVED = TrainingConfig(
    epochs=6, batch_size=32, learning_rate=3e-3, decay="cosine", loss="pinball", patience=10, min_delta=0.0,
    restore_best=True, augment=True,
)  # fmt: skip
STOPPED = replace(IMPROVED, epochs=30, learning_rate=3e-2, decay="step", loss="mse", patience=2, min_delta=0.05)


class InterruptedError(Exception):
    """Stands for whatever ends a process."""


def rows(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    label = rng.random((N + N_VALIDATION, 2)).astype(np.float32)
    image = rng.normal(0, 0.1, (len(label), SIDE, SIDE, 3)) + label[:, None, None, [0, 1, 0]]
    images = image.astype(np.float32)
    return ({"image": images[:N]}, label[:N]), ({"image": images[N:]}, label[N:])


def small(n_level: int, width: int) -> Network:
    """All that has a state: batch normalisation, dropout and DropBlock, whose seeds move on with each step, and a
    weight of no dimension, as EfficientNet has one.
    """
    make_deterministic(1)
    options = ImageOptions(("a", "b"), SIDE, n_level=n_level, pixel_range="unit")
    image = keras.layers.Input((SIDE, SIDE, 3), name="image")
    maps = keras.layers.Normalization(name="normalise")(image)
    maps = DropBlock(0.1, 3)(keras.layers.Activation("relu")(convolution(maps, 8, 3, 2, "first")))
    return image_network("small", image, maps, options, width=width, dropout=0.3, dense_l2=1e-3)


def trained(
    config: TrainingConfig,
    folder: Path | None = None,
    stop_at: int | None = None,
    said: list[str] | None = None,
    width: int = 16,
) -> tuple[bytes, TrainingResult, list[int]]:
    """Weights, result and the epochs that were told; ends after the epoch `stop_at`, its checkpoint not yet written."""
    network = small(7 if config.loss == "pinball" else 0, width)
    told: list[int] = []

    def on_epoch(epoch: int, losses: dict[str, float]) -> None:
        assert set(losses) == {"loss", "val_loss"}
        told.append(epoch)
        if epoch == stop_at:
            raise InterruptedError

    kept = None if folder is None else Checkpoints(folder, (said if said is not None else []).append).part("network")
    result = fit(network, *rows(), config, 1, on_epoch, kept)
    return weights_to_bytes(network), result, told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes folders of checkpoints."""
    return lambda: tmp_path_factory.mktemp("cache") / "training"


@pytest.fixture(scope="module")
def wanted() -> bytes:
    """Weights of an uninterrupted fit."""
    return trained(IMPROVED)[0]


@pytest.mark.parametrize("config", [IMPROVED, STOPPED])
def test_an_interrupted_fit_ends_with_the_same_weights(config: TrainingConfig, folder: Callable[[], Path]) -> None:
    wanted, whole, _ = trained(config)
    n_epoch = len(whole.history["loss"])
    assert (n_epoch < config.epochs) == (config is STOPPED)
    if config is STOPPED:
        # The best epoch came before the interruption, and its weights are those that are kept.
        assert int(np.argmin(whole.history["val_loss"])) < n_epoch - 1
    place, said = folder(), []
    for stop_at in (1, n_epoch - 1):
        with pytest.raises(InterruptedError):
            trained(config, place, stop_at, said=said)
    found, result, told = trained(config, place, said=said)
    assert told == list(range(n_epoch))
    assert found == wanted
    assert result.history == whole.history
    assert said == [f"network goes on after epoch {k}, from its checkpoint." for k in (1, n_epoch - 1)]
    # Nothing is left to do, and nothing is done.
    again, result, told = trained(config, place)
    assert (again, result.history, told) == (wanted, whole.history, list(range(n_epoch)))


def test_without_any_of_what_is_kept_the_weights_would_differ(wanted: bytes, folder: Callable[[], Path]) -> None:
    """The checks above see each part of the state."""
    interrupted = folder()
    with pytest.raises(InterruptedError):
        trained(IMPROVED, interrupted, 4)

    def spoilt(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
        place = folder()
        shutil.copytree(interrupted, place)
        (path,) = place.iterdir()
        arrays, values = read_checkpoint(path) or ({}, {})
        change(arrays, values)
        write_checkpoint(path, arrays, values)
        return trained(IMPROVED, place)[0]

    def moments(arrays: dict[str, Any], _values: dict[str, Any]) -> None:
        name = max((key for key in arrays if key.startswith("optimizer/")), key=lambda key: arrays[key].size)
        arrays[name] = np.zeros_like(arrays[name])

    def step(arrays: dict[str, Any], _values: dict[str, Any]) -> None:
        arrays["optimizer/00000"] = np.zeros_like(arrays["optimizer/00000"])

    def seeds(arrays: dict[str, Any], _values: dict[str, Any]) -> None:
        found = [key for key, array in arrays.items() if key.startswith("variable/") and array.dtype == np.int64]
        assert found
        for key in found:
            arrays[key] = arrays[key] + 1

    def order(_arrays: dict[str, Any], values: dict[str, Any]) -> None:
        values["batch_epoch"] += 1

    def best(_arrays: dict[str, Any], values: dict[str, Any]) -> None:
        values["best"] = -1.0

    assert spoilt(lambda *_: None) == wanted
    for change in (moments, step, seeds, order, best):
        assert spoilt(change) != wanted, change.__name__


def test_a_damaged_checkpoint_is_told_of_and_the_fit_begins_anew(wanted: bytes, folder: Callable[[], Path]) -> None:
    place, said = folder(), []
    with pytest.raises(InterruptedError):
        trained(IMPROVED, place, 3)
    (path,) = place.iterdir()
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        b"",
        whole[9:],
        b"\x80\x04\x95pickled",
        whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(UnusableCheckpointError, match="is not what was written"):
            read_checkpoint(path)
    found, _, told = trained(IMPROVED, place, said=said)
    assert found == wanted
    assert told == list(range(6))
    assert len(said) == 1
    assert "not used, and it is trained from its first epoch" in said[0]
    assert "is not what was written" in said[0]


def test_a_checkpoint_of_another_network_is_not_used(wanted: bytes, folder: Callable[[], Path]) -> None:
    place, said = folder(), []
    with pytest.raises(InterruptedError):
        trained(IMPROVED, place, 3, width=8)
    found, _, _ = trained(IMPROVED, place, said=said)
    assert found == wanted
    assert "trained from its first epoch: its array" in said[0]


def test_where_nothing_can_be_written_the_fit_goes_on_and_says_so(wanted: bytes, tmp_path: Path) -> None:
    said: list[str] = []
    found, _, _ = trained(IMPROVED, tmp_path / "gone" / "training", said=said)
    assert found == wanted
    assert len(said) == 1
    assert "no checkpoint of network could be written (No such file or directory)" in said[0]


def test_files_hold_arrays_and_plain_values_only(folder: Callable[[], Path]) -> None:
    place = folder()
    with pytest.raises(InterruptedError):
        trained(IMPROVED, place, 3)
    (path,) = place.iterdir()
    parts = load(path.read_bytes()[len(checkpoint_file._MAGIC) + 32 :])
    assert {key.partition("/")[0] for key in parts} == {"variable", "optimizer", "best", "values"}
    assert read_checkpoint(place / "none.checkpoint") is None


def test_all_that_decides_the_weights_is_in_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decides = {"seed": 1, "options": {"n_level": 7}, "schedule": IMPROVED.to_mapping()}
    key = training_key(decides)
    assert key == training_key(dict(reversed(decides.items())))
    changed = [{**decides, "seed": 2}, {**decides, "options": {"n_level": 5}}]
    changed.append({**decides, "schedule": replace(IMPROVED, learning_rate=1e-3).to_mapping()})
    assert len({key, *map(training_key, changed)}) == 4
    monkeypatch.setattr(keras, "__version__", "0.0")
    assert training_key(decides) != key
    said: list[str] = []
    assert Checkpoints.of(None, decides, said.append).folder is None
    assert Checkpoints.of(tmp_path / "elsewhere", decides).folder is None
    assert "without checkpoints: there is no cache folder" in said[0]
    assert "without checkpoints: this worker does not see" in caplog.text
    assert Checkpoints.of(tmp_path, decides, said.append).folder == tmp_path / f"training-{training_key(decides)}"
    assert len(said) == 1


def test_networks_trained_in_parts_go_on_in_the_part_where_they_were(folder: Callable[[], Path]) -> None:
    config = replace(fused.schedule("improved", 2), n_fold=2)

    def run(place: Path | None, stop_at: tuple[str, int] | None = None) -> tuple[bytes, dict[str, Any], list[Any]]:
        made = fused.network("mmlforgalam_fused", 8)
        teacher = fused.teacher_of(made)
        steps: list[Any] = []

        def on_epoch(part: str, epoch: int, _losses: dict[str, float]) -> None:
            if (part, epoch) == stop_at:
                raise InterruptedError

        def counted(part: str, step: int, _logs: Any = None) -> None:
            steps.append((part, step))

        kept = None if place is None else Checkpoints(place, partial(counted, "said"))
        _, stages = fit_fused(made, teacher, fused.data(), config, 1, on_epoch, kept)
        return weights_to_bytes(made), stages, steps

    wanted, whole, _ = run(None)
    parts = [name for name, each in whole.items() if "loss" in each]
    assert len(parts) == 4
    place = folder()
    with pytest.raises(InterruptedError):
        run(place, (parts[2], 1))
    found, stages, said = run(place)
    assert found == wanted
    assert stages == whole
    assert [line for _, line in said] == [
        f"{parts[0]} is finished, from its checkpoint.",
        f"{parts[1]} is finished, from its checkpoint.",
        f"{parts[2]} goes on after epoch 1, from its checkpoint.",
    ]
