"""The stages of preprocessing against independent truth: known shapes, formulas, photutils itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.background import Background2D, MedianBackground
from photutils.segmentation import deblend_sources, detect_sources, make_2dgaussian_kernel
from scipy.ndimage import convolve

from galbase.ingest.preprocess import blend
from galbase.ingest.preprocess.ellipse import Ellipse, draw_mask, enclosing_radius, find_contours, fit_ellipses
from galbase.ingest.preprocess.stretch import dr2_rgb, grey_of
from galbase.ingest.preprocess.threshold import iterative_threshold


def published_threshold(image: np.ndarray, rounds: int | None = None) -> float:
    """The iteration as the papers write it, with masks."""
    threshold = (image.max() + image.min()) / 2
    while True:
        updated = (image[image >= threshold].mean() + image[image < threshold].mean()) / 2
        rounds = None if rounds is None else rounds - 1
        if updated == threshold or rounds == 0:
            return float(updated)
        threshold = updated


@given(st.integers(0, 10_000), st.sampled_from(["integers", "lognormal"]))
@settings(max_examples=60, deadline=None)
def test_threshold_is_the_published_iteration(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 50, (15, 17)).astype(float) if kind == "integers" else rng.lognormal(0, 2, (15, 17))
    assert iterative_threshold(image)[0] == pytest.approx(published_threshold(image), rel=1e-12)
    assert iterative_threshold(image, "one_update")[0] == pytest.approx(published_threshold(image, 1), rel=1e-12)
    below, above = image[image < iterative_threshold(image)[0]], image[image >= iterative_threshold(image)[0]]
    assert iterative_threshold(image)[0] == pytest.approx((below.mean() + above.mean()) / 2, rel=1e-9)


def test_threshold_stops_as_told() -> None:
    image = np.random.default_rng(1).exponential(1, 5000)
    converged, many = iterative_threshold(image)
    early, few = iterative_threshold(image, "delta", delta=0.2)
    first, one = iterative_threshold(image, "one_update")
    assert many > few > one == 1
    assert converged < early < first
    steps = [published_threshold(image, n) for n in range(1, few + 1)]
    assert early == pytest.approx(steps[-1])
    assert abs(steps[-1] - steps[-2]) < 0.2 <= abs(steps[-2] - steps[-3])


def test_threshold_of_two_values_is_their_mean() -> None:
    assert iterative_threshold([0.0, 0, 0, 4]) == (2.0, 1)
    # A value at the threshold belongs to the upper class: 1 -> (1.5 + 0) / 2.
    assert iterative_threshold([0.0, 1, 2])[0] == 0.75
    for bad in ([], [1.0, 1.0], [0.0, np.nan], [0.0, np.inf], [-np.inf, 0.0]):
        with pytest.raises(ValueError, match="finite pixels that are not all equal"):
            iterative_threshold(bad)


def stretch_by_pixel(g: float, r: float, z: float) -> tuple[float, float, float]:
    """The Legacy Survey viewer's colours of one pixel, from their definition."""
    scaled = [6.0 * g + 0.03, 3.4 * r + 0.03, 2.2 * z + 0.03]
    mean = sum(max(0.0, value) for value in scaled) / 3
    if mean == 0:
        return (0.0, 0.0, 0.0)
    factor = math.asinh(20 * mean) / math.sqrt(20) / mean
    red, green, blue = (min(1.0, max(0.0, value * factor)) for value in reversed(scaled))
    return red, green, blue


@given(st.lists(st.floats(-1, 10, width=32), min_size=3, max_size=3))
@settings(max_examples=200, deadline=None)
def test_stretch_is_dr2_rgb(flux: list[float]) -> None:
    found = dr2_rgb(np.array(flux, np.float32).reshape(1, 1, 3), ("g", "r", "z"))
    np.testing.assert_allclose(found[0, 0], stretch_by_pixel(*flux), rtol=1e-4, atol=1e-5)


def test_stretch_orders_bands_by_wavelength_and_fills_channels() -> None:
    rng = np.random.default_rng(2)
    flux = rng.uniform(0, 0.05, (4, 5, 3)).astype(np.float32)
    grz = dr2_rgb(flux, ("g", "r", "z"))
    np.testing.assert_array_equal(dr2_rgb(flux[..., [2, 0, 1]], ("z", "g", "r")), grz)
    np.testing.assert_array_equal(dr2_rgb(flux[None, None], ("g", "r", "z"))[0, 0], grz)
    one = dr2_rgb(flux[..., :1], ("r",))
    assert (one[..., 0] == one[..., 1]).all()
    assert (one[..., 0] == one[..., 2]).all()
    two = dr2_rgb(flux[..., :2], ("g", "z"))
    np.testing.assert_allclose(two[..., 1], (two[..., 0] + two[..., 2]) / 2)
    assert (two[..., 2] > two[..., 0]).mean() > 0.7  # g has the larger scale and is the bluer: channel B
    for bands in (("u", "g", "r"), ("g", "g", "r"), ()):
        with pytest.raises(ValueError, match="can be displayed"):
            dr2_rgb(flux[..., : len(bands)], bands)


def test_grey_weights() -> None:
    assert grey_of(np.eye(3)).tolist() == [0.299, 0.587, 0.114]
    assert grey_of(np.eye(3), "bgr").tolist() == [0.114, 0.587, 0.299]


TRUTH = [
    Ellipse(76.0, 76.0, 20.0, 10.0, 0.0),
    Ellipse(74.5, 78.25, 25.0, 12.5, 30.0),
    Ellipse(80.0, 70.0, 16.0, 15.0, 90.0),
    Ellipse(76.0, 76.0, 30.0, 8.0, 150.0),
]


@pytest.mark.parametrize("of", ["edges", "regions"])
@pytest.mark.parametrize("truth", TRUTH)
def test_a_drawn_ellipse_is_found_again(truth: Ellipse, of: str) -> None:
    y, x = np.mgrid[:152, :152]
    theta = math.radians(truth.theta)
    along = (x - truth.x) * math.cos(theta) + (y - truth.y) * math.sin(theta)
    across = (y - truth.y) * math.cos(theta) - (x - truth.x) * math.sin(theta)
    binary = (along / truth.a) ** 2 + (across / truth.b) ** 2 <= 1
    np.testing.assert_array_equal(draw_mask((152, 152), truth), binary)
    found = max(fit_ellipses(find_contours(binary, of)), key=lambda e: e.a)
    assert (found.x, found.y) == pytest.approx((truth.x, truth.y), abs=0.7)
    assert (found.a, found.b) == pytest.approx((truth.a, truth.b), abs=1.2)
    turned = (found.theta - truth.theta + 90) % 180 - 90
    assert abs(turned) < (20 if truth.a - truth.b < 2 else 2)
    # Truncation to integers moves the edge by at most a pixel or so.
    truncated = draw_mask((152, 152), truth, "truncated")
    assert (truncated ^ binary).sum() < 0.16 * binary.sum()


def test_ellipse_geometry() -> None:
    ellipse = Ellipse(10.0, 20.0, 5.0, 2.0, 90.0)
    assert ellipse.contains([10, 10, 12.1, 11.9], [24.9, 25.1, 20, 20]).tolist() == [True, False, False, True]
    assert ellipse.half_extent() == pytest.approx((2, 5))
    assert ellipse.enlarged(1.5) == Ellipse(10, 20, 7.5, 3.0, 90.0)
    assert ellipse.distance(13, 24) == 5
    # The published test forgets the angle: this ellipse lies along y, its test still takes b along x.
    assert bool(Ellipse(0, 0, 5, 2, 0).contains(0, 4, axis_aligned=True))
    assert not bool(Ellipse(0, 0, 5, 2, 0).contains(0, 4))


def test_no_ellipse_from_few_points_or_a_line() -> None:
    binary = np.zeros((40, 40), bool)
    binary[5, 5] = True
    binary[20, 5:35] = True
    assert all(e.b > 0 and math.isfinite(e.a) for e in fit_ellipses(find_contours(binary, "regions")))
    assert fit_ellipses([np.array([[[1, 1]], [[2, 2]]], np.int32)]) == []
    assert find_contours(np.zeros((40, 40), bool)) == []


def test_enclosing_circle_of_the_largest_region() -> None:
    region = np.zeros((60, 60), bool)
    region[10:13, 10:51] = True
    region[40:42, 10:13] = True
    assert enclosing_radius(region) == pytest.approx(math.hypot(20, 1), abs=0.01)
    assert enclosing_radius(np.zeros((5, 5), bool)) is None


def scene(seed: int, *stars: tuple[float, float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:152, :152]
    image = rng.normal(0.1, 0.01, (152, 152))
    for x0, y0, peak in stars:
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 3.0**2))
    return image


SCENES = {
    "one": [(76, 76, 0.5)],
    "two apart": [(76, 76, 0.5), (120, 40, 0.3)],
    "two blended": [(72, 76, 0.5), (81, 76, 0.4)],
    "three": [(72, 76, 0.5), (81, 76, 0.4), (30, 30, 0.2)],
    "none": [],
}


@pytest.mark.parametrize("name", SCENES)
def test_detection_is_photutils(name: str) -> None:
    image = scene(len(name), *SCENES[name])
    mesh = Background2D(image, (50, 50), filter_size=(3, 3), bkg_estimator=MedianBackground())
    background = blend.measure_background(image)
    np.testing.assert_allclose(background.level, mesh.background)
    np.testing.assert_allclose(background.rms, mesh.background_rms)
    assert background.typical_rms == pytest.approx(0.01, rel=0.1)
    data = image - mesh.background
    smoothed = convolve(data, make_2dgaussian_kernel(3.0, size=5).array, mode="constant")
    np.testing.assert_allclose(blend.smooth(data, 3.0), smoothed, atol=1e-12)
    threshold = 5 * mesh.background_rms
    labels = blend.detect(smoothed, threshold, 10)
    expected = 0
    if labels.any():
        segments = detect_sources(smoothed, threshold, 10)
        np.testing.assert_array_equal(labels, segments.data)
        expected = deblend_sources(smoothed, segments, 10, n_levels=90, contrast=1e-6, progress_bar=False).n_labels
    found = blend.count_sources(data, mesh.background_rms, sigma=5, n_pixels=10, fwhm_px=3.0, levels=90, contrast=1e-6)
    assert found == expected == len(SCENES[name])


def test_small_detections_are_dropped_and_labels_close_up() -> None:
    data = np.zeros((20, 20))
    data[2:4, 2:4] = 1  # 4 pixels: too few
    data[8:12, 8:12] = 1
    data[12:16, 12:16] = 1  # touches the last one at a corner: one source of 32 pixels
    data[17:20, 0:4] = 1
    labels = blend.detect(data, np.full((20, 20), 0.5), 10)
    np.testing.assert_array_equal(labels, detect_sources(data, 0.5, 10).data)
    assert np.bincount(labels.ravel())[1:].tolist() == [32, 12]


def test_regions_are_counted_above_a_size() -> None:
    binary = np.zeros((20, 20), bool)
    binary[0, 0] = binary[5, 5] = binary[6, 6] = True  # one pixel; two pixels that touch at a corner
    binary[10:12, 10:12] = True
    assert [blend.count_regions(binary, least) for least in (0, 1, 2, 3, 4)] == [3, 2, 1, 1, 0]
    assert blend.count_regions(np.zeros((4, 4), bool), 0) == 0
