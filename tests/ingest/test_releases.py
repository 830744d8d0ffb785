"""Releases: registered, changed, listed, dropped with all that hangs on them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from galbase.ingest.catalogue import load_sources
from galbase.ingest.releases import add_release, drop_release, list_releases, require_release
from galbase.schema.errors import GalbaseError, UsageError


def test_add_change_and_repeat(fresh_archive) -> None:
    with fresh_archive.connect() as connection:
        made, state = add_release(connection, "dr9", survey="Legacy Survey", licence="CC-BY-4.0", priority=10)
        assert (state, made.survey, made.licence, made.citation, made.priority) == (
            "added",
            "Legacy Survey",
            "CC-BY-4.0",
            None,
            10,
        )
        assert add_release(connection, "dr9", survey="Legacy Survey", priority=10) == (made, "unchanged")
        changed, state = add_release(connection, "dr9", citation="Dey et al. 2019")
        assert state == "changed"
        assert (changed.citation, changed.licence, changed.release_id) == (
            "Dey et al. 2019",
            "CC-BY-4.0",
            made.release_id,
        )
        add_release(connection, "a", survey="s", priority=5)
        assert [row["release"] for row in list_releases(connection)] == ["a", "dr9"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dr9", {}, "give its survey with --survey"),
        ("", {"survey": "s"}, "no name of a release"),
        ("a b", {"survey": "s"}, "no name of a release"),
        ("-a", {"survey": "s"}, "no name of a release"),
        ("x" * 64, {"survey": "s"}, "no name of a release"),
    ],
)
def test_misuse_is_refused(archive, name, options, message) -> None:
    with archive.connect() as connection, pytest.raises(UsageError, match=message):
        add_release(connection, name, **options)


def test_unknown_release_names_the_remedy(archive) -> None:
    with archive.connect() as connection, pytest.raises(GalbaseError, match="galbase release add nowhere --survey"):
        require_release(connection, "nowhere")


def test_drop_deletes_only_its_own(fresh_archive) -> None:
    with fresh_archive.connect() as connection:
        for name in ("keep", "drop"):
            release, _ = add_release(connection, name, survey="s")
            load_sources(connection, release.release_id, name, ["1", "2"], [10, 350], [-5, 5], None, None)
        connection.execute("INSERT INTO archive.galaxy SELECT source_id, ra, dec, hpx29, 1 FROM archive.source")
        assert drop_release(connection, "drop") == {"sources": 2, "observations": 0, "files": 0}
        rows = connection.execute(
            "SELECT release, count(*) FROM archive.source JOIN archive.data_release USING (release_id) GROUP BY 1"
        ).fetchall()
        assert rows == [("keep", 2)]
        query = (
            "SELECT count(*), count(s.source_id) FROM archive.galaxy g "
            "LEFT JOIN archive.source s ON s.source_id = g.galaxy_id"
        )
        assert connection.execute(query).fetchone() == (2, 2)
        with pytest.raises(GalbaseError, match="no release 'drop'"):
            drop_release(connection, "drop")


def test_a_release_with_files_stays_observed_or_simulated(fresh_archive) -> None:
    with fresh_archive.connect() as connection:
        release, _ = add_release(connection, "r", survey="s")
        connection.execute("INSERT INTO archive.data_root (path) VALUES ('/d')")
        connection.execute(
            "INSERT INTO archive.data_file (release_id, data_root_id, path, format, size_bytes, mtime, state) "
            "SELECT %s, data_root_id, 'f', 'fits', 1, now(), 'loaded' FROM archive.data_root",
            (release.release_id,),
        )
        with pytest.raises(GalbaseError, match="loaded as observed"):
            add_release(connection, "r", simulated=True)


def test_commands(fresh_archive) -> None:
    def galbase(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from galbase.schema.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], env=fresh_archive.env, capture_output=True, text=True
        )

    added = galbase("release", "add", "r", "--survey", "S", "--licence", "CC0", "--simulated", "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["simulated"] is True
    assert json.loads(galbase("release", "list", "--json").stdout)["releases"][0]["licence"] == "CC0"
    assert json.loads(galbase("release", "show", "r", "--json").stdout)["files"] == []
    refused = galbase("release", "drop", "r")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert galbase("release", "drop", "r", "--yes").returncode == 0
    missing = galbase("release", "show", "r")
    assert (missing.returncode, "galbase release add r" in missing.stderr) == (1, True)


def test_ids_of_a_release_are_reproducible(fresh_archive) -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), np.degrees(np.arcsin(rng.uniform(-1, 1, 50)))
    names = [str(i) for i in range(50)]
    with fresh_archive.connect() as connection:
        first_release, _ = add_release(connection, "r", survey="s")
        first = load_sources(connection, first_release.release_id, "r", names, ra, dec, None, None)
        drop_release(connection, "r")
        second_release, _ = add_release(connection, "r", survey="s")
        shuffled = rng.permutation(50)
        second = load_sources(
            connection,
            second_release.release_id,
            "r",
            [names[i] for i in shuffled],
            ra[shuffled],
            dec[shuffled],
            None,
            None,
        )
        assert (second == first[shuffled]).all()
