"""What is computed in a faster way than photutils' and scipy's own gives what theirs gives, to the last bit."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from photutils.background import Background2D, MedianBackground
from photutils.segmentation import SegmentationImage, deblend_sources
from scipy.ndimage import zoom

from benchmarks.straightforward import judge_plainly, sources
from galbase.ingest.preprocess.blend import count_sources, detect, measure_background, smooth
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.detection import detect as detect_flux
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.mesh import spread_mesh
from galbase.ingest.preprocess.pixels import read_cutouts

GRZ = ("g", "r", "z")
PUBLISHED = preset("galeffnet")


def grey_of_blobs(rng: np.random.Generator, side: int, n_blob: int, noise: float) -> np.ndarray:
    """Sources of all sizes and depths of overlap, on noise or on none."""
    y, x = np.mgrid[:side, :side]
    grey = rng.normal(0, noise, (side, side)) if noise else np.zeros((side, side))
    for _ in range(n_blob):
        dx, dy = x - rng.normal(side / 2, side / 10), y - rng.normal(side / 2, side / 10)
        grey += rng.uniform(0.05, 1) * np.exp(-np.hypot(dx, dy * rng.uniform(1, 2)) / rng.uniform(1, 5))
    return np.where(np.hypot(x - side / 2, y - side / 2) < side / rng.uniform(3, 8), grey, 0) if noise < 0.02 else grey


@pytest.mark.parametrize(
    ("shape", "box"),
    [((152, 152), 50), ((128, 128), 50), ((101, 99), 33), ((40, 40), 50), ((152, 64), 8), ((30, 152), 50)],
)
def test_the_spread_mesh_is_scipys_to_the_bit(shape: tuple[int, int], box: int) -> None:
    rng = np.random.default_rng(shape[0] + box)
    boxes = (min(box, shape[0]), min(box, shape[1]))
    size = (-(-shape[0] // boxes[0]), -(-shape[1] // boxes[1]))
    for _ in range(20):
        mesh = rng.normal(size=size) * (rng.random(size) < rng.random())
        zoomed = zoom(mesh, boxes, order=3, mode="reflect", grid_mode=True)[: shape[0], : shape[1]]
        expected = np.clip(zoomed, mesh.min(), mesh.max())
        assert np.array_equal(spread_mesh(mesh, boxes, shape), expected)


@pytest.mark.parametrize("side", [152, 128, 64, 37])
def test_the_background_is_photutils_to_the_bit(side: int) -> None:
    rng = np.random.default_rng(side)
    n_compared = 0
    for noise in (0.0, 0.01, 0.1, 0.1):
        grey = grey_of_blobs(rng, side, 1, noise)
        ours = measure_background(grey)
        box = min(50, side)
        try:
            theirs = Background2D(grey, (box, box), filter_size=(3, 3), bkg_estimator=MedianBackground())
        except ValueError:
            continue
        assert np.array_equal(ours.level, theirs.background)
        assert np.array_equal(ours.rms, theirs.background_rms)
        n_compared += 1
    assert n_compared >= 2


@pytest.mark.parametrize("name", ["galeffnet", "mmlforgalam", "galeffnet_code"])
def test_a_galaxy_that_fills_the_image_gets_a_verdict(name: str) -> None:
    """Every box of the background's mesh loses more than a tenth of its pixels to the clipping."""
    y, x = np.mgrid[:128, :128] - 63.5
    tail = 0.4 * (1 + np.hypot(x, y) / 6) ** -3
    image = np.float32(tail[..., None] * [0.5, 1, 1.5])
    with pytest.raises(ValueError, match="All boxes contain"):
        Background2D(tail, (50, 50), filter_size=(3, 3), bkg_estimator=MedianBackground())
    assert np.isfinite(measure_background(tail).rms).all()
    config = preset(name).with_options({"contours_of": "regions", "background": "before_masking", "image_px": 128})
    verdict = preprocess_cutout(image, GRZ, 0.262, False, config)
    assert verdict.n_source is not None
    assert verdict.background_rms is not None
    assert verdict.background_rms > 0


def test_sources_are_counted_as_photutils_counts_them() -> None:
    rng = np.random.default_rng(8)
    counts = []
    for k in range(60):
        grey = grey_of_blobs(rng, 152, 1 + k % 5, (0.0, 0.004, 0.03)[k % 3])
        sigma, levels, contrast = (1.5, 0.8)[k % 2], (90, 16, 1)[k % 3], (1e-6, 0.005, 0.3)[k % 3]
        background = measure_background(grey)
        data = grey - background.level
        found = count_sources(
            data, background.rms, sigma=sigma, n_pixels=10, fwhm_px=3.0, levels=levels, contrast=contrast
        )
        smoothed = smooth(data, 3.0)
        labels = detect(smoothed, np.maximum(sigma * background.rms, 0.0), 10)
        expected = 0
        if labels.any():
            with warnings.catch_warnings():
                # Where a region's least value is not positive.
                warnings.simplefilter("ignore")
                parts = deblend_sources(
                    smoothed, SegmentationImage(labels), 10, n_levels=levels, contrast=contrast, progress_bar=False
                )
            expected = int(parts.n_labels)
        assert found == expected
        counts.append((found, int(labels.max())))
    # Some are divided, some are not.
    assert sum(found > n_region for found, n_region in counts) > 10
    assert sum(found == n_region == 1 for found, n_region in counts) > 5


def flux(seed: int) -> np.ndarray:
    """A galaxy of a few arcsec, half of them with a companion, on the Legacy Surveys' noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:152, :152] - 75.5
    image = rng.normal(0, 0.003, (152, 152, 3))
    for k in range(1 + seed % 2):
        turn = rng.uniform(0, 2 * np.pi)
        radius = np.hypot(x - 9 * k * np.cos(turn), (y - 9 * k * np.sin(turn)) / rng.uniform(0.5, 1))
        image += (rng.uniform(0.02, 0.3) * np.exp(-radius / rng.uniform(1.5, 4)))[..., None] * [0.5, 1, 1.5]
    return image.astype(np.float32)


@pytest.mark.parametrize("regions", [False, True], ids=["edges", "regions"])
def test_verdicts_are_those_of_the_straightforward_form(regions: bool) -> None:
    config = PUBLISHED.with_options({"contours_of": "regions"}) if regions else PUBLISHED
    seen = set()
    for seed in range(40):
        ours = preprocess_cutout(flux(seed), GRZ, 0.262, False, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = judge_plainly(flux(seed), regions)
        assert (ours.n_source, ours.n_region, ours.kept) == (plain.n_source, plain.n_region, plain.kept)
        assert ours.radius_px == (None if plain.radius_px is None else pytest.approx(plain.radius_px, abs=1e-4))
        seen.add((ours.kept, ours.ellipse is None))
    assert {(True, False), (False, False)} <= seen


def test_real_images_have_as_many_sources_as_the_straightforward_form_finds(test_data: Path) -> None:
    config = preset("galeffnet").with_options({"contours_of": "regions", "stamp_px": 152})
    n_judged = 0
    for path in sorted((test_data / "gz-example-images" / "images").rglob("*.jpg"))[:40]:
        image = read_cutouts(path, "jpeg")
        verdict = preprocess_cutout(image.pixels[0], image.bands, None, True, config)
        if verdict.stamp is None:
            continue
        # The masked image again from the 8-bit stamp, which the frame fills.
        grey = verdict.stamp.astype(np.float64) @ [0.299, 0.587, 0.114] / 255
        background = measure_background(grey)
        found = count_sources(
            grey - background.level, background.rms, sigma=1.5, n_pixels=10, fwhm_px=3.0, levels=90, contrast=1e-6
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert found == sources(grey, with_catalogues=False), path
        n_judged += 1
    assert n_judged > 30


def test_detection_has_room_for_an_image_of_nothing_but_source() -> None:
    rng = np.random.default_rng(1)
    for side in (16, 152):
        image = (100 + rng.normal(0, 1, (side, side))).astype(np.float32)
        assert (detect_flux(image, preset("improved")).labels > 0).all()  # type: ignore[arg-type]
