"""Which workers a job's tasks run on: those with a GPU, those without, or any.

A worker has a GPU if it was started with Dask's resource GPU, as by ``dask worker ADDRESS --resources GPU=1``: only its
administrator knows whether its GPU may be used, and tasks that need it then never share one.
"""

from __future__ import annotations

from typing import Any

from galbase.schema.errors import GalbaseError, UsageError

DEVICES = ("auto", "cpu", "gpu")
RESOURCE = "GPU"


def check_device(device: str) -> str:
    """The device, if there is such a choice.

    Raises
    ------
    UsageError
    """
    if device not in DEVICES:
        raise UsageError(f"--device {device!r} is none of {', '.join(DEVICES)}.")
    return device


def placement(client: Any, device: str, *, prefer_gpu: bool = False) -> dict[str, Any]:
    """Arguments of `distributed.Client.submit` that put tasks onto the right workers.

    Parameters
    ----------
    client : distributed.Client
    device : {'auto', 'cpu', 'gpu'}
        ``gpu`` waits for a worker's GPU and has it alone; ``cpu`` takes workers without one.
    prefer_gpu : bool
        What ``auto`` means where some workers have a GPU: those, or all.

    Raises
    ------
    GalbaseError
        If no worker is such a one now.
    """
    workers = client.scheduler_info()["workers"]
    with_gpu = [address for address, worker in workers.items() if worker.get("resources", {}).get(RESOURCE, 0) >= 1]
    without = sorted(set(workers) - set(with_gpu))
    if device == "gpu" and not with_gpu:
        raise GalbaseError(
            f"none of the {len(workers)} workers has a GPU; start one on a machine that has, with "
            f"`dask worker ADDRESS --resources {RESOURCE}=1`, or leave --device away."
        )
    if device == "cpu" and workers and not without:
        raise GalbaseError(f"all {len(workers)} workers have a GPU; start one without, or leave --device away.")
    if device == "gpu" or (device == "auto" and prefer_gpu and with_gpu):
        return {"resources": {RESOURCE: 1}}
    return {"workers": without} if device == "cpu" and with_gpu else {}
