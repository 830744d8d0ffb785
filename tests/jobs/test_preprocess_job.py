"""The preprocessing job: computes what is stale, touches nothing else, survives its workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from galbase.ingest import jobs
from galbase.ingest.commands_preprocess import preprocess
from galbase.ingest.jobs import count_stale
from galbase.ingest.preprocess.arrays import Arrays
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.judge import preprocess_batch
from galbase.ingest.preprocess.pixels import pixel_hash, read_cutouts
from galbase.ml.accelerator import keras_arrays
from galbase.ml.backend import accelerator_name
from galbase.schema.errors import GalbaseError, UsageError
from tests.jobs.trial import PUBLISHED, RELEASE, Trial, shard


@pytest.fixture
def trial(fresh_archive: Any, tmp_path: Path) -> Any:
    with fresh_archive.connect() as connection:
        yield Trial(fresh_archive.config, connection, tmp_path)


def test_stored_verdicts_are_those_of_the_pure_functions(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    report = trial.run()
    assert (report.n_unit, report.n_row) == (1, 6)
    cutouts = read_cutouts(trial.folder / "a.h5", "hdf5", 0, 6)
    verdicts = preprocess_batch(cutouts, PUBLISHED)
    assert any(verdict.kept for verdict in verdicts)
    assert not all(verdict.kept for verdict in verdicts)
    stored = trial.stored()
    for row, verdict in enumerate(verdicts):
        flag, kept, a, n_source, _, _, digest = stored["a.h5", row, report.config_id]
        assert (flag, kept, n_source) == (int(verdict.flag), verdict.kept, verdict.n_source)
        assert a == (None if verdict.ellipse is None else verdict.ellipse.a)
        assert digest == pixel_hash(cutouts.pixels[row])
    assert report.n_kept == sum(verdict.kept for verdict in verdicts)
    for name, count in report.flags.items():
        assert count == sum(name in [flag.name for flag in verdict.flag] for verdict in verdicts)


def test_workers_with_a_gpu_compute_pixels_with_its_arrays(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.add("a.h5", 1, 6)
    if accelerator_name() is None:
        with pytest.raises(GalbaseError, match="Keras finds no accelerator"):
            trial.run(device="gpu")
        assert not trial.stored()
    improved = preset("improved")
    trial.run(preprocess=improved, name="improved", device="cpu")
    plain = trial.stored()
    used: list[str] = []

    def keras_on_any_device() -> Arrays:
        used.append("keras")
        return keras_arrays("keras")

    monkeypatch.setattr(jobs, "accelerator", keras_on_any_device)
    trial.connection.execute("DELETE FROM archive.preprocess")
    trial.connection.commit()
    trial.run(preprocess=improved, name="improved")
    assert not used
    trial.connection.execute("DELETE FROM archive.preprocess")
    trial.connection.commit()
    trial.run(preprocess=improved, name="improved", device="gpu")
    assert used
    assert {place: row[:2] for place, row in trial.stored().items()} == {p: row[:2] for p, row in plain.items()}


def test_method_improved_stores_its_score_and_the_published_stay(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    published = trial.run()
    improved = preset("improved")
    report = trial.run(preprocess=improved, name="improved")
    assert (report.n_row, trial.run(preprocess=improved, name="improved").n_row, trial.run().n_row) == (6, 0, 0)
    found = trial.connection.execute(
        "SELECT p.kept, p.flag, p.blend_score, p.n_source, p.n_region, p.threshold, p.ellipse_a, c.name, c.parameters "
        "FROM archive.preprocess p JOIN archive.preprocess_config c USING (preprocess_config_id) "
        "JOIN archive.observation o USING (observation_id) WHERE preprocess_config_id = %s ORDER BY o.row_index",
        (report.config_id,),
    ).fetchall()
    verdicts = preprocess_batch(read_cutouts(trial.folder / "a.h5", "hdf5", 0, 6), improved)
    for row, verdict in zip(found, verdicts, strict=True):
        assert verdict.ellipse is not None
        assert row[:7] == (
            verdict.kept, int(verdict.flag), verdict.blend_score, verdict.n_source, None, verdict.threshold,
            verdict.ellipse.a,
        )  # fmt: skip
        assert row[7:] == ("improved", improved.to_dict())
    # Every second one has a companion.
    assert [row[0] for row in found] == [True, False] * 3
    assert min(row[2] for row in found[1::2]) > max(row[2] for row in found[::2])
    scores = trial.connection.execute(
        "SELECT count(blend_score) FROM archive.preprocess WHERE preprocess_config_id = %s", (published.config_id,)
    ).fetchone()
    assert scores == (0,)


def test_a_second_run_computes_nothing_and_new_images_alone_are_computed(trial: Trial) -> None:
    trial.add("a.h5", 1, 5)
    assert count_stale(trial.config, release=RELEASE, preprocess=PUBLISHED) == 5
    trial.run()
    assert count_stale(trial.config, release=None, preprocess=PUBLISHED) == 0
    before = trial.stored()
    assert len(before) == 5
    again = trial.run()
    assert (again.run_id, again.n_row) == (None, 0)
    trial.add("b.h5", 2, 3)
    assert trial.run(release=None).n_row == 3
    after = trial.stored()
    assert len(after) == 8
    assert {key: after[key] for key in before} == before


def test_another_configuration_adds_rows_of_its_own(trial: Trial) -> None:
    trial.add("a.h5", 1, 4)
    first = trial.run()
    before = trial.stored()
    second = trial.run(preprocess=PUBLISHED.with_options({"background": "before_masking"}))
    assert second.config_id != first.config_id
    assert second.n_row == 4
    after = trial.stored()
    assert len(after) == 8
    assert {key: after[key] for key in before} == before


def test_images_read_anew_with_the_same_pixels_keep_their_rows(trial: Trial) -> None:
    file_id = trial.add("a.h5", 1, 4)
    trial.run()
    before = trial.stored()
    trial.connection.execute("UPDATE archive.observation SET pixel_hash = NULL WHERE data_file_id = %s", (file_id,))
    trial.connection.commit()
    report = trial.run()
    assert (report.n_unit, report.n_row) == (1, 0)
    assert trial.stored() == before


def test_a_changed_pixel_scale_makes_that_image_stale(trial: Trial) -> None:
    trial.add("a.h5", 1, 4)
    trial.run()
    before = trial.stored()
    trial.connection.execute(
        "UPDATE archive.image i SET pixel_scale_arcsec = NULL FROM archive.observation o "
        "WHERE o.observation_id = i.observation_id AND o.row_index = 2"
    )
    trial.connection.commit()
    assert trial.run().n_row == 1
    changed = {key for key, row in trial.stored().items() if row != before[key]}
    assert {key[1] for key in changed} == {2}


def test_a_file_that_changed_or_went_away_fails_alone(trial: Trial) -> None:
    trial.add("a.h5", 1, 3)
    trial.add("b.h5", 2, 3)
    trial.add("c.h5", 3, 3)
    shard(trial.folder / "a.h5", 9, 3)
    (trial.folder / "b.h5").unlink()
    with pytest.raises(GalbaseError, match=r"2 of 3 units failed.*a\.h5 has changed since it was ingested"):
        trial.run()
    assert {key[0] for key in trial.stored()} == {"c.h5"}
    state, message = trial.connection.execute(
        "SELECT state, message FROM archive.run WHERE kind = 'preprocess'"
    ).fetchone()  # type: ignore[misc]
    assert state == "failed"
    assert "2 of 3 units failed" in message


def test_a_touched_file_with_its_old_content_is_accepted(trial: Trial) -> None:
    trial.add("a.h5", 1, 2)
    os.utime(trial.folder / "a.h5", (1, 1))
    assert trial.run().n_row == 2


def test_a_file_ingested_anew_meanwhile_rolls_back(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from galbase.ingest import preprocess_store

    trial.add("a.h5", 1, 2)
    judge = preprocess_store.preprocess_images

    def slow(*arguments: Any) -> Any:
        with psycopg.connect(str(trial.config.database_url)) as other:
            other.execute("UPDATE archive.data_file SET sha256 = 'another'")
        return judge(*arguments)

    monkeypatch.setattr(preprocess_store, "preprocess_images", slow)
    with pytest.raises(GalbaseError, match="ingested anew while it was judged"):
        trial.run()
    assert trial.stored() == {}


def test_an_unknown_release_lists_those_that_exist(trial: Trial) -> None:
    trial.add("a.h5", 1, 1)
    with pytest.raises(GalbaseError, match="there is no release 'nowhere'; releases are trial-images"):
        trial.run(release="nowhere")


def test_no_scheduler_at_the_address(trial: Trial) -> None:
    trial.add("a.h5", 1, 1)
    with pytest.raises(GalbaseError, match="no Dask scheduler answers"):
        trial.run(scheduler="nonsense://nowhere")
    assert trial.run().n_row == 1


def test_command_reports_and_refuses_unknown_names(trial: Trial) -> None:
    trial.add("a.h5", 1, 2)
    app = typer.Typer()
    app.command()(preprocess)
    runner = CliRunner()
    done = runner.invoke(app, ["--release", RELEASE, "--option", "enlargement=1.4", "--json"], obj=trial.config)
    assert done.exit_code == 0, done.output
    assert '"images_judged": 2' in done.output
    stored = trial.connection.execute("SELECT name, parameters FROM archive.preprocess_config").fetchone()
    assert stored is not None
    assert stored[0] == "galeffnet"
    assert stored[1] == PUBLISHED.with_options({"enlargement": 1.4}).to_dict()
    for arguments, message in (
        (["--config", "nothing"], "choose galeffnet or galeffnet_code"),
        (["--option", "enlarge=2"], "unknown option 'enlarge'; the options are background"),
        (["--option", "enlargement=big"], "not of type float"),
    ):
        refused = runner.invoke(app, ["--release", RELEASE, *arguments], obj=trial.config)
        assert isinstance(refused.exception, UsageError)
        assert message in str(refused.exception)


JOB = """
import sys
from pathlib import Path
from galbase.ingest.jobs import count_stale, run_preprocess
from galbase.ingest.preprocess.config import preset
from galbase.schema.config import Config
if __name__ == "__main__":
    config = Config(Path(sys.argv[1]), sys.argv[2], owner_role=sys.argv[3], reader_role=sys.argv[4])
    report = run_preprocess(config, release=None, preprocess=preset("galeffnet"), workers=2, lease_seconds=3)
    print(report.n_unit)
"""


def test_workers_killed_at_work_lose_and_double_nothing(trial: Trial) -> None:
    for i in range(8):
        trial.add(f"{i}.h5", i, 12)
    script = trial.folder / "job.py"
    script.write_text(JOB)
    config = trial.config
    command = [sys.executable, str(script), str(config.data_dir), str(config.database_url)]
    killed: set[int] = set()
    deadline = time.monotonic() + 240
    with subprocess.Popen(
        [*command, config.owner_role, config.reader_role], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            assert time.monotonic() < deadline
            claimed = trial.connection.execute("SELECT owner FROM archive.work_unit WHERE state = 'claimed'").fetchall()
            trial.connection.commit()
            pids = {int(owner.split(":")[1]) for (owner,) in claimed} - killed
            if pids and len(killed) < 3:
                killed.add(min(pids))
                os.kill(min(pids), signal.SIGKILL)
            time.sleep(0.05)
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(killed) == 3
    assert output.strip() == "8"
    stored = trial.stored()
    assert len(stored) == 96
    attempts = trial.connection.execute(
        "SELECT state, max(attempt), count(*), sum(n_row) FROM archive.work_unit GROUP BY state"
    ).fetchall()
    assert [(row[0], row[2], row[3]) for row in attempts] == [("done", 8, 96)]
    assert attempts[0][1] > 1
    cutouts = read_cutouts(trial.folder / "5.h5", "hdf5", 0, 12)
    for row, verdict in enumerate(preprocess_batch(cutouts, PUBLISHED)):
        assert stored["5.h5", row, 1][:2] == (int(verdict.flag), verdict.kept)
