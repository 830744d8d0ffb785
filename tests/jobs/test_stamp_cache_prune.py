"""What `galbase cache` lists and prunes."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from galbase.ingest.cache_prune import cached_configs, prune
from galbase.ingest.commands_cache import cache as commands
from galbase.schema.cache_folder import cache_folder
from tests.jobs.trial import PUBLISHED, Trial
from tests.jobs.trial import cached_files as files
from tests.jobs.trial import cached_folder as folder
from tests.jobs.trial import cached_rows as rows


@pytest.fixture
def trial(fresh_archive: Any, tmp_path: Path) -> Iterator[Trial]:
    config = replace(fresh_archive.config, cache_dir=str(tmp_path / "cache"))
    with fresh_archive.connect(autocommit=True) as connection:
        yield Trial(config, connection, tmp_path)


def test_prune_removes_orphans_missing_gone_and_superseded_and_nothing_else(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    trial.add("b.h5", 2, 6)
    gone = trial.add("c.h5", 3, 6)
    trial.run()
    old = PUBLISHED.with_options({"enlargement": 1.2})
    trial.run(preprocess=old)  # newer than the preset's own, which is therefore superseded
    of_file = {each: {p for p, row in rows(trial).items() if row[0] == each} for each in ("a.h5", "b.h5", "c.h5")}
    kept_name = next(path for path in of_file["a.h5"] if path.startswith(old.hash()))
    lost_name = next(path for path in of_file["b.h5"] if path.startswith(old.hash()))
    (folder(trial) / lost_name).unlink()
    trial.connection.execute("DELETE FROM archive.observation WHERE data_file_id = %s", (gone,))
    orphan = folder(trial) / old.hash() / "99-0-abc.stamps"
    partial = folder(trial) / old.hash() / "99-0-abc.stamps.0123.partial"
    foreign = folder(trial) / old.hash() / "notes.txt"
    for each in (orphan, partial, foreign):
        each.write_bytes(b"12345")
    before = files(trial), rows(trial)
    (listed_old, listed_new) = cached_configs(trial.connection, folder(trial))
    assert (listed_old.superseded, listed_old.n_missing, listed_old.n_file) == (True, 0, 3)
    assert (listed_new.superseded, listed_new.n_missing, listed_new.n_file) == (False, 1, 3)
    dry = prune(trial.connection, folder(trial), dry_run=True, min_age_hours=0)
    assert (files(trial), rows(trial)) == before
    assert (dry.superseded, dry.gone, dry.missing, dry.orphans) == (3, 1, 1, 2)
    # Young files that no row knows may belong to a unit that is about to be committed.
    young = prune(trial.connection, folder(trial), dry_run=True)
    assert young.orphans == 0
    done = prune(trial.connection, folder(trial), min_age_hours=0)
    assert done == dry
    assert set(rows(trial)) == {kept_name}
    assert files(trial) == {kept_name, foreign.relative_to(folder(trial)).as_posix()}
    assert done.n_byte == sum(before[1][p][4] for p in before[1] if p not in (kept_name, lost_name)) + 10
    again = prune(trial.connection, folder(trial), min_age_hours=0)
    assert (again.n_file, again.superseded, again.gone, again.missing, again.orphans) == (0, 0, 0, 0, 0)


def test_checkpoints_are_removed_when_nobody_went_on_for_a_month(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    trial.run()
    kept = files(trial)
    for days in (29, 31):
        path = folder(trial) / f"training-{days}" / "network.checkpoint"
        path.parent.mkdir()
        path.write_bytes(b"123")
        then = time.time() - days * 86400
        os.utime(path, (then, then))
    done = prune(trial.connection, folder(trial), min_age_hours=0)
    assert (done.orphans, done.n_file, done.n_byte) == (1, 1, 3)
    assert files(trial) - kept == {"training-29/network.checkpoint"}
    assert not (folder(trial) / "training-31").exists()


@pytest.mark.parametrize("needed", ["training_set", "model"])
def test_what_a_training_set_or_model_reads_is_not_superseded(trial: Trial, needed: str) -> None:
    trial.add("a.h5", 1, 4)
    first = trial.run().config_id
    second = trial.run(preprocess=PUBLISHED.with_options({"enlargement": 1.2})).config_id
    trial.connection.execute(
        "INSERT INTO archive.training_set (name, selection, seed, preprocess_config_id, label_origin, simulated, "
        "n_member, hash) VALUES ('mine', 'galeffnet', 1, %s, 'mpa-jhu', true, 0, '')",
        (first if needed == "training_set" else second,),
    )
    if needed == "model":
        trial.connection.execute(
            "INSERT INTO archive.model (name, family, mode, preset, options, code_version, preprocess_config_id, "
            "training_set_id, trained_on, weights_sha256, state) SELECT 'm', 'galeffnet', 'improved', 'tiny', '{}', "
            "'0', %s, training_set_id, 'simulation', '', 'candidate' FROM archive.training_set",
            (first,),
        )
    assert prune(trial.connection, folder(trial), min_age_hours=0).n_file == 0
    if needed == "model":
        trial.connection.execute("UPDATE archive.model SET state = 'retired'")
    else:
        trial.connection.execute("DELETE FROM archive.training_set")
    assert prune(trial.connection, folder(trial), min_age_hours=0).n_file == 1


def test_archives_that_share_a_directory_do_not_touch_each_other(trial: Trial, archive: Any) -> None:
    trial.add("a.h5", 1, 4)
    trial.run()
    before = files(trial)
    with archive.connect(autocommit=True) as connection:
        other = cache_folder(connection, replace(archive.config, cache_dir=str(trial.folder / "cache")))
        assert other is not None
        assert other.parent == folder(trial).parent
        assert other != folder(trial)
        other.mkdir()
        assert prune(connection, other, min_age_hours=0).n_file == 0
    assert files(trial) == before


def test_the_commands(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    n_kept = trial.run(cache=False).n_kept
    runner = CliRunner()

    def run(*arguments: str) -> Any:
        done = runner.invoke(commands, [*arguments, "--json"], obj=trial.config)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert run("list") == {"folder": str(folder(trial)), "configs": []}
    assert run("prune")["files"] == 0
    filled = run("fill", "--workers", "1")
    assert filled["stamps_cached"] == n_kept
    (listed,) = run("list")["configs"]
    assert (listed["n_stamp"], listed["n_byte"], listed["n_missing"]) == (n_kept, filled["bytes"], 0)
    for path in files(trial):
        (folder(trial) / path).unlink()
    assert run("prune", "--dry-run")["rows_without_file"] == 1
    assert run("prune")["rows_without_file"] == 1
    assert rows(trial) == {}
    shown = runner.invoke(commands, ["list"], obj=trial.config)
    assert "superseded" in shown.stdout
