"""Served values are at every moment what their definition, computed from scratch, says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from galbase.schema.properties import PROPERTIES
from galbase.schema.served import differences, rebuild
from galbase.schema.upgrade import upgrade
from tests.schema.earlier_archive import without_served_values
from tests.sql.served_events import NAMED, NAMES, Events

SHOWN = ("source_id", "value", "err", "q025", "q05", "q16", "q50", "q84", "q95", "q975", "flag", "model")


def wanted(connection: psycopg.Connection[Any], name: str) -> dict[int, Any]:
    """What a galaxy should show of a property, worked out in Python from the tables."""
    number = connection.execute("SELECT property_id FROM archive.property WHERE name = %s", (name,)).fetchone()[0]  # type: ignore[index]
    serving = dict(
        connection.execute("SELECT input_kind, model_id FROM archive.served_model WHERE property_id = %s", (number,))
    )
    model = serving.get("image", serving.get("spectrum"))
    rows = connection.execute(
        "SELECT m.galaxy_id, r.priority, r.release_id, o.observation_id, r.simulated, mo.trained_on, o.source_id, "
        "p.value, p.err, p.q025, p.q05, p.q16, p.q50, p.q84, p.q95, p.q975, p.flag, mo.name "
        "FROM archive.prediction p JOIN archive.model mo USING (model_id) JOIN archive.observation o USING "
        "(observation_id) JOIN archive.data_release r USING (release_id) JOIN archive.galaxy_member m "
        "ON m.source_id = o.source_id WHERE p.model_id = %s AND p.property_id = %s",
        (model, number),
    ).fetchall()
    found: dict[int, Any] = {}
    for galaxy, *_, simulated, trained_on, source, v, e, a, b, c, d, f, g, h, flag, said in sorted(rows, reverse=True):
        numbers = (v, e, a, b, c, d, f, g, h)
        if flag & 1 or (trained_on == "simulation" and not simulated):
            numbers, flag = (None,) * 9, flag | 1
        found[galaxy] = (source, *numbers, flag, said)
    return found


def assert_fresh(connection: psycopg.Connection[Any], after: str = "") -> None:
    """The view, the tables and the definition agree with Python."""
    assert set(differences(connection).values()) == {0}, (after, differences(connection))
    for name in NAMES:
        columns = ", ".join(name if each == "value" else f"{name}_{each}" for each in SHOWN)
        rows = connection.execute(
            f"SELECT galaxy_id, {columns} FROM api.galaxy_property WHERE {name}_model IS NOT NULL".encode()  # noqa: S608
        ).fetchall()
        assert {row[0]: row[1:] for row in rows} == wanted(connection, name), (after, name)


@pytest.fixture
def events(fresh_archive: Any) -> Iterator[Events]:
    with fresh_archive.connect(autocommit=True) as connection:
        made = Events(connection, 7)
        made.fill()
        yield made


def test_every_property_has_its_table_and_its_column(archive: Any) -> None:
    with archive.connect() as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM archive.served_property()")}
    assert names == {each.name for each in PROPERTIES}


INSERT = (
    "INSERT INTO archive.{table} (model_id, property_id, observation_id, value, flag, input_hash) "
    "SELECT 2, property_id, 9001, 12, 0, '' FROM archive.property WHERE name = ANY('{{oh12,log_mstar_fib}}')"
)
# What is done before, and the statement that must renew by itself.
STATEMENTS = (
    ("", INSERT.format(table="prediction")),
    ("", INSERT.format(table="prediction_2")),
    ("", "UPDATE archive.prediction SET value = value + 1"),
    ("", "UPDATE archive.prediction_2 SET value = value + 1"),
    ("", "UPDATE archive.prediction_2 SET flag = 1"),
    ("", "DELETE FROM archive.prediction WHERE model_id = 2"),
    ("", "DELETE FROM archive.prediction_2 WHERE observation_id % 2 = 0"),
    ("", "TRUNCATE archive.prediction"),
    ("", "TRUNCATE archive.prediction_2"),
    ("", "TRUNCATE archive.served_model"),
    ("", "TRUNCATE archive.galaxy_member"),
    ("", "TRUNCATE archive.observation CASCADE"),
    ("DELETE FROM archive.served_model", "INSERT INTO archive.served_model SELECT property_id, 'image', 1 FROM "
     "archive.property WHERE name = 'oh12'"),
    ("", "UPDATE archive.served_model SET model_id = 1"),
    ("", "UPDATE archive.served_model SET input_kind = 'spectrum', model_id = 3"),
    ("", "DELETE FROM archive.served_model"),
    ("CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE archive.galaxy_member; DELETE FROM archive.galaxy_member",
     "INSERT INTO archive.galaxy_member SELECT * FROM kept"),
    ("", "UPDATE archive.galaxy_member SET galaxy_id = 1001 WHERE galaxy_id = 1002"),
    ("", "DELETE FROM archive.galaxy_member WHERE source_id % 2 = 0"),
    ("", "UPDATE archive.observation SET source_id = NULL WHERE observation_id % 2 = 0"),
    ("", "UPDATE archive.observation SET release_id = 4 - release_id"),
    ("", "DELETE FROM archive.observation WHERE observation_id % 2 = 0"),
    ("", "UPDATE archive.data_release SET priority = -priority"),
    ("UPDATE archive.model SET trained_on = 'simulation'", "UPDATE archive.data_release SET simulated = NOT simulated"),
    ("UPDATE archive.data_release SET simulated = false", "UPDATE archive.model SET trained_on = 'simulation'"),
    ("", "DELETE FROM archive.galaxy WHERE galaxy_id % 2 = 0"),
    ("", "DELETE FROM archive.source WHERE source_id % 2 = 0"),
)  # fmt: skip


def test_every_statement_that_matters_renews(events: Events) -> None:
    """Sources of all releases at a place are one galaxy, with an image in each, and model 2 serves."""
    connection = events.connection
    connection.execute("SELECT archive.watch_predictions(3)")
    connection.execute("UPDATE archive.data_release SET priority = release_id")
    connection.execute("DELETE FROM archive.observation")
    connection.execute(
        "UPDATE archive.galaxy_member SET galaxy_id = 1000 + galaxy_id % 1000;"
        "DELETE FROM archive.galaxy WHERE galaxy_id > 1999;"
        "INSERT INTO archive.observation (observation_id, kind, source_id, release_id, data_file_id, row_index) "
        "OVERRIDING SYSTEM VALUE SELECT source_id, 'image', source_id, release_id, release_id, source_id "
        "FROM archive.source WHERE source_id NOT IN (1000, 2000, 3000) "
        "UNION ALL SELECT 9001, 'image', 1000, 1, 1, 9001"
    )
    for model in (1, 2, 3):
        connection.execute(
            "INSERT INTO archive.prediction (model_id, property_id, observation_id, value, flag, input_hash) "
            "SELECT %s, property_id, observation_id, 9 + %s + observation_id / 1e4, 0, '' FROM archive.observation, "
            "archive.property WHERE name = ANY(%s) AND observation_id <> 9001",
            (model, model, list(NAMES)),
        )
    serve(events)
    for before, statement in STATEMENTS:
        with connection.transaction(force_rollback=True):
            connection.execute(before.encode())
            old = [wanted(connection, name) for name in NAMES]
            connection.execute(statement.encode())
            assert [wanted(connection, name) for name in NAMES] != old, statement
            assert_fresh(connection, statement)


def test_random_events_leave_nothing_stale(events: Events) -> None:
    seen: dict[str, int] = {}
    n_served = 0
    for seed in range(6):
        events.sow(seed)
        for step in range(40):
            name = str(events.rng.choice(NAMED))
            getattr(events, name)()
            seen[name] = seen.get(name, 0) + 1
            assert_fresh(events.connection, f"seed {seed}, step {step}: {name}")
            n_served += len(wanted(events.connection, NAMES[0]))
    assert set(seen) == set(NAMED)
    assert n_served > 400


def test_several_events_in_one_transaction(events: Events) -> None:
    for seed in range(10):
        events.sow(100 + seed)
        with events.connection.transaction(force_rollback=seed % 3 == 2):
            for name in ("promote", "predict", "crossmatch", "observe", "predict", "reassign", "reorder", "promote"):
                getattr(events, name)()
        assert_fresh(events.connection, f"seed {seed}")


def serve(events: Events, model: int = 2) -> None:
    events.connection.execute(
        "INSERT INTO archive.served_model SELECT property_id, 'image', %s FROM archive.property WHERE name = ANY(%s) "
        "ON CONFLICT (property_id, input_kind) DO UPDATE SET model_id = excluded.model_id",
        (model, list(NAMES)),
    )


def write(connection: psycopg.Connection[Any], observation_id: int, value: float, model: int = 2) -> None:
    connection.execute(
        f"INSERT INTO archive.prediction_{model} (model_id, property_id, observation_id, value, flag, input_hash) "  # noqa: S608
        "SELECT %s, property_id, %s, %s, 0, '' FROM archive.property WHERE name = ANY(%s) "
        "ON CONFLICT (model_id, property_id, observation_id) DO UPDATE SET value = excluded.value".encode(),
        (model, observation_id, value, list(NAMES)),
    )


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
    events.connection.execute("SELECT archive.watch_predictions(3)")
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


def test_an_upgrade_fills_and_watches(events: Events, fresh_archive: Any) -> None:
    """An archive of before, with models that serve and predictions that nobody watched."""
    for name in ("promote", "predict", "crossmatch", "predict", "observe", "predict"):
        getattr(events, name)()
    serve(events)
    write(events.connection, 1, 9.5)
    triggers = "SELECT tgrelid::regclass::text, tgname, tgfoid::regproc::text FROM pg_trigger WHERE NOT tgisinternal"
    before = [wanted(events.connection, name) for name in NAMES]
    made = set(events.connection.execute(triggers))
    without_served_values(events.connection)
    events.connection.execute("UPDATE archive.alembic_version SET version_num = 'a0011'")
    upgrade(fresh_archive.config)
    assert [wanted(events.connection, name) for name in NAMES] == before
    assert before[0]
    assert_fresh(events.connection)
    assert set(events.connection.execute(triggers)) >= made
    write(events.connection, 2, 9.7)
    assert_fresh(events.connection)


def test_a_snapshot_that_may_be_old_is_refused(events: Events) -> None:
    serve(events)
    events.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with (
        pytest.raises(psycopg.Error, match="isolation level repeatable read") as caught,
        events.connection.transaction(),
    ):
        write(events.connection, 1, 9.0)
    assert caught.value.diag.message_hint == "Write to schema archive at READ COMMITTED."


def test_what_was_written_past_the_triggers_is_found_and_mended(events: Events) -> None:
    serve(events)
    write(events.connection, 1, 9.0)
    n_property = len(NAMES)
    events.connection.execute("UPDATE archive.served_oh12 SET value = 8")
    assert differences(events.connection)["oh12"] == 1
    events.connection.execute("UPDATE archive.galaxy SET oh12 = 8")
    assert differences(events.connection)["oh12"] > 1
    events.connection.execute("DELETE FROM archive.served_log_mstar_fib")
    assert sum(count > 0 for count in differences(events.connection).values()) == n_property - 1
    rebuild(events.connection)
    assert_fresh(events.connection)


def test_the_command_tells_and_mends(events: Events, fresh_archive: Any) -> None:
    serve(events)
    write(events.connection, 1, 9.0)

    def verify(*options: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "galbase.schema.cli", "db", "verify", "--json", *options],
            env=fresh_archive.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    assert verify() == (0, {"repaired": False} | {each.name: 0 for each in PROPERTIES})
    events.connection.execute("UPDATE archive.served_oh12 SET value = 8")
    assert verify() == (1, {"repaired": False} | {each.name: int(each.name == "oh12") for each in PROPERTIES})
    assert verify("--repair")[0] == 0
    assert verify()[0] == 0
