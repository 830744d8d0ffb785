"""Seconds of processor time and MiB of memory until a malformed file is refused, one JSON line a case.

``python benchmarks/refuse_files.py [PART OF A NAME]``: the cases of the tests, bombs of 2 GiB among them, each read in
a process of its own that had all readers imported. The last line has the slowest and the largest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run all cases."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-W", "ignore", "-m", "tests.ingest.refusals", f"{folder}/files", *sys.argv[1:2]]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for item in found:
        refused = item["error"] == "GalbaseError"
        line = {key: item[key] for key in ("case", "cpu_s", "added_mib")}
        sys.stdout.write(json.dumps({"benchmark": "refuse_files", **line, "refused": refused}) + "\n")
    slowest, largest = max(found, key=lambda item: item["cpu_s"]), max(found, key=lambda item: item["added_mib"])
    summary = {
        "benchmark": "refuse_files", "case": "all", "n_case": len(found),
        "n_refused": sum(item["error"] == "GalbaseError" for item in found),
        "slowest": slowest["case"], "cpu_s": slowest["cpu_s"],
        "largest": largest["case"], "added_mib": largest["added_mib"],
    }  # fmt: skip
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main()
