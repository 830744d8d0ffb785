"""Every preset on every kind of image: real ones of four samples, and files that break programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sep
from astropy.io import fits
from numpy.typing import NDArray

from galbase.ingest.preprocess.config import PRESETS, ImprovedConfig, preset
from galbase.ingest.preprocess.judge import preprocess_batch, preprocess_cutout
from galbase.ingest.preprocess.overlay import see
from galbase.ingest.preprocess.pixels import Cutouts, read_cutouts
from galbase.ingest.preprocess.verdict import INFORMATIVE, Verdict
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import PreprocessFlag as Flag
from galbase.schema.flags import preprocess_reasons

# Of the frame's sources; most others are faint stars.
N_BRIGHTEST = 40
FRAME_PX = 152


def real_images(folder: Path) -> Iterator[Cutouts]:
    for sample in ("gz-coords-sample", "gz-example-images", "sdss-pairs"):
        for path in sorted((folder / sample).rglob("*")):
            if path.suffix in (".jpg", ".png"):
                yield read_cutouts(path, "png" if path.suffix == ".png" else "jpeg")


def frame_cutouts(folder: Path) -> list[Cutouts]:
    """Cutouts about the brightest sources of the SDSS frame, filled with NaN beyond its edge as stamps are."""
    with fits.open(next((folder / "sdss-frame").glob("frame-*.fits.bz2"))) as hdus:
        data = np.ascontiguousarray(hdus[0].data, np.float32)
    sky = sep.Background(data)
    found = sep.extract(data - sky.back(), 3.0, err=sky.globalrms, minarea=12)
    half = FRAME_PX // 2
    wide = np.pad(data, half, constant_values=np.nan)
    made = []
    for source in found[np.argsort(found["flux"])[-N_BRIGHTEST:]]:
        x, y = round(float(source["x"])), round(float(source["y"]))
        made.append(Cutouts(wide[None, y : y + FRAME_PX, x : x + FRAME_PX, None], ("g",), 0.396, is_display=False))
    return made


def check(verdict: Verdict) -> None:
    """What holds of any verdict."""
    assert verdict.kept == (not verdict.flag & ~INFORMATIVE)
    assert verdict.kept <= (verdict.stamp is not None)
    assert (verdict.ellipse is None) == (verdict.radius_px is None) == (verdict.stamp is None)
    reasons = preprocess_reasons(verdict.flag)
    assert any(item.keeps_out for item in reasons) == (not verdict.kept)
    assert len(reasons) == len(list(verdict.flag))
    assert all(item.meaning and item.criterion for item in reasons)
    numbers = [verdict.radius_px, verdict.radius_arcsec, verdict.threshold, verdict.background_rms, verdict.blend_score]
    numbers += [] if verdict.ellipse is None else list(vars(verdict.ellipse).values())
    assert np.isfinite([number for number in numbers if number is not None]).all()


@pytest.mark.parametrize("config", PRESETS)
def test_every_real_image_gets_a_verdict_with_a_reason(test_data: Path, config: str) -> None:
    kept = n_image = 0
    for cutouts in real_images(test_data):
        (verdict,) = preprocess_batch(cutouts, preset(config))
        check(verdict)
        assert Flag.PIXEL_SCALE_UNKNOWN in verdict.flag
        assert Flag.TARGET_TOO_LARGE not in verdict.flag
        kept += verdict.kept
        n_image += 1
    assert n_image == 4 + 27 + 258
    assert 0.2 * n_image < kept < 0.8 * n_image


@pytest.mark.parametrize("config", PRESETS)
def test_every_cutout_of_a_real_frame_gets_a_verdict_with_a_reason(test_data: Path, config: str) -> None:
    verdicts = [preprocess_batch(cutouts, preset(config))[0] for cutouts in frame_cutouts(test_data)]
    assert len(verdicts) == N_BRIGHTEST
    for verdict in verdicts:
        check(verdict)
        assert Flag.PIXEL_SCALE_UNKNOWN not in verdict.flag
        assert (verdict.radius_arcsec is None) == (verdict.radius_px is None)
    if isinstance(preset(config), ImprovedConfig):
        assert sum(Flag.SATURATED in verdict.flag for verdict in verdicts) <= 2
        found = [verdict.ellipse for verdict in verdicts if verdict.ellipse is not None]
        assert len(found) >= 0.95 * N_BRIGHTEST
        # A cutout's source is at its middle; a neighbour's, or the noise's, would not be.
        assert np.median([ellipse.distance(75.5, 75.5) for ellipse in found]) < 1.5


def star(peak: float, full_well: float, side: int = 152) -> NDArray[np.float32]:
    """A Gaussian star cut at the full well, with a bleeding column, on noise; grz nanomaggies."""
    yy, xx = np.mgrid[:side, :side]
    middle = side // 2
    light = peak * np.exp(-((xx - middle) ** 2 + (yy - middle) ** 2) / 18)
    light[middle - 25 : middle + 25, middle] = full_well
    light = light[..., None] + np.random.default_rng(4).normal(0, 0.002, (side, side, 3))
    return np.minimum(light, full_well).astype(np.float32)


AWKWARD: dict[str, NDArray[Any]] = {
    "constant": np.full((152, 152, 3), 0.7, np.float32),
    "all NaN": np.full((152, 152, 3), np.nan, np.float32),
    "one pixel": np.ones((1, 1, 3), np.float32),
    "no pixel": np.ones((0, 0, 3), np.float32),
    "saturated star": star(1e4, 20),
    "all saturated": np.minimum(star(1e4, 20), np.float32(0)),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("config", PRESETS)
def test_awkward_images_get_a_verdict_and_a_picture(config: str, name: str) -> None:
    for bands, is_display in ((("g", "r", "z"), False), (("R", "G", "B"), True)):
        for scale in (0.262, None):
            overlay = see(AWKWARD[name], bands, scale, is_display, preset(config))
            check(overlay.verdict)
            again = preprocess_cutout(AWKWARD[name], bands, scale, is_display, preset(config))
            assert (overlay.verdict.flag, overlay.verdict.ellipse) == (again.flag, again.ellipse)
            # A picture has no mask without a target, and the stamp is what it leaves.
            assert (overlay.mask is None) == (again.stamp is None)
            if name not in ("saturated star", "all saturated"):
                assert not overlay.verdict.kept
    if config == "improved" and name == "saturated star":
        verdict = preprocess_cutout(AWKWARD[name], ("g", "r", "z"), 0.262, False, preset(config))
        assert Flag.SATURATED in verdict.flag
        assert not verdict.kept


@pytest.mark.parametrize("config", PRESETS)
def test_files_of_other_depths_and_channels_get_one_verdict(tmp_path: Path, config: str) -> None:
    """The same grey galaxy in 8 and 16 bit, with 1, 3 and 4 channels."""
    yy, xx = np.mgrid[:152, :152]
    grey = np.exp(-((xx - 76) ** 2 + 1.4 * (yy - 76) ** 2) / 200) * 0.8
    grey = np.clip(grey + np.random.default_rng(0).normal(0.05, 0.01, grey.shape), 0, 1)
    found = []
    for depth, top in ((np.uint8, 255), (np.uint16, 65535)):
        for n_channel in (1, 3, 4):
            image = np.repeat(np.rint(grey * top).astype(depth)[..., None], n_channel, axis=-1)
            if n_channel == 4:
                image[..., 3] = top
            path = tmp_path / f"{top}-{n_channel}.png"
            assert cv2.imwrite(str(path), image)
            (verdict,) = preprocess_batch(read_cutouts(path, "png"), preset(config))
            check(verdict)
            assert verdict.ellipse is not None
            found.append((verdict.kept, verdict.ellipse.x, verdict.ellipse.y, verdict.ellipse.a))
    assert len({item[0] for item in found}) == 1
    assert np.ptp([item[1:] for item in found], axis=0).max() < 2.5


@pytest.mark.parametrize("config", PRESETS)
def test_four_planes_of_flux_and_a_broken_file(tmp_path: Path, config: str) -> None:
    four = np.repeat(star(5, 20)[..., :1], 4, axis=-1)
    path = tmp_path / "four.fits"
    fits.PrimaryHDU(four.transpose(2, 0, 1)).writeto(path)
    cutouts = read_cutouts(path, "fits-image")
    (verdict,) = preprocess_batch(cutouts, preset(config))
    check(verdict)
    assert Flag.BANDS_UNKNOWN in verdict.flag
    overlay = see(cutouts.pixels[0], cutouts.bands, None, False, preset(config))
    # Shown in grey, for there are no colours.
    side = preset(config).image_px
    assert overlay.colours.shape == (side, side, 3)
    assert np.ptp(overlay.colours, axis=2).max() == 0
    assert overlay.colours[side // 2, side // 2, 0] > overlay.colours[0, 0, 0]
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40)
    with pytest.raises(GalbaseError, match=r"half\.png"):
        read_cutouts(tmp_path / "half.png", "png")
