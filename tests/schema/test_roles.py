"""Who may do what, and what an administrator is told."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.errors import GalbaseError
from galbase.schema.roles import SCHEMAS, missing_preparation
from galbase.schema.upgrade import upgrade


@pytest.fixture
def plain_user(server: Any, empty_database: Any) -> Iterator[Config]:
    """Configuration with a user without rights, in an empty database, and names of roles that do not exist."""
    name = f"galbase_alice_{secrets.token_hex(4)}"
    with psycopg.connect(server.maintenance_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'alice'").format(sql.Identifier(name)))
    parts = urlsplit(str(empty_database.config.database_url))
    host = parts.netloc.rpartition("@")[2]
    config = replace(
        empty_database.config,
        database_url=urlunsplit(parts._replace(netloc=f"{name}:alice@{host}")),
        owner_role=f"{name}_owner",
        reader_role=f"{name}_reader",
    )
    yield config
    server.drop(empty_database.config)
    for role in (config.owner_role, config.reader_role, name):
        server.execute("DROP ROLE IF EXISTS {}", role)


def test_the_reader_reads_and_does_not_write(archive: Any) -> None:
    with archive.connect(autocommit=True) as owner:
        owner.execute("CREATE TABLE catalogue.later (value int)")
        owner.execute("CREATE VIEW api.later AS SELECT * FROM catalogue.later")
    with archive.connect(role="reader", autocommit=True) as reader:
        tables = reader.execute(
            "SELECT n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT'), "
            "has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm')",
            [list(SCHEMAS)],
        ).fetchall()
        assert len(tables) > 20
        assert [row[:2] for row in tables if not row[2] or row[3]] == []
        assert reader.execute("SELECT count(*) FROM api.later").fetchone() == (0,)
        functions = reader.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'api'::regnamespace "
            "AND NOT has_function_privilege(oid, 'EXECUTE')"
        ).fetchall()
        assert functions == []
        for statement in (
            "INSERT INTO archive.data_release (release, survey) VALUES ('x', 'y')",
            "CREATE TABLE archive.mine (value int)",
            "CREATE TABLE public.mine (value int)",
            "CREATE SCHEMA mine",
            "DROP VIEW api.later",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_the_owner_owns_everything(archive: Any) -> None:
    with archive.connect() as connection:
        others = connection.execute(
            "SELECT 'relation', relname, relowner::regrole::text FROM pg_class "
            "WHERE relnamespace = ANY(%s::regnamespace[]) AND relowner <> %s::regrole "
            "UNION ALL SELECT 'function', proname, proowner::regrole::text FROM pg_proc "
            "WHERE pronamespace = ANY(%s::regnamespace[]) AND proowner <> %s::regrole "
            "UNION ALL SELECT 'schema', nspname, nspowner::regrole::text FROM pg_namespace "
            "WHERE nspname = ANY(%s) AND nspowner <> %s::regrole",
            [list(SCHEMAS), archive.config.owner_role] * 3,
        ).fetchall()
    assert others == []


def test_a_prepared_database_needs_nothing(archive: Any) -> None:
    with psycopg.connect(str(archive.config.database_url)) as connection:
        assert missing_preparation(connection, archive.config) == []


def test_without_rights_the_administrators_sql_is_given(plain_user: Config, empty_database: Any) -> None:
    with pytest.raises(GalbaseError, match="lacks rights on the server") as raised:
        upgrade(plain_user)
    text = str(raised.value)
    statements = [line for line in text.splitlines() if line.endswith(";")]
    assert f'CREATE ROLE "{plain_user.owner_role}" NOLOGIN;' in statements
    assert "CREATE EXTENSION vector;" in statements
    assert any(statement.startswith("ALTER DATABASE") for statement in statements)
    with pytest.raises(GalbaseError, match="run `galbase db upgrade`"):
        connect(plain_user)
    # An administrator runs just that, and the same user's upgrade succeeds.
    with psycopg.connect(str(empty_database.config.database_url), autocommit=True) as administrator:
        for statement in statements:
            administrator.execute(statement.encode())
    assert upgrade(plain_user).changed
    with connect(plain_user, role="reader") as connection:
        assert connection.execute("SELECT count(*) FROM archive.data_release").fetchone() == (0,)


def test_a_user_who_may_create_roles_needs_no_administrator(plain_user: Config, empty_database: Any) -> None:
    name = urlsplit(str(plain_user.database_url)).username
    assert name is not None
    database = urlsplit(str(plain_user.database_url)).path[1:]
    with psycopg.connect(str(empty_database.config.database_url), autocommit=True) as administrator:
        # pgvector is no trusted extension: a superuser must have made it.
        administrator.execute("CREATE EXTENSION vector")
        administrator.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(name)))
        administrator.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(name))
        )
    assert upgrade(plain_user).changed
    assert not upgrade(plain_user).changed
    connect(plain_user).close()
