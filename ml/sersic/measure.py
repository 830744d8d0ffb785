"""Sersic parameters of stamps by a trained GaLNet, with and without refinement, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.sersic.calibration import ScaledIntervals, best_weight, covariance_scale
from galbase.ml.sersic.least_squares import reduced_chi2
from galbase.ml.sersic.model import StampModel
from galbase.ml.sersic.moments import within_bounds
from galbase.ml.sersic.prediction import Predicted, predict_vectors
from galbase.ml.sersic.refine import Prior, refine
from galbase.ml.sersic.training import StampSet, TrainedGalnet
from galbase.ml.sersic.vector import LOG_RE, Instrument, vectors_of_truth
from galbase.schema.errors import GalbaseError

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# what the network's say is tried at; equal weight is 1
WEIGHTS = (0.3, 1.0, 3.0, 10.0)
FREEDOM = 4.0
_SNR_EDGES = (35.0, 70.0, 140.0)


@dataclass(frozen=True)
class GalnetCalibration:
    """What was measured on the half of the validation split that no curve was drawn of.

    Attributes
    ----------
    scale : float
        Factor on the predicted covariances.
    weight : float
        Factor on the network's say in the refinement.
    network, refined : ScaledIntervals or None
        Intervals without and with refinement. Mode as-published has no covariance: its intervals are in units of
        fixed sigmas, and it is not refined.
    sigma : (7,) tuple of float
        Standard deviations of mode as-published; empty otherwise.
    """

    scale: float
    weight: float
    network: ScaledIntervals
    refined: ScaledIntervals | None
    sigma: tuple[float, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        refined = None if self.refined is None else self.refined.to_mapping()
        return {"scale": self.scale, "weight": self.weight, "network": self.network.to_mapping(), "refined": refined,
                "sigma": list(self.sigma)}  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> GalnetCalibration:
        """From what `to_mapping` gave."""
        refined = None if values["refined"] is None else ScaledIntervals.from_mapping(values["refined"])
        return cls(
            float(values["scale"]), float(values["weight"]), ScaledIntervals.from_mapping(values["network"]), refined,
            tuple(values["sigma"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measured:
    """Results for n stamps.

    Attributes
    ----------
    vector, sigma : (n, 7) float64
        Vectors of `galbase.ml.sersic.vector` and their standard deviations before calibration.
    quantiles : dict of str to (n, 7) float64
        Calibrated ``q025`` to ``q975``; empty before calibration.
    chi2_reduced : (n,) float64
        Of the model against the stamp; NaN where it was not asked for.
    embedding : (n, dim) float32
        The network's penultimate features.
    """

    vector: Array
    sigma: Array
    quantiles: dict[str, Array]
    chi2_reduced: Array
    embedding: Float32


def predict(
    trained: TrainedGalnet, image: Float32, psf: Float32, sky_sigma: Array, instrument: Instrument
) -> Predicted:
    """The network's distributions; arguments as of `predict_vectors`."""
    return predict_vectors(trained.network, trained.scaler, trained.mode, image, psf, sky_sigma, instrument.zero_point)


def refined_vectors(
    predicted: Predicted, calibration: tuple[float, float], image: Float32, psf: Float32, sky_sigma: Array, gain: float
) -> tuple[Array, Array, Array]:
    """Maxima of the posterior, their sigmas and reduced chi2.

    Parameters
    ----------
    predicted : Predicted
    calibration : (scale, weight)
        Of the covariance, and of the network's say.
    image, psf, sky_sigma, gain
        As of `predict_vectors`; electrons in one image unit.

    Raises
    ------
    GalbaseError
        If the network predicts no covariance.
    """
    if predicted.precision is None:
        raise GalbaseError("the published GaLNet predicts no covariance; refine with a model of mode improved.")
    scale, weight = calibration
    n = len(image)
    vector, sigma, chi2 = np.empty((n, predicted.mean.shape[1])), np.empty((n, predicted.mean.shape[1])), np.empty(n)
    for row in range(n):
        prior = Prior(predicted.mean[row], predicted.precision[row] / scale, weight, FREEDOM)
        noise = float(sky_sigma[row])
        fit = refine(image[row].astype(np.float64) / noise, psf[row], gain * noise, prior)
        vector[row], sigma[row], chi2[row] = fit.vector, np.sqrt(np.diag(fit.covariance)), fit.chi2_reduced
    return vector, sigma, chi2


def predicted_sigma(predicted: Predicted, fixed: tuple[float, ...]) -> Array:
    """Standard deviations ``(n, 7)`` by the network, or the fixed ones ``(7,)`` where it has none."""
    if predicted.precision is None:
        return np.broadcast_to(np.asarray(fixed), predicted.mean.shape)
    return np.asarray(np.sqrt(np.diagonal(np.linalg.inv(predicted.precision), axis1=1, axis2=2)))


def calibrate_galnet(
    trained: TrainedGalnet, data: StampSet, n_weigh: int = 600, n_refine: int = 1200
) -> GalnetCalibration:
    """Measure scale, weight and intervals on the second half of the validation split.

    The weight is the one of `WEIGHTS` with the least spread of log Re in four bins of S/N.

    Parameters
    ----------
    trained : TrainedGalnet
    data : StampSet
        The set it was trained on.
    n_weigh, n_refine : int
        Stamps that are refined at each weight, and to calibrate the refined intervals on.

    Raises
    ------
    GalbaseError
        If there are too few stamps.
    """
    rows = data.rows("validation")[1::2]
    stamps, noise = data.stamps, np.asarray(data.stamps.column["sky_sigma"], np.float64)
    truth = vectors_of_truth({name: value[rows] for name, value in stamps.column.items()}, data.instrument)
    found = predict(trained, stamps.image[rows], stamps.psf[rows], noise[rows], data.instrument)
    miss = truth - found.mean
    if found.precision is None:
        sigma = tuple(float(each) for each in 1.4826 * np.median(np.abs(miss), axis=0))
        fixed = predicted_sigma(found, sigma)
        return GalnetCalibration(1.0, 0.0, ScaledIntervals.fit(miss, fixed, LOG_RE, 1), None, sigma)
    scale = covariance_scale(miss, found.precision)
    intervals = ScaledIntervals.fit(miss, predicted_sigma(found, ()), LOG_RE)
    snr = np.asarray(stamps.column["snr"], np.float64)[rows]

    def refined(some: npt.NDArray[np.intp], weight: float) -> tuple[Array, Array]:
        assert found.precision is not None
        part = Predicted(found.mean[some], found.precision[some], found.embedding[some])
        where = rows[some]
        vector, sigma, _ = refined_vectors(
            part, (scale, weight), stamps.image[where], stamps.psf[where], noise[where], data.instrument.gain
        )
        return truth[some] - vector, sigma

    weigh = np.arange(min(n_weigh, len(rows)))
    bins = np.searchsorted(_SNR_EDGES, snr[weigh])
    scores = {}
    for weight in WEIGHTS:
        off = refined(weigh, weight)[0][:, LOG_RE]
        scores[weight] = [float(np.median(np.abs(off[bins == b]))) for b in np.unique(bins)]
    weight = best_weight(scores)
    off, sigma_refined = refined(np.arange(min(n_refine, len(rows))), weight)
    return GalnetCalibration(scale, weight, intervals, ScaledIntervals.fit(off, sigma_refined, LOG_RE))


def measure(
    trained: TrainedGalnet, calibration: GalnetCalibration, image: Float32, psf: Float32, sky_sigma: Array,
    instrument: Instrument, *, refinement: bool, with_chi2: bool = True,
) -> Measured:  # fmt: skip
    """Sersic parameters of stamps with calibrated intervals.

    Parameters
    ----------
    trained : TrainedGalnet
    calibration : GalnetCalibration
    image : (n, 61, 61) float32
        Stamps without their sky [image unit].
    psf : (n, 25, 25) float32
    sky_sigma : (n,) float64
        Noise a pixel [image unit].
    instrument : Instrument
    refinement : bool
        Go on to the maximum of the posterior.
    with_chi2 : bool
        Draw the models of unrefined results to compare them with the stamps.
    """
    found = predict(trained, image, psf, sky_sigma, instrument)
    if refinement:
        vector, sigma, chi2 = refined_vectors(
            found, (calibration.scale, calibration.weight), image, psf, sky_sigma, instrument.gain
        )
        assert calibration.refined is not None
        intervals = calibration.refined
    else:
        vector, sigma, intervals = found.mean, predicted_sigma(found, calibration.sigma), calibration.network
        chi2 = np.full(len(image), np.nan)
        if with_chi2:
            chi2 = np.array([_chi2(*each, instrument.gain) for each in zip(vector, image, psf, sky_sigma, strict=True)])
    quantiles = intervals.quantiles(vector, sigma, LOG_RE)
    return Measured(vector, sigma, quantiles, chi2, found.embedding)


def _chi2(vector: Array, image: Float32, psf: Float32, noise: float, gain: float) -> float:
    light = StampModel(psf).draw(within_bounds(vector))
    return reduced_chi2(image.astype(np.float64) / noise, light, gain * noise)
