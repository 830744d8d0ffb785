"""Configuration comes from a TOML file, the environment and the command line, in this order."""

from pathlib import Path

import pytest

from galbase.schema.config import Config
from galbase.schema.errors import UsageError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG", "DATA_DIR", "DATABASE_URL", "SCHEDULER", "OWNER_ROLE", "READER_ROLE"):
        monkeypatch.delenv(f"GALBASE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_defaults(tmp_path: Path) -> None:
    config = Config.from_environment()
    assert config.data_dir == tmp_path / ".local" / "share" / "galbase"
    assert config.database_url is None


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "galbase.toml"
    path.write_text('data_dir = "/a"\nreader_role = "from_file"\nscheduler = "tcp://file:1"\n')
    monkeypatch.setenv("GALBASE_CONFIG", str(path))
    monkeypatch.setenv("GALBASE_SCHEDULER", "tcp://environment:1")
    config = Config.from_environment(Path("/b"))
    assert (config.data_dir, config.reader_role, config.scheduler) == (Path("/b"), "from_file", "tcp://environment:1")


@pytest.mark.parametrize(
    ("text", "message"), [("nonsense", "not valid TOML"), ("colour = 'red'", "unknown setting 'colour'")]
)
def test_a_wrong_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    path = tmp_path / "galbase.toml"
    path.write_text(text)
    monkeypatch.setenv("GALBASE_CONFIG", str(path))
    with pytest.raises(UsageError, match=message):
        Config.from_environment()


def test_a_missing_named_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALBASE_CONFIG", "/nowhere.toml")
    with pytest.raises(UsageError, match="/nowhere.toml"):
        Config.from_environment()
