"""Pixel stages with Keras' operations as array namespace do what they do with numpy."""

import numpy as np
import pytest

from galbase.ingest.preprocess.coadd import coadd, sky_level
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.judge import preprocess_cutout, preprocess_images
from galbase.ingest.preprocess.stretch import dr2_rgb, grey_of
from galbase.ml.accelerator import accelerator, keras_arrays
from galbase.ml.backend import accelerator_name, device, keras
from galbase.schema.errors import GalbaseError

GRZ = ("g", "r", "z")


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


def galaxies(n: int, side: int, seed: int) -> np.ndarray:
    """Round galaxies on noise, every other with a companion, the third with a band that has no data."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    images = rng.normal(0, 0.004, (n, side, side, 3))
    for row in range(n):
        light = 0.4 * np.exp(-np.hypot(x, y) / 4)
        if row % 2:
            light = light + 0.3 * np.exp(-np.hypot(x - 9, y - 4) / 2)
        images[row] += light[..., None] * np.array([0.5, 1.0, 1.4])
    images[2, ..., 0] = 0
    images[3, :20] = 0
    return images.astype(np.float32)


def test_the_sky_is_that_of_an_independent_clip() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.3, 0.02, (4, 5000)).astype(np.float32)
    values[:, ::7] += 0.5  # sources
    usable = rng.random((4, 5000)) < 0.8
    level, rms = sky_level(values, usable)
    for row in range(4):
        kept = np.sort(values[row, usable[row]])
        spread = 1.3490
        low, high = kept[0], kept[-1]
        for _ in range(3):
            part = kept[(kept >= low) & (kept <= high)]
            middle = part[len(part) // 2]
            width = (part[3 * len(part) // 4] - part[len(part) // 4]) / spread
            low, high, spread = middle - 2.5 * width, middle + 2.5 * width, 1.3294
        assert (level[row], rms[row]) == pytest.approx((middle, width), rel=1e-5)
    on_device = sky_level(keras.ops.convert_to_tensor(values), keras.ops.convert_to_tensor(usable), keras.ops)
    assert keras.ops.convert_to_numpy(on_device[0]) == pytest.approx(level, rel=1e-6)
    assert keras.ops.convert_to_numpy(on_device[1]) == pytest.approx(rms, rel=1e-5)


@pytest.mark.parametrize(("bands", "is_display"), [(GRZ, False), (("z", "r", "g"), False), (("R", "G", "B"), True)])
def test_added_bands_of_a_batch(bands: tuple[str, ...], is_display: bool) -> None:
    images = galaxies(6, 64, 1) * np.float32(255 if is_display else 1)
    batch = coadd(keras.ops.convert_to_tensor(images), bands, is_display, keras.ops)
    for row, image in enumerate(images):
        expected = coadd(image, bands, is_display)
        for name in ("every", "red", "rms"):
            found = keras.ops.convert_to_numpy(getattr(batch, name))[row]
            assert found == pytest.approx(getattr(expected, name), abs=2e-5, rel=2e-5), (row, name)


@pytest.mark.parametrize("config", ["galeffnet", "improved"])
def test_verdicts_of_a_batch_are_those_of_its_images(config: str) -> None:
    chosen = preset(config)
    mixed = [*galaxies(6, 152, 2), *galaxies(4, 168, 3), np.full((152, 152, 3), np.nan, np.float32)]
    mixed = [mixed[row] for row in np.random.default_rng(1).permutation(len(mixed))]
    expected = [preprocess_cutout(image, GRZ, 0.262, False, chosen) for image in mixed]
    assert {verdict.kept for verdict in expected} == {True, False}
    for n_thread in (1, 3):
        found = preprocess_images(mixed, GRZ, 0.262, False, chosen, keras_arrays("keras"), n_thread)
        for one, two in zip(found, expected, strict=True):
            assert (one.flag, one.kept, one.n_source) == (two.flag, two.kept, two.n_source)
            assert (one.radius_px or 0) == pytest.approx(two.radius_px or 0, abs=1e-4)
            assert (one.blend_score or 0) == pytest.approx(two.blend_score or 0, abs=1e-3)
            assert (one.stamp is None) == (two.stamp is None)
            if one.stamp is not None and two.stamp is not None:
                assert np.abs(one.stamp.astype(int) - two.stamp).max() <= 1


def test_a_machine_without_an_accelerator_says_so() -> None:
    if accelerator_name() is not None:
        pytest.skip("this machine has an accelerator")
    assert device() == "cpu"
    with pytest.raises(GalbaseError, match="Keras finds no accelerator with backend"):
        accelerator()
