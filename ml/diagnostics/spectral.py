"""Spectra: the 4000 A break, its relation to age and star formation, noise, and examples with their lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, NotInSurveyError, enough
from galbase.ml.diagnostics.survey import Spectrum, SurveyFiles
from galbase.ml.plots.figure import new_figure, save

FloatArray = NDArray[np.float64]

# Balogh et al. 1999, ApJ 527, 54, section 3.3: bands of the narrow 4000 A break [A]
BREAK_BLUE = (3850.0, 3950.0)
BREAK_RED = (4000.0, 4100.0)
# rest vacuum wavelengths [A] of what a spectroscopist looks for
MARKED = (
    ("[O II]", 3728.5), ("Ca K", 3934.8), ("Ca H", 3969.6), ("G", 4305.6), (r"H$\delta$", 4102.9),
    (r"H$\beta$", 4862.7), ("[O III]", 5008.2), ("Mg b", 5176.6), ("Na D", 5895.6), (r"H$\alpha$", 6564.6),
    ("[S II]", 6725.0),
)  # fmt: skip
_BRINCHMANN = "Brinchmann et al. 2004, MNRAS 351, 1151, fig. 11"
# D4000n of their spectra by the definition of Balogh et al. 1999: 1.90 at 5 Gyr, 2.10 at 10 Gyr
_SOLAR = "Bruzual & Charlot 2003, solar metallicity, 6.3 to 10 Gyr: 1.95 to 2.10"
_KAUFFMANN = "Kauffmann et al. 2003, MNRAS 341, 33, fig. 2 and 3"


def break_4000(wave: FloatArray, flux: FloatArray, good: NDArray[np.bool_] | None = None) -> float:
    """Narrow 4000 A break: mean F_nu in 4000-4100 A over mean F_nu in 3850-3950 A (Balogh et al. 1999).

    Parameters
    ----------
    wave : (n,) float64
        Rest wavelength [A].
    flux : (n,) float64
        F_lambda.
    good : (n,) bool, optional
        Pixels to use.

    Returns
    -------
    float
        NaN where a band is not covered.
    """
    mean = []
    use = np.ones(len(wave), bool) if good is None else good
    for low, high in (BREAK_BLUE, BREAK_RED):
        inside = (wave >= low) & (wave <= high)
        if wave[0] > low or wave[-1] < high or (inside & use).sum() < 0.8 * max(inside.sum(), 1):
            return float("nan")
        inside &= use
        # F_nu ~ lambda^2 F_lambda; pixels are uniform in log lambda, so each weighs as its width
        width = wave[inside]
        mean.append(float((flux[inside] * wave[inside] ** 2 * width).sum() / width.sum()))
    return mean[1] / mean[0] if mean[0] > 0 else float("nan")


def break_age(survey: SurveyFiles, plots: Path) -> list[Check]:
    """The break of noise-free and noisy spectra against true age and star formation."""
    truth, row = survey.truth, survey.truth_of_spectra
    clean = np.array([break_4000(s.rest, s.model) for s in survey.spectra])
    noisy = np.array([break_4000(s.rest, s.flux, s.ivar > 0) for s in survey.spectra])
    good = np.isfinite(clean) & np.isfinite(noisy)
    enough("4000 A break, spectra that cover it", int(good.sum()), 40)
    ssfr = truth["log_ssfr_fib"][row]
    age = truth["log_age_fib"][row] if "log_age_fib" in truth else None
    figure, axes = new_figure(15, 4.6, 1, 3)
    mass = truth["log_mstar_tot"][row]
    shown = axes[0].scatter(ssfr[good], clean[good], c=mass[good], s=10, cmap="viridis", linewidths=0)
    figure.colorbar(shown, ax=axes[0], label=r"log M$_*$ (total, true) [M$_\odot$]")
    axes[0].axhline(1.55, color="tab:red", linestyle="--", linewidth=1, label="D4000n = 1.55, old above")
    axes[0].set_xlabel(r"log sSFR (fibre, true) [yr$^{-1}$]")
    axes[0].set_ylabel("D4000n, noise-free spectrum")
    axes[0].set_title(f"n = {int(good.sum())} spectra")
    axes[0].legend(fontsize=8)
    if age is not None:
        shown = axes[1].scatter(
            age[good], clean[good], c=_metallicity(survey)[row][good], s=10, cmap="plasma", linewidths=0
        )
        figure.colorbar(shown, ax=axes[1], label="[M/H] (fibre, true)")
        axes[1].set_xlabel("log age (fibre, r-light-weighted, true) [yr]")
        axes[1].set_ylabel("D4000n, noise-free spectrum")
    else:
        axes[1].text(0.5, 0.5, "the truth table has no log_age_fib", ha="center", transform=axes[1].transAxes)
        axes[1].set_axis_off()
    axes[2].plot(clean[good], noisy[good], ".", markersize=4)
    axes[2].plot([0.9, 2.2], [0.9, 2.2], color="tab:red", linewidth=1)
    axes[2].set_xlim(0.9, 2.2)
    axes[2].set_ylim(0.9, 2.2)
    axes[2].set_xlabel("D4000n, noise-free spectrum")
    axes[2].set_ylabel("D4000n, spectrum with noise")
    save(figure, plots / "break_age.png")

    dead, forming = good & (ssfr < -11.5), good & (ssfr > -10.2)
    checks = []
    for name, chosen, expected in (("log sSFR < -11.5", dead, 1.80), ("log sSFR > -10.2", forming, 1.30)):
        if chosen.sum() >= 15:
            value = float(np.median(clean[chosen]))
            checks.append(Check(f"D4000n at {name}, median", value, expected, 0.12, _BRINCHMANN, int(chosen.sum())))
    checks.append(
        Check("rank correlation D4000n - log sSFR", _rank(clean[good], ssfr[good]), -0.75, 0.0, _BRINCHMANN,
              int(good.sum()), side="below")
    )  # fmt: skip
    if age is not None:
        rank = _rank(clean[good], age[good])
        n = int(good.sum())
        error = (1 - rank**2) / np.sqrt(n)
        checks.append(Check("rank correlation D4000n - log age", rank, 0.8, 2 * error, _KAUFFMANN, n, "above"))
        old = good & (age > 9.8)
        if old.sum() >= 15:
            value = float(np.median(clean[old]))
            checks.append(Check("D4000n at log age > 9.8, median", value, 1.98, 0.12, _SOLAR, int(old.sum())))
    if "d4000n_fib" in truth:
        apart = clean[good] - truth["d4000n_fib"][row][good]
        checks.append(
            Check("D4000n of spectra minus truth column, median", float(np.median(apart)), 0.0, 0.03,
                  "the files' own truth", int(good.sum()))
        )  # fmt: skip
    return checks


def _metallicity(survey: SurveyFiles) -> FloatArray:
    return survey.truth["mh_fib"]


def _rank(x: FloatArray, y: FloatArray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def spectrum_noise(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Whether the quoted inverse variances are those of the noise, and the S/N that of the header."""
    rows = []
    for s in survey.spectra:
        good = (s.ivar > 0) & np.isfinite(s.flux)
        pull = (s.flux[good] - s.model[good]) * np.sqrt(s.ivar[good])
        ratio = float(np.median(s.flux[good] * np.sqrt(s.ivar[good])))
        rows.append([float(pull.mean()), float(pull.std()), ratio, s.signal_to_noise])
    value = np.array(rows)
    enough("noise of spectra", len(value), 10)
    figure, (left, right) = new_figure(11, 4.5, 1, 2)
    left.hist(value[:, 1], 40, color="tab:blue", alpha=0.6)
    left.axvline(1, color="tab:red")
    left.set_xlabel("spread of (flux - noise-free flux) x sqrt(ivar), one value a spectrum")
    left.set_ylabel("spectra")
    right.loglog(value[:, 3], value[:, 2], ".", markersize=4)
    right.plot([2, 80], [2, 80], color="tab:red", linewidth=1)
    right.set_xlabel("SN_MEDIAN_ALL of the file")
    right.set_ylabel("median flux x sqrt(ivar)")
    save(figure, plots / "spectrum_noise.png")
    told = np.isfinite(value[:, 3])
    claim = "inverse variances are those of the noise"
    return [
        Check("spectrum noise over quoted noise", float(np.median(value[:, 1])), 1.0, 0.03, claim, len(value)),
        Check("spectrum residual, mean [quoted sigma]", float(np.mean(value[:, 0])), 0.0, 0.02, claim, len(value)),
        Check(
            "S/N of spectra over SN_MEDIAN_ALL, median", float(np.median(value[told, 2] / value[told, 3])), 1.0, 0.05,
            "SDSS data model", int(told.sum()),
        ),
    ]  # fmt: skip


def draw_spectrum(axes: Any, s: Spectrum, title: str, marks: bool = True) -> None:
    """One spectrum in its rest frame with noise, model and marked lines."""
    good = s.ivar > 0
    sigma = np.full(len(s.ivar), np.nan)
    sigma[good] = s.ivar[good] ** -0.5
    axes.plot(s.rest, np.where(good, s.flux, np.nan), color="0.55", linewidth=0.4)
    axes.plot(s.rest, s.model, color="tab:red", linewidth=0.7)
    axes.plot(s.rest, sigma, color="tab:blue", linewidth=0.5)
    inside = good & (s.rest > 3650) & (s.rest < 7000)
    if inside.any():
        top = float(np.quantile(s.model[inside], 0.995)) * 1.25
        axes.set_ylim(0, max(top, 1.2 * float(s.model[inside].max()) if top < s.model[inside].max() / 3 else top))
    axes.set_xlim(3650, 7000)
    axes.set_title(title, fontsize=8)
    if marks:
        low, high = axes.get_ylim()
        for name, wave in MARKED:
            axes.axvline(wave, color="0.8", linewidth=0.6, zorder=0)
            axes.text(wave, high - 0.02 * (high - low), name, rotation=90, fontsize=6, va="top", ha="right")


def example_spectra(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Eight spectra from dead to bursting, with their lines marked."""
    truth, row = survey.truth, survey.truth_of_spectra
    ssfr = truth["log_ssfr_fib"][row]
    order = np.argsort(ssfr)
    enough("example spectra", len(order), 8)
    # of each eighth the one with the best S/N
    best = []
    for part in np.array_split(order, 8):
        ratio = np.array([survey.spectra[k].signal_to_noise for k in part])
        best.append(int(part[int(np.nanargmax(ratio)) if np.isfinite(ratio).any() else 0]))
    figure, grid = new_figure(14, 12, 4, 2)
    for axes, k in zip(grid.T.flat, best, strict=True):
        s = survey.spectra[k]
        oh = f", 12+log(O/H) {truth['oh12'][row[k]]:.2f}" if ssfr[k] > -11 else ""
        draw_spectrum(
            axes, s, f"{s.name}  z {s.z:.3f}  log M* {truth['log_mstar_tot'][row[k]]:.1f}  "
            f"log sSFR(fibre) {ssfr[k]:.1f}{oh}  S/N {s.signal_to_noise:.0f}",
        )  # fmt: skip
    for axes in grid[-1]:
        axes.set_xlabel("rest wavelength, vacuum [A]")
    for axes in grid[:, 0]:
        axes.set_ylabel("flux [1e-17 erg/s/cm2/A]", fontsize=8)
    figure.suptitle("Spectra: with noise (grey), noise-free (red), quoted noise (blue)")
    save(figure, plots / "example_spectra.png")
    return [_line_velocity(survey)]


def _line_velocity(survey: SurveyFiles) -> Check:
    """Velocity of the Halpha peak of strong emitters against the catalogue's redshift."""
    velocity = []
    for s in survey.spectra:
        near = (np.abs(s.rest / 6564.61 - 1) < 600 / 299792.458) & (s.ivar > 0)
        wide = (np.abs(s.rest / 6564.61 - 1) < 6000 / 299792.458) & (s.ivar > 0)
        if near.sum() < 8 or wide.sum() < 60:
            continue
        excess = s.flux[near] - np.median(s.flux[wide])
        sigma = np.sqrt(np.sum(1 / s.ivar[near]))
        if excess.sum() > 15 * sigma:
            # the nearest [N II] line is 940 km/s away
            core = np.abs(s.rest[near] / 6564.61 - 1) < 350 / 299792.458
            at = float((s.rest[near] * excess)[core].sum() / excess[core].sum())
            velocity.append((at / 6564.61 - 1) * 299792.458)
    if len(velocity) < 10:
        raise NotInSurveyError(
            f"Halpha velocities: {len(velocity)} strong emitters among {len(survey.spectra)} spectra"
        )
    return Check(
        "Halpha velocity against catalogue redshift, median [km/s]", float(np.median(velocity)), 0.0, 15.0,
        "rest vacuum wavelength 6564.61 A, SDSS", len(velocity),
    )  # fmt: skip
