"""Maximum a posteriori: the pixels decide what they can, the network's distribution the rest.

Minimised is, by Levenberg-Marquardt steps (Marquardt 1963, SIAM J. Appl. Math. 11, 431) with exact derivatives,

    chi2(p) + w rho((p - mu)^T C^-1 (p - mu)),

mu and C being the network's. rho is that of a multivariate Student t: for an object such as the network never saw,
which pixels and network see many sigmas apart, the network's say falls off instead of growing with the square.
The network has read the same pixels, so both terms count them; `w` (below one) and intervals are therefore chosen on
stamps that were not trained on, see `galbase.ml.sersic.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galbase.ml.sersic.least_squares import Fit, inverse, photon_variance, reduced_chi2
from galbase.ml.sersic.model import E_MAX, LOWER, UPPER, StampModel
from galbase.ml.sersic.moments import start_vector, within_bounds
from galbase.ml.sersic.vector import E1, E2, N_PARAMETER

Array = npt.NDArray[np.float64]

_N_STEP = 25
_DAMPING, _DAMPING_MAX = 1e-3, 1e7
_DONE = 3e-3
_SUSPECT_SIGMA = 3.0
# of seven numbers one in 10^4 lies further out
_FAR = 29.9


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of a stamp before its pixels are compared with a model.

    Attributes
    ----------
    mean : (7,) float64
    precision : (7, 7) float64
    weight : float
        Factor w; 0 leaves the pixels alone.
    freedom : float
        Degrees of freedom of the Student t; infinite is Gaussian.
    """

    mean: Array
    precision: Array
    weight: float = 1.0
    freedom: float = 4.0

    def penalty(self, vector: Array) -> tuple[float, Array, float]:
        """Penalty, half of its gradient, and the factor by which it is flatter than a Gaussian's."""
        miss = vector - self.mean
        pull = self.precision @ miss
        distance = float(miss @ pull)
        if np.isinf(self.freedom):
            return self.weight * distance, self.weight * pull, self.weight
        total = self.freedom + N_PARAMETER
        # (v + 7) log(1 + M / v), which is M (v + 7) / v near zero: scaled to be M there
        value = self.freedom * np.log1p(distance / self.freedom) * (total / self.freedom)
        factor = self.weight * total / (self.freedom + distance)
        return self.weight * value, factor * pull, factor


@dataclass(frozen=True, eq=False)
class Posterior(Fit):
    """A fit under a prior.

    Attributes
    ----------
    cost : float
        What was minimised, at the end.
    distance : float
        Squared Mahalanobis distance from the prior's mean.
    """

    cost: float
    distance: float


def refine(
    image: Array, psf: npt.NDArray[np.floating], electrons: float, prior: Prior, start: Array | None = None
) -> Posterior:
    """Maximum of the posterior.

    Steps start at the prior's mean. Where they end far from the stamp, or far from the prior, they start once more
    from moments, and the deeper of both ends counts.

    Parameters
    ----------
    image : (61, 61) float64
        Stamp in units of the noise of a pixel of sky.
    psf : (25, 25) float array
    electrons : float
        Electrons in one unit of the sky's noise.
    prior : Prior
    start : (7,) float64, optional
        The only start.
    """
    model = StampModel(psf)
    if start is not None:
        return _refine_from(start, image, model, electrons, prior)
    found = _refine_from(prior.mean, image, model, electrons, prior)
    limit = 1 + _SUSPECT_SIGMA * np.sqrt(2 / image.size)
    if found.chi2_reduced < limit and found.distance < _FAR:
        return found
    other = _refine_from(start_vector(image, psf), image, model, electrons, prior)
    n_draw = found.n_draw + other.n_draw
    return replace(other if other.cost < found.cost else found, n_draw=n_draw)


def _refine_from(start: Array, image: Array, model: StampModel, electrons: float, prior: Prior) -> Posterior:
    vector = within_bounds(start)
    light, slopes = model.draw_with_slopes(vector)
    n_draw = 1
    curvature = np.eye(N_PARAMETER)
    # the variance is that of the model's own light, held while its fit converges
    for _ in range(2):
        weight = 1 / photon_variance(light, electrons)
        vector, light, slopes, curvature, used = _converge(image, model, weight, prior, vector, light, slopes)
        n_draw += used
    variance = photon_variance(light, electrons)
    # with the variance free again, its logarithm keeps a brighter model from paying less
    cost = float(((light - image) ** 2 / variance + np.log(variance)).sum()) + prior.penalty(vector)[0]
    miss = vector - prior.mean
    distance = float(miss @ prior.precision @ miss)
    return Posterior(vector, inverse(curvature), reduced_chi2(image, light, electrons), n_draw, cost, distance)


def _converge(
    image: Array, model: StampModel, weight: Array, prior: Prior, vector: Array, light: Array, slopes: Array
) -> tuple[Array, Array, Array, Array, int]:
    damping, used = _DAMPING, 0
    cost = float((weight * (light - image) ** 2).sum()) + prior.penalty(vector)[0]
    curvature, gradient = _expansion(image, weight, prior, vector, light, slopes)
    while used < _N_STEP and damping < _DAMPING_MAX:
        trial = _step(vector, curvature, gradient, damping)
        drawn, drawn_slopes = model.draw_with_slopes(trial)
        used += 1
        new = float((weight * (drawn - image) ** 2).sum()) + prior.penalty(trial)[0]
        if new > cost:
            damping *= 8
            if new - cost < _DONE:
                break
            continue
        gain, cost = cost - new, new
        vector, light, slopes = trial, drawn, drawn_slopes
        curvature, gradient = _expansion(image, weight, prior, vector, light, slopes)
        damping = max(damping / 8, 1e-9)
        if gain < _DONE:
            break
    return vector, light, slopes, curvature, used


def _expansion(
    image: Array, weight: Array, prior: Prior, vector: Array, light: Array, slopes: Array
) -> tuple[Array, Array]:
    """Gauss-Newton curvature and gradient of half of the cost."""
    flat = slopes.reshape(N_PARAMETER, -1)
    weighted = flat * weight.ravel()
    _, pull, factor = prior.penalty(vector)
    return weighted @ flat.T + factor * prior.precision, weighted @ (light - image).ravel() + pull


def _step(vector: Array, curvature: Array, gradient: Array, damping: float) -> Array:
    # what stands at a bound and is pushed against it stays
    free = ~(((vector <= LOWER) & (gradient > 0)) | ((vector >= UPPER) & (gradient < 0)))
    diagonal = np.diag(curvature).copy()
    damped = curvature + damping * np.diag(np.maximum(diagonal, 1e-12 * max(diagonal.max(), 1e-12)))
    trial = vector.copy()
    part = np.ix_(free, free)
    # least squares solution: where neither pixels nor prior say anything, nothing moves
    trial[free] -= np.linalg.lstsq(damped[part], gradient[free], rcond=1e-14)[0]
    trial = np.clip(trial, LOWER, UPPER)
    e = float(np.hypot(trial[E1], trial[E2]))
    if e > E_MAX:
        trial[[E1, E2]] *= E_MAX / e
    return np.asarray(trial)
