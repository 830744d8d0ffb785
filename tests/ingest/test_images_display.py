"""Ingest of JPEG and PNG images, with manifests and positions in names, on real samples and broken files."""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from PIL import Image

from galbase.ingest.file_verdict import IngestReport
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.manifest import read_manifest
from galbase.ingest.releases import Release, add_release
from galbase.schema.flags import ObservationFlag as Flag

Connection = psycopg.Connection[Any]
STATE = (
    "SELECT o.observation_id, o.source_id, o.pixel_hash, o.flag, o.modified_at, i.*, s.native_id, s.ra, s.dec "
    "FROM archive.observation o JOIN archive.image i USING (observation_id) "
    "LEFT JOIN archive.source s USING (source_id) WHERE o.release_id = %s ORDER BY o.observation_id"
)


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def release(connection: Connection, name: str) -> Release:
    return add_release(connection, name, survey="test")[0]


def state(connection: Connection, target: Release) -> list[tuple[Any, ...]]:
    return connection.execute(STATE, (target.release_id,)).fetchall()


def picture(path: Path, side: int = 40, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 255, (side, side + 2, 3), np.uint8)
    Image.fromarray(colours).save(path)
    return path


def load(connection: Connection, target: Release, path: Path, **options: Any) -> IngestReport:
    return ingest_images(connection, target, [path], ImageOptions(**options))


def test_real_sample_with_manifest(connection: Connection, test_data: Path) -> None:
    target = release(connection, "gz-coords-sample")
    folder = test_data / "gz-coords-sample"
    report = load(connection, target, folder, manifest=read_manifest(folder / "manifest.csv"))
    assert (report.loaded, report.inserted, report.rejected) == (27, 27, [])
    with (folder / "manifest.csv").open() as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    placed = {
        name: (ra, dec, flag)
        for name, ra, dec, flag in connection.execute(
            "SELECT s.native_id, s.ra, s.dec, o.flag FROM archive.observation o "
            "JOIN archive.source s USING (source_id) WHERE o.release_id = %s",
            (target.release_id,),
        )
    }
    assert placed.keys() == {name for name, row in rows.items() if row["ra"]}
    assert len(placed) == 21
    differing = set()
    for name, (ra, dec, flag) in placed.items():
        assert (ra, dec) == (float(rows[name]["ra"]), float(rows[name]["dec"]))
        assert flag & ~Flag.POSITION_DIFFERS == Flag.DISPLAY_IMAGE | Flag.PIXEL_SCALE_UNKNOWN | Flag.NO_CATALOGUE_SOURCE
        if rows[name]["ra_from_name"]:
            named = SkyCoord(float(rows[name]["ra_from_name"]), float(rows[name]["dec_from_name"]), unit="deg")
            apart = SkyCoord(ra, dec, unit="deg").separation(named)
            assert bool(flag & Flag.POSITION_DIFFERS) == bool(apart > 1 * units.arcsec)
            if flag & Flag.POSITION_DIFFERS:
                differing.add(Path(name).name[:10])
    assert differing == {"J022745.78", "J075543.11", "J133536.70"}
    unplaced = connection.execute(
        "SELECT f.path, o.flag FROM archive.observation o JOIN archive.data_file f USING (data_file_id) "
        "WHERE o.release_id = %s AND o.source_id IS NULL",
        (target.release_id,),
    ).fetchall()
    assert {path for path, _ in unplaced} == {name for name, row in rows.items() if not row["ra"]}
    assert len(unplaced) == 6
    assert {flag for _, flag in unplaced} == {Flag.DISPLAY_IMAGE | Flag.PIXEL_SCALE_UNKNOWN | Flag.POSITION_UNKNOWN}


def test_second_run_changes_nothing(connection: Connection, test_data: Path) -> None:
    target = release(connection, "twice")
    load(connection, target, test_data / "sdss-pairs" / "images", position_from_name=True)
    before = state(connection, target)
    files = connection.execute("SELECT * FROM archive.data_file ORDER BY 1").fetchall()
    report = load(connection, target, test_data / "sdss-pairs" / "images", position_from_name=True)
    assert (report.loaded, report.unchanged, report.wrote) == (0, 4, False)
    assert state(connection, target) == before
    assert connection.execute("SELECT * FROM archive.data_file ORDER BY 1").fetchall() == files
    assert {row[3] for row in before} == {
        int(Flag.DISPLAY_IMAGE | Flag.PIXEL_SCALE_UNKNOWN | Flag.NO_CATALOGUE_SOURCE | Flag.POSITION_FROM_NAME)
    }


def test_other_options_correct_rows_in_place(connection: Connection, test_data: Path) -> None:
    target, folder = release(connection, "options"), test_data / "sdss-pairs" / "images"
    load(connection, target, folder)
    before = state(connection, target)
    assert {row[1] for row in before} == {None}
    connection.execute("UPDATE archive.observation SET pixel_hash = 'x' WHERE release_id = %s", (target.release_id,))
    report = load(connection, target, folder, position_from_name=True, pixel_scale_arcsec=0.396, bands=("i", "r", "g"))
    after = state(connection, target)
    assert (report.loaded, report.inserted, report.changed) == (4, 0, 4)
    assert [row[0] for row in after] == [row[0] for row in before]
    # The bytes are the same, so the pixels' hash stays; what preprocessing reads of the row did change.
    assert {row[2] for row in after} == {"x"}
    assert all(new[4] > old[4] for new, old in zip(after, before, strict=True))
    assert {(tuple(row[6]), row[7]) for row in after} == {(("i", "r", "g"), 0.396)}
    assert {row[3] for row in after} == {int(Flag.DISPLAY_IMAGE | Flag.NO_CATALOGUE_SOURCE | Flag.POSITION_FROM_NAME)}


def test_broken_files_are_rejected_and_the_others_load(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "broken")
    folder = tmp_path / "cutouts"
    picture(folder / "1.5_2.5.png")
    whole = picture(folder / "3.5_2.5.jpg").read_bytes()
    (folder / "4.5_2.5.jpg").write_bytes(whole[: len(whole) // 2])
    png = bytearray(picture(folder / "5.5_2.5.png").read_bytes())
    png[len(png) // 2] ^= 0xFF
    (folder / "5.5_2.5.png").write_bytes(png)
    Image.fromarray(np.full((40, 40, 3), 7, np.uint8)).save(folder / "5.6_2.5.png", compress_level=0)
    png = bytearray((folder / "5.6_2.5.png").read_bytes())
    png[2000] ^= 1
    (folder / "5.6_2.5.png").write_bytes(png)
    (folder / "6.5_2.5.jpg").write_bytes(b"")
    shutil.copy(folder / "1.5_2.5.png", folder / "7.5_2.5.jpg")
    picture(folder / "8.5_97.5.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"x")
    for _ in range(2):
        report = load(connection, target, folder, position_from_name=True)
        assert [name for name, _ in report.rejected] == [
            "4.5_2.5.jpg", "5.5_2.5.png", "5.6_2.5.png", "6.5_2.5.jpg", "7.5_2.5.jpg", "8.5_97.5.png",
        ]  # fmt: skip
        assert (report.loaded + report.unchanged, len(state(connection, target))) == (2, 2)
    recorded = dict(
        connection.execute(
            "SELECT path, reason FROM archive.data_file WHERE release_id = %s AND state = 'rejected'",
            (target.release_id,),
        ).fetchall()
    )
    assert recorded == dict(report.rejected)
    assert "truncated" in recorded["4.5_2.5.jpg"]
    assert "not on the sky" in recorded["8.5_97.5.png"]
    # Mended, the file loads.
    (folder / "4.5_2.5.jpg").write_bytes(whole)
    assert (load(connection, target, folder, position_from_name=True).loaded, len(state(connection, target))) == (1, 3)


def test_a_file_given_by_name_must_be_an_image(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "by-name")
    (tmp_path / "notes.txt").write_text("x")
    report = load(connection, target, tmp_path / "notes.txt")
    assert [name for name, _ in report.rejected] == ["notes.txt"]
    assert "no image file" in report.rejected[0][1]


def test_changed_bytes_reset_the_pixel_hash_and_only_theirs(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "changed")
    for number in range(3):
        picture(tmp_path / f"1.{number}_2.5.png", seed=number)
    load(connection, target, tmp_path, position_from_name=True)
    connection.execute("UPDATE archive.observation SET pixel_hash = 'x' WHERE release_id = %s", (target.release_id,))
    before = state(connection, target)
    status = (tmp_path / "1.1_2.5.png").stat()
    picture(tmp_path / "1.1_2.5.png", side=60, seed=9)
    os.utime(tmp_path / "1.1_2.5.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    report = load(connection, target, tmp_path, position_from_name=True)
    assert (report.loaded, report.unchanged, report.inserted, report.changed) == (1, 2, 0, 1)
    after = state(connection, target)
    assert [row[0] for row in after] == [row[0] for row in before]
    assert [row[2] for row in after] == ["x", None, "x"]
    assert [new[4] > old[4] for new, old in zip(after, before, strict=True)] == [False, True, False]
    assert [(row[8], row[9]) for row in after] == [(42, 40), (62, 60), (42, 40)]


def test_a_corrected_manifest_moves_the_source(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "moved")
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", seed=1)
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,ra,dec,id,pixel_scale_arcsec\na.png,10,10,A,0.4\nb.png,20,20,B,\n")
    load(connection, target, tmp_path, manifest=read_manifest(manifest))
    before = state(connection, target)
    assert [(row[-3:], row[7]) for row in before] == [(("A", 10.0, 10.0), 0.4), (("B", 20.0, 20.0), None)]
    manifest.write_text("file,ra,dec,id\na.png,10,10,A\nb.png,50,-20,B\n")
    load(connection, target, tmp_path, manifest=read_manifest(manifest))
    after = state(connection, target)
    assert [row[-3:] for row in after] == [("A", 10.0, 10.0), ("B", 50.0, -20.0)]
    assert (after[0][7], after[0][1]) == (None, before[0][1])
    alias = connection.execute(
        "SELECT source_id FROM archive.source_alias WHERE old_source_id = %s", (before[1][1],)
    ).fetchone()
    assert alias == (after[1][1],)
    # Without a position the image stays, and the source that only it had brought goes.
    manifest.write_text("file,ra,dec,id\na.png,10,10,A\nb.png,,,B\n")
    load(connection, target, tmp_path, manifest=read_manifest(manifest))
    gone = state(connection, target)
    assert (gone[1][0], gone[1][1]) == (before[1][0], None)
    natives = connection.execute(
        "SELECT native_id FROM archive.source WHERE release_id = %s", (target.release_id,)
    ).fetchall()
    assert natives == [("A",)]


def test_equal_names_in_two_folders_are_not_one_source(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "folders")
    for folder, ra in (("one", 10), ("two", 20)):
        picture(tmp_path / folder / "1.png", seed=ra)
        (tmp_path / f"{folder}.csv").write_text(f"file,ra,dec\n{folder}/1.png,{ra},5\n")
    manifests = [read_manifest(tmp_path / f"{folder}.csv") for folder in ("one", "two")]
    assert load(connection, target, tmp_path / "one", manifest=manifests[0]).rejected == []
    report = load(connection, target, tmp_path / "two", manifest=manifests[1])
    assert len(report.rejected) == 1
    assert "its id '1.png' is that of a source of the release" in report.rejected[0][1]
    # From the folder above, the file known already keeps its root, and the other one gets a name of its own.
    (tmp_path / "both.csv").write_text("file,ra,dec\none/1.png,10,5\ntwo/1.png,20,5\n")
    report = load(connection, target, tmp_path, manifest=read_manifest(tmp_path / "both.csv"))
    assert [row[-3:] for row in state(connection, target)] == [("1.png", 10.0, 5.0), ("two/1.png", 20.0, 5.0)]
    assert (report.loaded, report.unchanged, report.changed, report.rejected) == (1, 1, 0, [])


def test_images_join_a_source_that_a_catalogue_brought(connection: Connection, tmp_path: Path) -> None:
    from galbase.ingest.catalogue import load_sources

    target = release(connection, "catalogued")
    number = load_sources(
        connection, target.release_id, target.release, ["A", "B"], [10.0, 30.0], [5.0, 5.0], None, None
    )
    for name in "ABC":
        picture(tmp_path / f"{name}.png", seed=ord(name))
    (tmp_path / "m.csv").write_text("file,ra,dec,id\nA.png,10.0001,5,A\nB.png,10,5,B\nC.png,40,5,C\n")
    report = load(connection, target, tmp_path, manifest=read_manifest(tmp_path / "m.csv"))
    assert len(report.rejected) == 1
    apart = SkyCoord(10, 5, unit="deg").separation(SkyCoord(30, 5, unit="deg")).arcsec
    assert f"'B' is that of a source of the release {apart:.1f} arcsec away" in report.rejected[0][1]
    rows = state(connection, target)
    assert (rows[0][1], rows[0][-3:]) == (number[0], ("A", 10.0, 5.0))
    assert [bool(row[3] & Flag.NO_CATALOGUE_SOURCE) for row in rows] == [False, True]


def test_wrong_number_of_bands(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "bands")
    picture(tmp_path / "a.png")
    report = load(connection, target, tmp_path, bands=("g", "r"))
    assert "has 3 planes, but --bands names g,r" in report.rejected[0][1]
