"""docker-compose.yml is checked by parsing: there may be no Docker engine where the tests run."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return made


def test_postgres_has_pgvector_shared_memory_and_a_health_check(compose: dict[str, Any]) -> None:
    service = compose["services"]["postgres"]
    assert service["image"] == "pgvector/pgvector:0.8.6-pg18"
    assert service["shm_size"]
    assert service["healthcheck"]["test"]
    assert "database:/var/lib/postgresql" in service["volumes"]


def test_every_service_has_an_init_process(compose: dict[str, Any]) -> None:
    assert {name for name, service in compose["services"].items() if not service.get("init")} == set()


def test_scheduler_and_workers_come_from_our_dockerfile(compose: dict[str, Any]) -> None:
    for name in ("scheduler", "worker", "galbase"):
        build = compose["services"][name]["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_volumes_are_named(compose: dict[str, Any]) -> None:
    assert set(compose["volumes"]) == {"database", "work"}


def test_no_secret_is_written_in_the_file(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "URL" in name:
                assert "${GALBASE_POSTGRES_PASSWORD:?" in value


def test_the_image_leaves_out_what_may_not_be_redistributed() -> None:
    """pPXF's licence, and capfit's; the lock of the tests has both."""
    locked = (ROOT / "requirements.lock").read_text()
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    for package in ("ppxf", "capfit"):
        assert f"\n{package}==" in locked
    assert "--invert-match --extended-regexp '^(ppxf|capfit)=='" in dockerfile
    assert "--requirement requirements.lock" not in dockerfile
