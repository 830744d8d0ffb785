"""Spectra as networks are shown them: resampled against numpy and sums by hand, scaled as published and as improved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from galbase.ingest.preprocess.spectrum import (
    FORMS,
    OBSERVED_RANGE,
    continuum,
    prepare_spectrum,
    read_spectrum_rows,
    rebinned,
    spectrum_form,
)
from galbase.ingest.readers.spectrum_file import SpectrumPixels
from galbase.schema.errors import GalbaseError, UsageError

SDSS = "sdss/spec-0528-52022-0137.fits"


def spectrum(seed: int = 0, *, z: float = 0.1, n: int = 3846) -> SpectrumPixels:
    """A sloping continuum with an absorption line at 5175 Angstrom at rest, on SDSS's logarithmic grid."""
    rng = np.random.default_rng(seed)
    wave = 10 ** (3.5798 + 1e-4 * np.arange(n))
    flux = 20 * (wave / 6000) ** -1.5 * (1 - 0.4 * np.exp(-(((wave / (1 + z) - 5175) / 8) ** 2) / 2))
    return SpectrumPixels(wave, flux + rng.normal(0, 0.05, n), np.full(n, 400.0))


def test_published_form_is_flux_at_every_angstrom_from_0_to_1() -> None:
    pixels = spectrum()
    planes, scalar = prepare_spectrum(pixels, None, "minmax")
    wanted = np.interp(np.arange(3830, 8001), pixels.wave_angstrom, pixels.flux)
    assert planes.shape == (4171, 1)
    assert scalar.shape == (0,)
    assert planes[:, 0] == pytest.approx((wanted - wanted.min()) / np.ptp(wanted), abs=1e-6)
    flat, _ = prepare_spectrum(SpectrumPixels(pixels.wave_angstrom, np.ones(3846), pixels.ivar), None, "minmax")
    assert not flat.any()


def test_a_real_spectrum_of_sdss(test_data: Path) -> None:
    path = test_data / "spectra" / SDSS
    with fits.open(path) as hdus:
        data = hdus["COADD"].data
        wave, flux = 10.0 ** data["loglam"].astype(np.float64), data["flux"].astype(np.float64)
        z = float(hdus["SPECOBJ"].data["Z"][0])
    (pixels,) = read_spectrum_rows(path, "sdss-spec", [0], wave[0])
    planes, _ = prepare_spectrum(pixels, None, "minmax")
    wanted = np.interp(np.arange(3830, 8001), wave, flux)
    assert planes[:, 0] == pytest.approx((wanted - wanted.min()) / np.ptp(wanted), abs=1e-6)
    planes, scalar = prepare_spectrum(pixels, z, "rest")
    assert np.isfinite(planes).all()
    assert scalar[1] == pytest.approx(z)
    seen = planes[:, 0] != 0
    form = spectrum_form("rest")
    assert form.grid[seen].max() < wave[-1] / (1 + z) + 2
    assert form.grid[seen].min() > wave[0] / (1 + z) - 2


def test_a_real_spectrum_of_desi(test_data: Path) -> None:
    path = test_data / "spectra" / "desi" / "coadd-4-80613-thru20210324.fits"
    once, again = read_spectrum_rows(path, "desi-coadd", [0, 0], 3600.0)
    assert np.array_equal(once.flux, again.flux)
    planes, scalar = prepare_spectrum(once, 0.2, "rest")
    assert np.isfinite(planes).all()
    assert np.isfinite(scalar).all()
    assert (planes[:, 0] != 0).mean() > 0.9


def by_hand(grid: np.ndarray, pixels: SpectrumPixels) -> tuple[np.ndarray, np.ndarray]:
    """The same sums, bin by bin and pixel by pixel."""
    wave = pixels.wave_angstrom
    edges = np.concatenate([[1.5 * wave[0] - 0.5 * wave[1]], (wave[1:] + wave[:-1]) / 2,
                            [1.5 * wave[-1] - 0.5 * wave[-2]]])  # fmt: skip
    step = grid[1] - grid[0]
    mean, weight = np.zeros(len(grid)), np.zeros(len(grid))
    for i, centre in enumerate(grid):
        total = 0.0
        for k in range(len(wave)):
            if pixels.ivar[k] > 0:
                overlap = min(edges[k + 1], centre + step / 2) - max(edges[k], centre - step / 2)
                if overlap > 0:
                    total += overlap
                    mean[i] += overlap * pixels.flux[k]
        weight[i] = total / step
        mean[i] = mean[i] / total if total > 0 else 0
    return mean, weight


def test_rebinning_by_hand_without_masked_pixels() -> None:
    rng = np.random.default_rng(2)
    wave = np.cumsum(rng.uniform(0.5, 3, 60)) + 5000
    ivar = np.where(rng.random(60) < 0.2, 0, 1.0)
    flux = np.where(ivar > 0, rng.normal(5, 1, 60), np.nan)
    grid = np.arange(4990, 5130, 2.0)
    mean, weight = rebinned(grid, wave, flux, ivar)
    wanted = by_hand(grid, SpectrumPixels(wave, np.nan_to_num(flux), ivar))
    assert weight == pytest.approx(wanted[1], abs=1e-9)
    assert mean == pytest.approx(wanted[0], rel=1e-6, abs=1e-9)
    assert (weight == 0).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.4, 6))
def test_rebinning_keeps_all_light(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    wave = np.cumsum(rng.uniform(0.5, 3, 80)) + 4000
    flux = rng.uniform(0, 5, 80)
    grid = np.arange(wave[0] - 20, wave[-1] + 20, step)
    mean, weight = rebinned(grid, wave, flux, np.ones(80))
    edges = np.concatenate([[1.5 * wave[0] - 0.5 * wave[1]], (wave[1:] + wave[:-1]) / 2,
                            [1.5 * wave[-1] - 0.5 * wave[-2]]])  # fmt: skip
    assert (mean * weight).sum() * (grid[1] - grid[0]) == pytest.approx((flux * np.diff(edges)).sum(), rel=1e-6)


def test_at_rest_lines_stand_at_one_place_whatever_the_redshift() -> None:
    grid = spectrum_form("rest").grid
    for z in (0.01, 0.1, 0.25):
        planes, scalar = prepare_spectrum(spectrum(z=z), z, "rest")
        near = np.abs(grid - 5175) < 60
        assert abs(grid[near][np.argmin(planes[near, 1])] - 5175) <= 4
        assert planes[near, 1].min() == pytest.approx(4 * -0.4, abs=0.3)
        assert scalar[1] == pytest.approx(z)


def test_level_goes_into_the_scalars_and_not_the_planes() -> None:
    pixels = spectrum()
    brighter = SpectrumPixels(pixels.wave_angstrom, pixels.flux * 10, pixels.ivar / 100)
    one, ten = prepare_spectrum(pixels, 0.1, "rest"), prepare_spectrum(brighter, 0.1, "rest")
    assert ten[0] == pytest.approx(one[0], abs=1e-5)
    assert np.sinh(ten[1][0]) == pytest.approx(10 * np.sinh(one[1][0]), rel=1e-4)
    assert ten[1][2] == pytest.approx(one[1][2], abs=1e-5)


def test_masked_pixels_leave_no_trace() -> None:
    pixels = spectrum()
    hit = (pixels.wave_angstrom > 6000) & (pixels.wave_angstrom < 6040)
    spoilt = SpectrumPixels(pixels.wave_angstrom, np.where(hit, 1e6, pixels.flux), np.where(hit, 0, pixels.ivar))
    planes, _ = prepare_spectrum(spoilt, 0.1, "rest")
    grid = spectrum_form("rest").grid * 1.1
    inside = (grid > 6003) & (grid < 6037)
    assert not planes[inside].any()
    assert np.abs(planes).max() < 5
    whole, _ = prepare_spectrum(pixels, 0.1, "rest")
    far = (grid < 5800) | (grid > 6240)
    assert planes[far] == pytest.approx(whole[far], abs=0.02)


def test_spectra_without_light_or_range_give_finite_planes() -> None:
    wave = np.linspace(3800, 9000, 3000)
    for flux in (np.zeros(3000), np.full(3000, -1.0), np.random.default_rng(0).normal(0, 1, 3000)):
        planes, scalar = prepare_spectrum(SpectrumPixels(wave, flux, np.ones(3000)), 0.1, "rest")
        assert np.isfinite(planes).all()
        assert np.isfinite(scalar).all()
    planes, scalar = prepare_spectrum(SpectrumPixels(wave, np.ones(3000), np.ones(3000)), 5.0, "rest")
    assert not planes.any()
    assert not scalar.any()


def test_continuum_is_a_mean_of_what_is_seen() -> None:
    rng = np.random.default_rng(1)
    flux, seen = rng.random(50), rng.random(50) < 0.7
    seen[20:40] = False
    found = continuum(flux, seen, 8)
    for i in range(50):
        window = slice(max(0, i - 4), i + 5)
        wanted = flux[window][seen[window]].mean() if seen[window].any() else 1
        assert found[i] == pytest.approx(wanted)


def test_what_cannot_be_prepared_is_refused() -> None:
    for z in (None, float("nan"), -1.5):
        with pytest.raises(UsageError, match="redshift"):
            prepare_spectrum(spectrum(), z, "rest")
    with pytest.raises(UsageError, match="minmax, rest"):
        spectrum_form("wavelet")
    with pytest.raises(GalbaseError):
        read_spectrum_rows(Path("nothing.fits"), "sdss-spec", [0], 3800)


def test_forms_lie_within_what_every_wanted_spectrum_covers_or_know_what_is_missing() -> None:
    assert FORMS["minmax"].grid[[0, -1]].tolist() == list(OBSERVED_RANGE)
    # The database asks for a redshift where the recipe is called so: sql/api/165_model_input.sql.
    assert [name for name, form in FORMS.items() if form.needs_redshift] == ["rest"]
