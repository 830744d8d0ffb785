"""What a checkpoint costs beside the epoch it follows, and beside Keras' own file of weights and optimiser; JSON lines.

``python benchmarks/checkpoint.py [--n N]``: an epoch of N images, processor time. Keras' ``save_weights`` keeps neither
the seeds of dropout nor early stopping's best weights, and its file is not checked when it is read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from galbase.ml.backend import keras, make_deterministic
from galbase.ml.batches import TrainingBatches
from galbase.ml.checkpoint import Checkpoints, Progress
from galbase.ml.networks.build import build
from galbase.ml.training import training_config

CASES = (("galeffnet", "tiny", 64), ("galeffnet", "small", 64), ("gpm_resnet", "small", 64))
REPEAT = 5


def seconds(work: Callable[[], object]) -> float:
    """Median processor time."""
    found = []
    for _ in range(REPEAT):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return float(np.median(found))


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    n = parser.parse_args().n
    rng = np.random.default_rng(1)
    for family, preset, side in CASES:
        make_deterministic(1)
        network = build(family, preset, {"size_px": side})
        config = training_config(family, "as-published", preset)
        label = rng.random((n, len(network.properties)), np.float32)
        batches = TrainingBatches(
            {"image": rng.random((n, side, side, 3), np.float32) * 255}, label, config.batch_size, 1, False
        )
        network.training.compile(optimizer=keras.optimizers.Adam(config.learning_rate), loss=config.loss)
        network.training.fit(batches, epochs=1, verbose=0)
        begun = time.process_time()
        network.training.fit(batches, epochs=1, verbose=0)
        epoch = time.process_time() - begun
        optimizer, best = network.training.optimizer, network.training.get_weights()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoints(Path(folder) / "training", lambda _: None).part("network")
            progress = Progress(False, 1, {"loss": [1.0], "val_loss": [1.0]}, 1.0, 1.0)
            write = seconds(lambda: checkpoint.keep(network, optimizer, progress, best))  # noqa: B023 -- called at once
            read = seconds(lambda: checkpoint.find(network, optimizer))  # noqa: B023
            n_byte = next((Path(folder) / "training").iterdir()).stat().st_size
            path = Path(folder) / "keras.weights.h5"
            theirs = seconds(lambda: network.training.save_weights(path))  # noqa: B023
        line = {
            "benchmark": "checkpoint", "case": f"{family} {preset}", "n_image": n, "n_parameter": network.n_parameter,
            "bytes": n_byte, "epoch_cpu_s": epoch, "write_cpu_s": write, "read_cpu_s": read, "share": write / epoch,
            "keras_write_cpu_s": theirs, "ratio_to_keras": write / theirs,
        }  # fmt: skip
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
