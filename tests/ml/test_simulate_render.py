"""The renderer and its tables against brute force in real space."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.signal import fftconvolve
from scipy.special import gammainc, j0

from galbase.ml.simulate import psf, structure
from galbase.ml.simulate.block import Plan, draw_block
from galbase.ml.simulate.parameters import SurveyParameters
from galbase.ml.simulate.photometry import true_flux
from galbase.ml.simulate.render import STAMP_SIZE, BlobSet, SersicSet, render_stamp
from galbase.ml.simulate.scene import build_scene
from galbase.ml.simulate.sersic import sersic_table

PIXEL = 0.262
NO_BLOBS = BlobSet(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 1)))


def one_sersic(n, radius_px, q, pa_rad, dx=0.0, dy=0.0, flux=100.0):
    column = [np.array([value]) for value in (n, radius_px, q, pa_rad, dx, dy)]
    return SersicSet(*column, np.array([[flux]]))


def sersic_formula(n, x):
    """Sersic 1968 with b_n from its definition, cut in the middle of the renderer's taper."""
    b = brentq(lambda value: gammainc(2 * n, value) - 0.5, 0.1, 20)
    return np.exp(-b * (x ** (1 / n) - 1)) * (x < 7.5)


def brute_force(n, radius, q, pa, dx, dy, fwhm, over=7):
    """Oversampled convolution in real space; x grows to the west, y to the north."""
    size = STAMP_SIZE * over
    at = (np.arange(size) + 0.5) / over - STAMP_SIZE / 2
    x, y = at[None, :] - dx, at[:, None] - dy
    major = -x * np.sin(pa) + y * np.cos(pa)
    minor = x * np.cos(pa) + y * np.sin(pa)
    light = sersic_formula(n, np.hypot(major, minor / q) / radius)
    half = 40 * over
    grid = np.arange(-half, half + 1) / over
    scale = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    spread = (1 + (grid[None, :] ** 2 + grid[:, None] ** 2) / scale**2) ** -3.5
    image = fftconvolve(light / light.sum(), spread / spread.sum(), mode="same")
    return image.reshape(STAMP_SIZE, over, STAMP_SIZE, over).sum(axis=(1, 3))


def moments(image, scale):
    """Flux, half-light radius, and ellipticity components under a Gaussian window."""
    at = np.arange(STAMP_SIZE) - (STAMP_SIZE - 1) / 2
    x, y = at[None, :], at[:, None]
    weight = image * np.exp(-0.5 * (x**2 + y**2) / scale**2)
    mx, my = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    xx, yy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
    xy = (weight * (x - mx) * (y - my)).sum()
    radius = np.hypot(x - mx, y - my).ravel()
    order = np.argsort(radius)
    growth = np.cumsum(image.ravel()[order])
    half = np.interp(0.5 * growth[-1], growth, radius[order])
    return image.sum(), half, (xx - yy) / (xx + yy), 2 * xy / (xx + yy), mx, my


@pytest.mark.parametrize(
    ("n", "radius", "q", "pa"), [(1.0, 8.0, 0.4, 0.6), (0.7, 4.0, 1.0, 0.0), (2.5, 5.0, 0.6, 2.4), (4.0, 6.0, 0.7, 1.2)]
)
def test_stamp_equals_brute_force(n, radius, q, pa):
    drawn = render_stamp(one_sersic(n, radius, q, pa, 0.3, -0.4), NO_BLOBS, np.array([5.2]))[0]
    expected = 100 * brute_force(n, radius, q, pa, 0.3, -0.4, 5.2)
    got, want = moments(drawn, 2.5 * radius + 5), moments(expected, 2.5 * radius + 5)
    assert got[0] == pytest.approx(want[0], rel=0.01)
    assert got[1] == pytest.approx(want[1], rel=0.01)
    np.testing.assert_allclose(got[2:4], want[2:4], atol=0.01)
    np.testing.assert_allclose(got[4:], want[4:], atol=0.01)
    assert np.abs(drawn - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("flux", [0.5, 3000.0])
def test_flux_is_conserved(flux):
    drawn = render_stamp(one_sersic(1.0, 6.0, 0.5, 0.2, flux=flux), NO_BLOBS, np.array([5.0]))
    # what the stamp leaves out is the wing of the Moffat profile beyond 19.9 arcsec
    assert drawn.sum() == pytest.approx(flux, rel=0.003)


def test_point_source_is_the_psf():
    blob = BlobSet(np.zeros(1), np.array([0.5]), np.array([0.5]), np.ones((1, 1)))
    nothing = SersicSet(*[np.zeros(0)] * 6, np.zeros((0, 1)))
    drawn = render_stamp(nothing, blob, np.array([5.0]))[0]
    over = 21
    at = (np.arange(9 * over) + 0.5) / over - 4.5
    fine = psf.moffat_profile(np.hypot(at[None, :], at[:, None]), 5.0) / over**2
    expected = fine.reshape(9, over, 9, over).sum(axis=(1, 3))
    np.testing.assert_allclose(drawn[72:81, 72:81], expected, rtol=2e-3)


def test_moffat_transform_is_the_hankel_transform():
    for k in (0.1, 0.7, 2.0):
        direct, _ = quad(lambda r, k=k: 2 * np.pi * r * j0(k * r) * psf.moffat_profile(r, 1.0), 0, 60, limit=400)
        scale = 1.0 / psf.FWHM_PER_SCALE
        assert psf.moffat_transform(np.array(k * scale)) == pytest.approx(direct, abs=2e-4)


def test_noise_area_is_the_integral():
    squared, _ = quad(lambda r: 2 * np.pi * r * psf.moffat_profile(r, 1.0) ** 2, 0, np.inf)
    assert psf.noise_area_per_fwhm2() == pytest.approx(1 / squared, rel=1e-6)


@pytest.mark.parametrize("n", [0.6, 1.0, 2.3, 4.0, 5.9])
def test_curve_of_growth(n):
    table = sersic_table()
    grid = np.linspace(0, 7.5, 200001)[1:]
    light = np.cumsum(sersic_formula(n, grid) * grid)
    light /= light[-1]
    for radius in (0.1, 0.5, 1.0, 3.0):
        inside = table.light_fraction(np.array(n), np.array(radius))
        assert inside == pytest.approx(np.interp(radius, grid, light), abs=0.002)
        assert table.light_radius(np.array(n), inside) == pytest.approx(radius, rel=0.01)


def test_aperture_fraction_against_photons():
    rng = np.random.default_rng(5)
    shape = structure.Structure(
        *[np.ones(1)] * 5,
        component_sersic=np.array([[4.0, 1.0]]),
        component_radius_arcsec=np.array([[0.7, 2.5]]),
        component_q=np.array([[0.8, 0.4]]),
        bulge_to_total=np.ones((1, 6)),
        clump_strength=np.zeros(1),
        donor=np.zeros(1, int),
    )
    fraction = structure.aperture_fraction(shape, 3.0, 1.4)[0]
    for part, (n, radius, q) in enumerate([(4.0, 0.7, 0.8), (1.0, 2.5, 0.4)]):
        grid = np.linspace(0, 7.5, 400001)[1:]
        growth = np.cumsum(sersic_formula(n, grid) * grid)
        r = radius * np.interp(rng.random(400_000), growth / growth[-1], grid)
        angle = rng.uniform(0, 2 * np.pi, len(r))
        sigma = 1.4 / (2 * np.sqrt(2 * np.log(2)))
        x = r * np.cos(angle) + sigma * rng.standard_normal(len(r))
        y = q * r * np.sin(angle) + sigma * rng.standard_normal(len(r))
        assert fraction[part] == pytest.approx(np.mean(np.hypot(x, y) < 1.5), abs=0.004)


def test_a_target_alone_has_the_light_that_the_truth_tells():
    plan = Plan(60, 23, parameters=replace(SurveyParameters(), blend_fraction=0.5))
    block = draw_block(plan, 0)
    truth = true_flux(block.population, block.sky)
    with_clumps = blended = 0
    for index in range(60):
        scene = build_scene(
            index, np.random.default_rng(index), block.population, block.structure, block.sky, block.blend,
            plan.parameters,
        )  # fmt: skip
        alone = scene.target()
        flux = alone.sersic.flux.sum(axis=0) + alone.blobs.flux.sum(axis=0)
        assert flux[1] == pytest.approx(truth[index, 1], rel=1e-6)
        with_clumps += len(alone.blobs.sigma_px) > 0
        blended += len(alone.sersic.n) < len(scene.sersic.n)
    assert with_clumps > 5
    assert blended == block.blend.blended.sum() > 5
