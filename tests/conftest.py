"""Fixtures of all tests: a real PostgreSQL server, fresh archives on it, and the test data.

By default the server is an embedded one in a temporary directory; ``--database-url URL`` (or
``GALBASE_TEST_DATABASE_URL``) runs the same tests on another server, whose user must be a superuser. Everything made
there has a name of its own, and is dropped at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from galbase.schema import database
from galbase.schema.config import Config
from galbase.schema.roles import prepare_database
from galbase.schema.server import ensure_running, stop_server
from galbase.schema.server_process import SUPERUSER
from galbase.schema.server_settings import MIB, ServerSettings
from galbase.schema.upgrade import upgrade


def pytest_configure() -> None:
    """Let a run that is told to end (SIGTERM) end like one that is interrupted: its servers and databases go too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-url",
        default=os.environ.get("GALBASE_TEST_DATABASE_URL"),
        help="superuser's URL of an external PostgreSQL server; default: an embedded one",
    )


@dataclass(frozen=True)
class Archive:
    """A database with an archive's schema, dropped after the tests that use it."""

    config: Config

    @property
    def url(self) -> str:
        """URL as owner."""
        return database.database_url(self.config, "owner")

    @property
    def reader_url(self) -> str:
        """URL as reader."""
        return database.database_url(self.config, "reader")

    @property
    def env(self) -> dict[str, str]:
        """Environment for a subprocess that runs commands on this archive."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GALBASE_")}
        return kept | {
            "GALBASE_DATABASE_URL": str(self.config.database_url),
            "GALBASE_DATA_DIR": str(self.config.data_dir),
            "GALBASE_OWNER_ROLE": self.config.owner_role,
            "GALBASE_READER_ROLE": self.config.reader_role,
        }

    def connect(self, **options: Any) -> psycopg.Connection:
        """Connect as `galbase.schema.database.connect` does."""
        return database.connect(self.config, **options)


@dataclass(frozen=True)
class TestServer:
    """A server to make databases on, and the configuration of the databases' archives."""

    __test__ = False

    config: Config
    maintenance_url: str

    def at(self, database: str) -> Config:
        """Configuration of one database of the server."""
        parts = urlsplit(self.maintenance_url)
        return replace(self.config, database_url=urlunsplit(parts._replace(path=f"/{database}")))

    def execute(self, statement: str, *names: str) -> None:
        """Run one statement outside a transaction, with `names` as its identifiers."""
        with psycopg.connect(self.maintenance_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def create(self, template: str | None = None) -> Config:
        """Make a database, empty or as a copy of `template`, and return its configuration."""
        name = f"galbase_test_{secrets.token_hex(5)}"
        if template is None:
            self.execute("CREATE DATABASE {}", name)
            return self.at(name)
        self.execute("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, self.config.owner_role)
        config = self.at(name)
        # Settings and rights of a database are not copied with its contents.
        with psycopg.connect(str(config.database_url), autocommit=True) as connection:
            prepare_database(connection, config)
        return config

    def drop(self, config: Config) -> None:
        """Drop a database, with whatever still is connected to it."""
        self.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", urlsplit(str(config.database_url)).path[1:])


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """The session's server. Its roles have names of their own, so that sessions on one server do not meet."""
    suffix = secrets.token_hex(4)
    # Not in pytest's own temporary folder: that is closed to the user who runs the server for root, and too long.
    folder = Path(tempfile.mkdtemp(prefix="galbase-test-", dir="/tmp"))
    config = Config(data_dir=folder, owner_role=f"galbase_owner_{suffix}", reader_role=f"galbase_reader_{suffix}")
    external = request.config.getoption("--database-url")
    try:
        if external:
            made = TestServer(config, external)
            yield made
            for role in (config.owner_role, config.reader_role):
                made.execute("DROP ROLE IF EXISTS {}", role)
        else:
            folder.chmod(0o755)
            running = ensure_running(config, ServerSettings(memory=1024 * MIB, durable=False))
            try:
                yield TestServer(config, running.url(SUPERUSER, "postgres"))
            finally:
                stop_server(config)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database_url(server: TestServer) -> str:
    """Superuser's URL of the session's server."""
    return server.maintenance_url


@pytest.fixture(scope="session")
def template(server: TestServer) -> Iterator[str]:
    """Name of a database with a fresh schema, which archives are copied from; nobody may stay connected to it."""
    config = server.create()
    upgrade(config)
    yield urlsplit(str(config.database_url)).path[1:]
    server.drop(config)


@pytest.fixture(scope="module")
def archive(server: TestServer, template: str) -> Iterator[Archive]:
    """An archive that the tests of one module share."""
    config = server.create(template)
    yield Archive(config)
    server.drop(config)


@pytest.fixture
def fresh_archive(server: TestServer, template: str) -> Iterator[Archive]:
    """An archive of one test's own."""
    config = server.create(template)
    yield Archive(config)
    server.drop(config)


@pytest.fixture
def empty_database(server: TestServer) -> Iterator[Archive]:
    """A database without a schema, for tests of the upgrade."""
    config = server.create()
    yield Archive(config)
    server.drop(config)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real survey files, ``$GALBASE_TEST_DATA``.

    Without it the test is skipped, or fails where ``GALBASE_REQUIRE_DATA=1`` says that it must not be.
    """
    named = os.environ.get("GALBASE_TEST_DATA", "")
    if named and Path(named).is_dir():
        return Path(named)
    reason = f"GALBASE_TEST_DATA is {named!r}, which is not a folder of survey files"
    if os.environ.get("GALBASE_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
