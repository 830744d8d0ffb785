"""Colours: the red sequence and the blue cloud, as the catalogue has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, enough
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import density, new_figure, save

FloatArray = NDArray[np.float64]

SLICES = ((0.03, 0.06), (0.08, 0.12), (0.16, 0.22))
_EARLY = "SDSS early types at z = 0.1: Bernardi et al. 2003, AJ 125, 1882, fig. 5; Eisenstein et al. 2001, table 1"
_CLOUD = "Blanton & Moustakas 2009, ARA&A 47, 159, fig. 2"
_SEQUENCE = "Hogg et al. 2004, ApJ 601, L29"


R_LIMIT = 17.77  # of the SDSS main galaxy sample, Strauss et al. 2002


def dereddened(survey: SurveyFiles) -> dict[str, FloatArray]:
    """AB magnitudes of the sweep table without Galactic dust, by band, in the truth's order; NaN for no flux."""
    sweep, row = survey.sweep, survey.sweep_of_truth
    magnitude = {}
    for band in "grz":
        flux = sweep[f"flux_{band}"][row] / sweep[f"mw_transmission_{band}"][row]
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude[band] = np.where(flux > 0, 22.5 - 2.5 * np.log10(flux), np.nan)
    return magnitude


def true_magnitudes(survey: SurveyFiles) -> dict[str, FloatArray]:
    """Noise-free AB magnitudes without Galactic dust, by band."""
    truth, sweep, row = survey.truth, survey.sweep, survey.sweep_of_truth
    flux = {band: truth[f"flux_{band}"] / sweep[f"mw_transmission_{band}"][row] for band in "grz"}
    return {band: 22.5 - 2.5 * np.log10(value) for band, value in flux.items()}


def colours(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Colour against colour, and colour against magnitude, at fixed redshift."""
    truth, mag = survey.truth, dereddened(survey)
    z, mass, ssfr = truth["z"], truth["log_mstar_tot"], truth["log_ssfr_tot"]
    g_r, r_z = mag["g"] - mag["r"], mag["r"] - mag["z"]
    alone = ~truth.raw("blended").astype(bool)
    figure, grid = new_figure(13, 8.5, 2, 3)
    for column, (low, high) in enumerate(SLICES):
        inside = (z > low) & (z < high) & np.isfinite(g_r) & np.isfinite(r_z) & alone
        top, bottom = grid[0, column], grid[1, column]
        for axes, x, y in ((top, g_r, r_z), (bottom, mag["r"], g_r)):
            shown = axes.scatter(
                x[inside],
                y[inside],
                c=np.clip(ssfr[inside], -12.5, -9),
                s=5,
                cmap="coolwarm_r",
                linewidths=0,
                alpha=0.8,
            )
            axes.set_title(f"{low:g} < z < {high:g}, n = {int(inside.sum())}", fontsize=10)
        top.set_xlim(-0.1, 1.5)
        top.set_ylim(-0.2, 1.3)
        top.set_xlabel("g - r [AB mag]")
        bottom.set_xlim(13.5, 19.5)
        bottom.set_ylim(-0.1, 1.5)
        bottom.set_xlabel("r [AB mag]")
    grid[0, 0].set_ylabel("r - z [AB mag]")
    grid[1, 0].set_ylabel("g - r [AB mag]")
    figure.colorbar(shown, ax=grid, label=r"log sSFR (true) [yr$^{-1}$]", shrink=0.6)
    figure.suptitle("Sweep catalogue, Galactic dust removed, without true blends")
    save(figure, plots / "colours.png")

    # a cut in mass would favour high mass-to-light ratios, red ones, at the faint end, and tilt the sequence
    red = alone & (ssfr < -11.3) & (z > 0.08) & (z < 0.12) & (mag["r"] < R_LIMIT) & np.isfinite(g_r + r_z)
    blue = alone & (ssfr > -10.3) & (z > 0.02) & (z < 0.06) & (mass > 9.3) & (mass < 10.0) & np.isfinite(g_r)
    enough("red sequence, dead galaxies at 0.08 < z < 0.12", int(red.sum()), 40)
    enough("blue cloud, star formers at 0.02 < z < 0.06", int(blue.sum()), 20)
    # the sequence is tilted and reddens with z: take both out
    design = np.column_stack([np.ones(int(red.sum())), mag["r"][red] - 17, z[red] - 0.1])
    keep = np.ones(len(design), bool)
    for _ in range(5):
        fit = np.linalg.lstsq(design[keep], g_r[red][keep], rcond=None)[0]
        rest = g_r[red] - design @ fit
        spread = 1.4826 * float(np.median(np.abs(rest[keep])))
        keep = np.abs(rest) < 3 * spread
    n_red = int(red.sum())
    slope_error = spread / np.sqrt(keep.sum()) / max(float(np.std(mag["r"][red])), 0.1)
    return [
        Check("red sequence g-r at z = 0.1, r = 17 [mag]", float(fit[0]), 0.95, 0.07, _EARLY, n_red),
        Check("red sequence scatter in g-r [mag]", spread, 0.05, 0.03, _SEQUENCE, n_red),
        Check(
            "red sequence slope d(g-r)/dr", float(fit[1]), -0.022, 0.015 + 2 * float(slope_error), _SEQUENCE, n_red
        ),
        Check("dead galaxies r-z at z = 0.1 [mag]", float(np.median(r_z[red])), 0.70, 0.10, _EARLY, n_red),
        Check(
            "blue cloud g-r at z = 0.02-0.06, log M* 9.3-10 [mag]", float(np.median(g_r[blue])), 0.45, 0.10, _CLOUD,
            int(blue.sum()),
        ),
    ]  # fmt: skip


def mass_colour(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Mass-to-light ratio against colour, the basis of every photometric mass."""
    truth, mag = survey.truth, dereddened(survey)
    z, mass = truth["z"], truth["log_mstar_tot"]
    near = (z > 0.02) & (z < 0.08) & np.isfinite(mag["g"] + mag["r"]) & ~truth.raw("blended").astype(bool)
    enough("mass-to-light ratio at 0.02 < z < 0.08", int(near.sum()), 100)
    from astropy.cosmology import FlatLambdaCDM

    modulus = FlatLambdaCDM(H0=70, Om0=0.3).distmod(z[near]).value
    # (g-r) and the r band's k-correction to z = 0 of Chilingarian, Melchior & Zolotukhin 2010 are small here
    absolute = mag["r"][near] - modulus - z[near]
    log_ml = mass[near] - 0.4 * (4.65 - absolute)
    g_r = (mag["g"] - mag["r"])[near] - 1.2 * z[near]
    figure, axes = new_figure(7, 5.5)
    density(axes, g_r, log_ml, (-0.1, 1.1, -1.0, 1.0))
    line = np.linspace(0.1, 0.9, 20)
    # Bell et al. 2003, table 7, with 0.15 dex from their diet Salpeter to a Kroupa or Chabrier mass function
    bell = -0.306 + 1.097 * line - 0.15
    axes.plot(line, bell, color="tab:red", label="Bell et al. 2003, table 7, less 0.15 dex (IMF)")
    axes.set_xlabel("g - r, approximately at rest [AB mag]")
    axes.set_ylabel(r"log M$_*$/L$_r$ [M$_\odot$/L$_\odot$]")
    axes.set_title(f"Mass-to-light ratio, 0.02 < z < 0.08, n = {int(near.sum())}")
    axes.legend(loc="upper left", fontsize=8)
    save(figure, plots / "mass_to_light.png")
    used = (g_r > 0.3) & (g_r < 0.85)
    offset = float(np.median(log_ml[used] - (-0.306 + 1.097 * g_r[used] - 0.15)))
    reference = "Bell et al. 2003, ApJS 149, 289, table 7, IMF 0.15 dex; models differ by 0.1-0.2 dex"
    return [Check("log M*/L_r minus colour relation, median [dex]", offset, 0.0, 0.2, reference, int(used.sum()))]
