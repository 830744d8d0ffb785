"""Scalars of an image against photutils' circles, and what is not known of its PSF."""

from __future__ import annotations

import numpy as np
import pytest

from galbase.ml.image_scalars import (
    APERTURE_RADIUS_PX,
    GROWTH,
    GROWTH_RADII_PX,
    TOTAL,
    flux_scalars,
    n_scalar,
    psf_scalars,
)
from galbase.ml.recipe import Recipe, recipe_of_mode
from galbase.schema.errors import UsageError


@pytest.fixture
def flux() -> np.ndarray:
    """A masked galaxy of 152 pixels, fainter in the blue."""
    rng = np.random.default_rng(3)
    y, x = np.indices((152, 152)) - 75.5
    profile = np.exp(-np.hypot(x, 1.6 * y) / 6)
    return (profile[..., None] * [0.4, 1.0, 1.7] + rng.normal(0, 0.01, (152, 152, 3))).astype(np.float32)


def test_growth_is_that_of_circles(flux: np.ndarray) -> None:
    from photutils.aperture import CircularAperture

    scalars = flux_scalars(flux, GROWTH)
    circles = [
        [CircularAperture((75.5, 75.5), r).do_photometry(flux[..., k], method="center")[0][0] for k in range(3)]
        for r in GROWTH_RADII_PX
    ]
    parts = np.arcsinh(np.array(circles) / 2)
    total = np.arcsinh(flux.sum(axis=(0, 1), dtype=np.float64) / 2)
    n = len(GROWTH_RADII_PX)
    np.testing.assert_allclose(scalars[:3], total, rtol=1e-5)
    np.testing.assert_allclose(scalars[3:6], parts[GROWTH_RADII_PX.index(APERTURE_RADIUS_PX)], rtol=1e-5)
    np.testing.assert_allclose(scalars[6:8], [total[0] - total[1], total[1] - total[2]], atol=1e-5)
    np.testing.assert_allclose(scalars[8 : 8 + 3 * n], parts.ravel(), rtol=1e-5)
    np.testing.assert_allclose(scalars[8 + 3 * n : 8 + 5 * n], (parts[:, :2] - parts[:, 1:]).ravel(), atol=1e-5)
    np.testing.assert_allclose(scalars[8 + 5 * n :], parts[:, 1] - total[1], atol=1e-5)
    np.testing.assert_array_equal(flux_scalars(flux, TOTAL), scalars[:6])
    assert len(scalars) + 3 == n_scalar(GROWTH)


def test_turning_the_sky_changes_no_scalar(flux: np.ndarray) -> None:
    turned = np.ascontiguousarray(np.rot90(flux)[:, ::-1])
    np.testing.assert_allclose(flux_scalars(turned, GROWTH), flux_scalars(flux, GROWTH), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("bands", "widths", "expected"),
    [
        (("z", "g", "r"), (1.1, 1.4, 1.3), (1.4, 1.3, 1.1)),
        (("r",), (1.3,), (1.3, 1.3, 1.3)),
        (("g", "z"), (1.4, 1.0), (1.4, 1.2, 1.0)),
        (("g", "r", "z"), (1.4, None, 1.1), (1.4, np.nan, 1.1)),
        (("g", "r", "z"), None, (np.nan, np.nan, np.nan)),
    ],
)
def test_psf_in_order_of_wavelength(bands: tuple[str, ...], widths: tuple[float | None, ...], expected: object) -> None:
    np.testing.assert_allclose(psf_scalars(bands, widths), expected, rtol=1e-6)


def test_an_unknown_psf_is_taken_for_the_mean() -> None:
    rng = np.random.default_rng(1)
    raw = rng.normal(2, 0.3, (50, n_scalar(GROWTH))).astype(np.float32)
    raw[:5, -1], raw[:, -3] = np.nan, np.nan
    recipe = Recipe("flux", scalars=GROWTH).fitted(raw)
    scaled = recipe.inputs(np.zeros((50, 8, 8, 3), np.float32), raw)["scalar"]
    assert np.isfinite(scaled).all()
    assert (scaled[:5, -1] == 0).all()
    assert (scaled[:, -3] == 0).all()
    np.testing.assert_allclose(scaled[5:, -1].mean(), 0, atol=1e-5)
    far = recipe.inputs(np.zeros((50, 8, 8, 3), np.float32), raw + 100)["scalar"]
    assert far.max() <= 6.0


def test_recipe_survives_the_database() -> None:
    recipe = recipe_of_mode("improved", crop_px=64)
    assert (recipe.scalars, recipe.side_px(152), recipe.side_px(48)) == (GROWTH, 64, 48)
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe
    # Models of before have neither key.
    assert Recipe.from_mapping({"kind": "flux", "scalar_mean": [], "scalar_std": []}).scalars == TOTAL
    with pytest.raises(UsageError, match="no scalars 'much'"):
        Recipe.from_mapping({"kind": "flux", "scalar_mean": [], "scalar_std": [], "scalars": "much"})
