"""Star formation histories: mass formed by age, free enough that age is no function of today's rate."""

import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.ssp import ssp_grid, surviving_fraction

FloatArray = NDArray[np.float64]

# ages up to this index carry today's rate, ages up to the next one lead over to the old history
_N_NOW = 3
_N_RECENT = 6
_MAX_RECENT = 0.85


def draw_history(
    rng: np.random.Generator,
    mass: FloatArray,
    ssfr: FloatArray,
    onset_yr: FloatArray,
    tau_yr: FloatArray,
    quenched_yr: FloatArray,
    bump_fraction: FloatArray,
    bump_yr: FloatArray,
) -> FloatArray:
    """Mass formed by age.

    Before 1.1 Gyr ago the rate falls exponentially from `onset_yr` on, stops at `quenched_yr`, and a bump adds stars
    at `bump_yr`; in the last 170 Myr it is today's; between it is the geometric mean of both with 0.3 dex of scatter.

    Parameters
    ----------
    rng : numpy.random.Generator
        Generator.
    mass : (n,) float64
        Mass in stars and remnants now [Msun].
    ssfr : (n,) float64
        Star formation rate over `mass` [1/yr].
    onset_yr, tau_yr, quenched_yr, bump_yr : (n,) float64
        Lookback times [yr]; the time scale of the decline; `quenched_yr` 0 where it never stopped.
    bump_fraction : (n,) float64
        Share of the old stars' mass that the bump adds.

    Returns
    -------
    (n, n_age) float64
        [Msun formed]; what survives of it (Leitner & Kravtsov 2011) sums to `mass`.
    """
    grid = ssp_grid()
    n, n_age = len(mass), len(grid.age_yr)
    left = surviving_fraction(grid.age_yr)
    edges = np.concatenate([[0.0], grid.age_edges_yr])
    upper = np.broadcast_to(np.append(grid.age_edges_yr, np.inf), (n, n_age))
    oldest = np.maximum(onset_yr, edges[_N_RECENT] * 1.3)[:, None]
    late = np.minimum(np.maximum(edges[None, :], quenched_yr[:, None]), oldest)
    early = np.minimum(upper, oldest)
    late = np.minimum(late, early)
    # the rate exp(-(onset - t)/tau) is highest at the onset, t being lookback time
    base = np.exp(-(oldest - early) / tau_yr[:, None]) - np.exp(-(oldest - late) / tau_yr[:, None])
    empty = base[:, _N_RECENT:].sum(axis=1) <= 0
    base[empty, _N_RECENT] = 1.0
    base /= (base * left).sum(axis=1, keepdims=True)

    duration = np.diff(edges)[:_N_RECENT]
    now = np.maximum(ssfr, 1e-15)[:, None]
    recent = np.empty((n, _N_RECENT))
    recent[:, :_N_NOW] = now * duration[:_N_NOW]
    before = np.maximum(base[:, _N_NOW:_N_RECENT] / duration[_N_NOW:], now)
    wiggle = 10 ** (0.3 * rng.standard_normal((n, 1)))
    recent[:, _N_NOW:] = np.sqrt(now * before) * wiggle * duration[_N_NOW:]
    survive = (recent * left[:_N_RECENT]).sum(axis=1)
    recent *= np.minimum(1.0, _MAX_RECENT / survive)[:, None]
    survive = (recent * left[:_N_RECENT]).sum(axis=1)

    old = base[:, _N_RECENT:]
    centre = np.interp(np.log(bump_yr), np.log(grid.age_yr[_N_RECENT:]), np.arange(n_age - _N_RECENT))
    bump = np.clip(1 - np.abs(centre[:, None] - np.arange(n_age - _N_RECENT)), 0, 1)
    old_left = left[_N_RECENT:]
    old = old / (old * old_left).sum(axis=1, keepdims=True) * (1 - bump_fraction)[:, None]
    old = old + bump / (bump * old_left).sum(axis=1, keepdims=True) * bump_fraction[:, None]
    formed = np.concatenate([recent, old * (1 - survive)[:, None]], axis=1)
    result: FloatArray = formed * mass[:, None]
    return result
