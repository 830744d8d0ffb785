"""Fits as an archive job: labels with their errors, failures with their reason, nothing done twice, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from galbase.ingest.label_file import LabelOptions, ingest_labels
from galbase.ingest.releases import Release, add_release
from galbase.ingest.spectrum import ingest_spectra
from galbase.ml.labels.commands import labels as commands
from galbase.ml.labels.jobs import FitReport, TemplateFile, fit_labels
from galbase.ml.labels.options import FitOptions
from galbase.ml.labels.templates import own_templates
from galbase.schema.errors import GalbaseError, UsageError
from tests.ml.label_spectra import light_means, model_flux, observed, write_spec

Z = 0.08
OPTIONS = FitOptions(realisations=2, lines="mask")


@dataclass
class Survey:
    """An archive with a release and a folder of spectra."""

    config: Any
    connection: psycopg.Connection[Any]
    release: Release
    folder: Path
    fits: list[FitReport] = field(default_factory=list)

    def write(self, fiberid: int, signal_to_noise: float = 40.0, **options: Any) -> Path:
        return write_spec(self.folder, fiberid, observed(model_flux(Z), signal_to_noise, fiberid), Z, **options)

    def ingest(self) -> None:
        ingest_spectra(self.connection, self.release, [self.folder])

    def fit(self, options: FitOptions = OPTIONS, **changes: Any) -> FitReport:
        arguments: dict[str, Any] = {"release": "spectra", "origin": "ppxf", "templates": TemplateFile(), "workers": 1}
        return fit_labels(self.config, options=options, **(arguments | changes))

    def labels(self, origin: str = "ppxf") -> dict[str, dict[str, tuple[float, float]]]:
        """Value and error by property, by the id of the source."""
        rows = self.connection.execute(
            "SELECT s.native_id, p.name, v.value, v.err FROM archive.reference_value v JOIN archive.source s "
            "USING (source_id) JOIN archive.property p USING (property_id) WHERE v.origin = %s ORDER BY 1, 2",
            (origin,),
        ).fetchall()
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for native, name, value, err in rows:
            found.setdefault(native, {})[name] = (value, err)
        return found

    def reasons(self) -> dict[str, str | None]:
        return dict(
            self.connection.execute(
                "SELECT s.native_id, l.reason FROM archive.label_fit l "
                "JOIN archive.observation o USING (observation_id) JOIN archive.source s USING (source_id) ORDER BY 1"
            ).fetchall()
        )


@pytest.fixture
def survey(fresh_archive: Any, tmp_path: Path) -> Iterator[Survey]:
    with fresh_archive.connect(autocommit=True) as connection:
        release = add_release(connection, "spectra", survey="SDSS")[0]
        yield Survey(fresh_archive.config, connection, release, tmp_path / "spectra")


def test_labels_land_with_errors_and_the_record_of_the_method(survey: Survey) -> None:
    for fiberid in (1, 2):
        survey.write(fiberid)
    survey.ingest()
    done = survey.fit()
    assert (done.n_row, done.n_fitted, done.reasons) == (2, 2, {})
    found = survey.labels()
    assert set(found) == {"1001", "1002"}
    for properties in found.values():
        for name, wanted in zip(("log_age", "mh"), light_means(), strict=True):
            value, err = properties[name]
            assert value == pytest.approx(wanted, abs=0.15)
            assert 0 < err < 0.2
    config, versions, state = survey.connection.execute(
        "SELECT config, versions, state FROM archive.run WHERE run_id = %s", (done.run_id,)
    ).fetchone() or ({}, {}, "")
    assert state == "done"
    assert config["templates"]["sha256"] == own_templates().digest
    assert config["options"] == OPTIONS.to_dict()
    assert (config["method"], config["origin"]) == ("pPXF", "ppxf")
    assert versions["ppxf"].startswith("9.")
    stored = survey.connection.execute(
        "SELECT l.log_age, l.log_age_err, l.mh, l.mh_err, l.chi2, l.a_v, l.dispersion_km_s, l.n_pixel, "
        "l.n_realisation, l.run_id, s.native_id FROM archive.label_fit l JOIN archive.observation o "
        "USING (observation_id) JOIN archive.source s USING (source_id) ORDER BY s.native_id"
    ).fetchall()
    for *values, chi2, a_v, dispersion, n_pixel, n_realisation, run_id, native in stored:
        assert values == [*found[native]["log_age"], *found[native]["mh"]]
        assert chi2 == pytest.approx(1, abs=0.2)
        assert a_v == pytest.approx(0.4, abs=0.2)
        assert dispersion == pytest.approx(150, abs=60)
        assert 1000 < n_pixel < 3846
        assert (n_realisation, run_id) == (2, done.run_id)


def test_nothing_is_done_twice_and_new_options_do_it_anew(survey: Survey) -> None:
    survey.write(1)
    survey.ingest()
    survey.fit()
    before = survey.labels()
    again = survey.fit()
    assert (again.run_id, again.n_row) == (None, 0)
    assert survey.labels() == before
    quick = survey.fit(replace(OPTIONS, realisations=0))
    assert quick.n_fitted == 1
    after = survey.labels()
    assert after["1001"]["log_age"] == (before["1001"]["log_age"][0], None)
    assert survey.fit(origin="ppxf-2").n_fitted == 1
    assert survey.labels("ppxf-2") == before


def test_what_gives_no_label_is_kept_with_its_reason(survey: Survey) -> None:
    survey.write(1)
    survey.write(2, z_warning=4)
    spoilt = observed(model_flux(Z), 20, 3)
    write_spec(survey.folder, 3, replace(spoilt, flux=-spoilt.flux), Z)
    survey.ingest()
    survey.connection.execute(
        "UPDATE archive.spectrum s SET spectral_class = 'QSO' FROM archive.observation o JOIN archive.source c "
        "USING (source_id) WHERE o.observation_id = s.observation_id AND c.native_id = '1001'"
    )
    done = survey.fit()
    assert (done.n_row, done.n_fitted) == (3, 0)
    assert done.reasons == {"no fit": 1, "no galaxy": 1, "no sure redshift": 1}
    reasons = survey.reasons()
    assert reasons["1001"] == "no galaxy: its spectrum is of class QSO"
    assert reasons["1002"] == "no sure redshift: z_warning is 4"
    assert str(reasons["1003"]).startswith("no fit: its median flux is -")
    assert survey.labels() == {}
    assert survey.fit().run_id is None
    survey.connection.execute("UPDATE archive.spectrum SET spectral_class = 'GALAXY', z_warning = 0")
    assert (survey.fit().n_row, set(survey.labels())) == (2, {"1001", "1002"})


def test_a_limit_stops_early_and_the_next_run_goes_on(survey: Survey) -> None:
    for fiberid in (1, 2, 3):
        survey.write(fiberid)
    survey.ingest()
    quick = replace(OPTIONS, realisations=0)
    assert [survey.fit(quick, limit=2).n_row, survey.fit(quick, limit=2).n_row] == [2, 1]
    assert set(survey.labels()) == {"1001", "1002", "1003"}


def test_of_two_spectra_the_better_gives_the_label(survey: Survey) -> None:
    survey.write(1, 60.0)
    survey.write(2, 10.0)
    survey.ingest()
    # A second spectrum of the first one's source.
    survey.connection.execute(
        "UPDATE archive.observation SET source_id = (SELECT source_id FROM archive.source WHERE native_id = '1001')"
    )
    quick = replace(OPTIONS, realisations=0)
    survey.fit(quick)
    best, other = survey.connection.execute(
        "SELECT l.log_age, l.mh, observation_id FROM archive.label_fit l JOIN archive.spectrum s "
        "USING (observation_id) ORDER BY s.sn_median DESC"
    ).fetchall()

    def label() -> tuple[float, float]:
        found = survey.labels()
        assert set(found) == {"1001"}
        return found["1001"]["log_age"][0], found["1001"]["mh"][0]

    assert label() == best[:2]
    # It leaves the archive, and the other takes over; with that, the labels go too.
    survey.connection.execute("DELETE FROM archive.observation WHERE observation_id = %s", (best[2],))
    assert survey.fit(quick).n_removed == 0
    assert label() == other[:2]
    survey.connection.execute("DELETE FROM archive.observation")
    assert survey.fit(quick).n_removed == 2
    assert survey.labels() == {}


def test_a_changed_file_fails_its_unit_and_the_others_are_done(survey: Survey) -> None:
    survey.write(1)
    survey.write(2)
    survey.ingest()
    survey.write(1, 15.0)
    quick = replace(OPTIONS, realisations=0)
    with pytest.raises(GalbaseError, match=r"1 of 2 units failed.*has changed since it was ingested"):
        survey.fit(quick)
    assert set(survey.labels()) == {"1002"}
    survey.ingest()
    assert survey.fit(quick).n_row == 1
    assert set(survey.labels()) == {"1001", "1002"}


def test_labels_of_files_and_of_fits_do_not_mix(survey: Survey, tmp_path: Path) -> None:
    survey.write(1)
    survey.ingest()
    table = tmp_path / "labels.fits"
    Table({"SPECOBJID": np.array([1001]), "LOG_AGE": [9.5]}).write(table)
    ingest_labels(survey.connection, survey.release, [table], LabelOptions("catalogue"))
    quick = replace(OPTIONS, realisations=0)
    with pytest.raises(GalbaseError, match="were loaded from files"):
        survey.fit(quick, origin="catalogue")
    survey.fit(quick)
    with pytest.raises(GalbaseError, match="are fits of spectra"):
        ingest_labels(survey.connection, survey.release, [table], LabelOptions("ppxf"))
    with pytest.raises(GalbaseError, match="for selections"):
        survey.fit(quick, evaluation_only=True)


def test_units_are_shared_by_processes(survey: Survey) -> None:
    for fiberid in (1, 2, 3):
        survey.write(fiberid)
    survey.ingest()
    assert survey.fit(workers=2).n_fitted == 3
    apart = survey.labels()
    survey.connection.execute("DELETE FROM archive.label_fit")
    survey.fit(workers=1)
    assert survey.labels() == apart


def test_the_command_reports(survey: Survey) -> None:
    survey.write(1)
    survey.write(2, z_warning=4)
    survey.ingest()
    words = ["fit", "--release", "spectra", "--realisations", "0", "--lines", "mask", "--workers", "1"]
    done = CliRunner().invoke(commands, [*words, "--json"], obj=survey.config, catch_exceptions=False)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["spectra"], told["fitted"], told["without_label"]) == (2, 1, 1)
    assert told["reasons"] == {"no sure redshift": 1}
    assert (told["band"], told["templates"]) == ("sdss-r", "galbase")
    assert len(survey.labels()["1001"]) == 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"release": "none"}, GalbaseError, "there is no release 'none'"),
        ({"origin": "mpa-jhu"}, UsageError, "come with their galSpec tables"),
        ({"templates": TemplateFile("/none.npz")}, GalbaseError, "are not there"),
        ({"limit": 0}, UsageError, "limit is 0"),
        ({"workers": 0}, UsageError, "workers is 0"),
        ({"options": FitOptions(band="100-200")}, GalbaseError, "not over the band"),
    ],
)
def test_what_cannot_be_is_refused_before_work(
    survey: Survey, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        survey.fit(**changes)
