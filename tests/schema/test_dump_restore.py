"""A dump restored into an empty database is the same archive."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from galbase.schema import dump as dump_module
from galbase.schema.dump import dump, restore
from galbase.schema.errors import GalbaseError
from galbase.schema.server_binaries import wheel_binaries


def _schema(archive: Any) -> str:
    """The database's definition, rights included, as pg_dump writes it."""
    command = [
        str(wheel_binaries().program("pg_dump")),
        "--schema-only",
        "--exclude-extension=*",
        "--restrict-key=test",
        archive.config.database_url,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # The name that PostgreSQL gives a cast without one; in a view that was read back it is left out.
    return re.sub(r"(::[a-z ]+) AS (bool|bpchar|float[48]|int[248]|jsonb|numeric|text|timestamptz)\b", r"\1", text)


def _fill(archive: Any) -> None:
    with archive.connect() as connection:
        connection.execute("INSERT INTO archive.data_release (release, survey) VALUES ('dr1', 'test survey')")
        connection.execute("CREATE TABLE catalogue.parts (k int, value halfvec) PARTITION BY LIST (k)")
        for k in (1, 2):
            connection.execute(f"CREATE TABLE catalogue.part{k} PARTITION OF catalogue.parts FOR VALUES IN ({k})")
        connection.execute("INSERT INTO catalogue.parts VALUES (1, '[1,2]'), (2, '[3,4,5]'), (2, NULL)")
        connection.execute("CREATE INDEX ON catalogue.part1 USING hnsw ((value::halfvec(2)) halfvec_ip_ops)")
        connection.execute("CREATE SCHEMA mine")
        connection.execute("CREATE VIEW mine.own AS SELECT galaxy_id FROM api.galaxy_property")


def test_round_trip(fresh_archive: Any, empty_database: Any, tmp_path: Path) -> None:
    _fill(fresh_archive)
    file = tmp_path / "archive.dump"
    size = dump(fresh_archive.config, file)
    assert file.stat().st_size == size > 10_000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    restore(empty_database.config, file)
    with empty_database.connect(role="reader") as connection:
        assert connection.execute("SELECT release, survey FROM archive.data_release").fetchall() == [
            ("dr1", "test survey")
        ]
        rows = connection.execute("SELECT tableoid::regclass::text, value::text FROM catalogue.parts ORDER BY 1, 2")
        assert rows.fetchall() == [
            ("catalogue.part1", "[1,2]"),
            ("catalogue.part2", "[3,4,5]"),
            ("catalogue.part2", None),
        ]
        assert connection.execute("SELECT count(*) FROM api.galaxy_property").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM archive.data_release")
    assert _schema(empty_database) == _schema(fresh_archive)


def test_only_into_an_empty_database(fresh_archive: Any, empty_database: Any, tmp_path: Path) -> None:
    file = tmp_path / "archive.dump"
    dump(fresh_archive.config, file)
    with pytest.raises(GalbaseError, match="is not empty: it holds schema api, schema archive, schema catalogue"):
        restore(fresh_archive.config, file)
    with psycopg.connect(str(empty_database.config.database_url)) as connection:
        connection.execute("CREATE TABLE public.mine (value int)")
    with pytest.raises(GalbaseError, match=r"is not empty: it holds public\.mine"):
        restore(empty_database.config, file)


def test_a_broken_file_leaves_the_database_empty(fresh_archive: Any, empty_database: Any, tmp_path: Path) -> None:
    _fill(fresh_archive)
    file = tmp_path / "archive.dump"
    dump(fresh_archive.config, file)
    content = file.read_bytes()
    for broken in (content[: len(content) // 2], b"no dump"):
        file.write_bytes(broken)
        with pytest.raises(GalbaseError, match="pg_restore failed"):
            restore(empty_database.config, file)
    file.write_bytes(content)
    restore(empty_database.config, file)
    empty_database.connect().close()


def test_files_that_are_in_the_way(archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("precious", encoding="utf-8")
    with pytest.raises(GalbaseError, match="exists already"):
        dump(archive.config, tmp_path / "old")
    with pytest.raises(GalbaseError, match="is not a folder"):
        dump(archive.config, tmp_path / "absent" / "file")
    with pytest.raises(GalbaseError, match="is not a file"):
        restore(archive.config, tmp_path / "absent")
    monkeypatch.setattr(dump_module, "MAJOR_VERSION", 14)
    with pytest.raises(GalbaseError, match="cannot dump or restore it"):
        dump(archive.config, tmp_path / "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]


def test_a_failed_dump_leaves_no_file(archive: Any, tmp_path: Path) -> None:
    gone = replace(archive.config, database_url=archive.config.database_url + "_gone")
    with pytest.raises(GalbaseError, match="does not exist"):
        dump(gone, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_commands(fresh_archive: Any, empty_database: Any, tmp_path: Path) -> None:
    file = str(tmp_path / "archive.dump")
    for archive, verb in ((fresh_archive, "dump"), (empty_database, "restore")):
        command = [sys.executable, "-c", "from galbase.schema.cli import main; main()", "db", verb, file, "--json"]
        done = subprocess.run(command, env=archive.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["file"] == file
    empty_database.connect().close()
