"""What a galaxy should show, worked out in Python, and what changes it in the tests."""

from __future__ import annotations

from typing import Any

import psycopg

from galbase.schema.served import differences
from tests.sql.served_events import NAMES, Events

SHOWN = ("source_id", "value", "err", "q025", "q05", "q16", "q50", "q84", "q95", "q975", "flag", "model")


def wanted(connection: psycopg.Connection[Any], name: str) -> dict[int, Any]:
    """What a galaxy should show of a property, worked out in Python from the tables."""
    number = connection.execute("SELECT property_id FROM archive.property WHERE name = %s", (name,)).fetchone()[0]  # type: ignore[index]
    serving = connection.execute(
        "SELECT input_kind, model_id FROM archive.served_model WHERE property_id = %s", (number,)
    ).fetchall()
    rank = {model: ("image+spectrum", "spectrum", "image").index(kind) for kind, model in serving}
    rows = connection.execute(
        "SELECT m.galaxy_id, p.model_id, r.priority, r.release_id, o.observation_id, r.simulated, mo.trained_on, "
        "o.source_id, "
        "p.value, p.err, p.q025, p.q05, p.q16, p.q50, p.q84, p.q95, p.q975, p.flag, mo.name "
        "FROM archive.prediction p JOIN archive.model mo USING (model_id) JOIN archive.observation o USING "
        "(observation_id) JOIN archive.data_release r USING (release_id) JOIN archive.galaxy_member m "
        "ON m.source_id = o.source_id WHERE p.model_id = ANY(%s) AND p.property_id = %s",
        (list(rank), number),
    ).fetchall()
    found: dict[int, tuple[Any, Any]] = {}
    for galaxy, model, *order, simulated, trained_on, source, v, e, a, b, c, d, f, g, h, flag, said in rows:
        numbers = (v, e, a, b, c, d, f, g, h)
        hidden = bool(flag & 1 or (trained_on == "simulation" and not simulated))
        if hidden:
            numbers, flag = (None,) * 9, flag | 1
        place = (hidden, rank[model], *order)
        if galaxy not in found or place < found[galaxy][0]:
            found[galaxy] = (place, (source, *numbers, flag, said))
    return {galaxy: shown for galaxy, (_, shown) in found.items()}


def assert_fresh(connection: psycopg.Connection[Any], after: str = "") -> None:
    """The view, the tables and the definition agree with Python."""
    assert set(differences(connection).values()) == {0}, (after, differences(connection))
    for name in NAMES:
        columns = ", ".join(name if each == "value" else f"{name}_{each}" for each in SHOWN)
        rows = connection.execute(
            f"SELECT galaxy_id, {columns} FROM api.galaxy_property WHERE {name}_model IS NOT NULL".encode()  # noqa: S608
        ).fetchall()
        assert {row[0]: row[1:] for row in rows} == wanted(connection, name), (after, name)


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
