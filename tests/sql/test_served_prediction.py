"""Served values are at every moment what their definition, computed from scratch, says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from galbase.schema.properties import PROPERTIES
from galbase.schema.served import differences, rebuild
from galbase.schema.upgrade import upgrade
from tests.schema.earlier_archive import without_served_values
from tests.sql.served_definition import assert_fresh, serve, wanted, write
from tests.sql.served_events import NAMED, NAMES, Events


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


def test_each_galaxy_shows_the_model_that_knew_most_of_it(events: Events) -> None:
    """Some galaxies have values of models that read the image, the spectrum, and both."""
    connection = events.connection
    connection.execute("UPDATE archive.data_release SET simulated = (release_id = 1)")
    connection.execute("UPDATE archive.galaxy_member SET galaxy_id = 1000 + galaxy_id % 1000")
    connection.execute("DELETE FROM archive.galaxy WHERE galaxy_id > 1999")
    connection.execute("DELETE FROM archive.observation")
    connection.execute(
        "INSERT INTO archive.observation (observation_id, kind, source_id, release_id, data_file_id, row_index) "
        "OVERRIDING SYSTEM VALUE SELECT source_id, 'image', source_id, release_id, release_id, source_id "
        "FROM archive.source WHERE release_id = 2"
    )
    for model, first, last in ((2, 5, 11), (3, 4, 8), (4, 2, 6), (1, 0, 11)):
        connection.execute(
            "INSERT INTO archive.prediction (model_id, property_id, observation_id, value, flag, input_hash) "
            "SELECT %s, property_id, observation_id, %s, 0, '' FROM archive.observation, archive.property "
            "WHERE name = 'oh12' AND observation_id - 2000 BETWEEN %s AND %s",
            (model, model, first, last),
        )
    shown = "SELECT galaxy_id - 1000, oh12, oh12_model FROM api.galaxy_property WHERE oh12_model IS NOT NULL ORDER BY 1"

    def by_galaxy(*models: int) -> list[tuple[Any, ...]]:
        connection.execute("DELETE FROM archive.served_model")
        connection.execute(
            "INSERT INTO archive.served_model (property_id, input_kind, model_id) SELECT p.property_id, m.input_kind, "
            "m.model_id FROM archive.property p, archive.model m WHERE p.name = 'oh12' AND m.model_id = ANY(%s)",
            (list(models),),
        )
        assert_fresh(connection, str(models))
        return connection.execute(shown.encode()).fetchall()

    def wants(*of: tuple[int, range]) -> list[tuple[Any, ...]]:
        found = {galaxy: (galaxy, model, f"model {model}") for model, galaxies in of for galaxy in galaxies}
        return [found[galaxy] for galaxy in sorted(found)]

    assert by_galaxy(2, 3, 4) == wants((2, range(5, 12)), (3, range(4, 9)), (4, range(2, 7)))
    assert by_galaxy(2, 4) == wants((2, range(5, 12)), (4, range(2, 7)))
    assert by_galaxy(2, 3) == wants((2, range(5, 12)), (3, range(4, 9)))
    # What may not be shown hides nothing: model 4 learned from simulations, and these are no simulated images.
    connection.execute("UPDATE archive.model SET trained_on = 'simulation' WHERE model_id = 4")
    hidden = [(galaxy, None, "model 4") for galaxy in range(2, 4)]
    assert by_galaxy(2, 3, 4) == hidden + wants((2, range(5, 12)), (3, range(4, 9)))


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
