"""Blank sky and PSFs of Sersic stamps, from frames with known contents and from real ones."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from galbase.ml.stamps.background import BlankSky, oriented
from galbase.ml.stamps.frame import read_frame
from galbase.ml.stamps.parameters import SPLITS, StampParameters
from galbase.ml.stamps.psf import centred_psf, half_maximum_fwhm, moffat_images, read_psfs, second_moment_fwhm
from galbase.ml.stamps.shard import read_stamps
from galbase.ml.stamps.simulate import simulate_stamps
from galbase.schema.errors import GalbaseError

FWHM = 3.4
SIGMA = 0.025


def moffat(shape: tuple[int, int], x: float, y: float, fwhm: float = FWHM, beta: float = 3.0) -> np.ndarray:
    """A unit-flux Moffat star, sampled 5 times finer than the pixels."""
    scale = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    axes = [(np.arange(5 * n) + 0.5) / 5 - 0.5 for n in shape]
    square = (axes[1][None, :] - x) ** 2 + (axes[0][:, None] - y) ** 2
    fine = (beta - 1) / (np.pi * scale**2) * (1 + square / scale**2) ** -beta / 25
    return fine.reshape(shape[0], 5, shape[1], 5).sum(axis=(1, 3))


def field(n_star: int, seed: int, side: tuple[int, int] = (700, 800)) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a sloping sky, noise and stars, and the stars' positions (x, y, flux)."""
    rng = np.random.default_rng(seed)
    image = 0.5 + 0.2 * np.linspace(0, 1, side[1])[None, :] + SIGMA * rng.standard_normal(side)
    star = np.column_stack(
        [rng.uniform(20, side[1] - 20, n_star), rng.uniform(20, side[0] - 20, n_star), rng.uniform(16, 80, n_star)]
    )
    for x, y, flux in star:
        left, bottom = int(x) - 19, int(y) - 19
        window = (slice(max(bottom, 0), bottom + 40), slice(max(left, 0), left + 40))
        stamp = moffat((40, 40), x - left, y - bottom)
        cut = image[window]
        cut += (
            flux * stamp[-cut.shape[0] :, -cut.shape[1] :]
            if left < 0 or bottom < 0
            else flux * stamp[: cut.shape[0], : cut.shape[1]]
        )
    return image, star


def write(path: Path, image: np.ndarray, *, wcs: bool = True, unit: str = "nanomaggy") -> Path:
    header = fits.Header()
    if wcs:
        made = WCS(naxis=2)
        made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        made.wcs.crval, made.wcs.crpix = [150.0, 2.0], [1.0, 1.0]
        made.wcs.cdelt = [-0.4 / 3600, 0.4 / 3600]
        header = made.to_header()
    header["BUNIT"] = unit
    fits.PrimaryHDU(image.astype(np.float32), header).writeto(path)
    return path


@pytest.fixture(scope="module")
def frame_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frame")
    plain = write(folder / "frame.fits", field(60, 1)[0])
    packed = folder / "frame.fits.bz2"
    packed.write_bytes(bz2.compress(plain.read_bytes()))
    return packed


def test_patches_hold_no_source_and_scatter_as_the_sky(frame_file: Path, tmp_path: Path) -> None:
    star = field(60, 1)[1]
    simulate_stamps(
        tmp_path / "s", 512, 1, parameters=StampParameters(mag=(40, 40), gain=1e8), backgrounds=[frame_file], psf=None
    )
    made = read_stamps(tmp_path / "s", 0, 512)
    x, y = made.column["background_x"], made.column["background_y"]
    inside = (star[:, 0] > x[:, None] - 1) & (star[:, 0] < x[:, None] + 61)
    inside &= (star[:, 1] > y[:, None] - 1) & (star[:, 1] < y[:, None] + 61)
    assert not inside.any()
    np.testing.assert_allclose(made.column["sky_sigma"], SIGMA, rtol=0.05)
    assert made.image.std() == pytest.approx(SIGMA, rel=0.03)
    assert abs(made.image.mean()) < 0.1 * SIGMA
    # the provenance leads back to the pixels
    sky_subtracted = read_frame(frame_file).data
    for k in (0, 100, 511):
        patch = sky_subtracted[y[k] : y[k] + 61, x[k] : x[k] + 61]
        again = oriented(patch, int(made.column["background_orientation"][k]))
        np.testing.assert_allclose(made.image[k], again, atol=1e-6)


def test_no_pixel_is_in_two_splits(frame_file: Path) -> None:
    sky = BlankSky([read_frame(frame_file)], seed=5)
    rng = np.random.default_rng(2)
    seen = np.zeros((len(SPLITS), 700, 800), bool)
    for split in range(len(SPLITS)):
        drawn = sky.draw(rng, np.full(600, split))
        for x, y in zip(drawn.x, drawn.y, strict=True):
            seen[split, y : y + 61, x : x + 61] = True
    assert seen.any(axis=(1, 2)).all()
    assert (seen.sum(axis=0) <= 1).all()


def test_crowded_frames_are_refused(tmp_path: Path) -> None:
    crowded = write(tmp_path / "crowded.fits", field(900, 3)[0])
    with pytest.raises(GalbaseError, match=r"crowded\.fits.*at least 12 patches"):
        simulate_stamps(tmp_path / "s", 4, 1, backgrounds=[crowded])


def test_frames_that_do_not_know_their_scale_ask_for_it(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.fits", field(20, 4)[0], wcs=False, unit="counts")
    with pytest.raises(GalbaseError, match="--zero-point"):
        simulate_stamps(tmp_path / "s", 4, 1, backgrounds=[bare])
    with pytest.raises(GalbaseError, match="--pixel-scale"):
        simulate_stamps(tmp_path / "s", 4, 1, backgrounds=[bare], given=frozenset({"zero_point"}))
    both = frozenset({"zero_point", "pixel_scale_arcsec"})
    assert simulate_stamps(tmp_path / "s", 4, 1, backgrounds=[bare], given=both).background == "real"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a fits file at all" * 200, "cannot be read"), (None, "not a file")],
)
def test_files_that_are_no_frames_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.fits"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GalbaseError, match=message):
        read_frame(path)


def test_a_frame_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GalbaseError, match="no noise"):
        read_frame(write(tmp_path / "flat.fits", np.ones((300, 300))))


def test_moffats_have_the_width_they_were_drawn_with() -> None:
    parameters = StampParameters(psf_ellipticity_max=0.0, psf_fwhm_arcsec=1.6)
    image, fwhm = moffat_images(np.random.default_rng(1), 50, parameters)
    np.testing.assert_allclose(image.sum(axis=(1, 2)), 1, rtol=1e-5)
    # the pixel adds a little in quadrature: 1 px across is a Gaussian of FWHM 0.68
    expected = np.hypot(fwhm / parameters.pixel_scale_arcsec, 0.68)
    np.testing.assert_allclose(half_maximum_fwhm(image), expected, rtol=0.03)


@pytest.mark.parametrize(("shape", "x", "y"), [((25, 25), 12.3, 11.6), ((32, 31), 15.5, 15.9), ((19, 21), 9.8, 9.1)])
def test_psf_images_are_centred_and_lose_their_offset(shape: tuple[int, int], x: float, y: float) -> None:
    image, kept = centred_psf(1000 + 5e4 * moffat(shape, x, y), "star")
    at = np.arange(25) - 12
    window = np.exp(-0.5 * (at[:, None] ** 2 + at[None, :] ** 2) / 2.0**2)
    weight = image * window
    assert abs((weight * at[None, :]).sum() / weight.sum()) < 0.01
    assert abs((weight * at[:, None]).sum() / weight.sum()) < 0.01
    assert image.sum() == pytest.approx(1, abs=1e-5)
    assert 0.9 < kept <= 1
    assert second_moment_fwhm(image) == pytest.approx(second_moment_fwhm(moffat((25, 25), 12, 12)), rel=0.03)


def test_psfs_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GalbaseError, match="FWHM of"):
        centred_psf(moffat((25, 25), 12, 12, fwhm=0.9), "sharp")
    with pytest.raises(GalbaseError, match="is no PSF"):
        centred_psf(np.full((25, 25), np.nan), "nothing")
    with pytest.raises(GalbaseError, match="psf-fwhm"):
        simulate_stamps(tmp_path / "s", 2, 1, parameters=StampParameters(psf_fwhm_arcsec=4.0))


def test_stars_of_a_frame_give_its_psf(frame_file: Path) -> None:
    psfs = read_psfs(frame_file)
    assert len(psfs.image) > 10
    truth = moffat((25, 25), 12, 12)
    truth /= truth.sum()
    assert np.abs(psfs.image - truth).max() < 0.06 * truth.max()
    np.testing.assert_allclose(
        half_maximum_fwhm(psfs.image), half_maximum_fwhm(truth[None].astype(np.float32))[0], rtol=0.06
    )


def test_cubes_and_extensions_are_psfs(tmp_path: Path) -> None:
    cube = np.stack([moffat((31, 31), 15 + 0.1 * k, 15, fwhm=3 + 0.2 * k) for k in range(3)])
    path = tmp_path / "psf.fits"
    fits.HDUList([fits.PrimaryHDU(cube), fits.ImageHDU(moffat((27, 27), 13, 13))]).writeto(path)
    psfs = read_psfs(path)
    assert psfs.origin == ["psf.fits[0][0]", "psf.fits[0][1]", "psf.fits[0][2]", "psf.fits[1]"]
    report = simulate_stamps(tmp_path / "s", 100, 1, psf=path)
    assert report.n_psf == 4
    made = read_stamps(tmp_path / "s", 0, 100)
    np.testing.assert_array_equal(made.psf, psfs.image[made.column["psf_row"]])


def test_real_sdss_frame(test_data: Path, tmp_path: Path) -> None:
    frame = test_data / "sdss-frame" / "frame-g-002583-1-0042.fits.bz2"
    report = simulate_stamps(
        tmp_path / "s", 200, 1, parameters=StampParameters(gain=925.0), backgrounds=[frame], psf=frame
    )
    assert report.n_patches > 60
    assert report.n_psf > 50
    made = read_stamps(tmp_path / "s", 0, 200)
    # 0.0254 nanomaggy is the frame's noise as sep measures it; its stars have half-light radii of about 1.5 px
    assert np.median(made.column["sky_sigma"]) == pytest.approx(0.0254, rel=0.1)
    assert 0.9 < np.median(made.column["psf_fwhm_arcsec"]) < 1.3
    corner = made.image[made.column["re_arcsec"] < 0.8][:, :8, :8]
    assert np.median(np.abs(corner)) * 1.4826 == pytest.approx(0.0254, rel=0.15)


def test_real_hst_noise_and_psfs(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "cosmos-hst"
    parameters = StampParameters(gain=2028.0, zero_point=25.94, pixel_scale_arcsec=0.03)
    given = frozenset({"gain", "zero_point", "pixel_scale_arcsec"})
    noise = folder / "galsim" / "147246.0_150.416558_1.998697_masknoise.fits"
    pixels = fits.getdata(noise).astype(float)
    mad = np.median(np.abs(pixels - np.median(pixels)))
    report = simulate_stamps(
        tmp_path / "s", 130, 1, parameters=parameters, given=given, backgrounds=[noise],
        psf=folder / "real_galaxy_PSF_images.fits",
    )  # fmt: skip
    assert report.n_psf == 100
    made = read_stamps(tmp_path / "s", 0, 130)
    # ACS F814W resolves 0.1 arcsec
    assert 0.08 < np.median(made.column["psf_fwhm_arcsec"]) < 0.14
    assert np.median(made.column["sky_sigma"]) == pytest.approx(1.4826 * mad, rel=0.1)
