"""Quantile outputs are ordered, and the pinball loss finds the quantiles of data."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.calibration import LEVELS
from galbase.ml.inference import infer
from galbase.ml.networks.build import build
from galbase.ml.networks.network import Network
from galbase.ml.networks.quantile_output import OrderedQuantiles, PinballLoss
from galbase.ml.scaling import LabelScaler
from galbase.schema.errors import UsageError

SCALER = LabelScaler((8.0, -13.0), (12.0, -8.0))


@pytest.fixture(scope="module")
def network() -> Network:
    make_deterministic(4)
    return build("galeffnet", "tiny", {"n_level": 7, "n_scalar": 2, "pixel_range": "unit"})


def test_outputs_are_ordered_whatever_comes_in() -> None:
    raw = np.random.default_rng(1).normal(0, 30, (200, 7)).astype(np.float32)
    found = np.asarray(OrderedQuantiles()(raw))
    assert (np.diff(found, axis=1) >= 0).all()
    assert np.array_equal(found[:, 3], raw[:, 3])


def test_pinball_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    label = rng.normal(size=(40, 2)).astype(np.float32)
    quantile = rng.normal(size=(40, 2, 7)).astype(np.float32)
    expected = np.mean([
        mean_pinball_loss(label[:, k], quantile[:, k, j], alpha=level)
        for k in range(2)
        for j, level in enumerate(LEVELS.values())
    ])  # fmt: skip
    assert float(PinballLoss(tuple(LEVELS.values()))(label, quantile)) == pytest.approx(expected, rel=1e-5)


def test_a_network_learns_the_quantiles_of_its_labels() -> None:
    make_deterministic(5)
    label = np.random.default_rng(3).gamma(2, 0.1, (4000, 1)).astype(np.float32)
    row = keras.layers.Input((1,))
    rows = keras.layers.Reshape((1, 7))(OrderedQuantiles()(keras.layers.Dense(7)(row)))
    model = keras.Model(row, rows)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=PinballLoss(tuple(LEVELS.values())))
    model.fit(np.ones((4000, 1), np.float32), label, batch_size=500, epochs=100, verbose=0)
    found = model.predict_on_batch(np.ones((1, 1), np.float32))[0, 0]
    assert found == pytest.approx(np.quantile(label, list(LEVELS.values())), abs=0.012)


def test_quantiles_come_in_the_propertys_unit(network: Network) -> None:
    rng = np.random.default_rng(4)
    inputs = {
        "image": rng.normal(size=(5, 64, 64, 3)).astype(np.float32),
        "scalar": rng.normal(size=(5, 2)).astype(np.float32),
    }
    raw = network.training.predict_on_batch(inputs)
    assert raw.shape == (5, 2, 7)
    found = infer(network, SCALER, inputs, list(range(5)), "key")
    assert found.quantile == pytest.approx(raw * np.array([4.0, 5.0])[:, None] + np.array([8.0, -13.0])[:, None])
    assert np.array_equal(found.value, found.quantile[:, :, 3])
    assert (np.diff(found.quantile, axis=2) > 0).all()
    assert found.mc_err.shape == (5, 2)


def test_averages_over_all_turns_do_not_change_with_the_image_turned(network: Network) -> None:
    rng = np.random.default_rng(5)
    image = rng.normal(size=(3, 64, 64, 3)).astype(np.float32)
    scalar = rng.normal(size=(3, 2)).astype(np.float32)
    found = infer(network, SCALER, {"image": image, "scalar": scalar}, [1, 2, 3], "key", n_turn=8)
    turned = np.ascontiguousarray(np.rot90(image, 1, axes=(1, 2))[:, ::-1])
    again = infer(network, SCALER, {"image": turned, "scalar": scalar}, [1, 2, 3], "key", n_turn=8)
    assert again.quantile == pytest.approx(found.quantile, abs=1e-5)
    assert again.embedding == pytest.approx(found.embedding, abs=1e-5)
    once = infer(network, SCALER, {"image": image, "scalar": scalar}, [1, 2, 3], "key")
    assert np.abs(once.quantile - found.quantile).max() > 1e-4


def test_an_even_number_of_quantiles_has_no_median() -> None:
    with pytest.raises(UsageError, match="n_level 4 is even"):
        build("galeffnet", "tiny", {"n_level": 4})
