"""Side by side with real data: SDSS spectra, Galaxy Zoo images and the SDSS main sample's colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import Check, NotInSurveyError
from galbase.ml.diagnostics.colours import R_LIMIT, dereddened
from galbase.ml.diagnostics.spectral import break_4000, draw_spectrum
from galbase.ml.diagnostics.stamps import colour_picture, show
from galbase.ml.diagnostics.survey import Spectrum, SurveyFiles, read_spectrum
from galbase.ml.plots.figure import new_figure, save
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]

_N_IMAGE = 24
# images of Galaxy Zoo are this many half-light radii wide: 424 px of 0.04 R50
_RADII_WIDE = 17.0


class RealData:
    """Real files under a folder, found by kind.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    GalbaseError
        If there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise GalbaseError(f"{folder} is not a folder; --real needs one with SDSS spectra or images.")
        self.folder = folder

    def spectra(self) -> list[Spectrum]:
        """SDSS spectra, narrow-line galaxies alone."""
        paths = sorted(self.folder.rglob("spec-*.fits"))
        if not paths:
            raise NotInSurveyError(f"no spec-*.fits under {self.folder}")
        return [read_spectrum(path) for path in paths]

    def images(self) -> list[Path]:
        """Legacy Survey colour images; of Galaxy Zoo's first question, smooth or featured, not a star or artefact."""
        paths = sorted(path for path in self.folder.rglob("decals-0_a-*.jpg") if "a-2" not in path.name)
        paths += sorted(self.folder.rglob("galaxy_zoo_decals/*.png"))
        if not paths:
            raise NotInSurveyError(
                f"no Legacy Survey colour images (decals*.jpg, galaxy_zoo_decals/) under {self.folder}"
            )
        return paths

    def main_sample(self) -> dict[str, FloatArray]:
        """Redshifts and dereddened ugriz of the SDSS main sample."""
        import pyarrow.parquet as pq

        found = sorted(self.folder.rglob("sdss_mgs_photoz.parquet"))
        if not found:
            raise NotInSurveyError(f"no sdss_mgs_photoz.parquet under {self.folder}")
        table = pq.read_table(found[0], columns=["zs", "g", "r", "i", "z"])
        return {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}


def real_spectra(survey: SurveyFiles, real: RealData, plots: Path) -> list[Check]:
    """Each real spectrum beside the simulated one nearest in redshift and break; resolution, noise, line widths."""
    seen = [s for s in real.spectra() if np.isfinite(break_4000(s.rest, s.flux, s.ivar > 0))]
    if not seen:
        raise NotInSurveyError(f"no spectrum under {real.folder} covers the 4000 A break")
    simulated = survey.spectra
    simulated = [s for s in simulated if s.signal_to_noise > 8] or simulated
    feature = np.array([[s.z / 0.05, break_4000(s.rest, s.model) / 0.1] for s in simulated])
    figure, grid = new_figure(14, 2.5 * len(seen), len(seen), 2, squeeze=False)
    for axes, s in zip(grid, seen, strict=True):
        own = np.array([s.z / 0.05, break_4000(s.rest, s.flux, s.ivar > 0) / 0.1])
        twin = simulated[int(np.nanargmin(((feature - own) ** 2).sum(axis=1)))]
        for one, place, kind in ((s, axes[0], "real"), (twin, axes[1], "simulated")):
            value = break_4000(one.rest, one.flux, one.ivar > 0)
            draw_spectrum(
                place, one, f"{kind}: {one.name}  z {one.z:.3f}  D4000n {value:.2f}  S/N {one.signal_to_noise:.0f}"
            )
        axes[0].set_ylabel("flux [1e-17 erg/s/cm2/A]", fontsize=7)
    for place in grid[-1]:
        place.set_xlabel("rest wavelength, vacuum [A]")
    figure.suptitle("Real and simulated spectra: flux (grey), model (red), quoted noise (blue)")
    save(figure, plots / "real_spectra.png")

    real_shape, sim_shape = _noise_shape(seen), _noise_shape(simulated)
    wave = _NOISE_WAVE
    figure, (left, right) = new_figure(11, 4.5, 1, 2)
    left.plot(wave, real_shape, "o-", label=f"real, {len(seen)} spectra")
    left.plot(wave, sim_shape, "s-", label=f"simulated, {len(simulated)} spectra")
    left.set_yscale("log")
    left.set_xlabel("observed wavelength [A]")
    left.set_ylabel("noise over that at 6000-6500 A (median)")
    left.legend(fontsize=8)
    real_width, sim_width = _line_widths(seen), _line_widths(simulated)
    right.hist(sim_width, np.arange(0, 420, 20), density=True, alpha=0.6, label="simulated SPZLINE, median "
               f"{np.median(sim_width) if len(sim_width) else np.nan:.0f} km/s")  # fmt: skip
    for k, width in enumerate(real_width):
        right.axvline(width, color="tab:red", linewidth=1, label="real" if k == 0 else None)
    right.set_xlabel("fitted width of emission lines, sigma [km/s]")
    right.set_ylabel("density")
    right.legend(fontsize=8)
    save(figure, plots / "real_noise_and_widths.png")
    dispersion = [float(np.nanmedian(np.concatenate([s.wdisp for s in group]))) for group in (seen, simulated)]
    apart = np.log10(sim_shape / real_shape)
    checks = [
        Check("spectral resolution wdisp, simulated minus real [px]", dispersion[1] - dispersion[0], 0.0, 0.3,
              "the real spectra given", len(simulated)),
        Check("log noise shape, simulated over real, largest [dex]", float(apart[np.argmax(np.abs(apart))]), 0.0, 0.25,
              "the real spectra given", len(simulated)),
    ]  # fmt: skip
    if len(real_width) >= 3 and len(sim_width) >= 3:
        ratio = float(np.median(sim_width) / np.median(real_width))
        checks.append(
            Check(
                "emission line width, simulated over real", ratio, 1.0, 0.4, "the real spectra given", len(real_width)
            )
        )
    return checks


_NOISE_WAVE = np.array([3900.0, 4200, 4600, 5000, 5400, 5800, 6250, 6700, 7100, 7500, 7900, 8300, 8700, 9050])


def _noise_shape(spectra: list[Spectrum]) -> FloatArray:
    """Median over spectra of the noise in windows of 200 A over that at 6000-6500 A."""
    rows = []
    for s in spectra:
        good = s.ivar > 0
        sigma = np.where(good, np.where(good, s.ivar, 1.0) ** -0.5, np.nan)
        level = np.nanmedian(sigma[(s.wave > 6000) & (s.wave < 6500)])
        row = [
            float(np.median(inside)) if len(inside := sigma[good & (np.abs(s.wave - w) < 100)]) > 20 else np.nan
            for w in _NOISE_WAVE
        ]
        rows.append(np.array(row) / level)
    shape: FloatArray = np.nanmedian(np.array(rows), axis=0)
    return shape


def _line_widths(spectra: list[Spectrum]) -> FloatArray:
    """SPZLINE widths of Halpha where it is detected at 10 sigma and not broad [km/s]."""
    found = [s.lines["H_alpha"] for s in spectra if "H_alpha" in s.lines]
    return np.array([sigma for area, sigma, error, _ in found if error > 0 and area > 10 * error and 20 < sigma < 400])


def real_images(survey: SurveyFiles, real: RealData, plots: Path) -> list[Check]:
    """Real Legacy Survey galaxies above, simulated ones below, framed alike by their radii and stretched alike."""
    from PIL import Image

    paths = real.images()
    chosen = [paths[k] for k in np.linspace(0, len(paths) - 1, min(_N_IMAGE, len(paths))).astype(int)]
    truth = survey.truth
    radius = truth["half_light_arcsec"]
    bright = np.flatnonzero((radius > 1.2) & (radius < 2.3) & (truth["flux_r"] > 10 ** (0.4 * (22.5 - 17.2))))
    if len(bright) < _N_IMAGE:
        raise NotInSurveyError(f"{len(bright)} bright resolved galaxies for a montage beside real ones; simulate more")
    rows = bright[np.linspace(0, len(bright) - 1, _N_IMAGE).astype(int)]
    scale = float(survey.record.get("parameters", {}).get("pixel_scale_arcsec", 0.262))
    pictures = {}
    for row, image in survey.stamps(rows):
        half = min(image.shape[-1] // 2, max(12, round(_RADII_WIDE / 2 * radius[row] / scale)))
        middle = image.shape[-1] // 2
        window = slice(middle - half, middle + half)
        pictures[row] = colour_picture(image[:, window, window])
    figure, grid = new_figure(14, 5.2, 4, 12)
    for axes in grid.flat:
        axes.axis("off")
    for axes, path in zip(grid[:2].flat, chosen, strict=False):
        with Image.open(path) as picture:
            show(axes, np.asarray(picture.convert("RGB").resize((160, 160)), dtype=np.float32) / 255)
        axes.axis("on")
    for axes, row in zip(grid[2:].flat, rows, strict=True):
        axes.axis("on")
        show(axes, pictures[row], "tab:orange" if bool(truth.raw("blended")[row]) else None)
    figure.suptitle(
        "Above: real Legacy Survey galaxies, in Galaxy Zoo's stretch, weaker in colour. Below: simulated, "
        f"{_RADII_WIDE:g} half-light radii wide; orange: true blend",
        fontsize=10,
    )
    save(figure, plots / "real_images.png")
    return []


def real_colours(survey: SurveyFiles, real: RealData, plots: Path) -> list[Check]:
    """Colours and redshifts of the SDSS main sample beside the survey's."""
    sample = real.main_sample()
    truth = survey.truth
    if "sdss_flux_g" in truth:
        # truth fluxes are behind Galactic dust; Schlafly & Finkbeiner 2011, table 6, SDSS filters
        factor = {"g": 3.303, "r": 2.285, "i": 1.698}
        with np.errstate(divide="ignore", invalid="ignore"):
            mag = {b: 22.5 - 2.5 * np.log10(truth[f"sdss_flux_{b}"]) - k * truth["ebv"] for b, k in factor.items()}
        filters = "SDSS filters"
    else:
        legacy = dereddened(survey)
        mag = {"g": legacy["g"], "r": legacy["r"]}
        filters = "DECam filters (g-r differs by 0.03 mag)"
    z = truth["z"]
    ours, theirs = mag["r"] < R_LIMIT, (sample["r"] < R_LIMIT) & (sample["r"] > 13.5)
    colours = [("g", "r")] + ([("r", "i")] if "i" in mag else [])
    slices = ((0.03, 0.07), (0.08, 0.12), (0.13, 0.18))
    figure, grid = new_figure(13, 4 * len(colours), len(colours), 3, squeeze=False)
    checks = []
    for row, (blue, red) in enumerate(colours):
        edges = np.arange(0, 1.4, 0.04) if blue == "g" else np.arange(-0.1, 0.8, 0.02)
        for axes, (low, high) in zip(grid[row], slices, strict=True):
            a = (mag[blue] - mag[red])[ours & (z > low) & (z < high)]
            inside = theirs & (sample["zs"] > low) & (sample["zs"] < high)
            b = (sample[blue] - sample[red])[inside]
            axes.hist(b, edges, density=True, color="0.6", label=f"SDSS main sample, n = {len(b)}")
            axes.hist(a, edges, density=True, histtype="step", color="tab:red", label=f"survey, n = {len(a)}")
            axes.set_title(f"{low:g} < z < {high:g}", fontsize=10)
            axes.set_xlabel(f"{blue} - {red} [AB mag]")
            axes.legend(fontsize=7, loc="upper left")
            if len(a) < 50 or len(b) < 50:
                continue
            name = f"{blue}-{red} at z {low:g}-{high:g}"
            reference = "the SDSS main sample given"
            for q, what, tolerance in ((0.5, "median", 0.05), (0.9, "90 %", 0.04), (0.1, "10 %", 0.10)):
                apart = float(np.quantile(a, q) - np.quantile(b, q))
                error = 2 * float(np.hypot(_quantile_error(a, q), _quantile_error(b, q)))
                checks.append(
                    Check(f"{name}, {what}, minus real [mag]", apart, 0.0, tolerance + error, reference, len(a))
                )
        grid[row, 0].set_ylabel("density")
    figure.suptitle(f"Colours without Galactic dust, r < {R_LIMIT}; survey in {filters}")
    save(figure, plots / "real_colours.png")
    return checks


def _quantile_error(values: FloatArray, q: float) -> float:
    """Standard error of a quantile, by the density of the values about it."""
    low, high = np.quantile(values, [q - 0.03, q + 0.03])
    return float(np.sqrt(q * (1 - q) / len(values)) * (high - low) / 0.06)
