"""Fits of spectra with known populations, their errors, and what cannot be fitted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galbase.ingest.preprocess.spectrum import SpectrumPixels, read_spectrum_rows
from galbase.ml.labels.fit import fit_spectrum
from galbase.ml.labels.log_spectrum import FitError, log_rebinning, log_spectrum
from galbase.ml.labels.options import FitOptions, method_hash, method_record
from galbase.ml.labels.templates import own_templates, read_templates
from galbase.schema.errors import UsageError
from tests.ml.label_spectra import LIGHT_SPEED, MIXED, light_means, model_flux, observed, write_spec

Z = 0.08
QUICK = FitOptions(realisations=0)
OWN = own_templates()


@pytest.mark.parametrize("options", [QUICK, replace(QUICK, lines="mask"), replace(QUICK, continuum="polynomial")])
def test_a_mixture_is_found_again(options: FitOptions) -> None:
    pixels = observed(model_flux(Z, line_flux=8.0), 200, 1)
    found = fit_spectrum(pixels, Z, OWN, options)
    assert (found.log_age, found.mh) == pytest.approx(light_means(), abs=0.04)
    assert found.dispersion_km_s == pytest.approx(150, abs=10)
    assert abs(found.velocity_km_s) < 10
    assert found.chi2 == pytest.approx(1, abs=0.1)
    if options.continuum == "dust":
        assert found.a_v == pytest.approx(0.4, abs=0.03)
    else:
        assert found.a_v is None
    assert (found.log_age_err, found.mh_err, found.n_realisation) == (None, None, 0)


def test_weights_are_of_light_in_the_band() -> None:
    """The same spectrum weighted in the blue is younger: by hand, from the populations' colours."""
    pixels = observed(model_flux(Z, a_v=0.0), 300, 2)
    blue = fit_spectrum(pixels, Z, OWN, replace(QUICK, band="3800-4200"))
    colour = OWN.band_light("3800-4200") / OWN.band_light("sdss-r")
    rows = [int(np.argmin(np.abs(OWN.log_age - age) + np.abs(OWN.mh - mh))) for age, mh in MIXED]
    weight = np.array(list(MIXED.values())) * colour[rows]
    wanted = float(weight @ OWN.log_age[rows] / weight.sum())
    assert wanted < light_means()[0] - 0.1
    assert blue.log_age == pytest.approx(wanted, abs=0.05)


def test_errors_are_those_of_independent_spectra() -> None:
    """The spread over realisations of one spectrum is about the spread over spectra with noise of their own."""
    model = model_flux(Z)
    masked = replace(QUICK, lines="mask")
    apart = [fit_spectrum(observed(model, 25, seed), Z, OWN, masked) for seed in range(30)]
    scatter = np.std([(each.log_age, each.mh) for each in apart], axis=0, ddof=1)
    options = replace(masked, realisations=12)
    errors = np.array(
        [
            (each.log_age_err, each.mh_err)
            for each in (fit_spectrum(observed(model, 25, seed), Z, OWN, options) for seed in range(3))
        ]
    )
    # 30 spectra tell a scatter to 13 %, 12 realisations an error to 21 %; light at the ends of the grid can only go
    # one way.
    assert (errors.mean(axis=0) / scatter > 0.5).all()
    assert (errors.mean(axis=0) / scatter < 2.0).all()
    clean = fit_spectrum(observed(model, 100, 0), Z, OWN, options)
    assert clean.log_age_err is not None
    assert clean.log_age_err < 0.6 * errors[:, 0].mean()


def test_a_fit_is_the_same_again_and_its_seed_counts() -> None:
    pixels = observed(model_flux(Z), 20, 4)
    options = FitOptions(realisations=3)
    first, second = (fit_spectrum(pixels, Z, OWN, options, (7, 0)) for _ in range(2))
    other = fit_spectrum(pixels, Z, OWN, options, (8, 0))
    assert first == second
    assert other.log_age == first.log_age
    assert other.log_age_err != first.log_age_err


def test_the_mean_over_realisations_can_be_given_instead() -> None:
    pixels = observed(model_flux(Z), 20, 4)
    options = FitOptions(realisations=4, lines="mask")
    fit, mean = (fit_spectrum(pixels, Z, OWN, replace(options, estimate=each)) for each in ("fit", "mean"))
    assert replace(mean, log_age=fit.log_age, mh=fit.mh) == fit
    assert fit.log_age_err is not None
    # Of four around the fit.
    assert 0 < abs(mean.log_age - fit.log_age) < 3 * fit.log_age_err


def test_masked_pixels_do_not_matter() -> None:
    pixels = observed(model_flux(Z), 50, 5)
    spoilt = replace(pixels, flux=np.where(pixels.ivar > 0, pixels.flux, np.nan))
    assert fit_spectrum(spoilt, Z, OWN, QUICK) == fit_spectrum(pixels, Z, OWN, QUICK)


def test_templates_are_brought_to_the_spectrums_resolution() -> None:
    """Templates ten times sharper than the spectrum: with both resolutions known the dispersion is the stars'."""
    templates = replace(OWN, name="sharp", fwhm_angstrom=np.zeros(len(OWN.wave_angstrom)))
    instrument_km_s = 180.0
    stars, seen = 150.0, np.hypot(150.0, instrument_km_s)
    pixels = observed(model_flux(Z, dispersion_km_s=float(seen)), 200, 6)
    known = replace(pixels, resolution_angstrom=pixels.wave_angstrom * instrument_km_s / LIGHT_SPEED)
    matched, unmatched = (fit_spectrum(each, Z, templates, QUICK) for each in (known, pixels))
    assert matched.dispersion_km_s == pytest.approx(stars, abs=10)
    assert unmatched.dispersion_km_s == pytest.approx(seen, abs=10)
    assert (matched.log_age, matched.mh) == pytest.approx(light_means(), abs=0.05)
    assert (unmatched.log_age, unmatched.mh) == pytest.approx(light_means(), abs=0.05)


def test_linear_wavelengths_are_rebinned_with_their_noise() -> None:
    pixels = observed(model_flux(Z), 100, 7)
    wave = np.arange(3820.0, 8100.0, 1.0)
    rng = np.random.default_rng(8)
    flux = np.interp(wave, pixels.wave_angstrom, model_flux(Z))
    sigma = np.full(len(wave), np.median(flux) / 100)
    linear = SpectrumPixels(wave, flux + sigma * rng.standard_normal(len(wave)), sigma**-2)
    found = fit_spectrum(linear, Z, OWN, QUICK)
    assert (found.log_age, found.mh) == pytest.approx(light_means(), abs=0.06)
    made = log_spectrum(linear, Z, (3830.0, 8000.0))
    drawn = np.array([made.noise_realisation(rng) for _ in range(200)])
    assert np.median(drawn.std(axis=0)[made.good] / made.noise[made.good]) == pytest.approx(1, abs=0.05)


def test_rebinning_keeps_light() -> None:
    rng = np.random.default_rng(9)
    log_wave = np.log10(np.arange(4000.0, 5000.0, 0.7))
    used = rng.random(len(log_wave)) > 0.1
    grid = log_wave[0] + 1e-4 * (np.arange(900) + 0.5)
    matrix, good = log_rebinning(log_wave, used, grid)
    total = matrix.sum(axis=1)
    assert total[good] == pytest.approx(1)
    # A straight line of log wavelength stays one, to the width of a pixel.
    line = matrix @ (log_wave - 3.6)
    assert line[good] == pytest.approx(grid[good] - 3.6, abs=6e-5)
    assert matrix[:, ~used].nnz == 0


def test_sdss_files_tell_their_resolution(tmp_path: Path) -> None:
    path = write_spec(tmp_path, 1, observed(model_flux(Z), 20, 1), Z)
    pixels = read_spectrum_rows(path, "sdss-spec", [0], 3790.0)[0]
    # The simulated files say one pixel, 69 km/s.
    assert pixels.resolution_angstrom is not None
    assert pixels.resolution_angstrom / pixels.wave_angstrom * LIGHT_SPEED == pytest.approx(69.03, abs=0.05)
    with fits.open(path) as hdus:
        hdus["COADD"].data["wdisp"][:10] = 0
        hdus["COADD"].data["wdisp"][100:] = 2
        hdus.writeto(tmp_path / "other.fits")
    again = read_spectrum_rows(tmp_path / "other.fits", "sdss-spec", [0], 3790.0)[0].resolution_angstrom
    assert again is not None
    assert (again / pixels.resolution_angstrom)[[0, 50, 200]] == pytest.approx([1, 1, 2])


@pytest.mark.parametrize(
    ("change", "z", "message"),
    [
        ({"ivar": np.zeros(3846)}, Z, "0 pixels with a weight"),
        ({"flux": -np.ones(3846)}, Z, "median flux"),
        ({}, 1.5, "where the templates reach"),
    ],
)
def test_what_cannot_be_fitted_says_why(change: dict[str, Any], z: float, message: str) -> None:
    pixels = replace(observed(model_flux(Z), 20, 1), **change)
    with pytest.raises(FitError, match=message):
        fit_spectrum(pixels, z, OWN, QUICK)


def test_lines_too_wide_for_stars_are_refused() -> None:
    with pytest.raises(FitError, match="no stars made out: a dispersion of 1000 km/s"):
        fit_spectrum(observed(model_flux(Z, dispersion_km_s=1800.0), 60, 1), Z, OWN, QUICK)


def test_a_wrong_redshift_is_refused() -> None:
    with pytest.raises(FitError, match=r"a velocity of -?\d{3,4} km/s"):
        fit_spectrum(observed(model_flux(Z), 60, 1), Z + 0.003, OWN, QUICK)


def test_what_ppxf_refuses_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import ppxf.ppxf

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("NOISE must be a positive vector")

    monkeypatch.setattr(ppxf.ppxf, "ppxf", refuse)
    with pytest.raises(FitError, match="pPXF gave up: NOISE must be a positive vector"):
        fit_spectrum(observed(model_flux(Z), 20, 1), Z, OWN, QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"realisations": 1}, "no spread"),
        ({"realisations": -1}, "no spread"),
        ({"wave_min_angstrom": 9000.0}, "is empty"),
        ({"lines": "keep"}, "use fit or mask"),
        ({"continuum": "spline"}, "use dust or polynomial"),
        ({"seed": -1}, "below 0"),
        ({"estimate": "median"}, "use fit or mean"),
        ({"estimate": "mean", "realisations": 0}, "mean over no realisations"),
        ({"start_dispersion_km_s": 0.0}, "is no start"),
        ({"band": "r"}, "LOW-HIGH"),
    ],
)
def test_options_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(FitOptions(), **change).check()


def test_a_method_is_its_templates_and_options() -> None:
    first = method_hash(OWN, FitOptions())
    assert method_hash(own_templates(), FitOptions.from_dict(FitOptions().to_dict())) == first
    assert method_hash(OWN, FitOptions(realisations=50)) != first
    assert method_hash(replace(OWN, flux=OWN.flux * 2), FitOptions()) != first
    record = method_record(OWN, FitOptions())
    assert record["templates"]["sha256"] == OWN.digest
    assert record["options"]["realisations"] == 100
    with pytest.raises(UsageError, match="'degree'"):
        FitOptions.from_dict({"degree": 3})


def test_ppxf_is_imported_only_for_a_fit() -> None:
    code = (
        "import sys\n"
        "import galbase.ml.labels.commands, galbase.ml.labels.jobs, galbase.ml.labels.store\n"
        "sys.stdout.write(str([name for name in sys.modules if name.split('.')[0] in ('ppxf', 'capfit')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]"


def test_without_ppxf_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from galbase.ml.labels import fit
    from galbase.schema.errors import GalbaseError

    monkeypatch.setattr(fit, "find_spec", lambda _: None)
    with pytest.raises(GalbaseError, match=r"pip install 'galbase\[labels\]'"):
        fit_spectrum(observed(model_flux(Z), 20, 1), Z, OWN, QUICK)


@pytest.mark.parametrize("name", ["spec-0389-51795-0269.fits", "spec-0390-51900-0104.fits"])
def test_real_passive_galaxies_are_old_and_as_wide_as_sdss_says(test_data: Path, name: str) -> None:
    path = test_data / "sdss-pairs" / "spectra" / name
    with fits.open(path) as hdus:
        z, published = (float(hdus["SPECOBJ"].data[key][0]) for key in ("Z", "VDISP"))
    pixels = read_spectrum_rows(path, "sdss-spec", [0], 3790.0)[0]
    folder = test_data / "ssp-templates"
    mastar = fit_spectrum(pixels, z, read_templates(folder / "mastar_ssp_v1.0.npz", "vacuum", 2.8), QUICK)
    bc03 = fit_spectrum(pixels, z, read_templates(folder / "bc03_mpajhu.npz", "air", 3.0), QUICK)
    assert mastar.dispersion_km_s == pytest.approx(published, abs=15)
    assert bc03.dispersion_km_s == pytest.approx(published, abs=30)
    for found in (mastar, bc03):
        assert 9.8 < found.log_age < 10.15
        assert -0.3 < found.mh < 0.3
        assert abs(found.velocity_km_s) < 25
        assert 0.9 < found.chi2 < 1.3
    # Taken for those in air, vacuum wavelengths show as a velocity.
    wrong = fit_spectrum(pixels, z, read_templates(folder / "mastar_ssp_v1.0.npz", "air", 2.8), QUICK)
    assert mastar.velocity_km_s - wrong.velocity_km_s == pytest.approx(83, abs=8)
