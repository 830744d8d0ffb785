"""Images: a montage by mass and star formation, and whether noise and light are what the catalogue says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galbase.ingest.preprocess.stretch import dr2_rgb
from galbase.ml.diagnostics.check import Check, enough
from galbase.ml.diagnostics.survey import SurveyFiles
from galbase.ml.plots.figure import new_figure, save

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ROWS, _COLUMNS = 8, 12
_N_MEASURED = 250
_BANDS = {"legacysurvey": ("g", "r", "z"), "sdss": ("g", "r", "i")}
# the stretch is made for pixels of 0.262 arcsec; SDSS ones of 0.396 hold more light
_PIXEL_LIGHT = {"legacysurvey": 1.0, "sdss": (0.262 / 0.396) ** 2}


def colour_picture(image: NDArray[np.float32], bands: tuple[str, ...] = ("g", "r", "z")) -> NDArray[np.float32]:
    """Display colours of one stamp (n_band, ny, nx), north up, as the Legacy Survey viewer stretches them."""
    picture: NDArray[np.float32] = dr2_rgb(np.moveaxis(image, 0, -1), bands)
    return picture[::-1]


def montage_rows(survey: SurveyFiles) -> IntArray:
    """(8, 12) rows of the truth: mass rises to the right, star formation upwards; bright galaxies of each cell."""
    truth = survey.truth
    mass, ssfr, flux = truth["log_mstar_tot"], truth["log_ssfr_tot"], truth["flux_r"]
    enough("montage of stamps", len(mass), 4 * _ROWS * _COLUMNS)
    chosen = np.empty((_ROWS, _COLUMNS), np.int64)
    for column, part in enumerate(np.array_split(np.argsort(mass, kind="stable"), _COLUMNS)):
        by_ssfr = part[np.argsort(-ssfr[part], kind="stable")]
        for row, cell in enumerate(np.array_split(by_ssfr, _ROWS)):
            # a well seen one, but not the brightest: that is an exception
            ranked = cell[np.argsort(-flux[cell], kind="stable")]
            chosen[row, column] = ranked[len(ranked) // 5]
    return chosen


def montage(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Stamps in colour sorted by mass and star formation, true blends framed."""
    rows = montage_rows(survey)
    truth = survey.truth
    surveys = [name for name in _BANDS if (survey.folder / name).is_dir() and any((survey.folder / name).rglob("*.h5"))]
    for name in surveys or ["legacysurvey"]:
        images = {
            row: colour_picture(_PIXEL_LIGHT[name] * image, _BANDS[name])
            for row, image in survey.stamps(rows.ravel(), name)
        }
        figure, grid = new_figure(_COLUMNS * 1.15, _ROWS * 1.3, _ROWS, _COLUMNS)
        for axes, row in zip(grid.flat, rows.ravel().tolist(), strict=True):
            blended = bool(truth.raw("blended")[row])
            show(axes, images[row], "tab:orange" if blended else None)
            axes.set_title(
                f"{truth['log_mstar_tot'][row]:.1f}  {truth['log_ssfr_tot'][row]:.1f}  z {truth['z'][row]:.2f}",
                fontsize=6, pad=2,
            )  # fmt: skip
        figure.suptitle(
            f"{name} {''.join(_BANDS[name])}: log M* rises to the right, log sSFR upwards; orange frame: true blend",
            fontsize=10,
        )
        save(figure, plots / f"montage_{name}.png")
    return []


def show(axes: Any, picture: NDArray[Any], frame: str | None = None) -> None:
    """One picture without ticks, framed in a colour."""
    axes.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set_color(frame or "none")
        spine.set_linewidth(2)


def image_noise(survey: SurveyFiles, plots: Path) -> list[Check]:
    """Noise of the stamps against the catalogue's depth, and their light against the catalogue's flux."""
    truth, sweep, to_sweep = survey.truth, survey.sweep, survey.sweep_of_truth
    alone = ~truth.raw("blended").astype(bool)
    small = np.flatnonzero(alone & (truth["half_light_arcsec"] < 2.5) & (truth["flux_r"] > 10 ** (0.4 * (22.5 - 17.8))))
    enough("noise and light of stamps, small isolated galaxies", len(small), 30)
    rows = small[np.unique(np.linspace(0, len(small) - 1, min(_N_MEASURED, len(small))).astype(int))]
    scale = float(survey.record.get("parameters", {}).get("pixel_scale_arcsec", 0.262))
    noise, light, used = [], [], []
    for row, image in survey.stamps(rows):
        band = np.asarray(image[1], dtype=np.float64)
        size = band.shape[-1]
        y, x = np.indices(band.shape) - (size - 1) / 2
        radius = np.hypot(x, y)
        ring = band[radius > 0.35 * size]
        ring = ring[np.abs(ring - np.median(ring)) < 5 * 1.4826 * np.median(np.abs(ring - np.median(ring)))]
        noise.append(1.4826 * float(np.median(np.abs(ring - np.median(ring)))))
        aperture = 7.0 / scale
        light.append(float((band[radius < aperture] - np.median(ring)).sum()))
        used.append(row)
    seen = np.array(used)
    flux = truth["flux_r"][seen]
    fwhm, depth = sweep["psfsize_r"][to_sweep[seen]], sweep["psfdepth_r"][to_sweep[seen]]
    # noise-equivalent area of the PSF, a Moffat's: pi a^2 (2 beta - 1) / (beta - 1)^2
    beta = float(survey.record.get("parameters", {}).get("psf_beta", 3.5))
    area = np.pi * (2 * beta - 1) / (beta - 1) ** 2 * (fwhm / scale) ** 2 / (4 * (2 ** (1 / beta) - 1))
    implied = np.array(noise) * np.sqrt(area * depth)
    ratio = np.array(light) / flux
    figure, (left, right) = new_figure(11, 4.5, 1, 2)
    left.hist(implied, 40, color="tab:blue", alpha=0.6)
    left.axvline(1, color="tab:red")
    left.set_xlabel("stamps' pixel noise over that of the catalogue's psfdepth_r")
    left.set_ylabel("stamps")
    right.plot(22.5 - 2.5 * np.log10(flux), ratio, ".", markersize=4)
    right.axhline(1, color="tab:red", linewidth=1)
    right.set_ylim(0.6, 1.6)
    right.set_xlabel("r (true) [AB mag]")
    right.set_ylabel("light within 7 arcsec over true flux")
    save(figure, plots / "image_noise.png")
    n = len(seen)
    return [
        Check("pixel noise over that of psfdepth_r, median", float(np.median(implied)), 0.9, 0.1,
              "resampled coadds keep 0.8-1.0 of the noise in single pixels", n),
        Check("light within 7 arcsec over true flux, median", float(np.median(ratio)), 0.98, 0.05,
              "the files' own truth; 2-3 % lie outside", n),
    ]  # fmt: skip
