"""`galbase train` as a user runs it: refused before it begins, killed and run again, watched from SQL."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from galbase.ml import curve_store
from galbase.ml.checkpoint import TrainingEndedError
from galbase.ml.curve_store import recorder
from galbase.ml.training_set import create_training_set
from galbase.schema.cache_folder import cache_folder
from galbase.schema.config import Config
from galbase.schema.errors import GalbaseError
from galbase.schema.ledger import finish_run, start_run

# A shell that runs the tests in the background has Ctrl-C ignored by all that it starts.
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from galbase.schema.cli import main; main()"
)
EPOCHS = 8


@pytest.fixture(scope="module")
def round_galaxies(filled: tuple[Any, Any]) -> Any:
    """The archive of round galaxies, with a training set."""
    archive, _ = filled
    with archive.connect() as connection:
        create_training_set(connection, "round", "galeffnet", seed=3)
    return archive


def command(archive: Any, *arguments: str, cache: Path | str = "none") -> dict[str, Any]:
    """What to start: the arguments of `subprocess.Popen`."""
    environment = archive.env | {"GALBASE_CACHE_DIR": str(cache)}
    return {
        "args": [sys.executable, "-c", COMMAND, "train", *arguments], "env": environment, "text": True,
        "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
    }  # fmt: skip


def finished(archive: Any, *arguments: str, cache: Path | str = "none") -> subprocess.CompletedProcess[str]:
    with subprocess.Popen(**command(archive, *arguments, cache=cache)) as process:
        out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def epochs(archive: Any, name: str) -> list[tuple[Any, ...]]:
    with archive.connect() as connection:
        return connection.execute(
            "SELECT run_id, state, part, epoch, loss, val_loss FROM api.training_curve WHERE model = %s "
            "ORDER BY run_id, epoch",
            (name,),
        ).fetchall()


def weights(archive: Any, name: str) -> str:
    with archive.connect() as connection:
        return str(
            connection.execute("SELECT weights_sha256 FROM archive.model WHERE name = %s", (name,)).fetchone()[0]
        )


def train(name: str, n_epoch: int = EPOCHS) -> tuple[str, ...]:
    return "galeffnet", "--training-set", "round", "--name", name, "--epochs", str(n_epoch), "--json"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("galeffnet", "--training-set", "square"), "no training set 'square'; there are round."),
        (("mmlforgalam_m1", "--training-set", "round"), "family mmlforgalam_m1 learns from spectra"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line_and_leaves_no_run(
    round_galaxies: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = finished(round_galaxies, *arguments)
    assert done.returncode in (1, 2)
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    with round_galaxies.connect() as connection:
        assert connection.execute("SELECT count(*) FROM archive.run").fetchone() == (0,)


def test_losses_are_written_as_epochs_end_and_a_run_that_was_ended_goes_no_further(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        run_id = start_run(connection, "train", {"name": "mine"})
    record = recorder(fresh_archive.url, run_id)
    record("m1", 0, {"loss": 2.0, "val_loss": 3.0})
    record("m1", 1, {"loss": math.inf, "val_loss": math.nan})
    record("m1", 0, {"loss": 9.0, "val_loss": 9.0})
    wanted = [(run_id, "running", "m1", 0, 2.0, 3.0), (run_id, "running", "m1", 1, None, None)]
    assert epochs(fresh_archive, "mine") == wanted
    with fresh_archive.connect() as connection:
        finish_run(connection, run_id, "failed", "KeyboardInterrupt")
    with pytest.raises(TrainingEndedError, match="was ended .KeyboardInterrupt."):
        record("m1", 2, {"loss": 1.0, "val_loss": 1.0})


def test_without_a_database_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_url: str) -> None:
        raise GalbaseError("no server")

    monkeypatch.setattr(curve_store, "connect_url", away)
    recorder("postgresql://nowhere", 1)("network", 3, {"loss": 1.0})
    assert "losses of network, epoch 3, are written when the training ends: no server" in caplog.text


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(
    round_galaxies: Any, tmp_path: Path, sent: signal.Signals
) -> None:
    cache = tmp_path / "cache"
    name = f"killed-{sent.name.lower()}"
    # What is not trained to its end may be long, so that no signal comes after it.
    n_epoch = EPOCHS if sent is signal.SIGKILL else 100 * EPOCHS
    with subprocess.Popen(**command(round_galaxies, *train(name, n_epoch), cache=cache)) as process:
        while len(epochs(round_galaxies, name)) < 2:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        os.kill(process.pid, sent)
        said = process.communicate(timeout=120)[1]
    assert "Traceback" not in said
    assert process.returncode != 0, said
    assert not [row for row in epochs(round_galaxies, name) if row[3] == n_epoch - 1], "it was killed too late"
    config = Config(data_dir=tmp_path, database_url=round_galaxies.url, cache_dir=str(cache))
    with round_galaxies.connect() as connection:
        folder = cache_folder(connection, config)
    assert folder is not None
    (training,) = folder.iterdir()
    assert [path.name for path in training.glob("*.checkpoint")] == ["network.checkpoint"]
    if sent is signal.SIGINT:
        assert {row[1] for row in epochs(round_galaxies, name)} == {"failed"}
        return  # It goes on as the killed one does.
    done = finished(round_galaxies, *train(name), cache=cache)
    assert done.returncode == 0, done.stderr
    assert "train: network goes on after epoch" in done.stderr
    assert weights(round_galaxies, name) == weights(round_galaxies, whole(round_galaxies))
    assert list(folder.iterdir()) == []
    # Both runs tell their losses, the one that went on all of them; what was interrupted does not run for ever.
    rows = epochs(round_galaxies, name)
    first, second = sorted({row[0] for row in rows})
    history = json.loads(done.stdout)["history"]
    assert [row[2:] for row in rows if row[0] == second] == [
        ("network", k, history["loss"][k], history["val_loss"][k]) for k in range(EPOCHS)
    ]
    assert {(row[0], row[1]) for row in rows} == {(first, "failed"), (second, "done")}


def whole(archive: Any) -> str:
    """Name of a model that was trained without interruption, and without a cache."""
    with archive.connect() as connection:
        known = connection.execute("SELECT 1 FROM archive.model WHERE name = 'whole'").fetchone()
    if not known:
        done = finished(archive, *train("whole"))
        assert done.returncode == 0, done.stderr
        said = "train: without checkpoints: there is no cache folder"
        assert sum(said in line for line in done.stderr.splitlines()) == 1
    return "whole"
