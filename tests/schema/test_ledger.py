"""The ledger: each unit is committed once, whatever happens to its workers."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from galbase.schema import ledger

STEP = "trial"


@pytest.fixture
def connection(archive: Any) -> Any:
    with archive.connect(autocommit=True) as made:
        made.execute("CREATE TABLE IF NOT EXISTS catalogue.ledger_trial (unit bigint, attempt int)")
        made.execute("TRUNCATE catalogue.ledger_trial")
        yield made


def new_run(connection: psycopg.Connection[Any], n_unit: int) -> int:
    run_id = ledger.start_run(connection, "trial", {"n": n_unit})
    ledger.add_units(connection, run_id, STEP, [(None, i * 10, i * 10 + 10) for i in range(n_unit)])
    return run_id


def write(connection: psycopg.Connection[Any], unit: ledger.WorkUnit) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO catalogue.ledger_trial VALUES (%s, %s)", (unit.work_unit_id, unit.attempt))
        ledger.complete(connection, unit, 1)


def rows(connection: psycopg.Connection[Any]) -> list[tuple[int, int]]:
    return connection.execute("SELECT unit, attempt FROM catalogue.ledger_trial ORDER BY 1, 2").fetchall()


def expire(connection: psycopg.Connection[Any], unit: ledger.WorkUnit) -> None:
    connection.execute(
        "UPDATE archive.work_unit SET lease_until = now() - interval '1 s' WHERE work_unit_id = %s",
        (unit.work_unit_id,),
    )


def test_units_are_claimed_once_in_order_and_only_in_their_run(connection: psycopg.Connection[Any]) -> None:
    run_id, other = new_run(connection, 3), new_run(connection, 1)
    units = [ledger.claim(connection, run_id, STEP, "a", 60) for _ in range(4)]
    claimed = [unit for unit in units if unit is not None]
    assert [(u.row_start, u.row_stop, u.attempt, u.owner) for u in claimed] == [
        (0, 10, 1, "a"),
        (10, 20, 1, "a"),
        (20, 30, 1, "a"),
    ]
    assert units[3] is None
    assert ledger.unit_states(connection, run_id, STEP) == {"claimed": 3}
    assert ledger.claim(connection, other, "another step", "a", 60) is None
    assert ledger.unit_states(connection, other, STEP) == {"waiting": 1}


def test_a_lost_claim_rolls_its_rows_back(connection: psycopg.Connection[Any]) -> None:
    run_id = new_run(connection, 1)
    slow = ledger.claim(connection, run_id, STEP, "slow", 60)
    assert slow is not None
    expire(connection, slow)
    quick = ledger.claim(connection, run_id, STEP, "quick", 60)
    assert quick is not None
    assert (quick.work_unit_id, quick.attempt) == (slow.work_unit_id, 2)
    with pytest.raises(ledger.ClaimLostError, match="attempt 1 of slow"):
        write(connection, slow)
    assert rows(connection) == []
    ledger.fail(connection, slow, "too late to say so")
    assert ledger.unit_states(connection, run_id, STEP) == {"claimed": 1}
    write(connection, quick)
    assert rows(connection) == [(quick.work_unit_id, 2)]
    # A task that a scheduler runs twice writes nothing the second time.
    with pytest.raises(ledger.ClaimLostError):
        write(connection, quick)
    assert rows(connection) == [(quick.work_unit_id, 2)]


def test_a_late_owner_may_complete_while_nobody_took_its_unit(connection: psycopg.Connection[Any]) -> None:
    run_id = new_run(connection, 1)
    unit = ledger.claim(connection, run_id, STEP, "late", 60)
    assert unit is not None
    expire(connection, unit)
    write(connection, unit)
    assert ledger.unit_states(connection, run_id, STEP) == {"done": 1}


def test_a_unit_that_kills_its_workers_is_given_up(connection: psycopg.Connection[Any]) -> None:
    run_id = new_run(connection, 1)
    for attempt in (1, 2):
        unit = ledger.claim(connection, run_id, STEP, f"w{attempt}", 60, max_attempts=2)
        assert unit is not None
        expire(connection, unit)
    assert ledger.claim(connection, run_id, STEP, "w3", 60, max_attempts=2) is None
    assert ledger.unit_states(connection, run_id, STEP) == {"failed": 1}
    assert ledger.failed_units(connection, run_id, STEP) == [(None, 0, 10, "abandoned by 2 workers, the last one w2")]


def test_failed_units_are_not_claimed_again(connection: psycopg.Connection[Any]) -> None:
    run_id = new_run(connection, 1)
    unit = ledger.claim(connection, run_id, STEP, "w", 60)
    assert unit is not None
    ledger.fail(connection, unit, "the file is gone")
    assert ledger.claim(connection, run_id, STEP, "w", 60) is None
    assert ledger.failed_units(connection, run_id, STEP) == [(None, 0, 10, "the file is gone")]


def test_racing_workers_do_every_unit_once(archive: Any, connection: psycopg.Connection[Any]) -> None:
    run_id = new_run(connection, 120)

    def work(name: int) -> int:
        done = 0
        with psycopg.connect(archive.url, autocommit=True) as own:
            while (unit := ledger.claim(own, run_id, STEP, f"w{name}", 60)) is not None:
                write(own, unit)
                done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(8)))
    assert sum(done) == 120
    assert sum(n > 0 for n in done) > 1
    assert ledger.unit_states(connection, run_id, STEP) == {"done": 120}
    assert len(rows(connection)) == len({unit for unit, _ in rows(connection)}) == 120


WORKER = """
import sys, time, psycopg
from galbase.schema import ledger
connection = psycopg.connect(sys.argv[1], autocommit=True)
unit = ledger.claim(connection, int(sys.argv[2]), "trial", "doomed", 1.5)
with connection.transaction():
    connection.execute("INSERT INTO catalogue.ledger_trial VALUES (%s, %s)", (unit.work_unit_id, unit.attempt))
    ledger.complete(connection, unit, 1)
    print(unit.work_unit_id, flush=True)
    time.sleep(600)
"""


def test_a_killed_worker_leaves_nothing_and_its_unit_is_done_by_another(
    archive: Any, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    run_id = new_run(connection, 4)
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), archive.url, str(run_id)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        doomed = int(process.stdout.readline())
        # It wrote its row and called complete, but did not commit.
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while ledger.unit_states(connection, run_id, STEP) != {"done": 4}:
        assert time.monotonic() < deadline
        unit = ledger.claim(connection, run_id, STEP, "survivor", 60)
        if unit is None:
            time.sleep(0.1)
        else:
            write(connection, unit)
    written = rows(connection)
    assert len(written) == 4
    assert [attempt for unit, attempt in written if unit == doomed] == [2]


def test_a_run_records_configuration_versions_and_commit(connection: psycopg.Connection[Any]) -> None:
    run_id = ledger.start_run(connection, "trial", {"radius": 1.5, "names": ["a"]}, device="a GPU")
    ledger.finish_run(connection, run_id, "done", "42 rows")
    row = connection.execute(
        "SELECT config, versions, state, message, finished_at >= started_at FROM archive.run WHERE run_id = %s",
        (run_id,),
    ).fetchone()
    assert row is not None
    config, versions, state, message, ordered = row
    assert config == {"radius": 1.5, "names": ["a"]}
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["device"] == "a GPU"
    assert {"numpy", "galbase", "photutils"} <= set(versions)
    assert (state, message, ordered) == ("done", "42 rows", True)


def test_the_commit_is_the_checkouts_own_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(ledger.__file__).resolve().parents[1]
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    expected = None
    if (root / ".git").exists():
        environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, env=environment, check=False
        )
        expected = answer.stdout.strip() or None
    assert ledger.git_commit() == expected
    monkeypatch.setattr(ledger, "__file__", "/usr/lib/somewhere/ledger.py")
    assert ledger.git_commit() is None
