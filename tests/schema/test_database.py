"""Connections, versions, and the upgrade's transaction."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from galbase.schema.config import Config
from galbase.schema.database import admin_url, connect, connect_url, database_url, hide_password, schema_version
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.roles import ADVISORY_LOCK
from galbase.schema.upgrade import needs_upgrade, upgrade
from galbase.schema.version import VERSIONS, SchemaVersion, expected_version, head_revision


def run(archive: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one galbase command on an archive."""
    command = [sys.executable, "-c", "from galbase.schema.cli import main; main()", *arguments]
    return subprocess.run(command, env=archive.env, capture_output=True, text=True, check=False, timeout=120)


def test_the_url_takes_on_the_role() -> None:
    config = Config(data_dir=Path("/nowhere"), database_url="postgresql://alice:s%40c@db.org:6432/sky?sslmode=require")
    assert database_url(config) == (
        "postgresql://alice:s%40c@db.org:6432/sky?sslmode=require&options=-c%20role%3Dgalbase_owner"
    )
    assert database_url(config, "reader").endswith("options=-c%20role%3Dgalbase_reader")
    assert database_url(replace(config, owner_role="alice")) == config.database_url
    assert admin_url(config) == config.database_url
    assert hide_password(str(config.database_url)) == "postgresql://alice@db.org:6432/sky?sslmode=require"
    with pytest.raises(UsageError, match="role is 'admin'"):
        database_url(config, "admin")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["sqlite:///x", "host=localhost", "nonsense"])
def test_a_url_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is not a database URL"):
        database_url(Config(data_dir=Path("/nowhere"), database_url=text))


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(GalbaseError, match="no connection to postgresql://alice@127.0.0.1:1/sky") as raised:
        connect_url("postgresql://alice:secret@127.0.0.1:1/sky")
    assert "secret" not in str(raised.value)


def test_both_roles_connect(archive: Any) -> None:
    for role in ("owner", "reader"):
        with archive.connect(role=role) as connection:
            name = getattr(archive.config, f"{role}_role")
            assert connection.execute("SELECT current_user::text").fetchone() == (name,)
    with archive.connect() as connection:
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert connection.execute("SHOW plan_cache_mode").fetchone() == ("force_generic_plan",)
        assert connection.execute("SHOW jit").fetchone() == ("off",)


def test_an_empty_database_is_refused(empty_database: Any) -> None:
    prepared = empty_database.config
    with pytest.raises(GalbaseError, match=r"holds no archive yet\. Run `galbase db upgrade`"):
        connect(prepared)
    upgrade(prepared)
    assert not needs_upgrade(prepared)
    connect(prepared).close()


def test_another_version_is_refused(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        connection.execute("UPDATE archive.installed_version SET version = 'old' WHERE component = 'sql'")
    with pytest.raises(GalbaseError, match="this galbase needs tables .* Run `galbase db upgrade`"):
        fresh_archive.connect()
    with fresh_archive.connect(check_version=False) as connection:
        assert schema_version(connection) != expected_version()
    done = run(fresh_archive, "db", "upgrade", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"] is True
    with fresh_archive.connect() as connection:
        assert schema_version(connection) == expected_version()


def test_tables_of_a_newer_galbase_are_refused(fresh_archive: Any) -> None:
    with fresh_archive.connect() as connection:
        connection.execute("UPDATE archive.alembic_version SET version_num = 'z9999'")
    with pytest.raises(GalbaseError, match="revision 'z9999', which this galbase does not know"):
        upgrade(fresh_archive.config)


def test_the_head_is_alembics() -> None:
    from alembic.script import ScriptDirectory

    assert head_revision(VERSIONS) == ScriptDirectory(str(VERSIONS.parent)).get_current_head()


def test_two_heads_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("revision = 'a'\ndown_revision = None\n", encoding="utf-8")
    (tmp_path / "b.py").write_text("revision: str = 'b'\ndown_revision: str = 'a'\n", encoding="utf-8")
    assert head_revision(tmp_path) == "b"
    (tmp_path / "c.py").write_text("revision = 'c'\ndown_revision = 'a'\n", encoding="utf-8")
    with pytest.raises(ValueError, match="2 heads"):
        head_revision(tmp_path)


def test_a_second_upgrade_changes_nothing(fresh_archive: Any) -> None:
    report = upgrade(fresh_archive.config)
    assert not report.changed
    assert report.before == report.after == expected_version()


def test_racing_upgrades_both_succeed(empty_database: Any) -> None:
    upgrade_errors: list[BaseException] = []

    def work() -> None:
        try:
            upgrade(empty_database.config)
        except BaseException as error:
            upgrade_errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upgrade_errors == []


def test_an_upgrade_waits_only_so_long(fresh_archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galbase.schema.roles.LOCK_TIMEOUT", "100ms")
    with fresh_archive.connect() as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        with pytest.raises(GalbaseError, match="is in use: a lock was not free within 100ms"):
            upgrade(fresh_archive.config)


def test_an_upgrade_is_all_or_nothing(empty_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the last step undoes the migrations before it."""

    def fail(*_: Any) -> None:
        raise RuntimeError("grants failed")

    monkeypatch.setattr("galbase.schema.upgrade.grant_reader", fail)
    with pytest.raises(RuntimeError, match="grants failed"):
        upgrade(empty_database.config)
    with empty_database.connect(check_version=False) as connection:
        assert schema_version(connection) == SchemaVersion(None)
        assert connection.execute("SELECT to_regnamespace('archive'), to_regnamespace('api')").fetchone() == (
            None,
            None,
        )


def test_a_users_view_survives_or_is_named(fresh_archive: Any) -> None:
    """The view stands on a galaxy_property of another shape, which cannot be replaced in place."""
    with fresh_archive.connect() as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute("CREATE VIEW mine.bright AS SELECT galaxy_id FROM api.galaxy_property")
    upgrade(fresh_archive.config)
    with fresh_archive.connect() as connection:
        assert connection.execute("SELECT to_regclass('mine.bright') IS NOT NULL").fetchone() == (True,)
        connection.execute("DROP VIEW mine.bright")
        connection.execute("DROP VIEW api.galaxy_property CASCADE")
        connection.execute("CREATE VIEW api.galaxy_property AS SELECT 'x'::text AS galaxy_id, 2 AS gone")
        connection.execute("CREATE VIEW mine.bright AS SELECT gone FROM api.galaxy_property")
        connection.execute("UPDATE archive.installed_version SET version = 'old' WHERE component = 'sql'")
    done = run(fresh_archive, "db", "upgrade")
    assert done.returncode == 1
    assert "mine.bright" in done.stderr
    assert "Traceback" not in done.stderr
    with fresh_archive.connect(check_version=False) as connection:
        assert connection.execute("SELECT gone FROM mine.bright").fetchone() == (2,)
    done = run(fresh_archive, "db", "upgrade", "--drop-dependents")
    assert done.returncode == 0, done.stderr
    with fresh_archive.connect() as connection:
        assert connection.execute("SELECT to_regclass('mine.bright')").fetchone() == (None,)


def test_commands_on_an_external_server(archive: Any) -> None:
    done = run(archive, "db", "status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["mode"], status["running"], status["up_to_date"]) == ("external", True, True)
    assert run(archive, "db", "start").returncode == 2
    assert run(archive, "db", "stop").returncode == 2
    url = run(archive, "db", "url", "--role", "reader").stdout.strip()
    assert url == archive.reader_url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == (archive.config.reader_role,)
    done = run(archive, "db", "psql", "--role", "reader", "-At", "-c", "SELECT current_user")
    assert (done.returncode, done.stdout.strip()) == (0, archive.config.reader_role), done.stderr


def test_status_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    from galbase.schema.status import database_status

    away = database_status(Config(data_dir=tmp_path, database_url="postgresql://a:b@127.0.0.1:1/sky"))
    assert (away["running"], away["up_to_date"], away["url"]) == (False, False, "postgresql://a@127.0.0.1:1/sky")
    none = database_status(Config(data_dir=tmp_path / "none"))
    assert (none["mode"], none["running"]) == ("embedded", False)
    assert not (tmp_path / "none").exists()
