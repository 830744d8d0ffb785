"""File records: hashes, verdicts, rejected rows."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from galbase.schema import files
from galbase.schema.errors import GalbaseError


def test_facts_are_those_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"galaxy" * 1000)
    facts = files.file_facts(path)
    assert facts.sha256 == hashlib.sha256(b"galaxy" * 1000).hexdigest()
    assert facts.size_bytes == 6000


def test_a_large_file_is_known_by_size_time_and_pieces(tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    with path.open("wb") as stream:
        stream.truncate(3 * 2**30)  # a sparse file: nothing but its length is on the disk
    facts = files.file_facts(path)
    assert (facts.sha256, len(facts.chunk_sha256), facts.size_bytes) == ("", 64, 3 * 2**30)
    zeros = bytes(2**20)
    expected = hashlib.sha256(str(3 * 2**30).encode())
    for _ in range(65):
        expected.update(zeros)
    assert facts.chunk_sha256 == expected.hexdigest()
    for place in (0, (3 * 2**30 - 2**20) // 2 + 5, 3 * 2**30 - 1):
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(b"x")
        changed = files.file_facts(path).chunk_sha256
        assert changed != facts.chunk_sha256
        facts = files.file_facts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GalbaseError, match=r"absent\.fits cannot be read: No such file"):
        files.file_facts(tmp_path / "absent.fits")


def test_a_file_record_is_one_row_a_path(archive: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")
    facts = files.file_facts(path)
    with archive.connect() as connection:
        release = connection.execute(
            "INSERT INTO archive.data_release (release, survey) VALUES ('files-test', 'test') RETURNING release_id"
        ).fetchone()[0]
        root = files.register_root(connection, tmp_path)
        assert files.register_root(connection, tmp_path) == root
        common: dict[str, Any] = {"release_id": release, "root_id": root, "path": "a.csv", "format": "csv"}
        common |= {"facts": facts, "options_hash": "o"}
        rejected = files.record_file(connection, **common, state="rejected", reason="broken")
        loaded = files.record_file(connection, **common, state="loaded", n_row=2, n_loaded=1, n_rejected=1)
        assert loaded == rejected
        files.record_rejected_rows(connection, loaded, [(0, "x", "dec 91"), (5, None, "no position")])
        files.record_rejected_rows(connection, loaded, [(1, "y", "dec 91")])
        stored = connection.execute(
            "SELECT row_index, native_id, reason FROM archive.rejected_row WHERE data_file_id = %s", (loaded,)
        ).fetchall()
        assert stored == [(1, "y", "dec 91")]
        connection.rollback()
