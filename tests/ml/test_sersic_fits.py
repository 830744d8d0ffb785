"""Sersic fits: the model and its derivatives, least squares and the posterior, against truths made elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling.models import Sersic2D
from scipy.signal import fftconvolve
from scipy.special import gamma, gammaincinv

from galbase.ml.batches import turned
from galbase.ml.sersic.imfit import fit_imfit
from galbase.ml.sersic.least_squares import fit_least_squares, smoothed
from galbase.ml.sersic.model import StampModel
from galbase.ml.sersic.moments import start_vector
from galbase.ml.sersic.refine import Prior, refine
from galbase.ml.sersic.vector import (
    DX,
    E1,
    LOG_N,
    LOG_RE,
    MAG,
    Instrument,
    natural,
    published_of_truth,
    turned_vectors,
    vectors_of_published,
    vectors_of_truth,
)
from galbase.ml.stamps.background import SimulatedSky
from galbase.ml.stamps.parameters import StampParameters
from galbase.ml.stamps.psf import moffat_images
from galbase.ml.stamps.shard import Block
from galbase.ml.stamps.simulate import StampSource, draw_block
from galbase.schema.errors import GalbaseError

PARAMETERS = StampParameters(snr=(40.0, 400.0))
INSTRUMENT = Instrument(PARAMETERS.zero_point, PARAMETERS.pixel_scale_arcsec, PARAMETERS.gain)
ELECTRONS = PARAMETERS.gain * PARAMETERS.sky_sigma


def block(number: int = 0) -> tuple[Block, np.ndarray]:
    drawn = draw_block(StampSource(PARAMETERS, SimulatedSky(PARAMETERS), None, 21), number)
    return drawn, vectors_of_truth(drawn.truth, INSTRUMENT)


def psf_image() -> np.ndarray:
    return moffat_images(np.random.default_rng(2), 1, PARAMETERS)[0][0].astype(float)


@pytest.mark.parametrize(("n", "re_px", "q", "pa_deg"), [(0.6, 6.0, 0.4, 30.0), (2.5, 5.0, 0.8, 110.0)])
def test_the_model_is_astropys_sersic_under_the_same_psf(n: float, re_px: float, q: float, pa_deg: float) -> None:
    """Sersic2D on pixels cut into 11 by 11, convolved with the PSF image spread over the same fine grid's pixels."""
    fine, side, psf = 11, 161, psf_image()
    dx, dy = 0.4, -0.7
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    # astropy's angle runs from +x to +y, ours from +y to -x
    profile = Sersic2D(1.0, re_px, n, dx, dy, ellip=1 - q, theta=np.radians(pa_deg + 90))
    light = profile(*np.meshgrid(axis, axis))
    light = light * np.exp(-np.maximum(np.hypot(*np.meshgrid(axis, axis)) - 8 * re_px, 0))
    # our PSF image says what a point source puts on each pixel, which holds the pixel's own response: samples of the
    # profile's light meet the PSF at the pixels' middles through its band-limited interpolation
    # of odd size, so that "same" has a middle
    spread = np.fft.fftshift(_interpolated(psf, fine))[1:, 1:]
    seen = fftconvolve(light / fine**2, spread, mode="same")
    middle = side // 2 * fine + fine // 2
    at = middle + fine * np.arange(-30, 31)
    expected = seen[np.ix_(at, at)]
    # Graham & Driver 2005 (PASA 22, 118), eq. 4
    b = gammaincinv(2 * n, 0.5)
    total = 2 * np.pi * n * re_px**2 * q * np.exp(b) * b ** (-2 * n) * gamma(2 * n)
    mag = -2.5 * np.log10(total)
    e, angle = (1 - q) / (1 + q), np.radians(2 * pa_deg)
    vector = [mag, np.log10(re_px), np.log10(n), e * np.cos(angle), e * np.sin(angle), dx, dy]
    drawn = StampModel(psf).draw(vector)
    assert np.abs(drawn - expected).max() < 0.01 * expected.max()


def _interpolated(psf: np.ndarray, fine: int) -> np.ndarray:
    """The PSF between its pixels by its Fourier series, at `fine` points a pixel, middle first."""
    size, half = 64, 32
    spectrum = np.fft.fft2(np.roll(np.pad(psf, (0, size - 25)), (-12, -12), (0, 1)))
    wide = np.zeros((size * fine, size * fine), complex)
    wide[:half, :half], wide[:half, -half:] = spectrum[:half, :half], spectrum[:half, -half:]
    wide[-half:, :half], wide[-half:, -half:] = spectrum[-half:, :half], spectrum[-half:, -half:]
    return np.fft.ifft2(wide).real * fine**2


def test_derivatives_are_those_of_finite_differences() -> None:
    drawn, truth = block()
    step = 1e-5
    for row in range(12):
        # between the tables' rows in n, where the light inside the taper has no kink
        vector = truth[row].copy()
        vector[LOG_N] = np.log10(0.55 + 0.4 * row)
        model = StampModel(drawn.psf[row])
        image, slopes = model.draw_with_slopes(vector)
        np.testing.assert_array_equal(image, model.draw(vector))
        for k, slope in enumerate(slopes):
            ahead = np.eye(7)[k] * step
            numeric = (model.draw(vector + ahead) - model.draw(vector - ahead)) / (2 * step)
            assert np.abs(numeric - slope).max() < 3e-3 * np.abs(numeric).max(), (row, k)


def test_the_penalty_has_the_gradient_it_says() -> None:
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(7, 7))
    for freedom in (4.0, np.inf):
        prior = Prior(rng.normal(size=7), factor @ factor.T, 0.7, freedom)
        at, step = rng.normal(size=7), 1e-6
        numeric = [
            (prior.penalty(at + ahead)[0] - prior.penalty(at - ahead)[0]) / (2 * step) for ahead in np.eye(7) * step
        ]
        np.testing.assert_allclose(numeric, 2 * prior.penalty(at)[1], rtol=1e-5)


def test_least_squares_finds_the_truth_without_noise() -> None:
    drawn, truth = block(1)
    for row in range(10):
        image = StampModel(drawn.psf[row]).draw(truth[row])
        fit = fit_least_squares(image, drawn.psf[row], ELECTRONS)
        np.testing.assert_allclose(fit.vector, truth[row], atol=2e-3)
        assert fit.chi2_reduced < 1e-3


def test_least_squares_scatters_as_its_covariance_says_and_reaches_chi2_of_one() -> None:
    drawn, truth = block(2)
    misses, chi2 = [], []
    for row in range(40):
        noise = drawn.truth["sky_sigma"][row]
        fit = fit_least_squares(drawn.image[row] / float(noise), drawn.psf[row], PARAMETERS.gain * noise)
        misses.append((fit.vector - truth[row]) / np.sqrt(np.diag(fit.covariance)))
        chi2.append(fit.chi2_reduced)
    assert np.median(np.abs(misses)) == pytest.approx(0.6745, rel=0.3)
    assert np.mean(chi2) == pytest.approx(1, abs=0.02)


def test_a_fit_starts_near_the_galaxy() -> None:
    drawn, truth = block(3)
    start = np.array([start_vector(drawn.image[k] / s, drawn.psf[k]) for k, s in enumerate(drawn.truth["sky_sigma"])])
    miss = np.abs(np.median(start - truth, axis=0))
    assert (miss[[MAG, LOG_RE, E1, DX]] < [0.2, 0.2, 0.05, 0.05]).all()


def test_smoothing_keeps_a_constant_and_averages_noise() -> None:
    assert np.allclose(smoothed(np.full((61, 61), 3.0)), 3.0)
    white = np.random.default_rng(1).normal(size=(61, 61))
    np.testing.assert_allclose(smoothed(white)[30, 20], white[28:33, 18:23].mean())


def test_the_posterior_lies_between_pixels_and_prior_and_follows_the_stronger() -> None:
    drawn, truth = block(4)
    row, noise = 3, float(drawn.truth["sky_sigma"][3])
    image = drawn.image[row] / noise
    electrons = PARAMETERS.gain * noise
    pixels = fit_least_squares(image, drawn.psf[row], electrons)
    alone = refine(image, drawn.psf[row], electrons, Prior(truth[row], np.eye(7), 0.0))
    sigma = np.sqrt(np.diag(pixels.covariance))
    assert (np.abs(alone.vector - pixels.vector) < 0.3 * sigma).all()
    sure = refine(image, drawn.psf[row], electrons, Prior(truth[row], np.diag(1e6 / sigma**2)))
    np.testing.assert_allclose(sure.vector, truth[row], atol=0.02 * sigma.max())
    offset = truth[row] + 0.5 * sigma
    both = refine(image, drawn.psf[row], electrons, Prior(offset, np.linalg.inv(pixels.covariance), 1.0, np.inf))
    np.testing.assert_allclose(both.vector, (pixels.vector + offset) / 2, atol=0.15 * sigma.max())


def test_a_prior_that_is_far_off_loses_its_say() -> None:
    drawn, truth = block(5)
    row, noise = 5, float(drawn.truth["sky_sigma"][5])
    image, electrons = drawn.image[row] / noise, PARAMETERS.gain * noise
    pixels = fit_least_squares(image, drawn.psf[row], electrons)
    sigma = np.sqrt(np.diag(pixels.covariance))
    wrong = truth[row] + 30 * sigma * np.array([1, -1, 0, 0, 0, 0, 0])
    precision = np.linalg.inv(pixels.covariance)
    robust = refine(image, drawn.psf[row], electrons, Prior(wrong, precision))
    gaussian = refine(image, drawn.psf[row], electrons, Prior(wrong, precision, 1.0, np.inf))
    off = np.abs([robust.vector - pixels.vector, gaussian.vector - pixels.vector]) / sigma
    assert off[0].max() < 1 < off[1].max()


def test_vectors_and_what_astronomers_use() -> None:
    drawn, truth = block(6)
    sigma = drawn.truth["sky_sigma"]
    back = natural(truth, sigma, INSTRUMENT)
    for name, value in back.items():
        np.testing.assert_allclose(value, drawn.truth[name], rtol=1e-9, atol=1e-9)
    published = published_of_truth(drawn.truth, INSTRUMENT)
    np.testing.assert_allclose(vectors_of_published(published, sigma, INSTRUMENT.zero_point), truth, atol=1e-9)


def test_turning_a_stamp_turns_its_vector() -> None:
    drawn, truth = block(7)
    for element in range(8):
        vector = turned_vectors(truth[:4], element)
        psf = turned(drawn.psf[:4, ..., None], element)[..., 0]
        for row in range(4):
            plain = StampModel(drawn.psf[row]).draw(truth[row])
            turned_image = turned(plain[None, ..., None], element)[0, ..., 0]
            peak = plain.max()
            np.testing.assert_allclose(StampModel(psf[row]).draw(vector[row]), turned_image, atol=1e-5 * peak)


def test_imfit_finds_the_same_galaxies() -> None:
    """A fit that nobody here wrote; of galaxies well above the pixel, whose light it spreads a second time."""
    pytest.importorskip("pyimfit", reason="the extra imfit is not installed")
    drawn, truth = block()
    rows = np.flatnonzero(truth[:, LOG_RE] > 0.5)[:8]
    noise = drawn.truth["sky_sigma"]
    for row in rows:
        stamp = drawn.image[row].astype(float) / noise[row], drawn.psf[row], PARAMETERS.gain * noise[row]
        ours = fit_least_squares(*stamp)
        off = np.abs(fit_imfit(*stamp) - ours.vector) / np.sqrt(np.diag(ours.covariance))
        assert off.max() < 1, (row, off)


def test_imfit_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galbase.ml.sersic.imfit.find_spec", lambda _name: None)
    with pytest.raises(GalbaseError, match=r"pip install 'galbase\[imfit\]'"):
        fit_imfit(np.zeros((61, 61)), psf_image(), ELECTRONS)
