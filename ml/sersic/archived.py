"""GaLNet as a model of the archive: registered with its weights, kept up to date and asked like any other.

It measures one band of images that a preprocessing keeps, in units of the sky's noise, with a round PSF of the image's
FWHM. Its properties are those of the Sersic profile; intervals come from stamps that it was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ml.calibration import LEVELS
from galbase.ml.domain import Domain
from galbase.ml.inference import normalised
from galbase.ml.model_store import ModelRecord, NewModel, read_domain, read_weights, register_model
from galbase.ml.networks.build import build
from galbase.ml.predictor import GALNET, Predictions
from galbase.ml.scaling import LabelScaler
from galbase.ml.sersic.files import WEIGHTS, load_domain, load_galnet
from galbase.ml.sersic.images import ZERO_POINT, ImageOfBand, StampsOfImages, images_named, stamps_of_images
from galbase.ml.sersic.measure import GalnetCalibration, Measured, measure
from galbase.ml.sersic.training import TrainedGalnet
from galbase.ml.sersic.vector import E1, E2, Instrument, natural
from galbase.ml.stamps.parameters import STAMP_PX
from galbase.ml.stamps.psf import FWHM_PX_MAX, FWHM_PX_MIN
from galbase.ml.training_set import stored_config_id
from galbase.ml.weights import fill_weights
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

Array = npt.NDArray[np.float64]

PROPERTIES = ("mag_sersic", "re_sersic", "n_sersic", "q_sersic")
_MIDDLE = list(LEVELS).index("q50")


@dataclass(frozen=True, kw_only=True)
class NewGalnet(NewModel):
    """A GaLNet to register.

    Parameters
    ----------
    scaler : LabelScaler
    measured : GalnetCalibration
    band : str
    gain : float
        Electrons in one nanomaggy.
    refinement : bool
        Whether it goes on to the maximum of the posterior.
    """

    scaler: LabelScaler
    measured: GalnetCalibration
    band: str
    gain: float
    refinement: bool

    @property
    def input_kind(self) -> str:
        """It reads images."""
        return "image"

    def calibration(self) -> dict[str, Any]:
        """What measuring needs, and in ``recipe`` which images can be measured: `api.image_input` reads it."""
        return {
            "recipe": {
                "kind": "sersic", "bands": [self.band], "least_px": STAMP_PX,
                "psf_fwhm_px": [FWHM_PX_MIN, FWHM_PX_MAX],
            },
            "scaler": self.scaler.to_mapping(), "galnet": self.measured.to_mapping(), "gain": self.gain,
            "refinement": self.refinement,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class ArchivedGalnet:
    """A GaLNet of the archive, ready to measure."""

    record: ModelRecord
    trained: TrainedGalnet
    calibration: GalnetCalibration
    domain: Domain

    def find(self, connection: psycopg.Connection[Any], spectrum_of: Mapping[int, int | None]) -> list[ImageOfBand]:
        """As of `Predictor`.

        Raises
        ------
        GalbaseError
            If an image cannot be measured, which `api.model_input` should have said.
        """
        images, left_out = images_named(connection, list(spectrum_of), self.record.calibration["recipe"]["bands"][0])
        if left_out:
            reason, count = left_out.most_common(1)[0]
            raise GalbaseError(
                f"{count} images that model {self.record.name!r} should measure cannot be: {reason}. They have changed "
                "under way; run the command again."
            )
        return images

    def predict(self, files: list[ImageOfBand], cache: Path | None = None) -> Predictions:  # noqa: ARG002
        """As of `Predictor`; the cache's stamps are masked and of other bands, and are not read.

        An image with missing pixels is measured with empty sky in their place, and is out of domain.

        Raises
        ------
        GalbaseError
            If a file cannot be read.
        """
        parts = [self._measured(stamps) for stamps in stamps_of_images(files, None)]
        if not parts:
            empty: dict[str, dict[str, Array]] = {name: {level: np.empty(0) for level in LEVELS} for name in PROPERTIES}
            width = self.domain.reference.shape[1]
            return Predictions([], empty, None, np.empty((0, width), np.float32), np.empty(0, np.bool_))
        return Predictions(
            [each for part in parts for each in part.observation_id],
            {
                name: {level: np.concatenate([part.quantiles[name][level] for part in parts]) for level in LEVELS}
                for name in PROPERTIES
            },
            None,
            np.concatenate([part.embedding for part in parts]),
            np.concatenate([part.outside for part in parts]),
        )

    def _measured(self, stamps: StampsOfImages) -> Predictions:
        gain, refinement = float(self.record.calibration["gain"]), bool(self.record.calibration["refinement"])
        scale = np.array([each.pixel_scale_arcsec for each in stamps.images])
        # Sizes are in pixels until the end, so that images of several scales can be measured at once.
        pixels = Instrument(ZERO_POINT, 1.0, gain)
        found = measure(
            self.trained, self.calibration, stamps.image, stamps.psf, stamps.sky_sigma, pixels,
            refinement=refinement, with_chi2=False,
        )  # fmt: skip
        quantiles = property_quantiles(found, stamps.sky_sigma)
        quantiles["re_sersic"] = {level: value * scale for level, value in quantiles["re_sersic"].items()}
        embedding = normalised(found.embedding)
        return Predictions(
            [each.observation_id for each in stamps.images], quantiles, None, embedding,
            self.domain.outside(embedding) | stamps.missing,
        )  # fmt: skip


def property_quantiles(found: Measured, sky_sigma: Array) -> dict[str, dict[str, Array]]:
    """Calibrated quantiles of `PROPERTIES` of n stamps, sizes in pixels.

    Magnitude, radius and index are monotonic in their numbers of the vector. The axis ratio's quantiles are those of
    the two ellipticities in quadrature along the ellipticity that was measured.

    Parameters
    ----------
    found : Measured
        With its quantiles.
    sky_sigma : (n,) float64
        Noise a pixel [nanomaggy].

    Returns
    -------
    dict of str to dict of str to (n,) float64
    """
    instrument = Instrument(ZERO_POINT, 1.0, 1.0)
    by_level = {level: natural(vector, sky_sigma, instrument) for level, vector in found.quantiles.items()}
    quantiles = {
        name: {level: each[key] for level, each in by_level.items()}
        for name, key in zip(PROPERTIES, ("mag", "re_arcsec", "n", "q"), strict=True)
    }
    quantiles["q_sersic"] = _axis_ratios(found)
    return quantiles


def _axis_ratios(found: Measured) -> dict[str, Array]:
    levels = list(LEVELS)
    e1, e2 = found.vector[:, E1], found.vector[:, E2]
    e = np.maximum(np.hypot(e1, e2), 1e-3)
    ratios: dict[str, Array] = {}
    for place, level in enumerate(levels):
        mirror = levels[len(levels) - 1 - place]
        half = np.abs(found.quantiles[mirror] - found.quantiles[level]) / 2
        along = np.hypot(e1 * half[:, E1], e2 * half[:, E2]) / e
        # A flatter galaxy has the lower axis ratio.
        shifted = np.clip(e + along * np.sign(_MIDDLE - place), 0.0, 1.0)
        ratios[level] = (1 - shifted) / (1 + shifted)
    return ratios


def register_galnet(
    connection: psycopg.Connection[Any], folder: Path, name: str, *, band: str, gain: float,
    refinement: bool | None, preprocess: PreprocessConfig,
) -> int:  # fmt: skip
    """Make a trained GaLNet a candidate of the archive; the caller commits.

    Parameters
    ----------
    connection : psycopg.Connection
    folder : Path
        Of `files.save_galnet`, with its domain.
    name : str
    band : str
        Band of the images that it measures.
    gain : float
        Electrons in one nanomaggy, for photon noise.
    refinement : bool or None
        Whether to go on to the maximum of the posterior; None for mode improved alone.
    preprocess : PreprocessConfig
        What keeps the images that it measures.

    Returns
    -------
    int
        model_id.

    Raises
    ------
    GalbaseError
        If the folder holds no such model, the name cannot be used or the preprocessing never was.
    """
    trained, calibration = load_galnet(folder)
    calibration.check_refinement(folder, bool(refinement))
    return register_model(
        connection,
        NewGalnet(
            name=name, family=GALNET, mode=trained.mode, preset=trained.preset,
            options={"network": trained.options, "properties": list(PROPERTIES)},
            preprocess_config_id=stored_config_id(connection, preprocess), training_set_id=None, run_id=None,
            trained_on="simulation", weights=(folder / WEIGHTS).read_bytes(), domain=load_domain(folder),
            metrics=trained.metrics, scaler=trained.scaler, measured=calibration, band=band, gain=gain,
            refinement=calibration.refined is not None if refinement is None else refinement,
        ),
    )  # fmt: skip


def load_archived_galnet(connection: psycopg.Connection[Any], record: ModelRecord) -> ArchivedGalnet:
    """Rebuild a registered GaLNet and fill it with its checked weights.

    Raises
    ------
    GalbaseError
        If weights or domain are missing, damaged or another network's, or an earlier version of galbase calibrated it.
    """
    options = dict(record.options["network"])
    network = build(GALNET, record.preset, options)
    fill_weights(network, read_weights(connection, record))
    scaler = LabelScaler.from_mapping(record.calibration["scaler"])
    return ArchivedGalnet(
        record=record,
        trained=TrainedGalnet(network, scaler, record.mode, record.preset, options, {}),
        calibration=GalnetCalibration.from_mapping(record.calibration["galnet"], f"model {record.name!r}"),
        domain=read_domain(connection, record),
    )
