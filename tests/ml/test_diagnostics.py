"""Diagnostics: each formula against its source, and each check against surveys that are wrong on purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from astropy.io import fits
from typer.testing import CliRunner

from galbase.ml.diagnostics import counts, null_test, pulls, real, relations, spectral
from galbase.ml.diagnostics.check import Check, NotInSurveyError, enough
from galbase.ml.diagnostics.lines import kauffmann_line
from galbase.ml.diagnostics.run import DIAGNOSTICS, RESULT, diagnose
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import running
from galbase.ml.simulate.survey import simulate
from galbase.schema.errors import GalbaseError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survey of 1200 galaxies with 120 spectra."""
    out = tmp_path_factory.mktemp("survey") / "sim"
    simulate(out, 1200, 5, n_spectra=120)
    return out


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the survey's tables and spectra that may be damaged."""
    out = tmp_path / "sim"
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.h5"))
    return out


def rewrite(path: Path, change: dict[str, np.ndarray], *, drop: tuple[str, ...] = ()) -> None:
    """Replace or drop columns of a FITS table."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[1].data
        columns = [
            fits.Column(c.name, c.format, array=change.get(c.name.lower(), np.array(data[c.name])))
            for c in data.columns
            if c.name.lower() not in drop
        ]
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


# formulas


def test_checks_have_sides() -> None:
    assert Check("a", 1.05, 1.0, 0.1, "", 1).passed
    assert not Check("a", 1.2, 1.0, 0.1, "", 1).passed
    assert Check("a", 9.0, 1.0, 0.1, "", 1, "above").passed
    assert not Check("a", 0.8, 1.0, 0.1, "", 1, "above").passed
    assert Check("a", -9.0, 1.0, 0.1, "", 1, "below").passed
    assert not Check("a", float("nan"), 1.0, 0.1, "", 1, "above").passed
    assert Check("a", float("nan"), 1.0, 0.1, "", 1).as_dict()["value"] is None
    with pytest.raises(NotInSurveyError, match="at least 5"):
        enough("few", 4, 5)


def test_published_relations() -> None:
    # Renzini & Peng 2015: log SFR = 0.76 * 10 - 7.64 = -0.04 at 1e10
    assert relations.main_sequence(np.array([10.0]))[0] == pytest.approx(-10.04)
    # Tremonti et al. 2004, table 3 (medians): 8.57 -> 8.44, 9.57 -> 8.82, 10.57 -> 9.07
    table = {8.57: 8.44, 9.57: 8.82, 10.57: 9.07}
    got = relations.mass_metallicity(np.array(list(table)))
    np.testing.assert_allclose(got, list(table.values()), atol=0.06)
    # Shen et al. 2003, fig. 11: early types cross late types near 1e11 at 4 to 5 kpc
    assert 10 ** relations.shen_size(np.array([11.0]), True)[0] == pytest.approx(4.2, rel=0.15)
    assert 10 ** relations.shen_size(np.array([11.0]), False)[0] == pytest.approx(4.8, rel=0.15)
    # Kauffmann et al. 2003: the line passes (-0.5, 0.19)
    assert kauffmann_line(np.array([-0.5]))[0] == pytest.approx(0.19, abs=0.01)


def test_break_of_a_step() -> None:
    wave = 10 ** np.arange(3.56, 3.65, 1e-4)
    flat = wave**-2.0  # flat in F_nu
    assert spectral.break_4000(wave, flat) == pytest.approx(1.0, abs=1e-9)
    assert spectral.break_4000(wave, np.where(wave > 3975, 1.7, 1.0) * flat) == pytest.approx(1.7, abs=1e-9)
    assert np.isnan(spectral.break_4000(wave[wave > 3900], flat[wave > 3900]))
    assert np.isnan(spectral.break_4000(wave, flat, np.zeros(len(wave), bool)))


def test_break_of_real_galaxies(test_data: Path) -> None:
    folder = test_data / "spectra" / "sdss"
    breaks = {s.name: spectral.break_4000(s.rest, s.flux, s.ivar > 0) for s in real.RealData(folder).spectra()}
    # a starburst has young stars alone, and no galaxy's break passes 2.3
    assert breaks["spec-2095-53474-0355.fits"] == pytest.approx(1.1, abs=0.1)
    assert all(1.0 < value < 2.3 for value in breaks.values())


def test_break_of_stellar_populations(test_data: Path) -> None:
    """Bruzual & Charlot 2003: solar populations of 0.9 and 10 Gyr as in Kauffmann et al. 2003, fig. 2."""
    grid = np.load(test_data / "ssp-templates" / "bc03_mpajhu.npz")
    age, metal = grid["age_gyr"], grid["Z"]
    value = np.array([spectral.break_4000(grid["wave_vac_or_air"], flux) for flux in grid["flux"].astype(float)])
    solar = metal == 0.02
    assert np.interp(0.9, age[solar], value[solar]) == pytest.approx(1.45, abs=0.1)
    assert np.interp(10, age[solar], value[solar]) == pytest.approx(2.05, abs=0.1)
    for z in np.unique(metal):
        grown = value[(metal == z) & (age > 0.02)]
        assert (np.diff(grown) > 0).all()
    assert (np.diff(value[age == 10.0]) > 0).all()


def test_slope_of_counts() -> None:
    rng = np.random.default_rng(1)
    for slope in (0.6, 0.3, -0.1):
        u = rng.random(40_000)
        k = slope * np.log(10)
        magnitude = 14 + np.log1p(u * np.expm1(k * 4)) / k
        got, error = counts.exponential_slope(magnitude, 14.5, 17.5)
        assert got == pytest.approx(slope, abs=4 * error)
        assert error < 0.01


def test_weighted_quantiles_and_running_medians() -> None:
    value, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    assert relations.weighted_quantile(value, weight, 0.5) == pytest.approx(2.0)
    x = np.linspace(0, 2, 401)
    middle, median, low, high = running(x, 3 * x, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(middle, [0.5, 1.5])
    np.testing.assert_allclose(median, [1.5, 4.5], atol=0.02)
    np.testing.assert_allclose(high - low, 3 * 0.68, atol=0.03)


# surveys


def test_the_command_diagnoses_a_survey(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    from galbase.ml.commands_diagnose import diagnose as command

    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(folder), "--plots", str(tmp_path / "plots"), "--json"])
    stored = json.loads((tmp_path / "plots" / RESULT).read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == stored
    assert done.exit_code == (0 if stored["passed"] else 1)
    assert stored["passed"] == all(check["passed"] for check in stored["checks"])
    assert {"name", "value", "expected", "tolerance", "reference", "passed"} <= set(stored["checks"][0])
    # 1200 galaxies are few for these
    assert {one["name"] for one in stored["skipped"]} <= {
        "colours",
        "emission lines",
        "noise and light of stamps",
        "mass and star formation",
    }
    assert len(stored["checks"]) > 30
    assert len(stored["plots"]) >= len(DIAGNOSTICS) - 2
    for name in stored["plots"]:
        with Image.open(tmp_path / "plots" / name) as picture:
            pixels = np.asarray(picture.convert("L"), dtype=float)
        assert pixels.shape[0] > 300
        assert pixels.std() > 5, f"{name} is blank"
    wrong = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(wrong.exception, GalbaseError)
    assert "simulation.json" in str(wrong.exception)


def test_honest_labels_pass_and_overconfident_ones_fail(copy: Path, tmp_path: Path) -> None:
    assert failed(pulls.label_pulls(SurveyFiles(copy), tmp_path)) == set()
    path = next(copy.glob("sdss/galSpec*.fits"))
    with fits.open(path, memmap=False) as hdus:
        low, mid, high = (np.array(hdus[1].data[f"LGM_FIB_{q}"]) for q in ("P16", "P50", "P84"))
    good = mid > -9000
    narrow = {"p16": np.where(good, (mid + low) / 2, low), "p84": np.where(good, (mid + high) / 2, high)}
    rewrite(path, {f"lgm_fib_{name}": value for name, value in narrow.items()})
    assert failed(pulls.label_pulls(SurveyFiles(copy), tmp_path)) == {"pull of lgm_fib, half of 16-84 %"}
    rewrite(path, {"lgm_tot_p50": np.where(good, mid + 0.3, mid)})
    assert "pull of lgm_tot, median" in failed(pulls.label_pulls(SurveyFiles(copy), tmp_path))


def test_wrong_physics_fails(copy: Path, tmp_path: Path) -> None:
    path = copy / "truth.fits" if (copy / "truth.fits").exists() else next(copy.glob("truth*"))
    survey = SurveyFiles(copy)
    ssfr, size = survey.truth["log_ssfr_tot"], survey.truth["half_light_kpc"]
    assert "main sequence ridge minus line [dex]" not in failed(relations.mass_ssfr(survey, tmp_path))
    rewrite(path, {"log_ssfr_tot": np.where(ssfr > -10.9, ssfr + 0.3, ssfr), "half_light_kpc": size * 1.5})
    survey = SurveyFiles(copy)
    assert "main sequence ridge minus line [dex]" in failed(relations.mass_ssfr(survey, tmp_path))
    assert {"size minus relation, late, n < 2.5 [dex]", "size minus relation, early, n > 2.5 [dex]"} <= failed(
        relations.size_mass(survey, tmp_path)
    )


def test_noise_that_lies_fails(copy: Path, tmp_path: Path) -> None:
    assert failed(spectral.spectrum_noise(SurveyFiles(copy), tmp_path)) == set()
    for path in (copy / "sdss").rglob("spec-*.fits"):
        with fits.open(path, mode="update", memmap=False) as hdus:
            hdus[1].data["ivar"] *= 1.5
    assert "spectrum noise over quoted noise" in failed(spectral.spectrum_noise(SurveyFiles(copy), tmp_path))


def test_the_null_test_tells_decorrelated_morphology_from_real(copy: Path, tmp_path: Path) -> None:
    """Shuffled structure passes as a null test; the survey's own structure does not."""
    record = copy / "simulation.json"
    known = json.loads(record.read_text())
    known["decorrelated"] = True
    record.write_text(json.dumps(known))
    assert SurveyFiles(copy).decorrelated
    assert "null test: largest partial correlation [sigma]" in failed(null_test.null_test(SurveyFiles(copy), tmp_path))
    path = next(copy.glob("truth*.fits"))
    survey = SurveyFiles(copy)
    order = np.random.default_rng(3).permutation(len(survey.truth))
    names = ("half_light_arcsec", "sersic", "q", "bulge_to_total_r")
    rewrite(path, {name: survey.truth.raw(name)[order] for name in names})
    assert failed(null_test.null_test(SurveyFiles(copy), tmp_path)) == set()
    known["decorrelated"] = False
    record.write_text(json.dumps(known))
    checks = null_test.null_test(SurveyFiles(copy), tmp_path)
    assert failed(checks) == {"morphology tells of properties beyond photometry, largest [sigma]"}


def test_missing_columns_and_files_are_named(copy: Path, tmp_path: Path) -> None:
    rewrite(next(copy.glob("truth*.fits")), {}, drop=("oh12",))
    with pytest.raises(NotInSurveyError, match="no column oh12"):
        relations.metallicity(SurveyFiles(copy), tmp_path)
    shutil.rmtree(copy / "sdss" / "spectra")
    made = diagnose(copy, tmp_path / "plots")
    reasons = {one.name: one.reason for one in made.skipped}
    assert "no column oh12" in reasons["mass-metallicity relation"]
    assert "has no spectra" in reasons["4000 A break"]
    assert "no image shards" in reasons["noise and light of stamps"]


def test_tables_in_shards_are_read_as_one(folder: Path, copy: Path) -> None:
    path = copy / "truth.fits"
    with fits.open(path, memmap=False) as hdus:
        data = hdus[1].data
        for k, part in enumerate((data[:500], data[500:])):
            fits.BinTableHDU(part).writeto(copy / f"truth-{k:05d}.fits")
    path.unlink()
    np.testing.assert_array_equal(SurveyFiles(copy).truth["z"], SurveyFiles(folder).truth["z"])


def test_tables_of_another_survey_are_refused(copy: Path) -> None:
    path = next(copy.glob("sdss/galSpec*.fits"))
    rewrite(path, {"specobjid": SurveyFiles(copy).labels.raw("specobjid") + 1})
    survey = SurveyFiles(copy)
    with pytest.raises(GalbaseError, match="are missing from the truth table"):
        survey.truth_of(survey.labels)


def test_real_data_beside_the_survey(folder: Path, test_data: Path, tmp_path: Path) -> None:
    survey, sample = SurveyFiles(folder), real.RealData(test_data)
    assert len(sample.spectra()) == 7
    checks = real.real_spectra(survey, sample, tmp_path)
    assert {check.name for check in checks} >= {"spectral resolution wdisp, simulated minus real [px]"}
    assert len(real.real_colours(survey, sample, tmp_path)) >= 3
    assert (tmp_path / "real_spectra.png").exists()


def test_folders_without_real_data_say_so(tmp_path: Path) -> None:
    empty = real.RealData(tmp_path)
    for look in (empty.spectra, empty.images, empty.main_sample):
        with pytest.raises(NotInSurveyError, match="under"):
            look()
    with pytest.raises(GalbaseError, match="not a folder"):
        real.RealData(tmp_path / "nothing")
