"""The stamp cache: written with the verdicts, filled, verified and pruned; whatever is killed or lost, never wrong."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from galbase.ingest import stamp_cache
from galbase.ingest.cache_prune import prune
from galbase.ingest.commands_cache import cache as commands
from galbase.ingest.jobs import fill_cache
from galbase.ingest.preprocess.config import preset
from galbase.ingest.preprocess.ellipse import Ellipse
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.preprocess.stamp import frame_target
from galbase.ingest.preprocess.stamp_file import read_stamps
from galbase.schema.cache_folder import cache_folder
from galbase.schema.errors import GalbaseError, UsageError
from tests.jobs.trial import PUBLISHED, RELEASE, Trial, shard
from tests.jobs.trial import cached_files as files
from tests.jobs.trial import cached_folder as folder
from tests.jobs.trial import cached_rows as rows

IMPROVED = preset("improved")


@pytest.fixture
def trial(fresh_archive: Any, tmp_path: Path) -> Iterator[Trial]:
    config = replace(fresh_archive.config, cache_dir=str(tmp_path / "cache"))
    with fresh_archive.connect(autocommit=True) as connection:
        yield Trial(config, connection, tmp_path)


def check_all_right(trial: Trial, config: Any) -> int:
    """Every recorded file is complete, and its stamps are those made from the survey's files; returns their number."""
    n_stamp = 0
    for path, (name, start, stop, recorded, size, digest, config_id) in rows(trial).items():
        assert (folder(trial) / path).stat().st_size == size
        opened = read_stamps(folder(trial) / path, digest)
        assert len(opened.rows) == recorded
        verdicts = trial.connection.execute(
            "SELECT o.row_index, p.input_hash, p.ellipse_x, p.ellipse_y, p.ellipse_a, p.ellipse_b, p.ellipse_theta "
            "FROM archive.preprocess p JOIN archive.observation o USING (observation_id) JOIN archive.data_file f "
            "USING (data_file_id) WHERE f.path = %s AND p.preprocess_config_id = %s AND p.kept "
            "AND o.row_index >= %s AND o.row_index < %s ORDER BY 1",
            (name, config_id, start, stop),
        ).fetchall()
        assert [row[0] for row in verdicts] == opened.rows
        for row, input_hash, *axes in verdicts:
            cutout = read_cutouts(trial.folder / name, "hdf5", row, row + 1).pixels[0]
            made = frame_target(cutout, ("g", "r", "z"), 0.262, False, Ellipse(*axes), config).masked()
            found = opened.find(row, input_hash)
            assert found is not None
            assert found.pixels.tobytes() == made.pixels.tobytes()
            assert found.mask.tobytes() == made.mask.tobytes()
        n_stamp += len(verdicts)
    return n_stamp


@pytest.mark.parametrize("config", [PUBLISHED, IMPROVED], ids=["galeffnet", "improved"])
def test_kept_stamps_are_cached_with_the_verdicts_and_their_size_is_told(
    trial: Trial, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trial.add("a.h5", 1, 8)
    report = trial.run(preprocess=config)
    told = capsys.readouterr().err
    assert re.search(r"stamp cache: at most [\d.]+ [kM]B for 8 images in .*cache/.* free\)", told)
    assert report.n_kept > 1
    assert (report.cache.n_stamp, report.cache.problem) == (report.n_kept, "")
    assert check_all_right(trial, config) == report.n_kept
    assert files(trial) == set(rows(trial))
    ((path, row),) = rows(trial).items()
    assert path.startswith(config.hash())
    assert (row[0], row[1], row[2], row[4]) == ("a.h5", 0, 256, report.cache.n_byte)
    # Dense stamps would be 3 x 4 bytes a pixel.
    assert report.cache.n_byte < 0.6 * report.n_kept * 12 * config.stamp_px**2
    trial.add("b.h5", 2, 4)
    trial.run(preprocess=config)
    assert re.search(r"stamp cache: about [\d.]+ kB for 4 images", capsys.readouterr().err)


def test_without_a_cache_nothing_is_written(trial: Trial) -> None:
    trial.add("a.h5", 1, 4)
    assert trial.run(cache=False).cache.n_stamp == 0
    without = replace(trial.config, cache_dir="none")
    options = PUBLISHED.with_options({"enlargement": 1.4})
    assert Trial(without, trial.connection, trial.folder).run(preprocess=options).cache.n_stamp == 0
    assert rows(trial) == {}
    assert not (trial.folder / "cache").exists()
    with pytest.raises(GalbaseError, match="cache_dir is 'none'"):
        fill_cache(without, release=None, preprocess=PUBLISHED)
    with pytest.raises(UsageError, match="give an absolute path"):
        cache_folder(trial.connection, replace(trial.config, cache_dir="here"))
    (trial.folder / "taken").write_text("a file")
    with pytest.raises(GalbaseError, match=r"the cache folder .*taken.* is not usable: Not a directory"):
        Trial(replace(trial.config, cache_dir=str(trial.folder / "taken")), trial.connection, trial.folder).run(
            preprocess=options.with_options({"enlargement": 1.3})
        )


def test_another_parameter_makes_files_of_its_own_and_leaves_the_others(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    trial.run()
    before = {path: (folder(trial) / path).stat().st_mtime_ns for path in files(trial)}
    other = PUBLISHED.with_options({"enlargement": 1.2})
    trial.run(preprocess=other)
    assert {path: (folder(trial) / path).stat().st_mtime_ns for path in before} == before
    added = files(trial) - set(before)
    assert len(added) == 1
    assert all(path.startswith(other.hash()) for path in added)


def test_one_stale_image_renews_its_stamp_and_keeps_the_others(trial: Trial) -> None:
    trial.add("a.h5", 1, 8)
    n_kept = trial.run().n_kept
    (old,) = rows(trial)
    stamps = read_stamps(folder(trial) / old, rows(trial)[old][5])
    # The first image, which is kept, at another scale: still kept, but of another verdict.
    trial.connection.execute(
        "UPDATE archive.image i SET pixel_scale_arcsec = 0.2621 FROM archive.observation o "
        "WHERE o.observation_id = i.observation_id AND o.row_index = %s",
        (stamps.rows[0],),
    )
    report = trial.run()
    assert (report.n_row, report.n_kept, report.cache.n_stamp) == (1, 1, 1)
    (new,) = rows(trial)
    assert new != old
    assert files(trial) == {new}
    assert rows(trial)[new][3] == n_kept
    renewed = read_stamps(folder(trial) / new, rows(trial)[new][5])
    hashes = {stamp.row_index: stamp.input_hash for stamp in stamps.stamps()}
    changed = [s.row_index for s in renewed.stamps() if s.input_hash != hashes[s.row_index]]
    assert changed == [stamps.rows[0]]


def damage(trial: Trial, how: str) -> None:
    (path,) = [folder(trial) / each for each in rows(trial)]
    if how == "deleted":
        path.unlink()
    elif how == "folder gone":
        shutil.rmtree(trial.folder / "cache")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["deleted", "folder gone", "cut", "one bit"])
def test_fill_mends_what_is_lost_or_damaged(trial: Trial, how: str) -> None:
    trial.add("a.h5", 1, 8)
    n_kept = trial.run().n_kept
    before = rows(trial)
    assert fill_cache(trial.config, release=None, preprocess=PUBLISHED).n_row == 0
    damage(trial, how)
    # A flipped bit is found by reading the file.
    quick = fill_cache(trial.config, release=RELEASE, preprocess=PUBLISHED).n_row
    assert quick == (0 if how == "one bit" else n_kept)
    assert fill_cache(trial.config, release=None, preprocess=PUBLISHED, verify=True).n_row == n_kept - quick
    assert check_all_right(trial, PUBLISHED) == n_kept
    assert rows(trial) == before


def test_fill_caches_what_was_judged_without_a_cache(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    trial.add("b.h5", 2, 6)
    n_kept = trial.run(cache=False, preprocess=IMPROVED).n_kept
    with pytest.raises(GalbaseError, match="no image was judged with this configuration"):
        fill_cache(trial.config, release=None, preprocess=PUBLISHED)
    report = fill_cache(trial.config, release=None, preprocess=IMPROVED, workers=1)
    assert report.n_row == n_kept == check_all_right(trial, IMPROVED)
    assert len(files(trial)) == 2


def test_fill_refuses_a_file_that_changed_since_it_was_judged(trial: Trial) -> None:
    trial.add("a.h5", 1, 6)
    trial.run(cache=False)
    shard(trial.folder / "a.h5", 9, 6)
    with pytest.raises(GalbaseError, match=r"a\.h5 row \d has changed since it was judged"):
        fill_cache(trial.config, release=None, preprocess=PUBLISHED)
    assert rows(trial) == {}


def test_a_disk_that_refuses_costs_the_cache_and_no_verdict(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    trial.add("a.h5", 1, 6)
    with monkeypatch.context() as patch:
        patch.setattr(stamp_cache, "write_once", full)
        report = trial.run()
        assert (report.n_row, report.cache.n_stamp) == (6, 0)
        assert "No space left on device" in report.cache.problem
        done = CliRunner().invoke(commands, ["fill"], obj=trial.config)
        assert isinstance(done.exception, GalbaseError)
        assert "Make room and run the command again" in str(done.exception)
    assert rows(trial) == {}
    assert fill_cache(trial.config, release=None, preprocess=PUBLISHED).n_row == report.n_kept


def test_a_worker_without_the_folder_judges_all_the_same(trial: Trial) -> None:
    from galbase.ingest.jobs import judge_unit
    from galbase.ingest.preprocess_store import ensure_config, stale_units
    from galbase.schema import ledger

    trial.add("a.h5", 1, 4)
    config_id = ensure_config(trial.connection, "galeffnet", PUBLISHED)
    (unit,) = stale_units(trial.connection, config_id, PUBLISHED)
    run_id = ledger.start_run(trial.connection, "preprocess", {})
    ledger.add_units(trial.connection, run_id, "preprocess", [(unit.data_file_id, unit.row_start, unit.row_stop)])
    claimed = ledger.claim(trial.connection, run_id, "preprocess", "me", 60)
    assert claimed is not None
    nowhere = str(trial.folder / "not mounted here")
    report = judge_unit(trial.connection, claimed, config_id, PUBLISHED.to_dict(), nowhere)
    assert (report.n_row, report.cache.n_stamp) == (4, 0)
    assert rows(trial) == {}
    assert not Path(nowhere).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from galbase.ingest import preprocess_store, stamp_cache
from galbase.ingest.jobs import run_preprocess
from galbase.ingest.preprocess import stamp_file
from galbase.ingest.preprocess.config import preset
from galbase.schema.config import Config

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

when = sys.argv[5]
if when == "half written":
    os.fsync = die
elif when == "written, not renamed":
    Path.rename = die
elif when == "renamed, not recorded":
    preprocess_store.record = die
elif when == "recorded, not committed":
    preprocess_store.complete = die
else:
    preprocess_store.discard = die
config = Config(Path(sys.argv[1]), sys.argv[2], owner_role=sys.argv[3], reader_role=sys.argv[4], cache_dir=sys.argv[6])
run_preprocess(config, release=None, preprocess=preset("galeffnet"), workers=1)
"""


@pytest.mark.parametrize(
    "when",
    ["half written", "written, not renamed", "renamed, not recorded", "recorded, not committed", "committed"],
)
def test_a_job_killed_at_any_point_leaves_nothing_wrong(trial: Trial, when: str) -> None:
    trial.add("a.h5", 1, 6)
    n_kept = trial.run().n_kept
    # Another scale makes all of it stale, so that the killed job replaces a file that is there.
    trial.connection.execute("UPDATE archive.image SET pixel_scale_arcsec = 0.2621")
    (before,) = rows(trial)
    script = trial.folder / "job.py"
    script.write_text(KILLED)
    config = trial.config
    done = subprocess.run(
        [
            sys.executable, str(script), str(config.data_dir), str(config.database_url), config.owner_role,
            config.reader_role, when, str(config.cache_dir),
        ],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    # Until its transaction was committed, the old row names the old file, complete.
    ((after, row),) = rows(trial).items()
    assert (after == before) == (when != "committed")
    assert read_stamps(folder(trial) / after, row[5]).rows
    # The other is partial, not recorded, or the old one.
    assert len(files(trial)) == 2
    deadline = time.monotonic() + 60
    while trial.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND state <> 'idle'"
    ).fetchone() != (0,):
        assert time.monotonic() < deadline
    report = trial.run()
    assert report.n_row == (0 if when == "committed" else 6)
    assert check_all_right(trial, PUBLISHED) == n_kept
    prune(trial.connection, folder(trial), min_age_hours=0)
    assert files(trial) == set(rows(trial))
    assert check_all_right(trial, PUBLISHED) == n_kept
    assert [path.name for path in folder(trial).iterdir()] == [PUBLISHED.hash()]
