"""Emission lines: excitation, dust, and the star formation that they tell of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, NotInSurveyError, enough
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import new_figure, save

FloatArray = NDArray[np.float64]

_MEGAPARSEC_CM = 3.0856776e24


def kauffmann_line(n2: FloatArray) -> FloatArray:
    """log [O III]/Hbeta below which galaxies form stars: Kauffmann et al. 2003, MNRAS 346, 1055, eq. 1."""
    line: FloatArray = 0.61 / (n2 - 0.05) + 1.3
    return line


def _line(survey: SurveyFiles, *names: str) -> FloatArray:
    """Area of the first of some line names in every spectrum's SPZLINE table [1e-17 erg/s/cm2]; NaN without."""
    found = np.array([next((s.lines[n][0] for n in names if n in s.lines), np.nan) for s in survey.spectra])
    if not np.isfinite(found).any():
        raise NotInSurveyError(f"the spectra's line tables (SPZLINE) have no {names[0]}")
    return found


def emission_lines(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Excitation, Balmer decrement and Halpha luminosity of the line tables, against the truth."""
    from astropy.cosmology import FlatLambdaCDM

    truth, row = survey.truth, survey.truth_of_spectra
    alpha, beta = _line(survey, "H_alpha"), _line(survey, "H_beta")
    nitrogen, oxygen = _line(survey, "[N_II] 6583", "[N_II] 6585"), _line(survey, "[O_III] 5007")
    ssfr, oh12 = truth["log_ssfr_fib"][row], truth["oh12"][row]
    with np.errstate(divide="ignore", invalid="ignore"):
        n2, o3, decrement = np.log10(nitrogen / alpha), np.log10(oxygen / beta), alpha / beta
    good = np.isfinite(n2) & np.isfinite(o3) & np.isfinite(decrement)
    nucleus = truth.raw("active_nucleus")[row].astype(bool) if "active_nucleus" in truth else np.zeros(len(row), bool)
    forming = good & (ssfr > -10.6) & ~nucleus
    enough("emission lines, star-forming spectra", int(forming.sum()), 40)
    # the decrement's excess over case B, on Calzetti's curve: k(Hbeta) 4.60, k(Halpha) 3.33
    excess = np.maximum(2.5 * np.log10(decrement / 2.86), 0) / (4.60 - 3.33)
    z = truth["z"][row]
    distance = FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(z).value * _MEGAPARSEC_CM
    luminosity = alpha * 1e-17 * 10 ** (0.4 * 3.33 * excess) * 4 * np.pi * distance**2
    with np.errstate(divide="ignore", invalid="ignore"):
        sfr = np.log10(4.6e-42 * luminosity)
    true_sfr = truth["log_mstar_fib"][row] + ssfr

    figure, axes = new_figure(16, 4.8, 1, 3)
    shown = axes[0].scatter(n2[good], o3[good], c=np.clip(ssfr[good], -12.5, -9), s=10, cmap="coolwarm_r", linewidths=0)
    figure.colorbar(shown, ax=axes[0], label=r"log sSFR (fibre, true) [yr$^{-1}$]")
    line = np.linspace(-2, -0.05, 100)
    axes[0].plot(line, kauffmann_line(line), color="black", label="Kauffmann et al. 2003")
    axes[0].set_xlim(-2, 0.6)
    axes[0].set_ylim(-1.3, 1.3)
    axes[0].set_xlabel(r"log [N II] 6585 / H$\alpha$")
    axes[0].set_ylabel(r"log [O III] 5008 / H$\beta$")
    axes[0].legend(fontsize=8)
    axes[1].plot(oh12[forming], n2[forming], ".", markersize=5)
    axes[1].set_xlabel("12 + log(O/H) (true)")
    axes[1].set_ylabel(r"log [N II] 6585 / H$\alpha$, star formers")
    axes[2].plot(true_sfr[forming], sfr[forming], ".", markersize=5)
    axes[2].plot([-3, 2], [-3, 2], color="tab:red", linewidth=1)
    axes[2].set_xlabel(r"log SFR (fibre, true) [M$_\odot$ yr$^{-1}$]")
    axes[2].set_ylabel(r"log SFR of H$\alpha$, freed of dust by H$\alpha$/H$\beta$")
    save(figure, plots / "emission_lines.png")

    from scipy.stats import spearmanr

    n = int(forming.sum())
    below = n2[forming] < 0
    under = below & (o3[forming] < kauffmann_line(np.minimum(n2[forming], 0.0)))
    # the files' spectra and line tables are behind the galaxies' own dust alone
    apart = sfr[forming] - true_sfr[forming]
    rank = float(spearmanr(oh12[forming], n2[forming]).statistic) if np.ptp(n2[forming]) > 1e-6 else 0.0
    return [
        Check("share of star formers under the BPT line", float(under.mean()), 0.9, 0.0,
              "Kauffmann et al. 2003, MNRAS 346, 1055, eq. 1", n, "above"),
        Check("rank correlation [N II]/Halpha - O/H", rank, 0.8, 0.0,
              "Pettini & Pagel 2004, MNRAS 348, L59; Kewley & Ellison 2008", n, "above"),
        Check("spread of log [O III]/Hbeta of star formers [dex]", float(np.std(o3[forming])), 0.15, 0.0,
              "Brinchmann et al. 2004, fig. 1: 0.3 dex over the sequence", n, "above"),
        Check("Balmer decrement, 5th percentile", float(np.quantile(decrement[forming], 0.05)), 2.86, 0.05,
              "case B, Osterbrock & Ferland 2006, table 4.2", n, "above"),
        Check("log SFR of Halpha minus true, median [dex]", float(np.median(apart)), 0.0, 0.1,
              "Kennicutt 1998, ARA&A 36, 189, eq. 2, for a Chabrier mass function", n),
    ]  # fmt: skip
