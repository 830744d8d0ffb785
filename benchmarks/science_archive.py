"""The archive that `science.py` trains in: simulated surveys, loaded and preprocessed by galbase's own commands.

Three surveys, each in releases of its own: ``main``; ``null``, in which look-alikes have exchanged their structure, so
that images can tell no more than the catalogue; ``shift``, of another telescope: worse seeing and less depth. Every
step is skipped where it has been done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from astropy.io import fits

from galbase.ml.demo import Runner
from galbase.schema.config import Config

Array = npt.NDArray[np.float64]
SURVEYS = {"main": (), "null": ("--decorrelate-morphology",), "shift": ("--shift",)}
# As the texts describe them, contours of Canny's edges lose the target in half of the images; regions lose 3 %.
PUBLISHED = {name: (name, "--option", "contours_of=regions") for name in ("galeffnet", "gpm_resnet")}
IMPROVED = ("improved",)
# What an image shows of a galaxy, free of noise and seeing: the features of the ceiling.
FLUXES = tuple(f"{what}_{band}" for band in "grz" for what in ("flux", "flux_fib", "bulge_to_total"))
STRUCTURE = (
    "half_light_arcsec", "sersic", "q", "bulge_sersic", "disc_sersic", "bulge_radius_arcsec", "disc_radius_arcsec",
    "bulge_q", "disc_q", "clump_strength",
)  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """A simulated survey in the archive."""

    name: str
    folder: Path

    def release(self, part: str) -> str:
        """Name of a release: legacysurvey, sdss, sdss-image or truth."""
        return f"{self.name}-{part}"


class Done:
    """Steps that were finished, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = set(path.read_text().splitlines()) if path.exists() else set()

    def once(self, step: str) -> bool:
        """Whether a step is still to be done."""
        return step not in self._known

    def note(self, step: str) -> None:
        """Record a step."""
        with self._path.open("a") as stream:
            stream.write(step + "\n")
        self._known.add(step)


def prepare(config: Config, folder: Path, size: int, n_spectra: int, seed: int, names: tuple[str, ...]) -> list[Survey]:
    """Simulate, load and preprocess the surveys of these names; what is done already is left."""
    run, done = Runner(config), Done(folder / "done.txt")

    def step(name: str, *words: object) -> None:
        if done.once(name):
            run(*words)
            done.note(name)

    run("db", "start")
    step("upgrade", "db", "upgrade")
    surveys = []
    for number, name in enumerate(names):
        survey = Survey(name, folder / f"survey-{name}")
        surveys.append(survey)
        spectra = n_spectra if name == "main" else 0
        step(
            f"{name} simulate", "simulate", "--out", survey.folder, "--size", size, "--seed", seed + number,
            "--spectra", spectra, "--surveys", "legacy,sdss" if spectra else "legacy", *SURVEYS[name],
        )  # fmt: skip
        _load(step, survey, 10 * number + 10, spectra > 0)
    return surveys


def _load(step: Any, survey: Survey, priority: int, has_spectra: bool) -> None:
    folder, release = survey.folder, survey.release
    parts = ("legacysurvey", "sdss", "truth", *(("sdss-image",) if has_spectra else ()))
    for number, part in enumerate(parts):
        step(
            f"{survey.name} release {part}", "release", "add", release(part), "--survey", f"simulated {part}",
            "--licence", "CC0-1.0", "--citation", "galbase simulated survey", "--priority", priority + number,
            "--simulated",
        )  # fmt: skip
    shards = sorted((folder / "legacysurvey").glob("*.h5"))
    step(f"{survey.name} images", "ingest", "images", *shards, "--release", release("legacysurvey"))
    for part, file in (
        ("legacysurvey", "legacysurvey/sweep-sim.fits"), ("sdss", "sdss/galSpec-sim.fits"), ("truth", "truth.fits"),
    ):  # fmt: skip
        step(f"{survey.name} catalogue {part}", "ingest", "catalogue", folder / file, "--release", release(part))
    for part, radius in (("sdss", 3), ("truth", 1)):
        step(
            f"{survey.name} crossmatch {part}", "crossmatch", release("legacysurvey"), release(part), "--radius-arcsec",
            radius,
        )  # fmt: skip
    for config in (*PUBLISHED.values(), IMPROVED):
        step(
            f"{survey.name} preprocess {config[0]}", "preprocess", "--release", release("legacysurvey"), "--config",
            *config,
        )  # fmt: skip


def true_features(connection: psycopg.Connection[Any], survey: Survey, observation_id: list[int]) -> Array:
    """True magnitudes, colours and structure of images, in their order; ``(n, n_feature)``.

    Rows of the truth are those of the image shards, one after another.
    """
    first = {
        row[0]: int(re.findall(r"_(\d{9})_\d{9}\.h5$", row[1])[0])
        for row in connection.execute(
            "SELECT f.data_file_id, f.path FROM archive.data_file f JOIN archive.data_release r USING (release_id) "
            "WHERE r.release = %s AND f.format = 'hdf5'",
            (survey.release("legacysurvey"),),
        ).fetchall()
    }
    place = {
        observation: first[file] + row
        for observation, file, row in connection.execute(
            "SELECT observation_id, data_file_id, row_index FROM archive.observation WHERE observation_id = ANY(%s)",
            (observation_id,),
        ).fetchall()
    }
    with fits.open(survey.folder / "truth.fits") as hdus:
        data = hdus[1].data
        columns = {name: np.asarray(data[name], np.float64) for name in (*FLUXES, *STRUCTURE)}
    magnitude = {name: -2.5 * np.log10(columns[name]) for name in FLUXES if "flux" in name}
    shares = [columns[f"bulge_to_total_{band}"] for band in "grz"]
    colours = [
        magnitude[f"{what}_{blue}"] - magnitude[f"{what}_{red}"]
        for what in ("flux", "flux_fib")
        for blue, red in ("gr", "rz")
    ]
    table = np.column_stack([*magnitude.values(), *colours, *shares, *(columns[name] for name in STRUCTURE)])
    return np.asarray(table[[place[each] for each in observation_id]])


def training_set(config: Config, survey: Survey, folder: Path, family: str, mode: str) -> str:
    """Name of the frozen training set of a survey, family and mode, made where it is not there yet."""
    run, done = Runner(config), Done(folder / "done.txt")
    name = f"{survey.name}-{family}-{mode}"
    if done.once(name):
        preprocess = IMPROVED if mode == "improved" else PUBLISHED[family]
        run("training-set", "create", name, "--selection", family, "--seed", 1, "--config", *preprocess)
        done.note(name)
    return name
