"""Ages and metallicities by pPXF against the simulated survey's truth: bias, scatter, quoted errors, CPU-seconds.

One JSON line a case; the peer is the mean of the truth, whose scatter is what knowing nothing costs. With our own grid
the stars are made of the templates they are fitted with, so that scatter is noise and degeneracy alone; `--templates`
names others (as of `galbase labels fit`), which adds what populations differ by. `--real FOLDER` fits SDSS spectra and
prints a line each.

    python benchmarks/ppxf_labels.py --templates mastar_ssp_v1.0.npz --wavelengths vacuum --fwhm 2.8
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from galbase.ingest.preprocess.spectrum import SpectrumPixels, read_spectrum_rows
from galbase.ml.labels.fit import SpectrumFit, fit_spectrum
from galbase.ml.labels.log_spectrum import FitError
from galbase.ml.labels.options import FitOptions
from galbase.ml.labels.templates import TemplateSet, own_templates, read_templates
from galbase.ml.simulate.survey import simulate

BINS = ((0.0, 8.0), (8.0, 12.0), (12.0, 20.0), (20.0, np.inf))
Star = dict[str, Any]


def report(case: str, **values: Any) -> None:
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def read(path: Path) -> tuple[SpectrumPixels, Star]:
    with fits.open(path) as hdus:
        row = hdus["SPECOBJ"].data[0]
        names = ("SPECOBJID", "Z", "ZWARNING", "SN_MEDIAN_ALL", "CLASS")
        head = {name.lower(): row[name] for name in names}
    return read_spectrum_rows(path, "sdss-spec", [0], 3790.0)[0], head


def survey(folder: Path, n: int, seed: int) -> list[tuple[SpectrumPixels, Star]]:
    """Spectra without a redshift warning, with the truth of each."""
    simulate(folder, max(2 * n, 200), seed, n_spectra=n, surveys=("sdss",))
    truth = {int(row["specobjid"]): row for row in fits.getdata(folder / "truth.fits")}
    found = [read(path) for path in sorted((folder / "sdss" / "spectra").glob("*.fits"))]
    return [
        (pixels, head | {name: float(truth[int(head["specobjid"])][f"{name}_fib"]) for name in ("log_age", "mh")})
        for pixels, head in found
        if not head["zwarning"]
    ]


def run(
    sample: list[tuple[SpectrumPixels, Star]], templates: TemplateSet, options: FitOptions
) -> tuple[list[tuple[SpectrumFit, Star]], float]:
    """Fits, and CPU-seconds a spectrum."""
    fit_spectrum(sample[0][0], float(sample[0][1]["z"]), templates, replace(options, realisations=0, estimate="fit"))
    before = time.process_time()
    done = [
        (fit_spectrum(pixels, float(head["z"]), templates, options, (k,)), head)
        for k, (pixels, head) in enumerate(sample)
    ]
    return done, (time.process_time() - before) / len(sample)


def scores(done: list[tuple[SpectrumFit, Star]]) -> dict[str, Any]:
    values: dict[str, Any] = {"n": len(done)}
    for name in ("log_age", "mh"):
        off = np.array([getattr(fit, name) - head[name] for fit, head in done])
        truth = np.array([head[name] for _, head in done])
        values[f"{name}_bias"] = round(float(off.mean()), 3)
        values[f"{name}_scatter"] = round(float(off.std(ddof=1)), 3) if len(off) > 1 else None
        values[f"{name}_mean_predictor"] = round(float(truth.std(ddof=1)), 3) if len(off) > 1 else None
        errors = [getattr(fit, f"{name}_err") for fit, _ in done]
        if None not in errors:
            values[f"{name}_err"] = round(float(np.mean(errors)), 3)
            values[f"{name}_within_1err"] = round(float(np.mean(np.abs(off) < errors)), 2)
            values[f"{name}_within_2err"] = round(float(np.mean(np.abs(off) < 2 * np.array(errors))), 2)
    return values


def measure(case: str, sample: list[tuple[SpectrumPixels, Star]], templates: TemplateSet, options: FitOptions) -> None:
    done, seconds = run(sample, templates, options)
    report(case, templates=templates.name, cpu_s_a_spectrum=round(seconds, 3), **scores(done))
    for low, high in BINS:
        inside = [each for each in done if low <= each[1]["sn_median_all"] < high]
        if len(inside) > 1:
            label = f"S/N {low:g} to {high:g}" if np.isfinite(high) else f"S/N above {low:g}"
            report(f"{case}, {label}", templates=templates.name, **scores(inside))


def measure_kinematics(sample: list[tuple[SpectrumPixels, Star]], templates: TemplateSet, realisations: int) -> None:
    """Errors and time of realisations with kinematics held, against those with kinematics fitted anew."""
    options = FitOptions(realisations=realisations)
    held, held_seconds = run(sample, templates, options)
    anew, anew_seconds = run(sample, templates, replace(options, refit_kinematics=True))
    ratio = {
        f"{name}_err_ratio": round(
            float(np.mean([getattr(fit, f"{name}_err") for fit, _ in held]))
            / float(np.mean([getattr(fit, f"{name}_err") for fit, _ in anew])),
            3,
        )
        for name in ("log_age", "mh")
    }
    report(
        "realisations with kinematics held, over those with kinematics fitted anew", n=len(sample),
        realisations=realisations, cpu_ratio=round(held_seconds / anew_seconds, 3), **ratio,
    )  # fmt: skip


def measure_real(folder: Path, sets: list[TemplateSet], realisations: int) -> None:
    for path in sorted(folder.rglob("spec-*.fits")):
        pixels, head = read(path)
        for templates in sets:
            place = {"file": path.name, "templates": templates.name, "z": round(float(head["z"]), 4)}
            place |= {"class": str(head["class"]).strip(), "z_warning": int(head["zwarning"])}
            place["sn"] = round(float(head["sn_median_all"]), 1)
            try:
                found = fit_spectrum(pixels, float(head["z"]), templates, FitOptions(realisations=realisations))
            except FitError as error:
                report("real spectrum", **place, reason=str(error))
                continue
            numbers = {k: None if v is None else round(v, 3) for k, v in asdict(found).items()}
            report("real spectrum", **place, **numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=80)
    parser.add_argument("--with-errors", type=int, default=16, help="spectra that are fitted with 100 realisations")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--templates", type=Path, action="append", default=[])
    parser.add_argument("--wavelengths", action="append", default=[], help="vacuum or air, one a --templates")
    parser.add_argument("--fwhm", type=float, action="append", default=[], help="A, one a --templates")
    parser.add_argument("--real", type=Path)
    arguments = parser.parse_args()
    named = zip(arguments.templates, arguments.wavelengths, arguments.fwhm, strict=True)
    others = [read_templates(path, medium, fwhm) for path, medium, fwhm in named]
    if arguments.real is not None:
        measure_real(arguments.real, others or [own_templates()], 20)
        return
    quick = FitOptions(realisations=0)
    with tempfile.TemporaryDirectory() as folder:
        sample = survey(Path(folder) / "sim", arguments.spectra, arguments.seed)
    own = own_templates()
    measure("no realisations", sample, own, quick)
    measure("no realisations, lines masked", sample, own, replace(quick, lines="mask"))
    measure("no realisations, polynomial", sample[: len(sample) // 2], own, replace(quick, continuum="polynomial"))
    for templates in others:
        measure("no realisations", sample, templates, quick)
    chosen = sample[: arguments.with_errors]
    measure("100 realisations", chosen, own, FitOptions())
    measure("20 realisations, their mean", sample, own, FitOptions(realisations=20, estimate="mean"))
    measure_kinematics(chosen[: max(2, len(chosen) // 2)], own, 30)


if __name__ == "__main__":
    main()
