"""The archives that `science.py` trains in: simulated surveys, loaded and preprocessed by galbase's own commands.

Five surveys, each in an archive of its own, since a selection takes all releases: ``main``; ``null``, in which
look-alikes have exchanged their structure, so that images can tell no more than the catalogue; ``shift``, of another
telescope: worse seeing and less depth; ``pretraining``, half as large again, on sky and of a seed of its own, whose
labels are the truth without noise; ``pretraining-stars``, the same with twice the spectra and gri images alone. Every
step is skipped where it has been done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from astropy.io import fits

from galbase.ml.demo import Runner
from galbase.schema.config import Config
from galbase.schema.upgrade import needs_upgrade

Array = npt.NDArray[np.float64]
PRETRAINING, PRETRAINING_STARS = "pretraining", "pretraining-stars"
SURVEYS = {
    "main": (), "null": ("--decorrelate-morphology",), "shift": ("--shift",), PRETRAINING: ("--sky", "pretraining"),
    PRETRAINING_STARS: ("--sky", "pretraining"),
}  # fmt: skip
_SEED = {"main": 0, "null": 1, "shift": 2, PRETRAINING: 100, PRETRAINING_STARS: 200}
# As the texts describe them, contours of Canny's edges lose the target in half of the images; regions lose 3 %.
PUBLISHED = {name: (name, "--option", "contours_of=regions") for name in ("galeffnet", "gpm_resnet")}
IMPROVED = ("improved",)
# The published masks keep one in seven of these galaxies; all variants read the same images.
STARS = ("improved", "--option", "stamp_px=128")
# What an image shows of a galaxy, free of noise and seeing: the features of the ceiling.
FLUXES = tuple(f"{what}_{band}" for band in "grz" for what in ("flux", "flux_fib", "bulge_to_total"))
STRUCTURE = (
    "half_light_arcsec", "sersic", "q", "bulge_sersic", "disc_sersic", "bulge_radius_arcsec", "disc_radius_arcsec",
    "bulge_q", "disc_q", "clump_strength",
)  # fmt: skip
# Column of a property's value without noise.
TRUE_VALUE = {
    "log_mstar_fib": "log_mstar_fib", "log_ssfr_fib": "log_ssfr_fib", "oh12": "oh12", "log_age": "log_age_fib",
    "mh": "mh_fib",
}  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """A simulated survey in the archive."""

    name: str
    folder: Path
    config: Config

    def release(self, part: str) -> str:
        """Name of a release: legacysurvey, sdss or truth."""
        return f"{self.name}-{part}"

    def run(self) -> tuple[Runner, Done]:
        """Commands on its archive, and what has been done there."""
        return Runner(self.config), Done(self.config.data_dir / "done.txt")


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


def prepare(folder: Path, size: int, n_spectra: int, seed: int, names: tuple[str, ...]) -> list[Survey]:
    """Simulate, load and preprocess the surveys of these names; what is done already is left."""
    surveys = []
    for name in names:
        data_dir = folder / f"archive-{name}"
        data_dir.mkdir(parents=True, exist_ok=True)
        survey = Survey(name, folder / f"survey-{name}", Config(data_dir=data_dir, server_memory="4GB"))
        surveys.append(survey)
        run, done = survey.run()

        def step(name: str, *words: object, run: Runner = run, done: Done = done) -> None:
            if done.once(name):
                run(*words)
                done.note(name)

        run("db", "start")
        # an upgrade waits until nothing else reads the archive, as another seed's run may
        if needs_upgrade(survey.config):
            run("db", "upgrade")
        spectra = n_spectra * {"main": 1, PRETRAINING_STARS: 2}.get(name, 0)
        galaxies = {PRETRAINING: size * 3 // 2, PRETRAINING_STARS: spectra * 5 // 4}.get(name, size)
        images = "sdss" if name == PRETRAINING_STARS else "legacy,sdss" if spectra else "legacy"
        step(
            "simulate", "simulate", "--out", survey.folder, "--size", galaxies, "--seed", seed + _SEED[name],
            "--spectra", spectra, "--surveys", images, *SURVEYS[name],
        )  # fmt: skip
        if name != PRETRAINING_STARS:
            _load(step, survey)
        if spectra:
            _load_stars(step, survey)
    return surveys


def _release(step: Any, survey: Survey, part: str, priority: int) -> None:
    step(
        f"release {part}", "release", "add", survey.release(part), "--survey", f"simulated {part}",
        "--licence", "CC0-1.0", "--citation", "galbase simulated survey", "--priority", priority, "--simulated",
    )  # fmt: skip


def _load(step: Any, survey: Survey) -> None:
    """Images in grz, photometry, the labels of galaxies, and the truth."""
    folder, release = survey.folder, survey.release
    for number, part in enumerate(("legacysurvey", "sdss", "truth")):
        _release(step, survey, part, 10 + number)
    shards = sorted((folder / "legacysurvey").glob("*.h5"))
    step("images", "ingest", "images", *shards, "--release", release("legacysurvey"))
    for part, file in (
        ("legacysurvey", "legacysurvey/sweep-sim.fits"), ("sdss", "sdss/galSpec-sim.fits"), ("truth", "truth.fits"),
    ):  # fmt: skip
        step(f"catalogue {part}", "ingest", "catalogue", folder / file, "--release", release(part))
    for part, radius in (("sdss", 3), ("truth", 1)):
        step(
            f"crossmatch {part}", "crossmatch", release("legacysurvey"), release(part), "--radius-arcsec", radius
        )  # fmt: skip
    if survey.name == PRETRAINING:
        step(
            "labels truth", "ingest", "labels", folder / "truth.fits", "--release", release("sdss"),
            "--origin", "truth", "--radius-arcsec", 1,
        )  # fmt: skip
    for config in (IMPROVED,) if survey.name == PRETRAINING else (*PUBLISHED.values(), IMPROVED):
        step(f"preprocess {config[0]}", "preprocess", "--release", release("legacysurvey"), "--config", *config)


def _load_stars(step: Any, survey: Survey) -> None:
    """Spectra, gri images and labels of the stars' ages and metallicities."""
    folder, release = survey.folder / "sdss", survey.release
    if survey.name == PRETRAINING_STARS:
        _release(step, survey, "sdss", 11)
        step("catalogue sdss", "ingest", "catalogue", folder / "galSpec-sim.fits", "--release", release("sdss"))
    step("spectra", "ingest", "spectra", folder / "spectra", "--release", release("sdss"))
    _release(step, survey, "gri", 20)
    step("gri", "ingest", "images", *sorted(folder.glob("images_npix128_*.h5")), "--release", release("gri"))
    step("crossmatch gri", "crossmatch", release("sdss"), release("gri"), "--radius-arcsec", 3)
    labels: tuple[object, ...] = (folder / "stellarpop-sim.fits", "--origin", "simulated-fit")
    if survey.name == PRETRAINING_STARS:
        columns = [word for name in ("log_age", "mh") for word in ("--column", f"{name}={TRUE_VALUE[name]}")]
        labels = (survey.folder / "truth.fits", "--origin", "truth", *columns)
    step("labels", "ingest", "labels", *labels, "--release", release("sdss"), "--radius-arcsec", 1)
    step("preprocess stars", "preprocess", "--release", release("gri"), "--config", *STARS)


def truth_of(connection: psycopg.Connection[Any], survey: Survey, observation_id: list[int]) -> dict[str, Array]:
    """Columns of the truth for the galaxies of observations, in their order.

    Rows of the truth are those of the image shards, one after another.
    """
    rows = connection.execute(
        "SELECT o.observation_id, f.path, i.row_index FROM archive.observation o "
        "JOIN archive.galaxy_member m ON m.source_id = o.source_id "
        "JOIN archive.galaxy_member n ON n.galaxy_id = m.galaxy_id "
        "JOIN archive.observation i ON i.source_id = n.source_id AND i.kind = 'image' "
        "JOIN archive.data_file f ON f.data_file_id = i.data_file_id "
        "JOIN archive.data_release r ON r.release_id = i.release_id "
        "WHERE r.release = %s AND o.observation_id = ANY(%s)",
        (survey.release("legacysurvey"), observation_id),
    ).fetchall()
    place = {observation: int(re.findall(r"_(\d{9})_\d{9}\.h5$", path)[0]) + row for observation, path, row in rows}
    with fits.open(survey.folder / "truth.fits") as hdus:
        data = hdus[1].data
        chosen = [place[each] for each in observation_id]
        return {
            name: np.asarray(data[name], np.float64)[chosen] for name in (*FLUXES, *STRUCTURE, *TRUE_VALUE.values())
        }


def true_features(columns: Mapping[str, Array]) -> Array:
    """True magnitudes, colours and structure ``(n, n_feature)`` from columns of the truth."""
    magnitude = {name: -2.5 * np.log10(columns[name]) for name in FLUXES if "flux" in name}
    shares = [columns[f"bulge_to_total_{band}"] for band in "grz"]
    colours = [
        magnitude[f"{what}_{blue}"] - magnitude[f"{what}_{red}"]
        for what in ("flux", "flux_fib")
        for blue, red in ("gr", "rz")
    ]
    return np.column_stack([*magnitude.values(), *colours, *shares, *(columns[name] for name in STRUCTURE)])


def training_set(survey: Survey, family: str, mode: str) -> str:
    """Name of the frozen training set of a survey, family and mode, made where it is not there yet."""
    run, done = survey.run()
    stars = family.startswith("mmlforgalam")
    selection = "mmlforgalam" if stars else family
    name = f"{survey.name}-mmlforgalam" if stars else f"{survey.name}-{family}-{mode}"
    if done.once(name):
        preprocess = STARS if selection == "mmlforgalam" else IMPROVED if mode == "improved" else PUBLISHED[family]
        # Few are needed to calibrate and to test what only is gone on from.
        only_before = survey.name in (PRETRAINING, PRETRAINING_STARS)
        labels = ("--label-origin", "truth", "--fractions", "84:6:5:5") if only_before else ()
        run(
            "training-set", "create", name, "--selection", selection, "--seed", 1, *labels, "--config", *preprocess
        )  # fmt: skip
        done.note(name)
    return name
