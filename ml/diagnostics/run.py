"""Run all diagnostics of a survey: plots, a table of numbers, and what had to be left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from galbase.ml.diagnostics import colours, counts, lines, null_test, pulls, real, relations, spectral, stamps
from galbase.ml.diagnostics.check import Check, NotInSurveyError, Skipped
from galbase.ml.diagnostics.survey import SurveyFiles

Diagnostic = Callable[[SurveyFiles, Path], list[Check]]

DIAGNOSTICS: tuple[tuple[str, Diagnostic], ...] = (
    ("mass and star formation", relations.mass_ssfr),
    ("mass-metallicity relation", relations.metallicity),
    ("size-mass relation", relations.size_mass),
    ("colours", colours.colours),
    ("mass-to-light ratio", colours.mass_colour),
    ("number counts and redshifts", counts.number_counts),
    ("signal to noise", counts.signal_to_noise),
    ("label pulls", pulls.label_pulls),
    ("4000 A break", spectral.break_age),
    ("noise of spectra", spectral.spectrum_noise),
    ("example spectra", spectral.example_spectra),
    ("emission lines", lines.emission_lines),
    ("montage", stamps.montage),
    ("noise and light of stamps", stamps.image_noise),
    ("null test", null_test.null_test),
)
REAL = (
    ("real spectra", real.real_spectra),
    ("real images", real.real_images),
    ("real colours", real.real_colours),
)
RESULT = "diagnostics.json"


@dataclass(frozen=True)
class Diagnosis:
    """Checks, skipped diagnostics and plots of one survey."""

    survey: str
    checks: list[Check]
    skipped: list[Skipped]
    plots: list[str]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "survey": self.survey,
            "passed": self.passed,
            "checks": [check.as_dict() for check in self.checks],
            "skipped": [{"name": one.name, "reason": one.reason} for one in self.skipped],
            "plots": self.plots,
        }


def diagnose(
    folder: Path, plots: Path, real_folder: Path | None = None, progress: Callable[[str], None] | None = None
) -> Diagnosis:
    """Diagnose a simulated survey from its files.

    Parameters
    ----------
    folder : Path
        Written by `galbase simulate`.
    plots : Path
        Folder for PNGs and `diagnostics.json`; created.
    real_folder : Path, optional
        Real spectra and images to compare with, found by their names at any depth.
    progress : callable, optional
        Called with the name of each diagnostic when it is done.

    Raises
    ------
    GalbaseError
        If the folder holds no survey, or its files contradict each other.
    """
    survey = SurveyFiles(folder)
    plots.mkdir(parents=True, exist_ok=True)
    checks: list[Check] = []
    skipped: list[Skipped] = []
    todo: list[tuple[str, Callable[[], list[Check]]]] = [
        (name, partial(function, survey, plots)) for name, function in DIAGNOSTICS
    ]
    if real_folder:
        sample = real.RealData(real_folder)
        todo += [(name, partial(function, survey, sample, plots)) for name, function in REAL]
    for name, function in todo:
        try:
            checks.extend(function())
        except NotInSurveyError as reason:
            skipped.append(Skipped(name, str(reason)))
        if progress:
            progress(name)
    made = Diagnosis(str(folder), checks, skipped, sorted(path.name for path in plots.glob("*.png")))
    (plots / RESULT).write_text(json.dumps(made.as_dict(), indent=1) + "\n")
    return made
