"""CPU time of `galbase --help`, beside that of an empty Python; one JSON line a case. Target: 0.4 s."""

import json
import os
import statistics
import subprocess
import sys


def cpu_seconds(arguments: list[str], repeats: int = 7) -> float:
    """Median user plus system time of a child process."""
    times = []
    for _ in range(repeats):
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(times)


empty = cpu_seconds(["-c", "pass"])
shown = cpu_seconds(["-m", "galbase.schema.cli", "--help"])
sys.stdout.write(
    json.dumps({"case": "galbase --help", "cpu_s": shown, "target_s": 0.4, "ratio_to_empty_python": shown / empty})
    + "\n"
)
