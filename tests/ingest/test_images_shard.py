"""Ingest of HDF5 shards in the layout of ssl-legacysurvey: every dataset arrives, the pixels are not read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psycopg
import pytest

from galbase.ingest.file_verdict import IngestReport
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.readers.ssl_legacysurvey import read_shard
from galbase.ingest.releases import Release, add_release
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import ObservationFlag as Flag

Connection = psycopg.Connection[Any]
N = 12
PER_BAND = ("flux", "fiberflux", "psfdepth", "psfsize", "transmission", "fracin")
Z_PHOT = tuple(f"z_phot_{part}" for part in ("mean", "median", "std", "l68", "u68", "l95", "u95"))


def shard_columns(seed: int = 1, n_row: int = N) -> dict[str, np.ndarray[Any, Any]]:
    """The datasets that the repository's README lists, all but the images."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray[Any, Any]] = {
        "ra": rng.uniform(0, 360, n_row),
        "dec": rng.uniform(-30, 60, n_row),
        "release": np.full(n_row, 9010, np.int16),
        "brickid": rng.integers(1, 600000, n_row, np.int32),
        "objid": np.arange(n_row, dtype=np.int32),
        "inds": np.arange(1_000_000, 1_000_000 + n_row),
        "source_type": rng.choice(np.array([b"SER", b"REX", b"DEV", b"EXP"]), n_row),
        "ebv": rng.uniform(0, 0.2, n_row).astype(np.float32),
        "maskbits": rng.integers(0, 16, n_row).astype(np.int16),
        "nobs": rng.integers(1, 9, (n_row, 3)).astype(np.int16),
        "z_training": rng.integers(0, 2, n_row).astype(bool),
        "z_spec": np.where(np.arange(n_row) % 2, -99, rng.uniform(0, 1, n_row)).astype(np.float32),
    }
    columns |= {name: rng.uniform(0.1, 2, (n_row, 3)).astype(np.float32) for name in PER_BAND}
    columns |= {name: rng.uniform(0, 1, n_row).astype(np.float32) for name in Z_PHOT}
    return columns


def write_shard(path: Path, columns: dict[str, np.ndarray[Any, Any]], side: int = 152) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        # No chunk is ever written: such a shard takes no space, and reading its pixels would give zeros.
        file.create_dataset("images", (len(columns["ra"]), 3, side, side), np.float32, chunks=(1, 3, side, side))
    return path


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def release(connection: Connection, name: str) -> Release:
    return add_release(connection, name, survey="DESI Legacy Imaging Surveys")[0]


def load(connection: Connection, target: Release, path: Path) -> IngestReport:
    return ingest_images(connection, target, [path], ImageOptions())


def observations(connection: Connection, target: Release) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT o.observation_id, o.row_index, o.source_id, o.flag, o.modified_at, o.pixel_hash, i.* "
        "FROM archive.observation o JOIN archive.image i USING (observation_id) WHERE release_id = %s ORDER BY 2",
        (target.release_id,),
    ).fetchall()


def survey_values(connection: Connection, target: Release) -> dict[str, list[Any]]:
    cursor = connection.execute(
        "SELECT o.row_index, s.native_id, s.ra, s.dec, l.* FROM archive.observation o JOIN archive.source s "
        "USING (source_id) JOIN archive.legacysurvey_dr9_object l USING (source_id) WHERE o.release_id = %s "
        "ORDER BY o.row_index",
        (target.release_id,),
    )
    rows = cursor.fetchall()
    return {column.name: [row[i] for row in rows] for i, column in enumerate(cursor.description or ())}


def extra_values(connection: Connection, target: Release, name: str) -> list[Any]:
    rows = connection.execute(
        "SELECT coalesce(v.value_integer::float8, v.value_float) FROM archive.observation o "
        "JOIN archive.extra_value v USING (source_id) JOIN archive.extra_column c USING (extra_column_id) "
        "WHERE o.release_id = %s AND c.name = %s ORDER BY o.row_index",
        (target.release_id, name),
    ).fetchall()
    return [row[0] for row in rows]


def test_every_dataset_arrives(connection: Connection, tmp_path: Path) -> None:
    target, columns = release(connection, "complete"), shard_columns()
    report = load(connection, target, write_shard(tmp_path / "images_npix152_000000000_000000012.h5", columns))
    assert (report.loaded, report.inserted, report.rejected, report.rows_rejected) == (1, N, [], 0)
    found = survey_values(connection, target)
    assert found["row_index"] == list(range(N))
    assert found["native_id"] == [f"9010-{b}-{o}" for b, o in zip(columns["brickid"], columns["objid"], strict=True)]
    for name in ("ra", "dec", "release", "brickid", "objid", "ebv", "maskbits", *Z_PHOT):
        np.testing.assert_array_equal(np.array(found[name], columns[name].dtype), columns[name])
    assert found["type"] == [text.decode() for text in columns["source_type"]]
    for name in (*PER_BAND, "nobs"):
        stem = {"transmission": "mw_transmission"}.get(name, name)
        for i, band in enumerate("grz"):
            np.testing.assert_array_equal(np.array(found[f"{stem}_{band}"], columns[name].dtype), columns[name][:, i])
    assert [value is None for value in found["z_spec"]] == [row % 2 == 1 for row in range(N)]
    np.testing.assert_array_equal(np.array(found["z_spec"][::2], np.float32), columns["z_spec"][::2])
    assert extra_values(connection, target, "inds") == columns["inds"].tolist()
    assert extra_values(connection, target, "z_training") == columns["z_training"].tolist()
    assert found["sersic"] == [None] * N


def test_images_have_scale_bands_and_psf(connection: Connection, tmp_path: Path) -> None:
    target, columns = release(connection, "details"), shard_columns()
    load(connection, target, write_shard(tmp_path / "a.h5", columns))
    rows = observations(connection, target)
    assert {(tuple(row[7]), row[8], row[9], row[10], row[11]) for row in rows} == {
        (("g", "r", "z"), 0.262, 152, 152, False)
    }
    np.testing.assert_array_equal(np.array([row[12] for row in rows], np.float32), columns["psfsize"])
    np.testing.assert_array_equal(np.array([row[13] for row in rows], np.float32), columns["psfdepth"])
    assert {row[3] for row in rows} == {0}


def test_second_run_changes_nothing_and_a_changed_file_keeps_its_observations(
    connection: Connection, tmp_path: Path
) -> None:
    target, columns = release(connection, "again"), shard_columns()
    path = write_shard(tmp_path / "a.h5", columns)
    load(connection, target, path)
    connection.execute("UPDATE archive.observation SET pixel_hash = 'x' WHERE release_id = %s", (target.release_id,))
    before = observations(connection, target)
    assert load(connection, target, path).unchanged == 1
    assert observations(connection, target) == before
    kept = {name: values[:-2].copy() for name, values in columns.items()}
    kept["flux"][3, 1] = 77.0
    report = load(connection, target, write_shard(path, kept))
    assert (report.loaded, report.inserted, report.changed, report.deleted) == (1, 0, N - 2, 2)
    after = observations(connection, target)
    assert [row[:4] for row in after] == [row[:4] for row in before[:-2]]
    assert {row[5] for row in after} == {None}
    assert all(new[4] > old[4] for new, old in zip(after, before, strict=False))
    assert survey_values(connection, target)["flux_r"][3] == 77.0
    sources = connection.execute("SELECT count(*) FROM archive.source WHERE release_id = %s", (target.release_id,))
    assert sources.fetchone() == (N - 2,)


def test_only_images_and_positions_are_required(connection: Connection, tmp_path: Path) -> None:
    target, columns = release(connection, "bare"), shard_columns()
    load(connection, target, write_shard(tmp_path / "bare.h5", {name: columns[name] for name in ("ra", "dec")}))
    rows = connection.execute(
        "SELECT s.native_id, i.psf_fwhm_arcsec FROM archive.observation o JOIN archive.source s USING (source_id) "
        "JOIN archive.image i USING (observation_id) WHERE o.release_id = %s ORDER BY o.row_index",
        (target.release_id,),
    ).fetchall()
    assert rows == [(f"bare.h5:{row}", None) for row in range(N)]


def test_rows_without_position_or_with_bad_ones(connection: Connection, tmp_path: Path) -> None:
    target, columns = release(connection, "positions"), shard_columns()
    columns["ra"][0] = columns["dec"][0] = np.nan
    columns["dec"][1] = 95.0
    columns["ra"][2] = -1e-20
    columns["ra"][3] = 360.0 + columns["ra"][3]
    columns["objid"][5], columns["brickid"][5] = columns["objid"][4], columns["brickid"][4]
    columns["flux"][6, 0], columns["flux"][7, 2] = np.inf, np.nan
    columns["psfsize"][8, 1] = np.nan
    report = load(connection, target, write_shard(tmp_path / "a.h5", columns))
    assert (report.loaded, report.inserted, report.rows_rejected) == (1, N - 2, 2)
    rejected = connection.execute(
        "SELECT r.row_index, r.reason FROM archive.rejected_row r JOIN archive.data_file f USING (data_file_id) "
        "WHERE f.release_id = %s ORDER BY 1",
        (target.release_id,),
    ).fetchall()
    assert [row for row, _ in rejected] == [1, 5]
    assert "dec=95.0 is not on the sky" in rejected[0][1]
    assert "is that of row 4" in rejected[1][1]
    rows = {row[1]: row for row in observations(connection, target)}
    assert (rows[0][2], rows[0][3]) == (None, Flag.POSITION_UNKNOWN)
    assert rows[8][12][1] is None
    values = survey_values(connection, target)
    at = {row: i for i, row in enumerate(values["row_index"])}
    assert values["ra"][at[2]] == 0.0
    assert values["ra"][at[3]] == pytest.approx(columns["ra"][3] - 360, abs=1e-12)
    assert values["flux_g"][at[6]] is None
    assert values["flux_z"][at[7]] is None
    flags = connection.execute(
        "SELECT o.row_index, s.flag FROM archive.observation o JOIN archive.source s USING (source_id) "
        "WHERE o.release_id = %s AND s.flag <> 0",
        (target.release_id,),
    ).fetchall()
    assert flags == [(6, 1)]


def test_the_same_galaxies_in_two_shards_are_the_same_sources(connection: Connection, tmp_path: Path) -> None:
    target, columns = release(connection, "two-shards"), shard_columns()
    write_shard(tmp_path / "south" / "a.h5", columns)
    write_shard(tmp_path / "south-train" / "a.h5", {name: values[::3] for name, values in columns.items()})
    report = load(connection, target, tmp_path)
    assert (report.loaded, report.inserted, report.rejected) == (2, N + 4, [])
    counts = connection.execute(
        "SELECT count(*), count(DISTINCT source_id) FROM archive.observation WHERE release_id = %s",
        (target.release_id,),
    ).fetchone()
    assert counts == (N + 4, N)


def damage(path: Path, how: str) -> None:
    columns = shard_columns()
    write_shard(path, columns)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-4000])
    elif how == "no images":
        with h5py.File(path, "a") as file:
            del file["images"]
    elif how == "short":
        with h5py.File(path, "a") as file:
            del file["ebv"]
            file["ebv"] = columns["ebv"][:-1]
    elif how == "not HDF5":
        path.write_bytes(b"nothing")
    elif how == "flat images":
        with h5py.File(path, "a") as file:
            del file["images"]
            file["images"] = np.zeros((N, 152))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "is damaged or no HDF5 file"),
        ("no images", "has no dataset 'images'"),
        ("short", r"ebv has shape \(11,\) beside 12 images"),
        ("not HDF5", "is damaged or no HDF5 file"),
        ("flat images", r"images has shape \(12, 152\)"),
    ],
)
def test_damaged_shards_are_refused(tmp_path: Path, how: str, reason: str) -> None:
    damage(tmp_path / "a.h5", how)
    with pytest.raises(GalbaseError, match=reason):
        read_shard(tmp_path / "a.h5")


def test_a_damaged_shard_leaves_nothing_behind(connection: Connection, tmp_path: Path) -> None:
    target = release(connection, "half")
    columns = shard_columns()
    # A value that its column cannot hold is found only when rows are written.
    columns["maskbits"] = columns["maskbits"].astype(np.int64) + 2**40
    write_shard(tmp_path / "a.h5", columns)
    write_shard(tmp_path / "b.h5", shard_columns(seed=2))
    report = load(connection, target, tmp_path)
    assert [name for name, _ in report.rejected] == ["a.h5"]
    assert "maskbits" in report.rejected[0][1]
    assert len(observations(connection, target)) == N
    sources = connection.execute("SELECT count(*) FROM archive.source WHERE release_id = %s", (target.release_id,))
    assert sources.fetchone() == (N,)
