"""Served values are right whoever writes at once, and whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg
import pytest

from tests.sql.served_definition import assert_fresh, serve, wanted, write
from tests.sql.served_events import NAMES, Events


def beside(archive: Any, act: Any, behind: psycopg.Connection[Any], later: Any) -> None:
    """Act in one transaction; begin the other, which must wait; commit both."""
    ahead = archive.connect()
    act(ahead)
    thread = threading.Thread(target=later, args=(behind,))
    thread.start()
    waiting = False
    # What others wait for is shown to a superuser only.
    with psycopg.connect(str(archive.config.database_url), autocommit=True) as admin:
        deadline = time.monotonic() + 20
        while not waiting and time.monotonic() < deadline:
            row = admin.execute(
                "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (behind.info.backend_pid,)
            ).fetchone()
            waiting = row is not None and row[0] == "Lock"
            time.sleep(0.02)
    ahead.commit()
    ahead.close()
    thread.join(30)
    behind.commit()
    behind.close()
    assert waiting


@pytest.mark.parametrize("first", ["unit", "promotion"])
def test_a_unit_and_a_promotion_at_once(events: Events, fresh_archive: Any, first: str) -> None:
    """The unit is of a model that does not serve when it begins: neither sees what the other has written."""
    serve(events, 1)
    acts: dict[str, Any] = {
        "unit": lambda connection: write(connection, 1, 11.5),
        "promotion": lambda connection: connection.execute(
            "UPDATE archive.served_model SET model_id = 2 WHERE model_id = 1"
        ),
    }
    act = acts.pop(first)
    (later,) = acts.values()
    beside(fresh_archive, act, fresh_archive.connect(), later)
    assert_fresh(events.connection)
    assert [row[1] for row in wanted(events.connection, NAMES[0]).values()] == [11.5]


def test_two_units_of_one_galaxy_at_once(events: Events, fresh_archive: Any) -> None:
    """Two images of one source: the first registered counts, whichever commits last."""
    serve(events)
    pair = events.connection.execute(
        "INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index) "
        "SELECT 'image', 1000, 1, 1, 100 + k FROM generate_series(1, 2) k RETURNING observation_id"
    ).fetchall()
    events.connection.execute("DELETE FROM archive.observation WHERE source_id = 1000 AND row_index < 100")
    ((first,), (second,)) = sorted(pair)
    beside(fresh_archive, lambda it: write(it, first, 1.0), fresh_archive.connect(), lambda it: write(it, second, 2.0))
    assert_fresh(events.connection)
    shown = events.connection.execute("SELECT value FROM archive.served_oh12 WHERE source_id = 1000").fetchall()
    assert shown == [(1.0,)]


def test_many_writers_at_once(events: Events, fresh_archive: Any) -> None:
    """Units, promotions, galaxies and releases change together; nobody is stopped, and all is right at the end."""
    serve(events)
    # As registration does for every model: a promotion that had to make triggers would wait for whoever writes, and
    # those who write for it.
    events.connection.execute("SELECT archive.watch_predictions(model_id) FROM archive.model")
    failures: list[BaseException] = []

    def run(seed: int, names: tuple[str, ...], n: int) -> None:
        try:
            with fresh_archive.connect(autocommit=True) as connection:
                mine = Events(connection, seed)
                for _ in range(n):
                    getattr(mine, str(mine.rng.choice(names)))()
        except BaseException as error:
            failures.append(error)

    work = [(seed, ("predict", "predict", "forget"), 30) for seed in range(4)]
    work += [(10, ("promote",), 15), (11, ("crossmatch", "galaxies"), 15), (12, ("reorder", "retrain"), 15)]
    threads = [threading.Thread(target=run, args=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    assert_fresh(events.connection)
    assert wanted(events.connection, NAMES[0])


KILLED = """
import sys, time
import psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute(
        "INSERT INTO archive.prediction_2 (model_id, property_id, observation_id, value, flag, input_hash) "
        "SELECT 2, property_id, 1, 99, 0, '' FROM archive.property WHERE name = 'oh12' "
        "ON CONFLICT (model_id, property_id, observation_id) DO UPDATE SET value = excluded.value")
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_killed_worker_leaves_what_was_there(events: Events, fresh_archive: Any) -> None:
    serve(events)
    write(events.connection, 1, 9.0)
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, fresh_archive.url], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == "written"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    # It held the turn; the next one gets it when the server has noticed.
    write(events.connection, 1, 10.0)
    assert_fresh(events.connection)
    assert {row[1] for row in wanted(events.connection, "oh12").values()} == {10.0}
