"""How well any method could know log Re of the stamps of galnet_sersic.py; one JSON line.

The posterior of a stamp under the very population that it was drawn from, by importance sampling: draws from a mixture
of Student t about the network's vector and about its refinement, weighed by likelihood times the population's density.
Of all estimators the posterior's median has the least expected absolute error, so that its spread over least squares'
is what the target of 0.75 at S/N 20 has to be read against. Beside it least squares, the network, and its refinement on
the same stamps.

Needs a model that galnet_sersic.py has trained. Example: python benchmarks/galnet_bound.py --folder build/galnet
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from galnet_sersic import TRAINING, nmad, ratio, test_stamps
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from galbase.ml.sersic.calibration import bins_of
from galbase.ml.sersic.files import load_galnet
from galbase.ml.sersic.least_squares import fit_least_squares, photon_variance
from galbase.ml.sersic.measure import predict, predicted_sigma, refined_vectors
from galbase.ml.sersic.model import StampModel
from galbase.ml.sersic.vector import DX, DY, E1, E2, LOG_N, LOG_RE, vectors_of_truth
from galbase.ml.stamps.parameters import StampParameters

# Heavier tails than the posterior's, and wider: no part of it goes without draws.
FREEDOM, WIDENED = 5.0, 1.5


@dataclass(frozen=True)
class Proposal:
    """Student t that draws are taken from."""

    center: np.ndarray
    shape: np.ndarray


def log_prior(vector: np.ndarray, p: StampParameters) -> np.ndarray:
    """Logarithm of the population's density of vectors ``(n, 7)``, but for a constant.

    Uniform in log Re, log n, q, angle and offsets; uniform in magnitude too, as S/N is in its logarithm. With
    q = (1 - e) / (1 + e) and dq / de = -2 / (1 + e)^2, the density of (e cos 2 PA, e sin 2 PA) is 1 / (e (1 + e)^2).
    """
    e = np.hypot(vector[:, E1], vector[:, E2])
    inside = np.abs(vector[:, [DX, DY]]).max(axis=1) <= p.offset_px
    for column, (low, high) in ((LOG_RE, p.re_px), (LOG_N, p.n)):
        inside &= (vector[:, column] >= np.log10(low)) & (vector[:, column] <= np.log10(high))
    least, most = ((1 - q) / (1 + q) for q in p.q[::-1])
    inside &= (e >= least) & (e <= most)
    return np.where(inside, -np.log(np.maximum(e, 1e-6)) - 2 * np.log1p(e), -np.inf)


def posterior(
    image: np.ndarray, model: StampModel, electrons: float, proposals: list[Proposal], n_draw: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:  # fmt: skip
    """Median and mean of log Re, and how many independent draws the weighted ones are worth."""
    drawn_from = [multivariate_t(each.center, each.shape, df=FREEDOM) for each in proposals]
    vector = np.vstack([each.rvs(n_draw // len(drawn_from), random_state=rng) for each in drawn_from])
    prior = log_prior(vector, TRAINING)
    vector, prior = vector[np.isfinite(prior)], prior[np.isfinite(prior)]
    likelihood = np.empty(len(vector))
    for row, each in enumerate(vector):
        light = model.draw(each)
        variance = photon_variance(light, electrons)
        likelihood[row] = -0.5 * float(((light - image) ** 2 / variance + np.log(variance)).sum())
    weight = likelihood + prior - logsumexp([each.logpdf(vector) for each in drawn_from], axis=0)
    weight = np.exp(weight - logsumexp(weight))
    order = np.argsort(vector[:, LOG_RE])
    middle = np.searchsorted(np.cumsum(weight[order]), 0.5)
    return float(vector[order, LOG_RE][middle]), float(weight @ vector[:, LOG_RE]), float(1 / (weight**2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/galnet"))
    parser.add_argument("--model", default="improved-small-1", help="folder of the model, in the folder")
    parser.add_argument("--snr", type=float, default=20)
    parser.add_argument("--stamps", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=2000, help="a stamp")
    parser.add_argument("--test-seed", type=int, default=77_000)
    args = parser.parse_args()
    trained, calibration = load_galnet(args.folder / args.model)
    image, psf, column, instrument = test_stamps(TRAINING, args.snr, args.stamps, None, args.test_seed)
    sigma = column["sky_sigma"]
    truth = vectors_of_truth(column, instrument)[:, LOG_RE]
    noise = [(each.astype(float) / s, p, instrument.gain * s) for each, p, s in zip(image, psf, sigma, strict=True)]
    base = np.array([fit_least_squares(*each).vector for each in noise])
    found = predict(trained, image, psf, sigma, instrument)
    if found.precision is None:
        parser.error(f"{args.model} predicts no covariance; name a model of mode improved.")
    bins = bins_of(predicted_sigma(found, ())[:, LOG_RE], calibration.edges)
    weight = np.asarray(calibration.weight)[bins]
    refined, width, _ = refined_vectors(found, calibration.scale, weight, image, psf, sigma, instrument.gain)
    rng, before = np.random.default_rng(1), process_time()
    results = []
    for row, (stamp, star, electrons) in enumerate(noise):
        proposals = [
            Proposal(found.mean[row], WIDENED * calibration.scale * np.linalg.inv(found.precision[row])),
            Proposal(refined[row], np.diag(width[row] ** 2)),
        ]
        results.append(posterior(stamp, StampModel(star), electrons, proposals, args.draws, rng))
        if row % 100 == 99:
            sys.stderr.write(f"{row + 1} stamps, {process_time() - before:.0f} s\n")
    median, mean, effective = np.array(results).T
    line: dict[str, object] = {
        "case": "bound", "snr": args.snr, "stamps": args.stamps, "draws": args.draws, "test_seed": args.test_seed,
        "model": args.model, "least_squares_nmad": round(nmad(base[:, LOG_RE] - truth), 4),
    }  # fmt: skip
    methods = {
        "network": found.mean[:, LOG_RE], "refined": refined[:, LOG_RE], "posterior mean": mean,
        "posterior median": median,
    }  # fmt: skip
    for name, value in methods.items():
        part, bounds = ratio(value - truth, base[:, LOG_RE] - truth)
        line[name] = {"ratio_to_least_squares": round(part, 3), "ratio_interval_90": bounds}
    _, bounds = ratio(median - truth, refined[:, LOG_RE] - truth)
    line["median_to_refined"] = {"ratio": round(nmad(median - truth) / nmad(refined[:, LOG_RE] - truth), 3),
                                 "interval_90": bounds}  # fmt: skip
    line["effective_draws"] = [round(float(each)) for each in np.quantile(effective, (0.1, 0.5))]
    line["cpu_ms"] = round(1e3 * (process_time() - before) / args.stamps, 1)
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
