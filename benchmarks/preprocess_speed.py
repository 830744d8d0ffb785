"""Stamps a CPU-second and core: method improved, and as published beside the straightforward form; JSON lines.

``python benchmarks/preprocess_speed.py [--n N]``: on N simulated Legacy Survey stamps of 152 x 152 x 3 with blends, all
methods on the same stamps in one run, taking turns so that whatever else the machine does slows them alike. The
published method's verdicts (radius, sources, regions, kept) are compared one by one with those of `straightforward`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from straightforward import PlainVerdict, judge_plainly
from truth_stamps import make_truth_stamps

from galbase.ingest.preprocess.config import PreprocessConfig, preset
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.verdict import Verdict

SEED = 20261122
BLEND_FRACTION = 0.12  # the simulated survey's own
TURN = 20
TARGET_IMPROVED, TARGET_RATIO = 150, 1.5
Stamp = npt.NDArray[np.float32]


def ours(config: PreprocessConfig) -> Callable[[Stamp], Verdict]:
    return lambda stamp: preprocess_cutout(stamp, ("g", "r", "z"), 0.262, False, config)


def plain(regions: bool, with_catalogues: bool) -> Callable[[Stamp], PlainVerdict]:
    return lambda stamp: judge_plainly(stamp, regions, with_catalogues)


def differ(found: Verdict, expected: PlainVerdict) -> bool:
    """Whether two verdicts say different things; our radius comes from the same circle in float32."""
    same_radius = (found.radius_px is None) == (expected.radius_px is None) and (
        found.radius_px is None or abs(found.radius_px - (expected.radius_px or 0)) < 1e-3
    )
    return not same_radius or (found.n_source, found.n_region, found.kept) != (
        expected.n_source, expected.n_region, expected.kept,
    )  # fmt: skip


def report(case: str, n: int, seconds: float, **facts: object) -> None:
    line = {"benchmark": "preprocess_speed", "case": case, "n_stamp": n}
    rates = {"cpu_ms_per_stamp": round(1000 * seconds / n, 3), "stamps_per_cpu_second": round(n / seconds, 1)}
    sys.stdout.write(json.dumps({**line, **rates, **facts}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    n = parser.parse_args().n
    stamps = make_truth_stamps(n, SEED, BLEND_FRACTION).pixels
    published = preset("galeffnet")
    cases: dict[str, Callable[[Stamp], Any]] = {
        "improved": ours(preset("improved")),
        "as published": ours(published),
        "as published, straightforward": plain(False, False),
        "as published, straightforward with catalogues": plain(False, True),
        "contours_of=regions": ours(published.with_options({"contours_of": "regions"})),
        "contours_of=regions, straightforward": plain(True, False),
        "contours_of=regions, straightforward with catalogues": plain(True, True),
    }
    seconds = dict.fromkeys(cases, 0.0)
    verdicts: dict[str, list[Any]] = {case: [] for case in cases}
    with warnings.catch_warnings():
        # photutils warns where it finds no source.
        warnings.simplefilter("ignore")
        for judge in cases.values():
            judge(stamps[0])
        for start in range(0, n, TURN):
            for case, judge in cases.items():
                begun = time.process_time()
                verdicts[case] += [judge(stamp) for stamp in stamps[start : start + TURN]]
                seconds[case] += time.process_time() - begun
    speed = n / seconds["improved"]
    report("improved", n, seconds["improved"], target=TARGET_IMPROVED, reached=speed >= TARGET_IMPROVED)
    for case in ("as published", "contours_of=regions"):
        report(case, n, seconds[case], with_target=sum(v.stamp is not None for v in verdicts[case]))
        for peer in (f"{case}, straightforward", f"{case}, straightforward with catalogues"):
            ratio = seconds[peer] / seconds[case]
            n_differ = sum(differ(a, b) for a, b in zip(verdicts[case], verdicts[peer], strict=True))
            report(
                peer, n, seconds[peer], ours_times_faster=round(ratio, 2), target=TARGET_RATIO,
                reached=ratio >= TARGET_RATIO and n_differ == 0, different_verdicts=n_differ,
            )  # fmt: skip


if __name__ == "__main__":
    main()
