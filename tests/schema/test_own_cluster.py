"""The cluster of this process outlives a machine that sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

TASK = """
import time
from galbase.schema.jobs import cluster

def task():
    time.sleep(3)
    return "done"

if __name__ == "__main__":
    with cluster(None, processes={processes}) as client:
        future = client.submit(task)
        print("begun", flush=True)
        print(future.result(), flush=True)
"""
# Dask gives a worker up after ten of its heartbeats, half a second each, or this, whatever is longer.
LIFETIME = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s"}
ASLEEP_S = 7.0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_task_ends_after_its_process_was_stopped_for_long(processes: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TASK.format(processes=processes)], env={**os.environ, **LIFETIME}, text=True,
        stdout=subprocess.PIPE, start_new_session=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "begun\n"
            time.sleep(0.5)
            os.killpg(child.pid, signal.SIGSTOP)
            time.sleep(ASLEEP_S)
            os.killpg(child.pid, signal.SIGCONT)
            assert child.communicate(timeout=60)[0] == "done\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
