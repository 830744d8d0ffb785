"""Milliseconds of processor time a stamp and core for each preprocessing configuration, one JSON line a case.

``python benchmarks/preprocess.py [SHARD.h5]``: on the images of an ssl-legacysurvey shard, or on galaxies made here.
"Straightforward" is the blend check as the published code writes it, with photutils' convolution and source
catalogues, beside ours on the same stamps; both must count the same sources.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from straightforward import sources

from galbase.ingest.preprocess import blend
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.judge import preprocess_batch
from galbase.ingest.preprocess.pixels import Cutouts, read_cutouts

N_STAMP = 300
SEED = 11
CASES = {
    "galeffnet": preset("galeffnet"),
    "galeffnet_code": preset("galeffnet_code"),
    "galeffnet background=before_masking": preset("galeffnet").with_options({"background": "before_masking"}),
    "galeffnet contours_of=regions": preset("galeffnet").with_options({"contours_of": "regions"}),
    "improved": preset("improved"),
}


def made_cutouts() -> Cutouts:
    """Exponential galaxies of 1 to 3 arcsec, a third with a companion, on noise of the Legacy Surveys' depth."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:152, :152]
    pixels = rng.normal(0, 0.002, (N_STAMP, 152, 152, 3))
    for i in range(N_STAMP):
        for k in range(1 + (i % 3 == 0)):
            turn, distance = rng.uniform(0, 2 * np.pi), rng.uniform(8, 20) * k
            dx = x - 76 - distance * np.cos(turn) + rng.uniform(-1, 1)
            dy = y - 76 - distance * np.sin(turn) + rng.uniform(-1, 1)
            radius = np.hypot(dx, dy / rng.uniform(0.4, 1.0)) / rng.uniform(2, 5)
            profile = rng.uniform(0.05, 0.5) * np.exp(-radius)
            pixels[i] += profile[..., None] * np.array([0.5, 1.0, 1.5]) * rng.uniform(0.7, 1.3, 3)
    return Cutouts(pixels.astype(np.float32), ("g", "r", "z"), 0.262, is_display=False)


def ours(grey: npt.NDArray[np.float64]) -> int:
    """Sources of a masked grey image, as `preprocess_cutout` counts them."""
    background = blend.measure_background(grey)
    return blend.count_sources(
        grey - background.level, background.rms, sigma=1.5, n_pixels=10, fwhm_px=3.0, levels=90, contrast=1e-6
    )


def report(case: str, seconds: float, n: int, **facts: object) -> None:
    line = {"benchmark": "preprocess", "case": case, "n_stamp": n, "cpu_ms_per_stamp": round(1000 * seconds / n, 2)}
    sys.stdout.write(json.dumps({**line, **facts}) + "\n")


def main() -> None:
    """Run all cases."""
    cutouts = read_cutouts(Path(sys.argv[1]), "hdf5", 0, N_STAMP) if len(sys.argv) > 1 else made_cutouts()
    preprocess_batch(Cutouts(cutouts.pixels[:4], cutouts.bands, 0.262, False), CASES["galeffnet"])
    masked = []
    for case, config in CASES.items():
        start = time.process_time()
        verdicts = preprocess_batch(cutouts, config)
        seconds = time.process_time() - start
        judged = [verdict for verdict in verdicts if verdict.stamp is not None]
        report(case, seconds, len(verdicts), kept=sum(v.kept for v in verdicts), with_target=len(judged))
        if case == "galeffnet contours_of=regions":
            # Grey of the masked stamp, on the full frame as the blend check sees it.
            for verdict in judged:
                frame = np.zeros((152, 152))
                frame[44:108, 44:108] = np.asarray(verdict.stamp) @ [0.299, 0.587, 0.114] / 255
                masked.append(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        expected = [sources(grey, with_catalogues=True) for grey in masked]
        slow = time.process_time() - start
    start = time.process_time()
    found = [ours(grey) for grey in masked]
    fast = time.process_time() - start
    same = sum(a == b for a, b in zip(found, expected, strict=True))
    report("blend check, straightforward", slow, len(masked))
    report("blend check, ours", fast, len(masked), same_count=same, times_faster=round(slow / fast, 2))


if __name__ == "__main__":
    main()
