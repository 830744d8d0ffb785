"""Tasks go to workers with a GPU, or without, as they are asked to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from distributed import Client, Scheduler, SpecCluster, Worker

from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.jobs import cluster, worker_has_gpu, worker_threads
from galbase.schema.worker_device import check_device, placement


def facts() -> tuple[bool, int]:
    return worker_has_gpu(), worker_threads()


@contextmanager
def workers(*gpus: int) -> Iterator[Any]:
    """A cluster in this process with a worker of two threads for each number of GPUs."""
    specs = {
        index: {"cls": Worker, "options": {"nthreads": 2, "resources": {"GPU": n} if n else {}}}
        for index, n in enumerate(gpus)
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1"}}
    with SpecCluster(workers=specs, scheduler=scheduler) as own, Client(own) as client:
        client.wait_for_workers(len(gpus))
        yield client


def answers(client: Any, where: dict[str, Any]) -> set[tuple[bool, int]]:
    return set(client.gather([client.submit(facts, pure=False, **where) for _ in range(12)]))


def test_tasks_find_their_workers() -> None:
    with workers(0, 1) as client:
        assert answers(client, placement(client, "gpu")) == {(True, 2)}
        assert answers(client, placement(client, "cpu")) == {(False, 2)}
        assert answers(client, placement(client, "auto", prefer_gpu=True)) == {(True, 2)}
        assert placement(client, "auto") == {}


def test_what_no_worker_can_do_is_refused() -> None:
    with workers(0) as client:
        with pytest.raises(GalbaseError, match=r"none of the 1 workers has a GPU; start one .*--resources GPU=1"):
            placement(client, "gpu")
        assert answers(client, placement(client, "auto", prefer_gpu=True)) == {(False, 2)}
        assert answers(client, placement(client, "cpu")) == {(False, 2)}
    with workers(1) as client, pytest.raises(GalbaseError, match="all 1 workers have a GPU"):
        placement(client, "cpu")
    with pytest.raises(UsageError, match="'tpu' is none of auto, cpu, gpu"):
        check_device("tpu")


def test_a_cluster_of_ones_own_offers_the_gpu_it_was_told_of() -> None:
    with cluster(None, processes=2, threads=2, gpu=True) as client:
        assert len(client.scheduler_info()["workers"]) == 1
        assert answers(client, placement(client, "gpu")) == {(True, 2)}


def test_outside_a_task_there_is_no_worker() -> None:
    assert facts() == (False, 1)
