"""Method improved: on images of known content, against photutils, and on files that break programs."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photutils.segmentation import SegmentationImage, detect_sources

from galbase.ingest.preprocess import blend
from galbase.ingest.preprocess.coadd import coadd, sky_level
from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig, preset
from galbase.ingest.preprocess.detection import Sources, detect
from galbase.ingest.preprocess.judge import preprocess_batch, preprocess_cutout
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.preprocess.stamp import frame_target, masked_stamp
from galbase.ingest.preprocess.stretch import dr2_rgb
from galbase.ingest.preprocess.target import _tails, find_target
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.errors import UsageError
from galbase.schema.flags import PreprocessFlag as Flag

IMPROVED = ImprovedConfig()
GRZ = ("g", "r", "z")
COLOUR = np.array([0.5, 1.0, 1.4])
HASHES = {"galeffnet": "7e4e9a5c8aea68ef05c0589c2570d496", "gpm_resnet": "8da0b70ab159f852844290428535bb26"}


def galaxy(x: float, y: float, scale: float, peak: float, ratio: float = 1.0, theta: float = 0.0) -> np.ndarray:
    """An exponential galaxy, (152, 152, 3) nanomaggies a pixel; `theta` in degrees from +x to +y."""
    yy, xx = np.mgrid[:152, :152]
    angle = math.radians(theta)
    along = (xx - x) * math.cos(angle) + (yy - y) * math.sin(angle)
    across = (yy - y) * math.cos(angle) - (xx - x) * math.sin(angle)
    return peak * np.exp(-np.hypot(along, across / ratio) / scale)[..., None] * COLOUR


def noisy(flux: np.ndarray, seed: int = 0, rms: float = 0.002) -> np.ndarray:
    return (flux + np.random.default_rng(seed).normal(0, rms, flux.shape)).astype(np.float32)


def judge(flux: np.ndarray, **options: Any) -> Verdict:
    return preprocess_cutout(flux, GRZ, 0.262, False, IMPROVED.with_options(options))


def test_a_lone_galaxy_is_kept_with_shape_score_and_stamp() -> None:
    flux = noisy(galaxy(77, 75, 5, 0.3, ratio=0.6, theta=30))
    verdict = judge(flux)
    assert verdict.kept
    assert not verdict.flag & ~INFORMATIVE
    ellipse = verdict.ellipse
    assert ellipse is not None
    assert (ellipse.x, ellipse.y) == pytest.approx((77, 75), abs=0.5)
    assert ellipse.b / ellipse.a == pytest.approx(0.6, abs=0.05)
    assert ellipse.theta == pytest.approx(30, abs=4)
    assert verdict.radius_px == pytest.approx(ellipse.a, rel=0.2)
    assert (verdict.n_source, verdict.n_region) == (1, None)
    assert verdict.blend_score is not None
    assert verdict.blend_score < 0.8
    # Inverse-variance weights: three bands of 0.002 each make 0.002 / sqrt(3).
    assert verdict.background_rms == pytest.approx(0.002 / 3**0.5, rel=0.03)
    assert verdict.threshold == pytest.approx(1.5 * verdict.background_rms)
    assert verdict.stamp is not None
    inside = (verdict.stamp > 0).any(axis=-1)
    expected = np.rint(dr2_rgb(flux, GRZ) * 255)
    np.testing.assert_array_equal(verdict.stamp[inside], expected[inside])


@pytest.mark.parametrize("sky", [0.0, 0.05, -0.01])
def test_the_verdict_does_not_depend_on_the_sky_level(sky: float) -> None:
    flux = noisy(galaxy(76, 76, 4, 0.3))
    plain, lifted = find_target(flux, GRZ, False, IMPROVED), find_target(flux + np.float32(sky), GRZ, False, IMPROVED)
    assert plain.region is not None
    assert lifted.region is not None
    assert (plain.region != lifted.region).sum() <= 0.01 * plain.region.sum()
    assert lifted.blend_score == pytest.approx(plain.blend_score, abs=0.02)


def test_blend_score_grows_with_the_neighbour_and_is_found_on_the_slope() -> None:
    scores = []
    for share in (0.0, 0.05, 0.2, 0.8):
        # 8 pixels away: on the target's slope, where the fainter ones make no peak of their own
        verdict = judge(noisy(galaxy(76, 76, 4, 0.3) + galaxy(82, 81, 2, 0.3 * share * 4)))
        assert verdict.blend_score is not None
        scores.append(verdict.blend_score)
        assert (Flag.BLENDED in verdict.flag) == (verdict.blend_score > IMPROVED.max_blend_score)
        assert verdict.kept == (not verdict.flag & ~INFORMATIVE)
    assert scores == sorted(scores)
    assert scores[0] < 0.8
    assert scores[2] > 1.3


def test_symmetric_arms_are_no_blend_and_stay_in_the_mask() -> None:
    knots = galaxy(88, 76, 1.5, 0.2) + galaxy(64, 76, 1.5, 0.2)
    flux = noisy(galaxy(76, 76, 6, 0.3) + knots)
    verdict = judge(flux)
    assert verdict.kept
    assert verdict.n_source == 1
    assert verdict.stamp is not None
    assert (verdict.stamp[76, [64, 76, 88]] > 0).all()


def test_neighbours_outside_are_masked_and_the_target_kept() -> None:
    target, others = galaxy(76, 76, 4, 0.3), galaxy(106, 76, 3, 0.3) + galaxy(60, 116, 2, 0.2)
    found = find_target(noisy(target + others), GRZ, False, IMPROVED)
    assert found.mask is not None
    assert Flag.INTERLOPER_MASKED in found.flag
    own, other = target[..., 1], others[..., 1]
    assert own[found.mask].sum() > 0.95 * own.sum()
    assert other[found.mask].sum() < 0.03 * own.sum()
    assert not found.mask[76, 106]
    assert judge(noisy(target + others)).kept


def test_diffuse_light_is_found_where_no_pixel_shows_it() -> None:
    faint = noisy(galaxy(76, 76, 8, 0.0012), rms=0.002)
    verdict = judge(faint)
    assert Flag.LOW_SURFACE_BRIGHTNESS in verdict.flag
    assert verdict.kept
    assert verdict.ellipse is not None
    assert verdict.ellipse.distance(76, 76) < 5
    nothing = judge(noisy(np.zeros((152, 152, 3))))
    assert Flag.NO_TARGET in nothing.flag
    assert not nothing.kept
    elsewhere = judge(noisy(galaxy(30, 30, 3, 0.3)))
    assert Flag.NO_TARGET | Flag.TARGET_OFF_CENTRE in elsewhere.flag


def test_a_saturated_star_is_out_with_its_reason() -> None:
    star = noisy(np.minimum(galaxy(76, 76, 2, 500), 20))
    star = np.minimum(star, np.float32(20))
    verdict = judge(star)
    assert Flag.SATURATED in verdict.flag
    assert not verdict.kept
    assert Flag.SATURATED not in judge(noisy(galaxy(76, 76, 2, 20))).flag


def test_regions_are_those_of_photutils() -> None:
    rng = np.random.default_rng(5)
    for seed in range(6):
        flux = sum(galaxy(*rng.uniform(15, 137, 2), rng.uniform(1, 4), rng.uniform(0.02, 0.3)) for _ in range(8))
        image = coadd(noisy(np.asarray(flux), seed), GRZ, False).every
        ours = detect(image, IMPROVED)
        smoothed = blend.smooth(image.astype(np.float64), IMPROVED.kernel_fwhm_px)
        theirs = detect_sources(smoothed, IMPROVED.detect_sigma, IMPROVED.detect_pixels)
        assert isinstance(theirs, SegmentationImage)
        inner = (slice(3, -3), slice(3, -3))
        differ = (ours.labels > 0)[inner] != (theirs.data > 0)[inner]
        assert differ.mean() < 0.002
        assert abs(ours.n_region - theirs.n_labels) <= 1


def test_sky_of_noise_with_sources_is_that_of_the_noise() -> None:
    values = np.random.default_rng(1).normal(3, 0.5, 20000).astype(np.float32)
    values[:600] += np.random.default_rng(2).exponential(20, 600).astype(np.float32)
    level, rms = sky_level(values)
    assert level == pytest.approx(3, abs=0.03)
    assert rms == pytest.approx(0.5, rel=0.03)


def test_noise_of_a_compressed_picture_is_no_source() -> None:
    """Noise that neighbouring pixels share, as resampled or compressed: the verdict on it is as on white noise."""
    rng = np.random.default_rng(8)
    light = galaxy(76, 76, 5, 100)
    white = 20 + rng.normal(0, 3, (152, 152, 3))
    alike = cv2.GaussianBlur(white, (0, 0), 1.5)
    alike = 20 + (alike - alike.mean()) * 3 / alike.std()
    pictures = [(noise + light).astype(np.float32) for noise in (white, alike)]
    found = [find_target(picture, ("R", "G", "B"), True, IMPROVED) for picture in pictures]
    assert found[1].n_region <= found[0].n_region + 5
    assert found[1].ellipse is not None
    assert found[0].ellipse is not None
    assert found[1].ellipse.a < 1.2 * found[0].ellipse.a


def test_the_training_stamp_is_the_judged_one() -> None:
    flux = noisy(galaxy(76, 76, 4, 0.3) + galaxy(106, 76, 3, 0.3))
    for config in (IMPROVED, IMPROVED.with_options({"stamp_px": 64})):
        verdict = preprocess_cutout(flux, GRZ, 0.262, False, config)
        assert verdict.ellipse is not None
        framed = frame_target(flux, GRZ, 0.262, False, verdict.ellipse, config)
        np.testing.assert_array_equal(masked_stamp(framed, config), verdict.stamp)


def test_extreme_values_get_a_verdict() -> None:
    colour = np.ones((152, 152, 3), np.float32) * np.array([1, 2, 3], np.float32)
    assert judge(colour).flag == Flag.CONSTANT_IMAGE
    for scale in (1e-30, 1e-12, 1e6):
        verdict = judge(noisy(galaxy(76, 76, 4, 0.3)) * np.float32(scale))
        assert verdict.kept == (not verdict.flag & ~INFORMATIVE)
    checks = np.zeros((152, 152, 3), np.float32)
    checks[::3, ::3] = 1
    for pixels in (1, 10):
        assert judge(checks, detect_pixels=pixels).flag & ~INFORMATIVE


def test_files_of_other_depths_and_channels(tmp_path: Path) -> None:
    grey = np.clip(galaxy(76, 76, 5, 0.6)[..., 1:2] + np.random.default_rng(0).normal(0.05, 0.01, (152, 152, 1)), 0, 1)
    for depth, top in ((np.uint8, 255), (np.uint16, 65535)):
        for n_channel in (1, 3, 4):
            image = np.repeat(np.rint(grey * top).astype(depth), n_channel, axis=-1)
            if n_channel == 4:
                image[..., 3] = top
            path = tmp_path / f"{top}-{n_channel}.png"
            assert cv2.imwrite(str(path), image)
            (verdict,) = preprocess_batch(read_cutouts(path, "png"), IMPROVED)
            assert verdict.kept, (depth, n_channel, verdict.flag)
            assert verdict.blend_score is not None
    four = noisy(np.repeat(galaxy(76, 76, 4, 0.3)[..., :1], 4, axis=-1))
    assert preprocess_cutout(four, ("g", "r", "i", "z"), 0.262, False, IMPROVED).flag == Flag.BANDS_UNKNOWN


@pytest.mark.parametrize("n_band", [1, 2])
def test_fewer_bands_and_a_band_without_noise(n_band: int) -> None:
    flux = noisy(galaxy(76, 76, 4, 0.3))
    assert preprocess_cutout(flux[..., :n_band].copy(), GRZ[:n_band], 0.262, False, IMPROVED).kept
    dead = flux.copy()
    dead[..., n_band] = 0
    assert judge(dead).kept
    smooth = galaxy(76, 76, 4, 0.3).astype(np.float32)
    assert judge(smooth).stamp is not None


def test_options_that_are_not_read_are_refused_and_not_hashed() -> None:
    assert preset("improved") == IMPROVED
    for option in ("contours_of", "second_check_regions", "background", "grey_order"):
        assert option not in IMPROVED.to_dict()
        with pytest.raises(UsageError, match="unknown option"):
            IMPROVED.with_options({option: "1"})
    with pytest.raises(UsageError, match="method='galeffnet' is no option"):
        IMPROVED.with_options({"method": "galeffnet"})
    with pytest.raises(UsageError, match="method='improved' is no option"):
        PreprocessConfig().with_options({"method": "improved"})
    with pytest.raises(UsageError, match="needs at least 0.5"):
        IMPROVED.with_options({"detect_sigma": 0})
    assert PreprocessConfig.from_dict(IMPROVED.to_dict()) == IMPROVED
    hashes = {IMPROVED.hash()}
    for name, value in IMPROVED.to_dict().items():
        other = {"method": None, "radius_rule": "above", "display_resize": "centre_crop", "stamp_px": 64}.get(
            name, value + 2 if not isinstance(value, str) else None
        )
        if other is not None:
            hashes.add(IMPROVED.with_options({name: other}).hash())
    assert len(hashes) == len(IMPROVED.to_dict())


def test_hashes_of_the_published_presets_stay() -> None:
    """Stored verdicts are found by these: an option that is added must not move them."""
    assert preset("galeffnet").hash() == HASHES["galeffnet"]
    assert preset("gpm_resnet").hash() == HASHES["gpm_resnet"]


def test_a_little_star_on_the_target_is_masked_and_no_blend() -> None:
    star = galaxy(110, 76, 0.8, 0.1)
    flux = noisy(galaxy(76, 76, 8, 0.3) + star)
    found, before = (
        find_target(flux, GRZ, False, IMPROVED.with_options({"lone_max_px": n})) for n in (IMPROVED.lone_max_px, 0)
    )
    assert found.mask is not None
    assert before.mask is not None
    assert before.region is not None
    assert before.mask[76, 110]
    assert not found.mask[76, 110]
    assert Flag.INTERLOPER_MASKED in found.flag
    # No more goes of the target's light than where the star stands.
    lost = before.mask & ~found.mask & before.region
    rows, columns = np.nonzero(lost)
    assert 0 < len(rows) < 60
    assert np.hypot(columns - 110, rows - 76).max() < 8
    assert found.blend_score == before.blend_score
    # The same on both sides is the galaxy's own.
    both = find_target(noisy(galaxy(76, 76, 8, 0.3) + star + galaxy(42, 76, 0.8, 0.1)), GRZ, False, IMPROVED)
    assert both.mask is not None
    assert both.mask[76, [42, 110]].all()


def test_a_point_source_is_not_masked_for_being_bright() -> None:
    """Off the middle its own peak lies beyond the search, and its other side shows nothing."""
    for x in (76, 79, 81, 83):
        found = find_target(noisy(galaxy(x, 74, 0.9, 0.3)), GRZ, False, IMPROVED)
        if found.region is not None:
            assert found.region[74, x], x


def test_a_tail_belongs_to_the_target_and_a_companion_does_not() -> None:
    yy, xx = np.mgrid[:152, :152]
    angle, radius = np.arctan2(yy - 76, xx - 76), np.hypot(xx - 76, yy - 76)
    shell = np.where((np.abs(radius - 30) < 6) & (np.abs(angle) < 1), 0.012, 0)
    shell = cv2.GaussianBlur(shell, (0, 0), 1.5)[..., None] * COLOUR
    main = galaxy(76, 76, 6, 0.3)
    tail = find_target(noisy(main + shell, rms=0.004), GRZ, False, IMPROVED)
    assert tail.mask is not None
    light = shell[..., 1]
    assert light[tail.mask].sum() > 0.95 * light.sum()
    companion = find_target(noisy(main + galaxy(106, 76, 3, 0.15)), GRZ, False, IMPROVED)
    assert companion.mask is not None
    assert not companion.mask[76, 106]


def test_a_child_without_a_peak_of_its_own_is_a_tail() -> None:
    """Two deblended parts side by side, told apart by nothing but the light at and beyond the seam."""
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 5:20], labels[10:30, 20:35] = 1, 2
    whole = labels > 0
    regions = whole.astype(np.int32)
    sources = Sources(labels, regions, 1, np.array([12, 27]), np.array([20, 20]))
    for beyond, is_tail in ((10.0, True), (12.0, True), (13.0, False), (30.0, False)):
        fine = np.where(labels == 1, 20, 10).astype(np.float32)
        fine[18:22, 26:30] = beyond
        assert _tails(fine, sources, whole, labels == 1, IMPROVED) == ([2] if is_tail else [])
        assert _tails(fine, sources, whole, labels == 1, IMPROVED.with_options({"tail_prominence": 0})) == []
    # A child that does not touch the target is no part of it, however flat.
    far = labels.copy()
    far[:, 20:23] = 0
    apart = Sources(far, regions, 1, sources.x, sources.y)
    assert _tails(fine * 0 + 10, apart, whole, far == 1, IMPROVED) == []
