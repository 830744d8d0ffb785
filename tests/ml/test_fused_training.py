"""Training of the fused networks: which rows each part sees, features of folds in one basis, and what M2 is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from galbase.ml import fused_training
from galbase.ml.backend import make_deterministic
from galbase.ml.fused_training import (
    RIDGE,
    FusedData,
    affine_map,
    features,
    fit_fused,
    mapped,
    simulated_r2,
    sky_folds,
)
from galbase.ml.inference import infer
from galbase.ml.networks.build import build
from galbase.ml.networks.mmlforgalam_fused import FusedNetwork, feature_model, on_features
from galbase.ml.networks.network import Network
from galbase.ml.scaling import LabelScaler
from galbase.ml.training import TrainingResult, n_epoch, training_config
from galbase.schema.errors import GalbaseError, UsageError

# The least that passes M1's four poolings, and four of the images'.
SIZE = {"n_wave": 400, "size_px": 48, "n_scalar": 0}
N, N_VALIDATION = 64, 16


def network(family: str, n_token: int = 1) -> FusedNetwork:
    make_deterministic(1)
    options = {"n_token": n_token} | {
        name: value for name, value in SIZE.items() if family == "mmlforgalam_fused" or name != "n_wave"
    }
    made = build(family, "tiny", options)
    assert isinstance(made, FusedNetwork)
    return made


def teacher_of(made: FusedNetwork) -> Network:
    return made.first or build("mmlforgalam_m1", "tiny", {"n_wave": SIZE["n_wave"]})


def data(seed: int = 3) -> FusedData:
    """Spectra and images that tell two numbers; every eight rows are a patch of sky."""
    rng = np.random.default_rng(seed)
    label = rng.random((N + N_VALIDATION, 2)).astype(np.float32)
    wave = np.linspace(0, 6, SIZE["n_wave"])
    spectrum = label[:, :1] * np.sin(wave) + label[:, 1:] * np.cos(3 * wave)
    image = (
        np.ones((len(label), SIZE["size_px"], SIZE["size_px"], 3))
        * np.column_stack([label, label[:, :1]])[:, None, None, :]
    )
    inputs = {"spectrum": spectrum[..., None].astype(np.float32), "image": (255 * image).astype(np.float32)}
    train = ({name: values[:N] for name, values in inputs.items()}, label[:N])
    validation = ({name: values[N:] for name, values in inputs.items()}, label[N:])
    return FusedData(train, validation, np.arange(N) // 8)


def schedule(mode: str, epochs: int) -> Any:
    config = training_config("mmlforgalam_fused", mode, "tiny", epochs)
    return replace(config, batch_size=16)


class Recorder:
    """Stands for `fit`: keeps what each part was given and trains nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, np.ndarray], np.ndarray]] = []
        self.epochs: list[int] = []

    def __call__(
        self, part: Network, train: Any, validation: Any, config: Any, _seed: int, on_epoch: Any, checkpoint: Any
    ) -> Any:
        assert len(validation[1]) == N_VALIDATION
        assert checkpoint is None
        if on_epoch is not None:
            on_epoch(0, {"loss": 1.0})
        self.calls.append((part.training.name, *train))
        self.epochs.append(config.epochs)
        return TrainingResult({"loss": [1.0], "val_loss": [1.0]}, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("family", ["mmlforgalam_fused", "mmlforgalam_simulated"])
def test_no_fold_is_among_the_rows_that_its_networks_learn_from(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, made, rows = Recorder(), network(family), data()
    monkeypatch.setattr(fused_training, "fit", recorder)
    epochs: list[tuple[str, int]] = []
    config = replace(schedule("improved", 1), n_fold=3)
    result, stages = fit_fused(
        made,
        teacher_of(made),
        rows,
        config,
        1,
        lambda part, epoch, losses: epochs.append((part, epoch)),  # noqa: ARG005
    )
    folds = sky_folds(rows.block, 3)
    names = [name for name, _, _ in recorder.calls]
    second = ["mmlforgalam_m2"] * 4 if family == "mmlforgalam_simulated" else []
    assert names == ["mmlforgalam_m1"] * 4 + second + ["mmlforgalam_on_features"]
    assert len(names) == len(epochs)
    assert recorder.epochs == [2] * 4 + [1] * (len(names) - 4)
    assert sum(recorder.epochs) == n_epoch(config, family)
    assert epochs == [(part, 0) for part in stages if part != "aligned_r2"]
    assert result.seconds == len(names)
    for start in range(0, len(names) - 1, 4):
        kind = "spectrum" if start == 0 else "image"
        for fold, (_, inputs, _) in zip(folds, recorder.calls[start : start + 3], strict=True):
            assert np.array_equal(inputs[kind], rows.train[0][kind][~fold])
        assert len(recorder.calls[start + 3][2]) == N
    assert len(stages["aligned_r2"]) == 3


def test_as_published_every_part_learns_from_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, made, rows = Recorder(), network("mmlforgalam_simulated"), data()
    monkeypatch.setattr(fused_training, "fit", recorder)
    config = schedule("as-published", 1)
    fit_fused(made, teacher_of(made), rows, config, 1)
    assert [name for name, _, _ in recorder.calls] == [f"mmlforgalam_m{k}" for k in (1, 2, 3, 4)]
    assert n_epoch(config, "mmlforgalam_simulated") == sum(recorder.epochs) == 4
    assert all(len(label) == N for _, _, label in recorder.calls)


@pytest.mark.parametrize(
    ("family", "mode"), [("mmlforgalam_fused", "improved"), ("mmlforgalam_simulated", "as-published")]
)
def test_the_whole_is_its_trained_parts(family: str, mode: str) -> None:
    """What the parts learned is in the whole network's variables, which predicts what they tell one after the other."""
    made, rows = network(family, 8 if mode == "improved" else 1), data()
    teacher = teacher_of(made)
    before = [np.array(value) for value in made.training.get_weights()]
    _, stages = fit_fused(made, teacher, rows, schedule(mode, 2), 1)
    paths = [variable.path for variable in made.training.weights]
    after = made.training.get_weights()
    same = {path for path, a, b in zip(paths, before, after, strict=True) if np.array_equal(a, b)}
    # A constant added to all keys changes no softmax; with one token, as published, nothing does.
    idle = {"key/bias"} if mode == "improved" else {"key/bias", "key/kernel", "query/bias", "query/kernel"}
    assert {path.partition("attention/")[2] for path in same} <= idle
    inputs = {name: rows.validation[0][name] for name in made.input_shapes}
    spectral = features(made.spectral, {next(iter(made.spectral.input)): inputs[next(iter(made.spectral.input))]})
    seen = features(feature_model(made.image), {"image": inputs["image"]})
    wanted = made.fusion.training.predict_on_batch({"spectral_feature": spectral, "image_feature": seen})
    assert made.training.predict_on_batch(inputs) == pytest.approx(wanted, abs=1e-5)
    upon = on_features(made).training.predict_on_batch({"spectral_feature": spectral, "image": inputs["image"]})
    assert upon == pytest.approx(wanted, abs=1e-5)
    if family == "mmlforgalam_fused":
        assert spectral == pytest.approx(features(feature_model(teacher), {"spectrum": inputs["spectrum"]}), abs=1e-6)
    else:
        # M2's targets are the features themselves, not scaled ones: it starts at their mean and can only get nearer.
        true = features(feature_model(teacher), {"spectrum": rows.train[0]["spectrum"]})
        found = features(made.spectral, {"image": rows.train[0]["image"]})
        assert ((found - true) ** 2).mean() < 2 * ((true - true.mean(axis=0)) ** 2).mean()
    assert len(stages["m1"]["loss"]) == (4 if mode == "improved" else 2)


def test_folds_are_whole_patches_of_about_one_size() -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 30, 1000)
    folds = sky_folds(block, 4)
    assert np.array_equal(np.sum(folds, axis=0), np.ones(1000))
    for patch in range(30):
        assert sum(fold[block == patch].any() for fold in folds) == 1
    assert max(fold.sum() for fold in folds) - min(fold.sum() for fold in folds) < 50
    assert all(np.array_equal(a, b) for a, b in zip(folds, sky_folds(block, 4), strict=True))
    with pytest.raises(GalbaseError, match="2 patches"):
        sky_folds(np.array([1, 1, 2]), 3)


def test_affine_map_is_ridge_regression_and_finds_a_turned_basis() -> None:
    rng = np.random.default_rng(4)
    source = rng.normal(size=(300, 8)).astype(np.float32)
    turn, shift = rng.normal(size=(8, 5)), rng.normal(size=5)
    target = (source @ turn + shift + rng.normal(0, 0.5, (300, 5))).astype(np.float32)
    weights = affine_map(source, target)
    variance = ((source - source.mean(axis=0)) ** 2).mean()
    oracle = Ridge(alpha=RIDGE * 300 * variance).fit(source, target)
    assert weights[:-1] == pytest.approx(oracle.coef_.T, abs=1e-3)
    assert weights[-1] == pytest.approx(oracle.intercept_, abs=1e-3)
    rectified = np.maximum(source @ turn + shift, 0)
    assert mapped(source, np.vstack([turn, shift])) == pytest.approx(rectified, abs=1e-5)


def test_a_constant_vector_scores_nothing_feature_by_feature_and_much_over_features() -> None:
    rng = np.random.default_rng(5)
    level = rng.uniform(0, 10, 40)
    true = (level + rng.normal(0, 1, (200, 40))).astype(np.float32)
    true[:, 7] = 0
    constant = simulated_r2(np.broadcast_to(true.mean(axis=0), true.shape), true, true.mean(axis=0))
    assert constant["median"] == pytest.approx(0, abs=1e-6)
    assert constant["overall"] == pytest.approx(0, abs=1e-6)
    assert constant["n_feature"] == 39
    assert constant["per_galaxy"] == constant["per_galaxy_constant"] > 0.7
    found = (true + rng.normal(0, 0.5, true.shape)).astype(np.float32)
    score = simulated_r2(found, true, true.mean(axis=0))
    alive = [k for k in range(40) if k != 7]
    each = r2_score(true[:, alive], found[:, alive], multioutput="raw_values")
    assert score["median"] == pytest.approx(float(np.median(each)), abs=1e-4)
    assert score["above_zero"] == 1


def test_features_of_a_row_are_the_same_in_any_batch() -> None:
    made, rows = network("mmlforgalam_fused"), data()
    whole = features(made.spectral, {"spectrum": rows.train[0]["spectrum"]})
    assert np.array_equal(features(made.spectral, {"spectrum": rows.train[0]["spectrum"][40:43]}), whole[40:43])


def stacked() -> tuple[FusedNetwork, FusedData]:
    """A network that corrects M1's quantiles, and rows with five scalars of which the last two are the spectrum's."""
    make_deterministic(1)
    options = {**SIZE, "n_token": 8, "stacked": True, "n_scalar": 5, "n_spectral_scalar": 2, "n_level": 7}
    made = build("mmlforgalam_fused", "tiny", options)
    assert isinstance(made, FusedNetwork)
    rows, rng = data(), np.random.default_rng(8)
    for inputs, label in (rows.train, rows.validation):
        inputs["scalar"] = rng.normal(size=(len(label), 5)).astype(np.float32)
    return made, rows


def test_a_stacked_network_begins_at_its_first_parts_predictions() -> None:
    made, rows = stacked()
    inputs, _ = rows.validation
    assert made.first is not None
    alone = {"spectrum": inputs["spectrum"], "scalar": inputs["scalar"][:, 3:]}
    wanted = made.first.training.predict_on_batch(alone)
    assert made.training.predict_on_batch(inputs) == pytest.approx(wanted, abs=1e-5)
    assert np.abs(wanted[1:] - wanted[0]).max() > 1e-3
    found = infer(made, LabelScaler((0.0, 0.0), (1.0, 1.0)), inputs, list(range(N_VALIDATION)), "key", 8)
    assert found.quantile == pytest.approx(wanted, abs=1e-5)
    # Nothing of it passes through dropout.
    assert np.abs(found.mc_err).max() < 1e-6


def test_what_is_stacked_upon_comes_from_networks_that_did_not_see_the_row() -> None:
    made, rows = stacked()
    given: dict[str, np.ndarray] = {}
    first = made.first
    assert first is not None
    by_fold: list[np.ndarray] = []

    def fitted(part: Network, train: Any, *_: Any) -> TrainingResult:
        """M1 of each fold tells its own number for all rows; the last network tells what it was given."""
        if part is first:
            for name in part.properties:
                part.head.get_layer(name).bias.assign(np.full(7, len(by_fold), np.float32))
                part.head.get_layer(name).kernel.assign(np.zeros_like(part.head.get_layer(name).kernel))
            by_fold.append(train[0]["spectrum"])
        else:
            given.update(train[0])
        return TrainingResult({"loss": [1.0], "val_loss": [1.0]}, 1.0, 1.0, 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_training, "fit", fitted)
        fit_fused(made, first, rows, replace(schedule("improved", 1), n_fold=3), 1)
    assert given["spectral_output"].shape == (N, 14)
    assert given["spectral_feature"].shape == (N, made.fusion.input_shapes["spectral_feature"][0])
    assert np.array_equal(given["scalar"], rows.train[0]["scalar"])
    for number, fold in enumerate(sky_folds(rows.block, 3)):
        assert np.array_equal(by_fold[number], rows.train[0]["spectrum"][~fold])
        assert (given["spectral_output"][fold] == number).all()


def test_a_trained_stacked_network_is_its_parts() -> None:
    made, rows = stacked()
    assert made.first is not None
    fit_fused(made, made.first, rows, schedule("improved", 2), 1)
    inputs, _ = rows.validation
    alone = {"spectrum": inputs["spectrum"], "scalar": inputs["scalar"][:, 3:]}
    told = features(made.spectral, alone)
    width = made.fusion.input_shapes["spectral_feature"][0]
    assert told[:, :width] == pytest.approx(features(feature_model(made.first), alone), abs=1e-6)
    seen = features(feature_model(made.image), {"image": inputs["image"]})
    parts = {"spectral_feature": told[:, :width], "spectral_output": told[:, width:], "scalar": inputs["scalar"]}
    found = made.training.predict_on_batch(inputs)
    assert found == pytest.approx(made.fusion.training.predict_on_batch({**parts, "image_feature": seen}), abs=1e-5)
    assert found == pytest.approx(
        on_features(made).training.predict_on_batch({**parts, "image": inputs["image"]}), abs=1e-5
    )
    feature = made.backbone.predict_on_batch({name: inputs[name] for name in made.backbone_inputs})
    assert made.head_inputs == ("scalar",)
    assert set(made.backbone_inputs) == {"image", "spectrum", "scalar"}
    assert feature[:, -made.n_kept :] == pytest.approx(told[:, width:], abs=1e-5)
    assert found == pytest.approx(
        made.head.predict_on_batch({"feature": feature, "scalar": inputs["scalar"]})[0], abs=1e-5
    )
    assert np.abs(found - made.first.training.predict_on_batch(alone)).max() > 1e-4


@pytest.mark.parametrize(
    ("family", "options"),
    [("mmlforgalam_simulated", {"stacked": True}), ("mmlforgalam_fused", {"n_spectral_scalar": 1})],
)
def test_options_of_a_spectrum_that_is_not_there_are_refused(family: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        build(family, "tiny", options)
