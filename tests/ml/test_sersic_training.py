"""GaLNet from a folder of stamps to calibrated intervals: it learns, it is kept to the bit, it does not see batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.calibration import LEVELS
from galbase.ml.networks.build import build
from galbase.ml.networks.gaussian import gaussian_loss, n_output, split_output
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.calibration import (
    ScaledIntervals,
    bin_edges,
    bins_of,
    capped_miss,
    covariance_scale,
    least_weight,
)
from galbase.ml.sersic.files import DESCRIPTION, load_galnet, save_galnet
from galbase.ml.sersic.inputs import network_inputs
from galbase.ml.sersic.measure import GalnetCalibration, calibrate_galnet, held_out_rows, measure, predict
from galbase.ml.sersic.training import (
    StampSet,
    TrainedGalnet,
    compile_galnet,
    galnet_options,
    load_stamp_set,
    schedule,
    train_galnet,
)
from galbase.ml.sersic.vector import LOG_RE, MAG, vectors_of_truth
from galbase.ml.stamps.parameters import StampParameters
from galbase.ml.stamps.simulate import simulate_stamps
from galbase.ml.weights import fill_weights, weights_to_bytes
from galbase.schema.errors import GalbaseError, UsageError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StampSet:
    folder = tmp_path_factory.mktemp("stamps") / "s"
    simulate_stamps(folder, 7000, 3, parameters=StampParameters(snr=(30.0, 300.0)))
    return load_stamp_set(folder)


def test_the_loss_is_the_normal_distributions() -> None:
    rng = np.random.default_rng(1)
    output = rng.normal(size=(20, n_output(3))).astype(np.float32)
    label = (output[:, :3] + 0.3 * rng.normal(size=(20, 3))).astype(np.float32)
    value, factor = split_output(output, 3)
    expected = [
        -multivariate_normal(value[k], np.linalg.inv(factor[k] @ factor[k].T)).logpdf(label[k])
        - 1.5 * np.log(2 * np.pi)
        for k in range(20)
        # further out the loss is flatter on purpose
        if (label[k] - value[k]) @ factor[k] @ factor[k].T @ (label[k] - value[k]) < 17
    ]
    near = [k for k in range(20) if (label[k] - value[k]) @ factor[k] @ factor[k].T @ (label[k] - value[k]) < 17]
    got = [float(gaussian_loss(3)(label[k : k + 1], output[k : k + 1])) for k in near]
    assert len(near) > 10
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    far = output.copy()
    far[:, :3] += 1e4
    assert np.isfinite(float(gaussian_loss(3)(label, far)))


def test_tiny_learns_calibrates_and_is_kept(data: StampSet, tmp_path: Path) -> None:
    trained = train_galnet(data, "improved", "tiny", 1, epochs=4)
    losses = trained.metrics["history"]["val_loss"]
    assert losses[-1] < losses[0] - 0.5
    calibration = calibrate_galnet(trained, data, n_weigh=30)
    rows = data.rows("test")
    stamps, noise = data.stamps, np.asarray(data.stamps.column["sky_sigma"], np.float64)
    truth = vectors_of_truth({name: value[rows] for name, value in stamps.column.items()}, data.instrument)
    arguments = (stamps.image[rows], stamps.psf[rows], noise[rows], data.instrument)
    found = measure(trained, calibration, *arguments, refinement=False)
    spread = np.std(found.vector - truth, axis=0) / truth.std(axis=0)
    assert (spread[[MAG, LOG_RE]] < 0.5).all()
    inside = (found.quantiles["q16"] <= truth) & (truth <= found.quantiles["q84"])
    assert inside.mean() == pytest.approx(0.68, abs=0.04)

    few = slice(0, 40)
    part = [array[few] for array in arguments[:3]]
    refined = measure(trained, calibration, *part, data.instrument, refinement=True)
    off = np.abs(np.array([refined.vector, found.vector[few]]) - truth[few])
    assert np.median(off[0, :, LOG_RE]) < 0.5 * np.median(off[1, :, LOG_RE])
    assert np.median(refined.chi2_reduced) == pytest.approx(1, abs=0.02)
    assert np.median(found.chi2_reduced) > 1.02

    # refined intervals go by what the network says of its own accuracy, as the weights do
    numbered = {name: tuple((float(number),) * 7 for number in range(4)) for name in LEVELS}
    marked = measure(
        trained, replace(calibration, refined=ScaledIntervals(numbered)), *part, data.instrument, refinement=True
    )
    bins = bins_of(found.sigma[few, LOG_RE], calibration.edges)
    assert len(np.unique(bins)) == 4
    np.testing.assert_allclose(marked.quantiles["q84"] - marked.vector, marked.sigma * bins[:, None], atol=1e-12)

    # a row is the same alone, in another order and in another batch
    order = np.random.default_rng(2).permutation(150)
    shuffled = predict(trained, *(array[:150][order] for array in arguments[:3]), data.instrument)
    alone = predict(trained, *(array[7:8] for array in arguments[:3]), data.instrument)
    np.testing.assert_array_equal(shuffled.mean, found.vector[:150][order])
    np.testing.assert_array_equal(alone.mean[0], found.vector[7])

    save_galnet(tmp_path / "m", trained, calibration)
    again, kept = load_galnet(tmp_path / "m")
    assert kept == calibration
    earlier = {("weight_edges" if name == "edges" else name): each for name, each in calibration.to_mapping().items()}
    with pytest.raises(GalbaseError, match=r"model 'm' was calibrated by an earlier version.*galnet calibrate"):
        GalnetCalibration.from_mapping(earlier, "model 'm'")
    np.testing.assert_array_equal(measure(again, kept, *arguments, refinement=False).vector, found.vector)
    (tmp_path / "m" / DESCRIPTION).unlink()
    with pytest.raises(GalbaseError, match="holds no trained GaLNet"):
        load_galnet(tmp_path / "m")


def test_no_stamp_is_calibrated_on_that_was_trained_on(data: StampSet) -> None:
    network = build("galnet", "tiny", galnet_options("improved"))
    metrics = {"stamps_sha256": data.digest, "stamps_seed": data.seed, "stamps_frames": ["a", "b"]}
    trained = TrainedGalnet(network, LabelScaler((0.0,), (1.0,)), "improved", "tiny", {}, metrics)
    validation = data.rows("validation")
    np.testing.assert_array_equal(held_out_rows(trained, data), validation[1::2])
    # the same galaxies at the start of a longer set; the same sky behind others; nothing known of the training
    other = replace(data, digest="other", seed=data.seed + 1, frames=("c",))
    for each in (replace(other, seed=data.seed), replace(other, frames=("c", "b"))):
        np.testing.assert_array_equal(held_out_rows(trained, each), validation)
    unknown = replace(trained, metrics={"stamps_sha256": data.digest})
    np.testing.assert_array_equal(held_out_rows(unknown, other), validation)
    found = held_out_rows(trained, other)
    assert sorted(np.concatenate([found, data.rows("test")])) == list(range(len(data.stamps.image)))
    keras.backend.clear_session()


def test_the_published_mode_trains_and_has_no_covariance(data: StampSet) -> None:
    trained = train_galnet(data, "as-published", "tiny", 1, epochs=1)
    calibration = calibrate_galnet(trained, data)
    assert trained.network.training.output_shape == (None, 7)
    rows = data.rows("test")[:5]
    arguments = (data.stamps.image[rows], data.stamps.psf[rows], np.full(5, 0.006), data.instrument)
    found = measure(trained, calibration, *arguments, refinement=False)
    assert np.isfinite(found.vector).all()
    assert (found.quantiles["q84"] > found.quantiles["q16"]).all()
    with pytest.raises(GalbaseError, match="no covariance"):
        measure(trained, calibration, *arguments, refinement=True)


def test_the_paper_preset_is_stepped_twice_and_reloaded_to_the_bit(data: StampSet) -> None:
    make_deterministic(1)
    options = galnet_options("improved")
    network = build("galnet", "paper", options)
    compile_galnet(network, "improved", schedule("paper"), 10)
    noise = np.asarray(data.stamps.column["sky_sigma"], np.float64)[:4]
    inputs = network_inputs("improved", data.stamps.image[:4], data.stamps.psf[:4], noise)
    truth = vectors_of_truth(data.stamps.column, data.instrument)
    label = LabelScaler.fit(truth).scale(truth[:4]).astype(np.float32)
    before = weights_to_bytes(network)
    for _ in range(2):
        assert np.isfinite(float(network.training.train_on_batch(inputs, label)))
    weights = weights_to_bytes(network)
    assert weights != before
    again = build("galnet", "paper", options)
    fill_weights(again, weights)
    assert weights_to_bytes(again) == weights
    np.testing.assert_array_equal(again.training.predict_on_batch(inputs), network.training.predict_on_batch(inputs))
    keras.backend.clear_session()


def test_the_improved_inputs_do_not_know_the_unit(data: StampSet) -> None:
    noise = np.asarray(data.stamps.column["sky_sigma"], np.float64)[:5]
    one = network_inputs("improved", data.stamps.image[:5], data.stamps.psf[:5], noise)
    other = network_inputs("improved", 1000 * data.stamps.image[:5], data.stamps.psf[:5], 1000 * noise)
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="neither"):
        network_inputs("best", data.stamps.image[:5], data.stamps.psf[:5], noise)


def test_scale_and_intervals_are_those_of_a_known_normal_distribution() -> None:
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(7, 7)) + 3 * np.eye(7)
    covariance = factor @ factor.T
    miss = rng.multivariate_normal(np.zeros(7), 2.5 * covariance, 6000)
    precision = np.broadcast_to(np.linalg.inv(covariance), (6000, 7, 7))
    assert covariance_scale(miss, precision) == pytest.approx(2.5, rel=0.05)
    sigma = np.sqrt(np.diag(covariance)) * np.exp(rng.normal(size=(6000, 1)))
    edges = bin_edges(sigma[:, LOG_RE])
    bins = bins_of(sigma[:, LOG_RE], edges)
    assert np.bincount(bins).tolist() == [1500] * 4
    assert edges == tuple(sorted(edges))
    intervals = ScaledIntervals.fit(0.5 * sigma * rng.normal(size=(6000, 7)), sigma, bins)
    again = ScaledIntervals.from_mapping(intervals.to_mapping())
    assert again == intervals
    found = again.quantiles(np.zeros_like(sigma), sigma, bins)
    truth = 0.5 * sigma * rng.normal(size=(6000, 7))
    for low, high, level in (("q16", "q84", 0.68), ("q05", "q95", 0.9), ("q025", "q975", 0.95)):
        assert ((found[low] <= truth) & (truth <= found[high])).mean() == pytest.approx(level, abs=0.01)
    with pytest.raises(GalbaseError, match="320 are needed"):
        ScaledIntervals.fit(miss[:100], sigma[:100], bins[:100])
    # the same miss but for noise that both share: the small weight; a clear loss, however small: not the small one
    both = rng.normal(1.0, 0.5, size=400)
    near, far = both + rng.normal(0.0, 0.01, size=400), both + 0.004 + rng.normal(0.0, 0.01, size=400)
    assert far.mean() - both.mean() < 0.5 * both.std() / np.sqrt(400)
    assert least_weight({0.1: near + 0.0002, 0.3: both, 1.0: both + 0.1}) == 0.1
    assert least_weight({0.1: far, 0.3: both, 1.0: both + 0.1}) == 0.3
    assert least_weight({0.1: far, 0.3: both, 1.0: both - 0.1}) == 1.0
    rows = np.array([[1.0] * 7, [-0.5] * 6 + [1e9]])
    np.testing.assert_allclose(capped_miss(rows, np.full((2, 7), 0.5)), [2.0, 8 / 7])
