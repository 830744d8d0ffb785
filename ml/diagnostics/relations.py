"""Mass against star formation, gas metallicity and size: the relations every survey of galaxies shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, enough
from galbase.ml.diagnostics.colours import R_LIMIT, dereddened
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import density, median_band, new_figure, save

FloatArray = NDArray[np.float64]

RENZINI_PENG = "Renzini & Peng 2015, ApJ 801, L29, eq. 3: log SFR = 0.76 log M* - 7.64"
TREMONTI = "Tremonti et al. 2004, ApJ 613, 898, eq. 3"
SHEN = "Shen et al. 2003, MNRAS 343, 978, eq. 17-19, table 1, erratum 2007"
PENG = "Peng et al. 2010, ApJ 721, 193, fig. 6; dead ones among the red: Masters et al. 2010, MNRAS 405, 783"


def main_sequence(log_mass: FloatArray) -> FloatArray:
    """log sSFR [1/yr] of the ridge of star formers, Renzini & Peng 2015, eq. 3."""
    ridge: FloatArray = -0.24 * log_mass - 7.64
    return ridge


def mass_metallicity(log_mass: FloatArray) -> FloatArray:
    """12 + log(O/H) of Tremonti et al. 2004, eq. 3, for log masses in 8.5 to 11.5."""
    mean: FloatArray = -1.492 + 1.847 * log_mass - 0.08026 * log_mass**2
    return mean


def shen_size(log_mass: FloatArray, early: bool) -> FloatArray:
    """Median circularised half-light radius [log kpc] of Shen et al. 2003."""
    mass = 10.0**log_mass
    late = 0.10 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25
    radius = 2.88e-6 * mass**0.56 if early else late
    result: FloatArray = np.log10(radius)
    return result


def volume_weight(survey: SurveyFiles) -> FloatArray:
    """1/Vmax of each galaxy to r = 17.77 (Schmidt 1968, ApJ 151, 393); 0 for fainter ones.

    A flux limit shows blue galaxies of a mass farther out than red ones; weighed so, none is preferred. The
    k-correction in r is taken as z magnitudes, what it is for a red galaxy (Chilingarian et al. 2010) and 0.2 too
    much for a blue one at z = 0.25.
    """
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    mag, z = dereddened(survey)["r"], survey.truth["z"]
    grid = np.linspace(0.002, 0.5, 500)
    dimming = cosmology.distmod(grid).value + grid
    reach = np.interp(np.interp(z, grid, dimming) + R_LIMIT - mag, dimming, grid)
    reach = np.minimum(reach, z.max())
    volume = np.interp(reach, grid, cosmology.comoving_volume(grid).value)
    seen = (mag < R_LIMIT) & np.isfinite(mag)
    return np.where(seen, 1 / volume, 0.0)


def weighted_quantile(value: FloatArray, weight: FloatArray, share: float) -> float:
    """Value below which a share of the weight lies."""
    order = np.argsort(value)
    inside = np.cumsum(weight[order]) - 0.5 * weight[order]
    return float(np.interp(share * weight.sum(), inside, value[order]))


def _share(chosen: NDArray[np.bool_], weight: FloatArray) -> float:
    return float(weight[chosen].sum() / weight.sum()) if weight.sum() > 0 else float("nan")


def mass_ssfr(survey: SurveyFiles, plots: Path) -> list[Check]:
    """The main sequence and the dead galaxies."""
    truth = survey.truth
    mass, ssfr = truth["log_mstar_tot"], truth["log_ssfr_tot"]
    offset = ssfr - main_sequence(mass)
    forming = offset > -0.75
    figure, axes = new_figure(7, 5.5)
    density(axes, mass, ssfr, (8, 12, -13.3, -8))
    line = np.linspace(8, 12, 50)
    axes.plot(line, main_sequence(line), color="tab:blue", label="main sequence, Renzini & Peng 2015")
    axes.plot(line, main_sequence(line) - 0.75, color="tab:blue", linestyle=":", linewidth=1)
    median_band(axes, mass[forming], ssfr[forming], np.arange(8, 12.1, 0.25), "tab:cyan", "star formers, median")
    axes.axhline(-11, color="tab:red", linewidth=1, linestyle="--", label="dead below: log sSFR < -11")
    weight = volume_weight(survey)
    rows = []
    for left in np.arange(9.0, 11.0, 0.3):
        inside = (mass >= left) & (mass < left + 0.3) & forming & (weight > 0)
        if inside.sum() >= 60:
            rows.append([left + 0.15, *(weighted_quantile(offset[inside], weight[inside], q) for q in (0.5, 0.84))])
    enough("main sequence, mass bins of 60 star formers", len(rows), 3)
    middle, ridge, upper = np.array(rows).T
    slope = 0.76 + float(np.polyfit(middle, ridge, 1)[0])
    # the green valley widens the lower side
    scatter = float(np.median(upper - ridge))
    axes.errorbar(
        middle, ridge + main_sequence(middle), [0 * ridge, upper - ridge], fmt="o", color="tab:orange",
        label="star formers, 1/Vmax: median and 84 %",
    )  # fmt: skip
    axes.set_xlabel(r"log M$_*$ (total, true) [M$_\odot$]")
    axes.set_ylabel(r"log sSFR (total, true) [yr$^{-1}$]")
    axes.set_title(f"Mass and specific star formation rate, {len(mass)} galaxies")
    axes.legend(loc="lower left", fontsize=8)
    save(figure, plots / "mass_ssfr.png")
    high = (mass > 10.9) & (mass < 11.3)
    low = (mass > 9.2) & (mass < 9.8)
    n = int(forming.sum())
    return [
        Check("main sequence ridge minus line [dex]", float(np.median(ridge)), 0.0, 0.1, RENZINI_PENG, n),
        Check("main sequence slope of log SFR", slope, 0.76, 0.12, RENZINI_PENG, n),
        Check("main sequence scatter [dex]", scatter, 0.30, 0.08, "Renzini & Peng 2015; Speagle et al. 2014", n),
        Check("dead share at log M* 10.9-11.3", _share(ssfr < -11, weight * high), 0.75, 0.15, PENG, int(high.sum())),
        Check("dead share at log M* 9.2-9.8", _share(ssfr < -11, weight * low), 0.15, 0.15, PENG, int(low.sum())),
    ]


def metallicity(survey: SurveyFiles, plots: Path) -> list[Check]:
    """The mass-metallicity relation, true and as the catalogue measures it."""
    labels, truth = survey.labels, survey.truth
    row = survey.truth_of(labels)
    mass, measured = labels["lgm_tot_p50"], labels["oh_p50"]
    used = np.isfinite(mass) & np.isfinite(measured) & (labels["bptclass"] == 1)
    enough("mass-metallicity relation, star-forming galaxies with O/H", int(used.sum()), 100)
    figure, both = new_figure(11, 5, 1, 2, sharey=True)
    line = np.linspace(8.5, 11.5, 60)
    true_mass, true_oh = truth["log_mstar_tot"][row[used]], truth["oh12"][row[used]]
    panels = (("true", true_mass, true_oh), ("galSpec catalogue", mass[used], measured[used]))
    for axes, (title, x, y) in zip(both, panels, strict=True):
        density(axes, x, y, (8.2, 11.8, 7.9, 9.5))
        axes.plot(line, mass_metallicity(line), color="tab:red", label="Tremonti et al. 2004, eq. 3")
        for side in (-0.1, 0.1):
            axes.plot(line, mass_metallicity(line) + side, color="tab:red", linestyle=":", linewidth=1)
        median_band(axes, x, y, np.arange(8.2, 11.8, 0.2), "tab:blue", "median, 16-84 %")
        axes.set_xlabel(r"log M$_*$ (total) [M$_\odot$]")
        axes.set_title(f"{title}, BPT class 1, n = {int(used.sum())}")
        axes.legend(loc="lower right", fontsize=8)
    both[0].set_ylabel("12 + log(O/H)")
    save(figure, plots / "mass_metallicity.png")
    inside = used & (mass > 8.7) & (mass < 11.2)
    offset = measured[inside] - mass_metallicity(mass[inside])
    scatter = 0.5 * float(np.subtract(*np.quantile(offset, [0.84, 0.16])))
    n = int(inside.sum())
    return [
        Check("O/H minus mass-metallicity relation, median [dex]", float(np.median(offset)), 0.0, 0.05, TREMONTI, n),
        Check("mass-metallicity scatter [dex]", scatter, 0.10, 0.04, TREMONTI + ", section 5", n),
    ]


def size_mass(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Sizes of early and late types, true and as the catalogue measures them."""
    truth = survey.truth
    mass, sersic, q = truth["log_mstar_tot"], truth["sersic"], truth["q"]
    size = np.log10(truth["half_light_kpc"] * np.sqrt(q))
    sweep, row = survey.sweep, survey.sweep_of_truth
    catalogue = sweep["shape_r"][row]
    e = np.hypot(sweep["shape_e1"][row], sweep["shape_e2"][row])
    ratio = (1 - e) / (1 + e)
    with np.errstate(divide="ignore", invalid="ignore"):
        kpc = truth["half_light_kpc"] / truth["half_light_arcsec"]
        measured = np.log10(catalogue * np.sqrt(np.clip(ratio, 0.05, 1)) * kpc)
    figure, grid = new_figure(11, 8.5, 2, 2, sharex=True, sharey=True)
    line = np.linspace(8.5, 12, 60)
    checks = []
    for column, (early, name) in enumerate(((False, "late, n < 2.5"), (True, "early, n > 2.5"))):
        chosen = (sersic > 2.5) == early
        for axes, radius, kind in ((grid[0, column], size, "true"), (grid[1, column], measured, "sweep catalogue")):
            density(axes, mass[chosen], radius[chosen], (8.5, 12, -0.6, 1.6))
            axes.plot(line, shen_size(line, early), color="tab:red", label="Shen et al. 2003")
            median_band(axes, mass[chosen], radius[chosen], np.arange(8.5, 12, 0.25), "tab:blue", "median, 16-84 %")
            axes.set_title(f"{name}, {kind}, n = {int(chosen.sum())}", fontsize=10)
            axes.legend(loc="upper left", fontsize=8)
        low, high = (10.2, 11.5) if early else (9.2, 11.2)
        inside = chosen & (mass > low) & (mass < high)
        if survey.decorrelated:
            continue
        enough(f"size-mass relation, {name}", int(inside.sum()), 50)
        offset = size[inside] - shen_size(mass[inside], early)
        scatter = 0.5 * float(np.subtract(*np.quantile(offset, [0.84, 0.16]))) * np.log(10)
        n = int(inside.sum())
        checks.append(Check(f"size minus relation, {name} [dex]", float(np.median(offset)), 0.0, 0.08, SHEN, n))
        checks.append(Check(f"scatter of ln size, {name}", scatter, 0.37, 0.12, SHEN + ", eq. 19", n))
    for axes in grid[1]:
        axes.set_xlabel(r"log M$_*$ (total, true) [M$_\odot$]")
    for axes in grid[:, 0]:
        axes.set_ylabel("log circularised half-light radius [kpc]")
    save(figure, plots / "size_mass.png")
    bright = np.isfinite(measured) & (sweep["flux_r"][row] > 10 ** (0.4 * (22.5 - 17.5))) & ~_merged(survey)
    apart = (catalogue / truth["half_light_arcsec"])[bright]
    name, n = "catalogue radius over true, r < 17.5, median", int(bright.sum())
    checks.append(Check(name, float(np.median(apart)), 1.0, 0.05, "the files' own truth", n))
    return checks


def _merged(survey: SurveyFiles) -> NDArray[np.bool_]:
    blended: NDArray[np.bool_] = survey.truth.raw("blended").astype(bool)
    return blended
