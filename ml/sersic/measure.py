"""Sersic parameters of stamps by a trained GaLNet, with and without refinement, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ml.domain import Domain, evenly_spaced
from galbase.ml.inference import normalised
from galbase.ml.sersic.calibration import (
    N_BIN,
    ScaledIntervals,
    bin_edges,
    bins_of,
    capped_miss,
    check_size,
    covariance_scale,
    least_weight,
)
from galbase.ml.sersic.least_squares import reduced_chi2
from galbase.ml.sersic.model import StampModel
from galbase.ml.sersic.moments import within_bounds
from galbase.ml.sersic.prediction import Predicted, predict_vectors
from galbase.ml.sersic.refine import Prior, refine
from galbase.ml.sersic.training import StampSet, TrainedGalnet
from galbase.ml.sersic.vector import LOG_RE, Instrument, vectors_of_truth
from galbase.schema.errors import GalbaseError, UsageError

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# what the network's say is tried at; equal weight is 1
WEIGHTS = (0.03, 0.1, 0.3, 1.0, 3.0)
FREEDOM = 4.0
_NO_COVARIANCE = "the published GaLNet predicts no covariance; refine with a model of mode improved."


@dataclass(frozen=True)
class GalnetCalibration:
    """What was measured on `held_out_rows` of a set of stamps; it holds for objects that look like those.

    Attributes
    ----------
    scale : float
        Factor on the predicted covariances.
    edges : tuple of float
        The network's sigmas of log Re between bins, from where it is surest to where it is least. Those of refined
        values would not do: they depend on the weights, and at low S/N tell little of the errors.
    weight : tuple of float
        Factors on the network's say in the refinement, by bin.
    network, refined : ScaledIntervals or None
        Intervals without and with refinement, by bin. Mode as-published has no covariance: its intervals are in units
        of fixed sigmas, in one bin, and it is not refined.
    sigma : (7,) tuple of float
        Standard deviations of mode as-published; empty otherwise.
    """

    scale: float
    edges: tuple[float, ...]
    weight: tuple[float, ...]
    network: ScaledIntervals
    refined: ScaledIntervals | None
    sigma: tuple[float, ...] = ()

    def check_refinement(self, of: Path, refinement: bool) -> None:
        """Refuse to refine what the model in a folder says.

        Raises
        ------
        UsageError
            If it has no covariance, and refinement is wanted.
        """
        if refinement and self.refined is None:
            raise UsageError(f"the model in {of} is of mode as-published and has no covariance; add --no-refine.")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        refined = None if self.refined is None else self.refined.to_mapping()
        return {"scale": self.scale, "edges": list(self.edges), "weight": list(self.weight),
                "network": self.network.to_mapping(), "refined": refined, "sigma": list(self.sigma)}  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], of: str) -> GalnetCalibration:
        """From what `to_mapping` gave.

        Parameters
        ----------
        values : Mapping
        of : str
            Whose it is, for the error.

        Raises
        ------
        GalbaseError
            If an earlier version of galbase gave it.
        """
        if "edges" not in values:
            raise GalbaseError(
                f"{of} was calibrated by an earlier version of galbase, in other bins. Calibrate its folder anew with "
                "`galbase galnet calibrate`; a model of an archive is then registered under another name."
            )
        refined = None if values["refined"] is None else ScaledIntervals.from_mapping(values["refined"])
        return cls(
            scale=float(values["scale"]),
            edges=tuple(values["edges"]),
            weight=tuple(values["weight"]),
            network=ScaledIntervals.from_mapping(values["network"]),
            refined=refined,
            sigma=tuple(values["sigma"]),
        )


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


def check_calibration(data: StampSet, mode: str) -> None:
    """Refuse a set that leaves too few stamps to calibrate on, before a network is trained on it.

    Raises
    ------
    GalbaseError
    """
    check_size(len(data.rows("validation")[1::2]), 1 if mode == "as-published" else N_BIN)


def held_out_rows(trained: TrainedGalnet, data: StampSet) -> npt.NDArray[np.intp]:
    """Rows ``(n,)`` to calibrate on.

    Of the set that the network was trained on, that half of the validation split which no curve was drawn of. Of
    another one the validation split, where its seed or a frame of its sky is the same or is not known; else all but
    the test split: of real sky, the more patches the truer the intervals.
    """
    known, rows = trained.metrics, data.rows("validation")
    if known["stamps_sha256"] == data.digest:
        return rows[1::2]
    if data.seed == known.get("stamps_seed", data.seed) or set(data.frames) & set(known["stamps_frames"]):
        return rows
    return np.sort(np.concatenate([rows, data.rows("train")]))


def galnet_domain(trained: TrainedGalnet, data: StampSet) -> Domain:
    """Where the calibration holds: embeddings of a set's training stamps, and of those that are calibrated on."""
    noise = np.asarray(data.stamps.column["sky_sigma"], np.float64)
    train, held = (
        predict(trained, data.stamps.image[rows], data.stamps.psf[rows], noise[rows], data.instrument).embedding
        for rows in (evenly_spaced(data.rows("train")), held_out_rows(trained, data))
    )
    return Domain.fit(normalised(train), normalised(held))


def refined_vectors(
    predicted: Predicted, scale: float, weight: Array, image: Float32, psf: Float32, sky_sigma: Array, gain: float
) -> tuple[Array, Array, Array]:
    """Maxima of the posterior, their sigmas and reduced chi2.

    Parameters
    ----------
    predicted : Predicted
    scale : float
        Factor on the covariances.
    weight : (n,) float64
        Factors on the network's say.
    image, psf, sky_sigma, gain
        As of `predict_vectors`; electrons in one image unit.

    Raises
    ------
    GalbaseError
        If the network predicts no covariance.
    """
    if predicted.precision is None:
        raise GalbaseError(_NO_COVARIANCE)
    n = len(image)
    vector, sigma, chi2 = np.empty((n, predicted.mean.shape[1])), np.empty((n, predicted.mean.shape[1])), np.empty(n)
    for row in range(n):
        prior = Prior(predicted.mean[row], predicted.precision[row] / scale, float(weight[row]), FREEDOM)
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
    trained: TrainedGalnet, data: StampSet, n_weigh: int = 1600, n_refine: int = 3000
) -> GalnetCalibration:
    """Measure scale, weight and intervals on `held_out_rows`.

    The network's say falls where the pixels know better: in each of four bins of what it says of its own accuracy in
    log Re, the `least_weight` of `WEIGHTS` is taken.

    Parameters
    ----------
    trained : TrainedGalnet
    data : StampSet
        The set it was trained on, or one that is more like what it will measure: of another sky, other stars, another
        range of S/N.
    n_weigh, n_refine : int
        Stamps that are refined at each weight, and to calibrate the refined intervals on: the first and the last, so
        that none is both where there are enough.

    Raises
    ------
    GalbaseError
        If there are too few stamps.
    """
    rows = held_out_rows(trained, data)
    stamps, noise = data.stamps, np.asarray(data.stamps.column["sky_sigma"], np.float64)
    truth = vectors_of_truth({name: value[rows] for name, value in stamps.column.items()}, data.instrument)
    found = predict(trained, stamps.image[rows], stamps.psf[rows], noise[rows], data.instrument)
    miss = truth - found.mean
    if found.precision is None:
        sigma = tuple(float(each) for each in 1.4826 * np.median(np.abs(miss), axis=0))
        fixed = predicted_sigma(found, sigma)
        intervals = ScaledIntervals.fit(miss, fixed, np.zeros(len(miss), int), 1)
        return GalnetCalibration(1.0, (), (), intervals, None, sigma)
    scale = covariance_scale(miss, found.precision)
    said = predicted_sigma(found, ())
    edges = bin_edges(said[:, LOG_RE])
    bins = bins_of(said[:, LOG_RE], edges)
    intervals = ScaledIntervals.fit(miss, said, bins)

    def refined(some: npt.NDArray[np.intp], weight: Array) -> tuple[Array, Array]:
        assert found.precision is not None
        part = Predicted(found.mean[some], found.precision[some], found.embedding[some])
        where = rows[some]
        vector, sigma, _ = refined_vectors(
            part, scale, weight, stamps.image[where], stamps.psf[where], noise[where], data.instrument.gain
        )
        return truth[some] - vector, sigma

    some = np.arange(len(rows))[:n_weigh]
    off = {each: capped_miss(refined(some, np.full(len(some), each))[0], said[some]) for each in WEIGHTS}
    weight = tuple(
        least_weight({each: miss[bins[some] == number] for each, miss in off.items()}) for number in range(N_BIN)
    )
    some = np.arange(len(rows))[-n_refine:]
    miss, sigma_refined = refined(some, np.asarray(weight)[bins[some]])
    return GalnetCalibration(scale, edges, weight, intervals, ScaledIntervals.fit(miss, sigma_refined, bins[some]))


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
    sigma = predicted_sigma(found, calibration.sigma)
    bins = bins_of(sigma[:, LOG_RE], calibration.edges)
    if refinement:
        if found.precision is None or calibration.refined is None:
            raise GalbaseError(_NO_COVARIANCE)
        weight = np.asarray(calibration.weight)[bins]
        vector, sigma, chi2 = refined_vectors(found, calibration.scale, weight, image, psf, sky_sigma, instrument.gain)
        intervals = calibration.refined
    else:
        vector, intervals = found.mean, calibration.network
        chi2 = np.full(len(image), np.nan)
        if with_chi2:
            chi2 = np.array([_chi2(*each, instrument.gain) for each in zip(vector, image, psf, sky_sigma, strict=True)])
    quantiles = intervals.quantiles(vector, sigma, bins)
    return Measured(vector, sigma, quantiles, chi2, found.embedding)


def _chi2(vector: Array, image: Float32, psf: Float32, noise: float, gain: float) -> float:
    light = StampModel(psf).draw(within_bounds(vector))
    return reduced_chi2(image.astype(np.float64) / noise, light, gain * noise)
