"""One spectrum fitted with pPXF (Cappellari 2017, MNRAS 466, 798; 2023, MNRAS 526, 3273): age and metallicity.

pPXF is an optional package and is imported only when a fit is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from galbase.ingest.preprocess.spectrum import SpectrumPixels
from galbase.ml.labels.log_spectrum import EVEN_PIXELS, LIGHT_SPEED_KM_S, FitError, LogSpectrum, log_spectrum
from galbase.ml.labels.options import FitOptions
from galbase.ml.labels.templates import TemplateSet
from galbase.ml.simulate.dust import calzetti
from galbase.ml.simulate.nebular import LINE_WAVE
from galbase.ml.simulate.ssp_grid_build import rebin
from galbase.schema.errors import GalbaseError

Floats = npt.NDArray[np.float64]

# Beside the simulated lines: [Ne III] 3869, H delta, He I 5876, [O I] 6300 and 6364; vacuum, A, as in pPXF's list.
EMISSION_LINES = np.sort(np.append(LINE_WAVE, [3869.86, 4102.899, 5877.243, 6302.040, 6365.535]))
FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
A_V_MAX = 4.0
_START_A_V = 0.3
_START_GAS_KM_S = 120.0
# Beyond the spectrum templates reach this far, for velocities up to 2000 km/s and wide lines.
_MARGIN = 0.015
_LINE_REACH_KM_S = 500.0
_MIN_LINE_PIXELS = 5
_MIN_REALISED = 0.9
_MIN_GOOD = 300
# pPXF looks no further than 1000 km/s for the dispersion; redshifts are good to 30 km/s, so that stars that are said to
# move by 500 are none.
_MAX_DISPERSION_KM_S = 999.0
_MAX_VELOCITY_KM_S = 500.0


@dataclass(frozen=True)
class SpectrumFit:
    """What a fit found.

    Parameters
    ----------
    log_age, mh : float
        Means of log10(age/yr) and [M/H] weighted by light in the options' band (Cappellari 2023, eq. 39); of the
        spectrum, or the mean over its realisations.
    log_age_err, mh_err : float or None
        Standard deviations over the realisations; None where there are none.
    chi2 : float
        Reduced, of the spectrum's own fit.
    a_v : float or None
        Attenuation [mag]; None of a polynomial.
    velocity_km_s, dispersion_km_s : float
        Of the stars: against the redshift, and one sigma beyond instrument and templates where both are known.
    n_pixel, n_realisation : int
        Pixels fitted, and realisations whose fits converged.
    """

    log_age: float
    mh: float
    log_age_err: float | None
    mh_err: float | None
    chi2: float
    a_v: float | None
    velocity_km_s: float
    dispersion_km_s: float
    n_pixel: int
    n_realisation: int


def require_ppxf() -> None:
    """Refuse to go on without pPXF, before any work is done.

    Raises
    ------
    GalbaseError
        Naming the extra to install.
    """
    if find_spec("ppxf") is None:
        raise GalbaseError(
            "fitting labels needs the package ppxf, which is not installed: pip install 'galbase[labels]'. Its licence "
            "allows use for non-commercial purposes only, and no redistribution."
        )


def fit_spectrum(
    pixels: SpectrumPixels, z: float, templates: TemplateSet, options: FitOptions, seed: Sequence[int] = ()
) -> SpectrumFit:
    """Fit a spectrum, and the same with noise added as often as the options say.

    Templates are broadened to the spectrum's resolution where both are known and the spectrum's is the coarser, as in
    MMLforGalAM (section 2.1.1); otherwise they stay, and the fitted dispersion holds the instrument's width as well.
    Realisations perturb the observed spectrum by its own errors (eq. 12 there).

    Parameters
    ----------
    pixels : SpectrumPixels
        Wavelengths in vacuum.
    z : float
        Redshift.
    templates : TemplateSet
    options : FitOptions
    seed : sequence of int
        What the noise depends on besides `options.seed`.

    Raises
    ------
    FitError
        If the spectrum cannot be fitted; the message says why.
    UsageError
        If the options make no sense.
    GalbaseError
        If pPXF is not installed.
    """
    options.check()
    require_ppxf()
    spectrum = log_spectrum(pixels, z, (options.wave_min_angstrom, options.wave_max_angstrom))
    # A worker has one thread to itself, and the last bit of a sum depends on how many threads share it.
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        problem = _Problem(spectrum, templates, options)
        best = problem.fit(spectrum.flux)
        velocity, dispersion = best.kinematics[0]
        if dispersion > _MAX_DISPERSION_KM_S or abs(velocity) > _MAX_VELOCITY_KM_S:
            raise FitError(
                f"no stars made out: a dispersion of {dispersion:.0f} km/s, at most 1000 being looked for, and a "
                f"velocity of {velocity:.0f} km/s against the redshift"
            )
        rng = np.random.default_rng([options.seed, *seed])
        found = []
        for _ in range(options.realisations):
            noisy = spectrum.flux + spectrum.noise_realisation(rng)
            try:
                found.append(problem.fit(noisy, start=best).mean)
            except FitError:
                continue
    if len(found) < _MIN_REALISED * options.realisations:
        raise FitError(f"{len(found)} of {options.realisations} realisations converged; the error is not known")
    spread = [None, None] if not found else np.std(found, axis=0, ddof=1).tolist()
    log_age, mh = best.mean if options.estimate == "fit" else np.mean(found, axis=0).tolist()
    return SpectrumFit(
        log_age=log_age,
        mh=mh,
        log_age_err=spread[0],
        mh_err=spread[1],
        chi2=best.chi2,
        a_v=best.a_v,
        velocity_km_s=velocity,
        dispersion_km_s=dispersion,
        n_pixel=problem.n_pixel,
        n_realisation=len(found),
    )


@dataclass(frozen=True)
class _Solution:
    mean: tuple[float, float]
    chi2: float
    a_v: float | None
    kinematics: list[list[float]]


class _Problem:
    """Templates, pixels and bounds of one spectrum; its fluxes may vary."""

    def __init__(self, spectrum: LogSpectrum, templates: TemplateSet, options: FitOptions) -> None:
        wave = spectrum.wave_angstrom
        low, high = templates.wave_angstrom[0] * (1 + _MARGIN), templates.wave_angstrom[-1] * (1 - _MARGIN)
        self.inside = (wave >= low) & (wave <= high)
        good = spectrum.good & self.inside
        if good.sum() < _MIN_GOOD:
            raise FitError(
                f"{int(good.sum())} pixels with a weight where the templates reach ({low:.0f} to {high:.0f} A at "
                f"rest); {_MIN_GOOD} are needed"
            )
        self.options = options
        self.wave = wave[self.inside]
        self.noise = spectrum.noise[self.inside]
        self.step = spectrum.velocity_step_km_s
        stars, self.template_wave = _prepared(templates, spectrum, self.wave, options.band)
        self.log_age, self.mh = templates.log_age, templates.mh
        self.n_star = stars.shape[1]
        good = good[self.inside]
        lines = _lines_seen(self.wave, good)
        if options.lines == "mask":
            for line in EMISSION_LINES:
                good &= np.abs(_velocity(self.wave, line)) > options.line_mask_km_s
            lines = lines[:0]
        self.good = good
        self.n_pixel = int(good.sum())
        self.templates = stars
        if len(lines):
            self.templates = np.column_stack([stars, _line_templates(self.template_wave, lines, spectrum)])
        self.n_line = len(lines)

    def fit(self, flux: Floats, start: _Solution | None = None) -> _Solution:
        """Fit fluxes (n,) of the whole spectrum; kinematics are `start`'s if they are to be held."""
        from ppxf.ppxf import ppxf

        held = start is not None and not self.options.refit_kinematics
        begin = (
            [[0.0, self.options.start_dispersion_km_s], [0.0, _START_GAS_KM_S]] if start is None else start.kinematics
        )
        moments = [-2 if held else 2] * (2 if self.n_line else 1)
        component = np.repeat([0, 1], [self.n_star, self.n_line])
        arguments: dict[str, Any] = {}
        if self.options.continuum == "dust":
            a_v = _START_A_V if start is None or start.a_v is None else start.a_v
            arguments["dust"] = [
                {"start": [a_v], "bounds": [[0, A_V_MAX]], "func": _screen, "component": component == 0}
            ]
        else:
            arguments["mdegree"] = self.options.polynomial_degree
        if self.n_line:
            arguments |= {
                "gas_component": component > 0,
                "gas_names": np.array([f"line {k}" for k in range(self.n_line)]),
            }
            arguments |= {"component": component, "moments": moments, "start": begin}
        else:
            arguments |= {"moments": moments[0], "start": begin[0]}
        try:
            done = ppxf(
                self.templates, flux[self.inside], self.noise, self.step, degree=-1, mask=self.good, lam=self.wave,
                lam_temp=self.template_wave, quiet=True, **arguments,
            )  # fmt: skip
        except (AssertionError, ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
            raise FitError(f"pPXF gave up: {error or type(error).__name__}") from error
        weight = np.asarray(done.weights[: self.n_star], np.float64)
        if done.status <= 0 or not np.isfinite(weight).all() or not weight.sum() > 0:
            raise FitError(f"pPXF found no population (status {done.status})")
        mean = float(weight @ self.log_age / weight.sum()), float(weight @ self.mh / weight.sum())
        kinematics = [[float(value) for value in each] for each in (done.sol if self.n_line else [done.sol])]
        dust = float(done.dust[0]["sol"][0]) if self.options.continuum == "dust" else None
        return _Solution(mean, float(done.chi2), dust, kinematics)


def _prepared(templates: TemplateSet, spectrum: LogSpectrum, wave: Floats, band: str) -> tuple[Floats, Floats]:
    """Templates (n_wave, n) of unit light in the band, at the spectrum's resolution and step, and their wavelengths."""
    import ppxf.ppxf_util as util

    near = (templates.wave_angstrom > wave[0] * (1 - _MARGIN)) & (templates.wave_angstrom < wave[-1] * (1 + _MARGIN))
    own = templates.wave_angstrom[near]
    flux = templates.flux[:, near] / templates.band_light(band)[:, None]
    width, wanted = templates.fwhm_angstrom, spectrum.resolution_angstrom
    if width is not None and wanted is not None:
        seen = np.interp(own, spectrum.wave_angstrom, wanted)
        further = np.sqrt(np.maximum(seen**2 - (width[near] / FWHM_PER_SIGMA) ** 2, 0.0))
        flux = util.varsmooth(own, flux.T, further).T
    step = spectrum.velocity_step_km_s / LIGHT_SPEED_KM_S
    log_own = np.log(own)
    even = log_own[0] + step * np.arange(len(own))
    if np.abs(log_own - even).max() < EVEN_PIXELS * step:
        own = np.exp(even)
    else:
        n = int((log_own[-1] - log_own[0]) / step) - 1
        edges = np.exp(log_own[0] + step * (np.arange(n + 1) + 0.5))
        flux, own = rebin(own, flux, edges), np.sqrt(edges[1:] * edges[:-1])
    return flux.T / np.median(flux), own


def _lines_seen(wave: Floats, good: npt.NDArray[np.bool_]) -> Floats:
    """Emission lines with pixels to see them in."""
    near = [int((good & (np.abs(_velocity(wave, line)) < _LINE_REACH_KM_S)).sum()) for line in EMISSION_LINES]
    return np.asarray(EMISSION_LINES[np.array(near) >= _MIN_LINE_PIXELS], np.float64)


def _line_templates(wave: Floats, lines: Floats, spectrum: LogSpectrum) -> Floats:
    """Gaussians (n_wave, n_line) as the instrument widens lines; without width where that is not known."""
    import ppxf.ppxf_util as util

    sigma = spectrum.resolution_angstrom
    width = np.zeros(len(lines)) if sigma is None else np.interp(lines, spectrum.wave_angstrom, sigma)
    return np.asarray(util.gaussian(np.log(wave), lines, FWHM_PER_SIGMA * width), np.float64)


def _velocity(wave: Floats, line: float) -> Floats:
    return np.asarray(LIGHT_SPEED_KM_S * np.log(wave / line), np.float64)


def _screen(wave: Floats, a_v: float) -> Floats:
    """Calzetti et al. (2000)."""
    return np.asarray(10 ** (-0.4 * a_v * calzetti(wave)), np.float64)
