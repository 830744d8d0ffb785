"""The display stretch and the grey image with Keras' operations as array namespace are those of numpy."""

import numpy as np
import pytest

from galbase.ingest.preprocess.stretch import dr2_rgb, grey_of
from galbase.ml.backend import keras


@pytest.mark.parametrize("bands", [("g", "r", "z"), ("z", "g", "r"), ("r",), ("g", "z")])
def test_stretch_and_grey_of_a_batch(bands: tuple[str, ...]) -> None:
    rng = np.random.default_rng(len(bands))
    flux = rng.normal(0, 0.02, (5, 33, 31, len(bands))).astype(np.float32)
    flux[0] *= 100  # saturated
    flux[1] = 0
    flux[2] = -1  # no band above 0
    expected = dr2_rgb(flux, bands)
    found = dr2_rgb(keras.ops.convert_to_tensor(flux), bands, keras.ops)
    assert tuple(found.shape) == (5, 33, 31, 3)
    assert keras.ops.convert_to_numpy(found) == pytest.approx(expected, abs=2e-6)
    assert {0.0, 1.0} <= set(np.unique(expected))
    for order in ("rgb", "bgr"):
        grey = keras.ops.convert_to_numpy(grey_of(found, order))
        assert grey == pytest.approx(grey_of(expected, order), abs=2e-6)
    # A batch is its images.
    assert np.array_equal(expected[3], dr2_rgb(flux[3], bands))
