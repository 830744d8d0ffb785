"""Sersic stamps against galsim and against what their columns say of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
import pytest
from typer.testing import CliRunner

from galbase.ml.stamps.background import SimulatedSky
from galbase.ml.stamps.parameters import SPLITS, StampParameters
from galbase.ml.stamps.psf import moffat_images
from galbase.ml.stamps.render import Profiles, draw_profiles, kept_light
from galbase.ml.stamps.shard import COLUMNS, MANIFEST, read_manifest, read_stamps, shard_name
from galbase.ml.stamps.simulate import StampSource, draw_block, simulate_stamps
from galbase.schema.errors import GalbaseError

SIZE = 61


def moments(image: np.ndarray, sigma: float, cx: float, cy: float) -> np.ndarray:
    """Flux, size, ellipticity and centre under a Gaussian window."""
    at = np.arange(SIZE) - SIZE // 2
    x, y = at[None, :] - cx, at[:, None] - cy
    weight = image * np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    xx, yy, xy, mx, my = ((weight * v).sum() / weight.sum() for v in (x * x, y * y, x * y, x, y))
    return np.array([image.sum(), np.sqrt(xx + yy), (xx - yy) / (xx + yy), 2 * xy / (xx + yy), mx, my])


def drawn_by_galsim(profiles: Profiles, k: int, psf: np.ndarray) -> np.ndarray:
    """The same galaxy of unit total flux, convolved with the same PSF image."""
    exact = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-3)
    radius = float(profiles.re_px[k])
    # our profile tapers off between 7 and 8 r_e; galsim's is cut in the middle
    round_one = galsim.Sersic(
        n=profiles.n[k], half_light_radius=radius, trunc=7.5 * radius, flux_untruncated=True, gsparams=exact
    )
    galaxy = round_one.transform(1, 0, 0, profiles.q[k]).withFlux(round_one.flux)
    galaxy = galaxy.rotate((profiles.pa_rad[k] + np.pi / 2) * galsim.radians).shift(profiles.dx[k], profiles.dy[k])
    seen = galsim.InterpolatedImage(
        galsim.Image(psf.astype(float), scale=1.0), x_interpolant="lanczos15", gsparams=exact
    ).withFlux(1.0)
    both = galsim.Convolve(galaxy, seen, gsparams=exact)
    return both.drawImage(nx=SIZE, ny=SIZE, scale=1, method="no_pixel").array.astype(float)


def test_stamps_equal_galsim() -> None:
    m = 250
    rng = np.random.default_rng(11)
    profiles = Profiles(
        n=np.exp(rng.uniform(np.log(0.5), np.log(6), m)), re_px=np.exp(rng.uniform(0, np.log(25), m)),
        q=rng.uniform(0.2, 1, m), pa_rad=rng.uniform(0, np.pi, m), dx=rng.uniform(-1, 1, m), dy=rng.uniform(-1, 1, m),
    )  # fmt: skip
    psf, _ = moffat_images(rng, m, StampParameters())
    image = draw_profiles(profiles, psf).astype(float) * kept_light(profiles.n)[:, None, None]
    for k in range(m):
        expected = drawn_by_galsim(profiles, k, psf[k])
        window = 1.5 * profiles.re_px[k] + 4
        got = moments(image[k], window, profiles.dx[k], profiles.dy[k])
        want = moments(expected, window, profiles.dx[k], profiles.dy[k])
        np.testing.assert_allclose(got[:2] / want[:2], 1, atol=0.01)
        np.testing.assert_allclose(got[2:], want[2:], atol=0.01)
        assert np.abs(image[k] - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_light_inside_the_taper(n: float) -> None:
    expected = galsim.Sersic(n=n, half_light_radius=1, trunc=7.5, flux_untruncated=True).flux
    assert kept_light(np.array([n]))[0] == pytest.approx(expected, abs=5e-4)


def test_signal_to_noise_is_the_scatter_of_the_best_estimate() -> None:
    """The matched filter's flux scatters by flux / snr over realisations of sky and photons."""
    parameters = StampParameters(snr=(30, 30), gain=400.0, sky_sigma_scatter_mag=0.0)
    block = draw_block(StampSource(parameters, SimulatedSky(parameters), None, 4), 0)
    np.testing.assert_allclose(block.truth["snr"], 30, rtol=2e-3)
    rng = np.random.default_rng(1)
    for k in range(3):
        t = {name: value[k : k + 1] for name, value in block.truth.items()}
        scale = parameters.pixel_scale_arcsec
        profiles = Profiles(t["n"], t["re_arcsec"] / scale, t["q"], np.radians(t["pa_deg"]), t["dx_px"], t["dy_px"])
        shape = draw_profiles(profiles, block.psf[k : k + 1])[0] * kept_light(t["n"])[0]
        model = shape.astype(float).clip(0) * t["flux"]
        assert t["flux"][0] == pytest.approx(10 ** (0.4 * (parameters.zero_point - t["mag"][0])))
        variance = t["sky_sigma"] ** 2 + model / parameters.gain
        weight = shape / variance
        seen = rng.poisson(model * parameters.gain, (1500, SIZE, SIZE)) / parameters.gain
        seen = seen + t["sky_sigma"] * rng.standard_normal(seen.shape)
        estimate = (seen * weight).sum(axis=(1, 2)) / (shape * weight).sum()
        assert estimate.mean() == pytest.approx(t["flux"][0], rel=0.005)
        assert t["flux"][0] / estimate.std() == pytest.approx(30, rel=0.08)


def test_simulated_sky_scatters_as_its_column_says() -> None:
    parameters = StampParameters(mag=(40, 40))
    source = StampSource(parameters, SimulatedSky(parameters), None, 1)
    blocks = [draw_block(source, k) for k in range(2)]
    ratio = np.concatenate([b.image.std(axis=(1, 2)) / b.truth["sky_sigma"] for b in blocks])
    assert ratio.mean() == pytest.approx(1, abs=0.01)


def test_columns_keep_to_their_ranges() -> None:
    parameters = StampParameters(snr=(50, 200), re_px=(2, 20), n=(0.8, 4), q=(0.3, 0.9), offset_px=0.5)
    source = StampSource(parameters, SimulatedSky(parameters), None, 2)
    truth = [draw_block(source, k).truth for k in range(4)]
    column = {name: np.concatenate([t[name] for t in truth]) for name in truth[0]}
    assert column["snr"].min() > 49.5
    assert column["snr"].max() < 202
    assert np.all((column["re_arcsec"] / 0.262 > 2 - 1e-9) & (column["re_arcsec"] / 0.262 < 20 + 1e-9))
    assert np.all((column["n"] >= 0.8) & (column["n"] <= 4) & (column["q"] >= 0.3) & (column["q"] <= 0.9))
    assert np.all((column["pa_deg"] >= 0) & (column["pa_deg"] < 180))
    assert max(np.abs(column["dx_px"]).max(), np.abs(column["dy_px"]).max()) <= 0.5


def test_the_same_seed_gives_the_same_bytes_and_a_longer_set_begins_alike(tmp_path: Path) -> None:
    one = simulate_stamps(tmp_path / "a", 150, 7, workers=1, shard_rows=100)
    two = simulate_stamps(tmp_path / "b", 150, 7, workers=3, shard_rows=100)
    assert one.digest == two.digest
    assert simulate_stamps(tmp_path / "c", 150, 8, shard_rows=100).digest != one.digest
    simulate_stamps(tmp_path / "d", 230, 7, shard_rows=100)
    np.testing.assert_array_equal(read_stamps(tmp_path / "a", 0, 150).image, read_stamps(tmp_path / "d", 0, 150).image)


def test_reading_a_row_range_over_shards(tmp_path: Path) -> None:
    simulate_stamps(tmp_path / "s", 130, 3, shard_rows=50)
    whole = read_stamps(tmp_path / "s", 0, 130)
    part = read_stamps(tmp_path / "s", 40, 105, columns=("mag", "split"))
    np.testing.assert_array_equal(part.image, whole.image[40:105])
    np.testing.assert_array_equal(part.psf, whole.psf[40:105])
    assert set(part.column) == {"mag", "split"}
    np.testing.assert_array_equal(part.column["mag"], whole.column["mag"][40:105])
    assert set(whole.column) == set(COLUMNS)
    assert np.bincount(whole.column["split"], minlength=3).argmax() == SPLITS.index("train")
    for start, stop in ((-1, 5), (5, 5), (0, 131)):
        with pytest.raises(GalbaseError, match="130 stamps"):
            read_stamps(tmp_path / "s", start, stop)
    with pytest.raises(GalbaseError, match="no column size"):
        read_stamps(tmp_path / "s", 0, 1, columns=("size",))
    next((tmp_path / "s").glob("sersic_000000050*")).unlink()
    with pytest.raises(GalbaseError, match="is missing"):
        read_stamps(tmp_path / "s", 40, 60)
    with pytest.raises(GalbaseError, match=MANIFEST):
        read_stamps(tmp_path, 0, 1)


def test_folders_of_other_sets_are_left_alone(tmp_path: Path) -> None:
    simulate_stamps(tmp_path / "s", 2, 3)
    with pytest.raises(GalbaseError, match="other seed"):
        simulate_stamps(tmp_path / "s", 2, 4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(GalbaseError, match="not empty"):
        simulate_stamps(tmp_path / "mine", 2, 4)


def test_an_ended_simulation_goes_on(tmp_path: Path) -> None:
    whole = simulate_stamps(tmp_path / "w", 130, 3, shard_rows=50)
    assert (whole.n_kept, whole.stamps_per_second > 0) == (0, True)

    def end(done: int, _size: int) -> None:
        if done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_stamps(tmp_path / "s", 130, 3, shard_rows=50, progress=end)
    with pytest.raises(GalbaseError, match="unfinished"):
        read_manifest(tmp_path / "s")
    first = tmp_path / "s" / shard_name(0, 50)
    written = first.stat().st_mtime_ns
    again = simulate_stamps(tmp_path / "s", 130, 3, shard_rows=50)
    assert (again.n_kept, again.digest) == (50, whole.digest)
    assert first.stat().st_mtime_ns == written
    # a damaged shard is made anew, the others are kept
    bytes_ = bytearray(first.read_bytes())
    bytes_[-1] ^= 1
    first.write_bytes(bytes_)
    mended = simulate_stamps(tmp_path / "s", 130, 3, shard_rows=50)
    assert (mended.n_kept, mended.digest) == (80, whole.digest)
    assert {file.name for file in (tmp_path / "s").iterdir()} == {file.name for file in (tmp_path / "w").iterdir()}
    complete = simulate_stamps(tmp_path / "s", 130, 3, shard_rows=50)
    assert (complete.n_kept, complete.stamps_per_second) == (130, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"re_px": (1.0, 40.0)}, {"n": (0.1, 4.0)}, {"q": (0.9, 0.5)}, {"snr": (0.0, 5.0)}, {"gain": 0.0},
     {"offset_px": -1.0}, {"mag": (20.0, 50.0)}],
)  # fmt: skip
def test_ranges_that_cannot_be_drawn_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(GalbaseError):
        replace(StampParameters(), **wrong)  # type: ignore[arg-type]


def test_command(tmp_path: Path) -> None:
    import typer

    from galbase.ml.commands_simulate_sersic import simulate_sersic

    app = typer.Typer()
    app.command()(simulate_sersic)
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "s"), "--size", "70", "--mag", "18", "20", "--json"])
    assert done.exit_code == 0, done.output
    payload = json.loads(done.stdout.splitlines()[-1])
    assert (payload["size"], payload["background"], payload["psf"]) == (70, "simulated", "moffat")
    manifest = json.loads((tmp_path / "s" / MANIFEST).read_text())
    assert manifest["digest"] == payload["digest"]
    assert manifest["parameters"]["mag"] == [18, 20]
    mag = read_stamps(tmp_path / "s", 0, 70, columns=("mag",)).column["mag"]
    assert 18 <= mag.min() < mag.max() <= 20
    refused = CliRunner().invoke(app, ["--out", str(tmp_path / "t"), "--background", "frame.fits"])
    assert "--gain" in str(refused.exception)
