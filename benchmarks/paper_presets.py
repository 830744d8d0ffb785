"""Networks of preset paper at full size: rows a second in training and in inference, and memory; one JSON line a case.

On whatever device Keras' backend computes: ``KERAS_BACKEND=torch python benchmarks/paper_presets.py`` on a machine with
a GPU that TensorFlow is not built for. Inputs are random numbers of the right shapes; losses and optimisers are those
that the networks are trained with. Each case is a process of its own, so that its peak of memory is its own: of the
device where the backend tells it, and of the process. Batches are as large as in training, on a CPU eight.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from galbase.ml import backend
from galbase.ml.networks.build import build, improved_options
from galbase.ml.networks.network import Network
from galbase.ml.sersic.training import compile_galnet, galnet_options
from galbase.ml.sersic.training import schedule as galnet_schedule
from galbase.ml.training import training_config, training_loss

keras = backend.keras

_IMPROVED = {"n_level": 7, "n_scalar": 6, "pixel_range": "unit"}
# Family, mode, and what it is built from beside the family's own.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "galeffnet, EfficientNet-B3": ("galeffnet", "as-published", {"backbone": "efficientnet_b3"}),
    "galeffnet, EfficientNetV2-B3": ("galeffnet", "improved", {"backbone": "efficientnet_v2_b3", **_IMPROVED}),
    "gpm_resnet": ("gpm_resnet", "as-published", {}),
    "mmlforgalam_m1": ("mmlforgalam_m1", "as-published", {}),
    "mmlforgalam_m3": ("mmlforgalam_m3", "as-published", {}),
    "mmlforgalam_fused": ("mmlforgalam_fused", "as-published", {}),
    "galnet": ("galnet", "as-published", {}),
    "galnet with covariance": ("galnet", "improved", {}),
}
ON_CPU = 8


def compiled(family: str, mode: str, options: dict[str, Any]) -> tuple[Network, int]:
    """A network that can be trained, and its training's batch size."""
    if family == "galnet":
        network = build(family, "paper", galnet_options(mode))
        plan = galnet_schedule("paper")
        compile_galnet(network, mode, plan, 1000)
        return network, plan.batch_size
    if mode == "improved":
        options = {**improved_options(family), **options}
    network = build(family, "paper", options)
    config = training_config(family, mode, "paper")
    network.training.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate), loss=training_loss(config, network.n_level)
    )
    return network, config.batch_size


def peak_of_device() -> float | None:
    """GiB that the backend has held at most on its accelerator; None without one."""
    if backend.accelerator_name() is None:
        return None
    name = keras.backend.backend()
    if name == "torch":
        import torch

        peak = torch.cuda.max_memory_allocated()
    elif name == "jax":
        import jax

        peak = jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    else:
        import tensorflow

        peak = tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
    return float(peak / 2**30)


def a_second(run: Any, size: int, steps: int) -> float:
    """Rows a second, after two calls that compile and warm up."""
    for _ in range(2):
        run()
    start = time.perf_counter()
    for _ in range(steps):
        run()
    return steps * size / (time.perf_counter() - start)


def measure(case: str, batch_size: int | None, steps: int) -> dict[str, object]:
    """One line."""
    keras.utils.set_random_seed(1)
    network, size = compiled(*CASES[case])
    if backend.accelerator_name() is None:
        size = ON_CPU
    size = batch_size or size
    rng = np.random.default_rng(1)
    inputs = {name: rng.random((size, *shape)).astype(np.float32) for name, shape in network.input_shapes.items()}
    label = rng.random((size, len(network.properties))).astype(np.float32)
    # what train_on_batch and predict_on_batch give is on the host: the device has done its work
    training = a_second(lambda: float(network.training.train_on_batch(inputs, label)), size, steps)
    inference = a_second(lambda: np.asarray(network.training.predict_on_batch(inputs)), size, steps)
    device = peak_of_device()
    return {
        "benchmark": "paper_presets", "case": case, "mode": CASES[case][1], "backend": keras.backend.backend(),
        "device": backend.device(), "batch_size": size, "parameters": network.n_parameter,
        "training_per_s": round(training, 1), "inference_per_s": round(inference, 1),
        "device_peak_gib": None if device is None else round(device, 2),
        "process_peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, help="instead of the training's")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each kind")
    parser.add_argument("--case", choices=CASES, help="only this one, in this process")
    args = parser.parse_args()
    if args.case:
        sys.stdout.write(json.dumps(measure(args.case, args.batch_size, args.steps)) + "\n")
        return
    given = ["--steps", str(args.steps)] + ([] if args.batch_size is None else ["--batch-size", str(args.batch_size)])
    for case in CASES:
        subprocess.run([sys.executable, __file__, "--case", case, *given], check=True)


if __name__ == "__main__":
    main()
