"""What the stamp cache costs and saves: bytes a stamp, and processor time to read one or to make it anew; JSON lines.

``python benchmarks/stamp_cache.py [--n N]``: on N simulated Legacy Survey stamps of 152 x 152 x 3; what is made anew
starts from pixels in memory, so that reading the survey's file comes on top.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from truth_stamps import make_truth_stamps

from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.judge import preprocess_cutout
from galbase.ingest.preprocess.stamp import frame_target
from galbase.ingest.preprocess.stamp_file import Stamp, content_hash, encode, read_stamps, write_once

SEED = 20261122
BANDS, SCALE, ROWS_PER_FILE = ("g", "r", "z"), 0.262, 256
CASES = {
    "improved, 152 px": preset("improved"),
    "improved, 64 px": preset("improved").with_options({"stamp_px": 64}),
    "galeffnet contours_of=regions, 64 px": preset("galeffnet").with_options({"contours_of": "regions"}),
}


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    pixels = make_truth_stamps(parser.parse_args().n, SEED, 0.12).pixels
    for case, config in CASES.items():
        verdicts = [preprocess_cutout(each, BANDS, SCALE, False, config) for each in pixels]
        kept = [(row, v.ellipse) for row, v in enumerate(verdicts) if v.kept and v.ellipse is not None]
        begun = time.process_time()
        made = [frame_target(pixels[row], BANDS, SCALE, False, ellipse, config).masked() for row, ellipse in kept]
        anew = time.process_time() - begun
        stamps = [Stamp(row, "", target) for (row, _), target in zip(kept, made, strict=True)]
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            files = []
            for start in range(0, len(stamps), ROWS_PER_FILE):
                content = encode(stamps[start : start + ROWS_PER_FILE])
                path = Path(folder) / "a" / f"{start}.stamps"
                files.append((path, content_hash(content)))
                write_once(path, content)
            writing = time.process_time() - begun
            n_byte = sum(path.stat().st_size for path, _ in files)
            begun = time.process_time()
            found = [stamp for path, digest in files for stamp in read_stamps(path, digest).stamps()]
            reading = time.process_time() - begun
        same = all(np.array_equal(a.target.pixels, b.target.pixels) for a, b in zip(found, stamps, strict=True))
        n, dense = len(stamps), 12 * config.stamp_px**2
        line = {
            "benchmark": "stamp_cache", "case": case, "n_stamp": n, "bytes_per_stamp": round(n_byte / n),
            "share_of_cutout": round(n_byte / n / pixels[0].nbytes, 3),
            "share_of_dense_stamp": round(n_byte / n / dense, 3),
            "write_cpu_ms": round(1000 * writing / n, 3), "read_cpu_ms": round(1000 * reading / n, 3),
            "made_anew_cpu_ms": round(1000 * anew / n, 3), "reading_times_faster": round(anew / reading, 1),
            "same": same,
        }  # fmt: skip
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
