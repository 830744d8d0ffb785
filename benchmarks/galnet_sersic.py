"""GaLNet, published and improved, with and without refinement, against least squares; one JSON line a case.

The stamps are simulated: one set for training (160,000, and as many again in tenths to validate and calibrate on),
and test stamps of other seeds at four S/N from that population, from two that are unlike it (large flat discs under a
sharp PSF and a noisier sky; small round spheroids under a broad PSF), and on the sky and with the stars of a real
frame, also calibrated there as `galbase galnet calibrate` does, on sky that no test stamp has. Targets: refined lg Re
NMAD at S/N 20 of at most 0.75 of least squares', at 50, 100 and 200 no more than its; on the unlike populations at
most 1.05 of it; without refinement a tenth of its CPU-seconds; at most 20 CPU-minutes to train. Where pyimfit is
installed (extra `imfit`), its fits stand beside ours. CPU-seconds are the process's, with one thread a task
(TF_NUM_INTRAOP_THREADS=1 and the like).

Resumable: models lie in the folder, and the lines of a seed, population and S/N that are in its ``results.jsonl`` are
not measured again with the same preset, modes, test seed and number of test stamps. A table over the seeds ends it.
The test stamps of ``--test-seed`` are the same for all seeds. Lines that were measured are kept in
``benchmarks/galnet_results.jsonl``, with those of galnet_bound.py, which tells how far below least squares any method
could come on such stamps; ``--table`` tells their table.

Example: python benchmarks/galnet_sersic.py --folder build/galnet --seeds 1 2 3
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np

from galbase.ml.sersic.files import load_galnet, save_galnet
from galbase.ml.sersic.imfit import fit_imfit, has_imfit
from galbase.ml.sersic.least_squares import fit_least_squares, reduced_chi2
from galbase.ml.sersic.measure import GalnetCalibration, calibrate_galnet, measure
from galbase.ml.sersic.model import StampModel
from galbase.ml.sersic.moments import within_bounds
from galbase.ml.sersic.training import TrainedGalnet, load_stamp_set, train_galnet
from galbase.ml.sersic.vector import LOG_N, LOG_RE, MAG, Instrument, natural, vectors_of_truth
from galbase.ml.stamps.background import BlankSky, SimulatedSky
from galbase.ml.stamps.frame import read_frame
from galbase.ml.stamps.parameters import SPLITS, StampParameters
from galbase.ml.stamps.psf import read_psfs
from galbase.ml.stamps.simulate import StampSource, calibrated, draw_block, simulate_stamps

TRAINING = StampParameters(snr=(10.0, 500.0), psf_fwhm_scatter_arcsec=0.2)
DISCS = replace(
    TRAINING, re_px=(6.0, 16.0), n=(0.5, 1.2), q=(0.2, 0.6), psf_fwhm_arcsec=0.9, psf_fwhm_scatter_arcsec=0.05,
    sky_sigma=0.0122, gain=3000.0,
)  # fmt: skip
SPHEROIDS = replace(
    TRAINING, re_px=(1.0, 3.0), n=(3.0, 6.0), q=(0.6, 1.0), psf_fwhm_arcsec=1.7, psf_fwhm_scatter_arcsec=0.05
)
SNR = (20, 50, 100, 200)
UNLIKE = {"large discs": DISCS, "small spheroids": SPHEROIDS}
# The frame: which of its sky is for tests, electrons in a nanomaggy, and stamps simulated to calibrate on.
SKY_SEED, FRAME_GAIN, N_FRAME = 5, 925.0, 14_000
# Stamps that fits are timed on in each run, and those that Imfit, which takes 0.3 to 2 s a stamp, fits at all.
N_TIMED, N_TIMED_IMFIT, N_IMFIT = 100, 10, 300
MEASURED = Path(__file__).with_name("galnet_results.jsonl")
LEVELS = {"68": ("q16", "q84", 1.0), "90": ("q05", "q95", 1.6449), "95": ("q025", "q975", 1.96)}


def say(case: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"case": case, **values}) + "\n")
    sys.stdout.flush()


def settings(args: argparse.Namespace) -> dict[str, object]:
    """What lines must have in common to be of one table."""
    return {"preset": args.preset, "modes": args.modes, "test_seed": args.test_seed, "stamps": args.test_size}


def tell_table(lines: list[dict[str, object]]) -> None:
    """Ratios to least squares over the seeds, a line a method, population and S/N, beside their targets."""
    cases: dict[tuple[str, str, float], list[dict]] = defaultdict(list)
    for line in lines:
        if line["case"] == "bound":
            say("table: bound", **{name: value for name, value in line.items() if name != "case"})
            continue
        cases[str(line["case"]), str(line["population"]), float(str(line["snr"]))].append(line)
    for (method, population, snr), found in sorted(cases.items()):
        if method in ("least squares", "mean"):
            continue
        ratios = np.array([each["ratio_to_least_squares"] for each in found])
        wanted = 1.05 if population in UNLIKE else 0.75 if snr == min(SNR) else 1.0
        say(
            f"table: {method}", population=population, snr=snr, n_seed=len(found), ratio=round(float(ratios.mean()), 3),
            spread=round(float(ratios.std()), 3), target_ratio=wanted if "refined" in method else None,
            cpu_ratio=round(float(np.mean([each["cpu_ratio"] for each in found])), 3),
            target_cpu_ratio=0.1 if method in ("as-published", "improved") else None,
            chi2_median=round(float(np.mean([each["chi2_median"] for each in found])), 4),
            coverage={
                name: round(float(np.mean([each["coverage"][name] for each in found])), 3)
                for name in found[0]["coverage"]
            },
        )  # fmt: skip


def nmad(miss: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(miss - np.median(miss))))


def trained_model(
    folder: Path, mode: str, seed: int, args: argparse.Namespace
) -> tuple[TrainedGalnet, GalnetCalibration]:
    """The model of a mode: read where it was trained before, trained on the folder's stamps otherwise."""
    place = folder / f"{mode}-{args.preset}-{seed}"
    if not (place / "galnet.json").exists():
        simulate_stamps(folder / "stamps", args.size, 1, parameters=TRAINING)
        data = load_stamp_set(folder / "stamps")
        trained = train_galnet(data, mode, args.preset, seed, args.epochs)
        before = process_time()
        calibration = calibrate_galnet(trained, data)
        trained.metrics["seconds"]["calibration_cpu"] = process_time() - before
        save_galnet(place, trained, calibration)
    trained, calibration = load_galnet(place)
    metrics = trained.metrics
    say(
        f"train {mode}", preset=args.preset, seed=seed, stamps=metrics["n"], epochs=metrics["training"]["epochs"],
        parameters=metrics["n_parameter"],
        cpu_minutes=round((metrics["seconds"]["cpu"] + metrics["seconds"]["calibration_cpu"]) / 60, 1),
        target_cpu_minutes=20,
        loss=round(metrics["history"]["loss"][-1], 5), validation_loss=round(metrics["history"]["val_loss"][-1], 5),
        covariance_scale=round(calibration.scale, 3), weight=calibration.weight,
    )  # fmt: skip
    return trained, calibration


def on_the_frame(background: Path) -> StampParameters:
    """The training's population as the frame's camera sees it."""
    return calibrated(replace(TRAINING, gain=FRAME_GAIN), [read_frame(background)])


def calibrated_there(
    folder: Path, mode: str, seed: int, trained: TrainedGalnet, args: argparse.Namespace
) -> tuple[TrainedGalnet, GalnetCalibration]:
    """A model with a calibration on stamps of the frame's sky and stars."""
    frame = args.background
    place = folder / f"{mode}-{args.preset}-{seed}-{frame.stem}"
    if not (place / "galnet.json").exists():
        stamps = folder / f"stamps-{frame.stem}"
        simulate_stamps(stamps, N_FRAME, SKY_SEED, parameters=on_the_frame(frame), backgrounds=[frame], psf=frame)
        save_galnet(place, trained, calibrate_galnet(trained, load_stamp_set(stamps)))
    return load_galnet(place)


def test_stamps(parameters: StampParameters, snr: float, size: int, background: Path | None, seed: int) -> tuple:
    """Stamps of one S/N of a seed that no training has; of a frame only those on its test split's sky."""
    parameters = replace(parameters, snr=(snr, snr))
    psfs = None
    if background is None:
        sky = SimulatedSky(parameters)
    else:
        parameters = replace(on_the_frame(background), snr=(snr, snr))
        sky, psfs = BlankSky([read_frame(background)], SKY_SEED), read_psfs(background)
    source = StampSource(parameters, sky, psfs, seed + round(snr))
    images, stars, columns, number, count = [], [], [], 0, 0
    while count < size:
        block = draw_block(source, number)
        rows = np.ones(len(block), bool) if psfs is None else block.origin["split"] == SPLITS.index("test")
        images.append(block.image[rows])
        stars.append(block.psf[rows])
        columns.append({name: value[rows] for name, value in block.truth.items()})
        number, count = number + 1, count + int(rows.sum())
    truth = {name: np.concatenate([each[name] for each in columns])[:size] for name in columns[0]}
    instrument = Instrument(parameters.zero_point, parameters.pixel_scale_arcsec, parameters.gain)
    return np.concatenate(images)[:size], np.concatenate(stars)[:size], truth, instrument


def scores(vector: np.ndarray, truth: np.ndarray, instrument: Instrument, sigma: np.ndarray) -> dict[str, float]:
    """Spreads, outliers and R2 of some vectors."""
    miss = vector - truth
    found, true = natural(vector, sigma, instrument), natural(truth, sigma, instrument)
    deviation = float(((truth[:, LOG_RE] - truth[:, LOG_RE].mean()) ** 2).sum())
    return {
        "lg_re_nmad": nmad(miss[:, LOG_RE]),
        "lg_re_bias": float(np.median(miss[:, LOG_RE])),
        "mag_nmad": nmad(miss[:, MAG]),
        "lg_n_nmad": nmad(miss[:, LOG_N]),
        "q_nmad": nmad(found["q"] - true["q"]),
        "re_outliers": float((np.abs(found["re_arcsec"] / true["re_arcsec"] - 1) > 0.15).mean()),
        "lg_re_r2": 1 - float((miss[:, LOG_RE] ** 2).sum()) / deviation,
    }


def ratio(one: np.ndarray, other: np.ndarray) -> tuple[float, list[float]]:
    """Ratio of two spreads over the same stamps, and its 90 % interval by bootstrap."""
    rng = np.random.default_rng(1)
    drawn = [nmad(one[rows]) / nmad(other[rows]) for rows in rng.integers(len(one), size=(300, len(one)))]
    return nmad(one) / nmad(other), [round(float(each), 3) for each in np.quantile(drawn, (0.05, 0.95))]


def kept_fits(
    kept: Path, fit: Callable[[int], dict[str, np.ndarray]], size: int, timed: int
) -> tuple[dict[str, np.ndarray], float]:
    """What `fit` finds for that many stamps, and its CPU-seconds a stamp.

    Fits of the same stamps are kept from seed to seed; what they cost is measured in every run, on the first `timed`.
    """
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        unfinished = kept.with_suffix(".part.npz")
        np.savez(unfinished, **fit(size))
        unfinished.replace(kept)
    with np.load(kept) as known:
        values = dict(known)
    timed = min(timed, size)
    before = process_time()
    fit(timed)
    return values, (process_time() - before) / timed


def compare(
    population: str, parameters: StampParameters, snr: float, seed: int, models: dict, args: argparse.Namespace
) -> list[dict[str, object]]:
    """Lines of all methods on the same stamps."""
    background = args.background if population == "real sky" else None
    image, psf, column, instrument = test_stamps(parameters, snr, args.test_size, background, args.test_seed)
    sigma = column["sky_sigma"]
    truth = vectors_of_truth(column, instrument)
    stamps = [(i.astype(float) / s, p, instrument.gain * s) for i, p, s in zip(image, psf, sigma, strict=True)]

    def by_least_squares(first: int) -> dict[str, np.ndarray]:
        found = [fit_least_squares(*each) for each in stamps[:first]]
        return {
            "vector": np.array([each.vector for each in found]),
            "width": np.array([np.sqrt(each.covariance[LOG_RE, LOG_RE]) for each in found]),
            "chi2": np.array([each.chi2_reduced for each in found]),
        }

    def by_imfit(first: int) -> dict[str, np.ndarray]:
        vector = np.array([fit_imfit(*each) for each in stamps[:first]])
        chi2 = [
            reduced_chi2(stamp, StampModel(star).draw(within_bounds(found)), electrons)
            for found, (stamp, star, electrons) in zip(vector, stamps[:first], strict=True)
        ]
        return {"vector": vector, "chi2": np.array(chi2)}

    frame = f"-{background.stem}" if background else ""
    kept = f"{population}{frame}-{snr}-{args.test_seed}-{args.test_size}.npz"
    fits, cpu = kept_fits(args.folder / "least-squares" / kept, by_least_squares, len(stamps), N_TIMED)
    base, width = fits["vector"], fits["width"]
    inside = np.abs(base - truth)[:, LOG_RE] / width
    head = {"population": population, "snr": snr, "seed": seed, **settings(args)}
    lines: list[dict[str, object]] = []

    def tell(method: str, vector: np.ndarray, cpu_s: float, chi2: np.ndarray, coverage: dict[str, float]) -> None:
        n = len(vector)
        part, bounds = ratio((vector - truth[:n])[:, LOG_RE], (base - truth)[:n, LOG_RE])
        lines.append({
            "case": method, **head, "measured": n,
            **{name: round(v, 4) for name, v in scores(vector, truth[:n], instrument, sigma[:n]).items()},
            "ratio_to_least_squares": round(part, 3), "ratio_interval_90": bounds,
            "chi2_median": round(float(np.median(chi2)), 4), "chi2_mean": round(float(np.mean(chi2)), 4),
            "cpu_ms": round(1e3 * cpu_s, 3), "cpu_ratio": round(cpu_s / cpu, 3), "coverage": coverage,
        })  # fmt: skip

    tell(
        "least squares", base, cpu, fits["chi2"],
        {name: round(float((inside < z).mean()), 3) for name, (_, _, z) in LEVELS.items()},
    )  # fmt: skip
    if has_imfit():
        fits, cpu_s = kept_fits(args.folder / "imfit" / kept, by_imfit, min(N_IMFIT, len(stamps)), N_TIMED_IMFIT)
        tell("imfit", fits["vector"], cpu_s, fits["chi2"], {})
    for method, (trained, calibration, refinement) in models.items():
        before = process_time()
        found = measure(trained, calibration, image, psf, sigma, instrument, refinement=refinement, with_chi2=False)
        cpu_s = (process_time() - before) / len(image)
        chi2 = found.chi2_reduced
        if not refinement:
            chi2 = measure(trained, calibration, image, psf, sigma, instrument, refinement=False).chi2_reduced
        true, quantile = truth[:, LOG_RE], {name: value[:, LOG_RE] for name, value in found.quantiles.items()}
        coverage = {
            name: round(float(((quantile[low] <= true) & (true <= quantile[high])).mean()), 3)
            for name, (low, high, _) in LEVELS.items()
        }
        tell(method, found.vector, cpu_s, chi2, coverage)
    mean = np.zeros_like(truth) + models["improved"][0].metrics["label_mean"]
    of_mean = {name: round(v, 4) for name, v in scores(mean, truth, instrument, sigma).items()}
    return [*lines, {"case": "mean", **head, **of_mean}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/galnet"), help="stamps and models, kept")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--test-seed", type=int, default=77_000)
    parser.add_argument("--size", type=int, default=200_000, help="stamps to train, validate and calibrate on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--test-size", type=int, default=3000, help="stamps a population and S/N")
    parser.add_argument("--background", type=Path, help="survey frame for real sky and stars")
    parser.add_argument("--modes", nargs="+", default=["as-published", "improved"])
    parser.add_argument("--populations", nargs="+", help="some of: training, large discs, small spheroids, real sky")
    parser.add_argument("--table", action="store_true", help=f"tell what {MEASURED.name} holds, and run nothing")
    args = parser.parse_args()
    if args.table:
        tell_table([json.loads(line) for line in MEASURED.read_text().splitlines()])
        return
    populations = {"training": TRAINING, **UNLIKE}
    if args.background:
        populations["real sky"] = TRAINING
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    known = [line for line in lines if all(line.get(name) == value for name, value in settings(args).items())]
    done = {(line["seed"], line["population"], line["snr"]) for line in known}
    for seed in args.seeds:
        wanted = [
            (population, snr)
            for population in args.populations or populations
            for snr in SNR
            if (seed, population, snr) not in done
        ]
        models = {}
        for mode in args.modes if wanted else ():
            model = trained_model(args.folder, mode, seed, args)
            models[mode] = (*model, False)
            if mode == "improved":
                models["improved, refined"] = (*model, True)
        for population, snr in wanted:
            asked = models
            if population == "real sky":
                there = (*calibrated_there(args.folder, "improved", seed, models["improved"][0], args), True)
                asked = models | {"improved, calibrated there, refined": there}
            lines = compare(population, populations[population], snr, seed, asked, args)
            with results.open("a") as stream:
                stream.writelines(json.dumps(line) + "\n" for line in lines)
            for line in lines:
                sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            known += lines
    tell_table(known)


if __name__ == "__main__":
    main()
