"""Blends found and masks drawn on simulated stamps with truth, by method improved and as published; JSON lines.

``python benchmarks/preprocess_truth.py [--out FOLDER] [--seed SEED] [--option KEY=VALUE ...]``: 2,000 Legacy Survey
stamps of a simulated survey, on its own grid of separations and flux ratios. Positives are blends farther apart than
the PSF's FWHM with more than a tenth of the target's flux; negatives are stamps whose other sources lie outside the
target. With --out, roc.png shows both methods. Thresholds were tuned with seed 4242; the seed reported is another.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from truth_stamps import TruthStamps, make_truth_stamps

from galbase.ingest.preprocess.config import ImprovedConfig, PreprocessConfig, parse_options, preset
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.target import find_target
from galbase.ingest.preprocess.verdict import Verdict
from galbase.schema.flags import PreprocessFlag

N_STAMP = 2000
SEED = 20261121
FALSE_ALARMS = (0.05, 0.10, 0.15)
SEPARATION_EDGES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
RATIO_EDGES = (0.05, 0.1, 0.2, 0.4, 1.0)
BANDS, SCALE = ("g", "r", "z"), 0.262
BLEND = PreprocessFlag.BLENDED | PreprocessFlag.BLENDED_SECOND_CHECK
PUBLISHED = {
    "galeffnet": preset("galeffnet"),
    "galeffnet contours_of=regions": preset("galeffnet").with_options({"contours_of": "regions"}),
    "galeffnet_code": preset("galeffnet_code"),
}
Flags = npt.NDArray[np.bool_]


def report(case: str, **facts: object) -> None:
    line = {"benchmark": "preprocess_truth", "case": case, **facts}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def judge(stamps: TruthStamps, config: PreprocessConfig) -> tuple[list[Verdict], float]:
    """Verdicts on all stamps, and stamps a second of processor time."""
    preprocess_cutout(stamps.pixels[0], BANDS, SCALE, False, config)
    start = time.process_time()
    verdicts = [preprocess_cutout(pixels, BANDS, SCALE, False, config) for pixels in stamps.pixels]
    return verdicts, len(verdicts) / (time.process_time() - start)


def share(chosen: Flags, of: Flags) -> float:
    return round(float(chosen[of].mean()), 4)


def grid(stamps: TruthStamps, found: Flags) -> dict[str, dict[str, list[float | int]]]:
    """Recall and number of blends by separation (FWHM) and flux ratio."""
    table: dict[str, dict[str, list[float | int]]] = {}
    for low, high in pairwise(SEPARATION_EDGES):
        row = table.setdefault(f"separation {low}-{high}", {})
        for least, most in pairwise(RATIO_EDGES):
            inside = stamps.blended & (stamps.separation_fwhm >= low) & (stamps.separation_fwhm < high)
            inside &= (stamps.flux_ratio >= least) & (stamps.flux_ratio < most)
            row[f"ratio {least}-{most}"] = [share(found, inside), int(inside.sum())]
    return table


def report_published(name: str, config: PreprocessConfig, stamps: TruthStamps) -> tuple[float, float]:
    """The published verdict's false-alarm rate and recall; a lost target is no blend found."""
    verdicts, speed = judge(stamps, config)
    found = np.array([bool(v.flag & BLEND) for v in verdicts])
    lost = np.array([v.stamp is None for v in verdicts])
    rate, recall = share(found, stamps.negative), share(found, stamps.positive)
    report(
        name, false_alarm_rate=rate, recall=recall, target_lost=round(float(lost.mean()), 4),
        found_or_lost={"false_alarm_rate": share(found | lost, stamps.negative),
                       "recall": share(found | lost, stamps.positive)},
        recall_all_blends=share(found, stamps.blended), stamps_per_cpu_second=round(speed, 1), grid=grid(stamps, found),
    )  # fmt: skip
    return rate, recall


def report_masks(stamps: TruthStamps, config: ImprovedConfig) -> None:
    """Noise-free light inside mask and stamp: of the target, and of others over it."""
    n, side = stamps.target.shape[0], stamps.target.shape[1]
    edge = (side - config.stamp_px) // 2
    inner = slice(edge, edge + config.stamp_px)
    own, other, stamp_only = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        found = find_target(stamps.pixels[i], BANDS, False, config)
        total = stamps.target[i].sum(dtype=float)
        stamp_only[i] = stamps.target[i, inner, inner].sum(dtype=float) / total
        if found.mask is not None:
            mask = found.mask[inner, inner]
            own[i] = stamps.target[i, inner, inner][mask].sum(dtype=float) / total
            other[i] = stamps.others[i, inner, inner][mask].sum(dtype=float) / total
    alone = ~stamps.blended
    for case, chosen in (("unblended", alone), ("others outside the target", stamps.negative), ("blended", ~alone)):
        report(
            f"improved, mask: {case}", n=int(chosen.sum()), target_at_least_95_percent=share(own >= 0.95, chosen),
            stamp_alone_at_least_95_percent=share(stamp_only >= 0.95, chosen),
            interlopers_below_3_percent=share(other < 0.03, chosen),
            target_inside_5_percent_quantile=round(float(np.quantile(own[chosen], 0.05)), 4),
        )  # fmt: skip


def roc(score: npt.NDArray[np.float64], stamps: TruthStamps) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """False-alarm rate and recall at every threshold, from strict to loose."""
    limits = np.sort(score)[::-1]
    negative, positive = np.sort(score[stamps.negative]), np.sort(score[stamps.positive])
    rate = 1 - np.searchsorted(negative, limits, side="left") / len(negative)
    recall = 1 - np.searchsorted(positive, limits, side="left") / len(positive)
    return rate, recall


def draw(path: Path, curve: tuple[npt.NDArray[np.float64], ...], points: dict[str, tuple[float, float]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    axes.plot(*curve, label="improved, blend score")
    for marker, (name, point) in zip("os^D", points.items(), strict=False):
        axes.plot(*point, marker, label=name)
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.axvline(0.15, color="0.6", linestyle=":", label="target: recall 0.80 at 0.15")
    axes.axhline(0.80, color="0.6", linestyle=":")
    axes.set(xlabel="false-alarm rate", ylabel="recall of blends", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--n", type=int, default=N_STAMP)
    parser.add_argument("--option", action="append", default=[])
    given = parser.parse_args()
    config = preset("improved").with_options(parse_options(given.option))
    assert isinstance(config, ImprovedConfig)
    stamps = make_truth_stamps(given.n, given.seed)
    report(
        "stamps", seed=given.seed, n=given.n,
        positives=int(stamps.positive.sum()), negatives=int(stamps.negative.sum()),
        blended=int(stamps.blended.sum()), field_source_on_target=int((stamps.touched & ~stamps.blended).sum()),
    )  # fmt: skip
    verdicts, speed = judge(stamps, config)
    score = np.array([v.blend_score or 0.0 for v in verdicts])
    found = np.array([PreprocessFlag.BLENDED in v.flag for v in verdicts])
    report(
        "improved", limit=config.max_blend_score, false_alarm_rate=share(found, stamps.negative),
        recall=share(found, stamps.positive), recall_all_blends=share(found, stamps.blended),
        flagged_of_field_source_on_target=share(found, stamps.touched & ~stamps.blended),
        target_lost=round(float(np.mean([v.stamp is None for v in verdicts])), 4),
        kept_of_negatives=share(np.array([v.kept for v in verdicts]), stamps.negative),
        stamps_per_cpu_second=round(speed, 1), grid=grid(stamps, found),
    )  # fmt: skip
    for rate in FALSE_ALARMS:
        limit = float(np.quantile(score[stamps.negative], 1 - rate))
        report(
            "improved, ROC", false_alarm_rate=rate, recall=share(score > limit, stamps.positive), limit=round(limit, 3)
        )
    report_masks(stamps, config)
    points = {name: report_published(name, published, stamps) for name, published in PUBLISHED.items()}
    points["improved, preset's limit"] = (share(found, stamps.negative), share(found, stamps.positive))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        draw(given.out / "roc.png", roc(score, stamps), points)


if __name__ == "__main__":
    main()
