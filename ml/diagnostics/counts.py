"""Number counts, redshifts, and the signal-to-noise ratios of images and spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, enough
from galbase.ml.diagnostics.colours import R_LIMIT, dereddened
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import new_figure, save

FloatArray = NDArray[np.float64]

# Euclidean counts end where redshifts reach 0.1
_BRIGHT = (14.5, 17.0)


def exponential_slope(value: FloatArray, low: float, high: float) -> tuple[float, float]:
    """Slope s of dN/dx ~ 10^(s x) within low to high by maximum likelihood, and its error.

    The mean of a truncated exponential has no closed inverse; it is found by bisection.
    """
    x = value[(value > low) & (value < high)] - low
    span, mean = high - low, float(x.mean())

    def expected(k: float) -> float:
        return span / 2 if abs(k) < 1e-9 else span / (1 - np.exp(-k * span)) - 1 / k

    left, right = -20.0, 20.0
    for _ in range(80):
        middle = 0.5 * (left + right)
        left, right = (middle, right) if expected(middle) < mean else (left, middle)
    k = 0.5 * (left + right)
    step = 1e-3
    information = len(x) * (expected(k + step) - expected(k - step)) / (2 * step)
    return k / np.log(10), 1 / np.sqrt(max(information, 1e-9)) / np.log(10)


def number_counts(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Counts in r and the redshift distribution."""
    mag, z = dereddened(survey)["r"], survey.truth["z"]
    good = np.isfinite(mag)
    enough("number counts", int(good.sum()), 300)
    slope, error = exponential_slope(mag[good], *_BRIGHT)
    figure, (left, right) = new_figure(11, 4.5, 1, 2)
    edges = np.arange(12, 20.01, 0.25)
    count, _ = np.histogram(mag[good], edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    shown = count > 0
    left.errorbar(middle[shown], count[shown], np.sqrt(count[shown]), fmt="o", markersize=4, label="survey")
    inside = (middle > _BRIGHT[0]) & (middle < _BRIGHT[1])
    line = 10 ** (0.6 * middle[inside])
    left.plot(middle[inside], line * count[inside].sum() / line.sum(), color="tab:red", label="slope 0.6 (Euclidean)")
    left.axvline(R_LIMIT, color="grey", linestyle="--", linewidth=1, label="SDSS main sample limit")
    left.set_yscale("log")
    left.set_xlabel("r, Galactic dust removed [AB mag]")
    left.set_ylabel("galaxies per 0.25 mag")
    left.set_title(f"Number counts: slope {slope:.2f} +- {error:.2f} at r {_BRIGHT[0]:g}-{_BRIGHT[1]:g}")
    left.legend(fontsize=8)
    main = good & (mag < R_LIMIT)
    right.hist(z[main], np.arange(0, 0.3, 0.01), color="tab:blue", alpha=0.6, label=f"r < {R_LIMIT}")
    right.hist(z[good], np.arange(0, 0.3, 0.01), histtype="step", color="black", label="all")
    right.axvline(0.104, color="tab:red", label="SDSS main sample, median 0.104")
    right.axvline(float(np.median(z[main])), color="tab:blue", linestyle="--", label="median of r < 17.77")
    right.set_xlabel("redshift")
    right.set_ylabel("galaxies per 0.01")
    right.set_title("Redshifts")
    right.legend(fontsize=8)
    save(figure, plots / "counts_and_redshifts.png")
    return [
        Check(
            "slope of log counts in r, 14.5-17", slope, 0.6, 0.06 + 2 * error,
            "Euclidean; Yasuda et al. 2001, AJ 122, 1104, section 5", int(good.sum()),
        ),
        Check(
            "median redshift, r < 17.77", float(np.median(z[main])), 0.100, 0.015,
            "SDSS main sample: 0.104, Strauss et al. 2002, AJ 124, 1810; 0.09 in later releases", int(main.sum()),
        ),
    ]  # fmt: skip


def signal_to_noise(survey: SurveyFiles, plots: Path) -> list[Check]:
    """S/N of the catalogue's fluxes and of the spectra."""
    sweep, labels = survey.sweep, survey.labels
    figure, (left, right) = new_figure(11, 4.5, 1, 2)
    for band, colour in zip("grz", ("tab:green", "tab:red", "tab:purple"), strict=True):
        value = sweep[f"flux_{band}"] * np.sqrt(sweep[f"flux_ivar_{band}"])
        value = value[value > 0]
        left.hist(np.log10(value), 50, histtype="step", color=colour, label=f"{band}, median {np.median(value):.0f}")
    left.set_xlabel("log S/N of the catalogue's flux")
    left.set_ylabel("galaxies")
    left.set_title("Images")
    left.legend(fontsize=8)
    spectral = labels["sn_median"]
    right.hist(spectral[np.isfinite(spectral)], np.arange(0, 62, 2), color="tab:blue", alpha=0.6)
    right.axvspan(5, 40, color="tab:green", alpha=0.12, label="5-40, what the survey promises")
    right.set_xlabel("median S/N a pixel in r")
    right.set_ylabel("spectra")
    right.set_title("Spectra (galSpec table)")
    right.legend(fontsize=8)
    save(figure, plots / "signal_to_noise.png")
    promised = (spectral >= 5) & (spectral <= 40)
    return [
        Check(
            "share of spectra with S/N 5-40", float(promised.mean()), 0.8, 0.0,
            "5-40 for most; some must lie below published cuts", len(spectral), side="above",
        ),
        Check(
            "median S/N of spectra", float(np.nanmedian(spectral)), 14.0, 6.0,
            "SDSS main sample: about 14 a pixel, Kauffmann et al. 2003, MNRAS 341, 33", len(spectral),
        ),
    ]  # fmt: skip
