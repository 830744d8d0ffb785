"""Stamps cut from frames, compared with astropy's Cutout2D on real and made frames."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psycopg
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS, FITSFixedWarning
from pyarrow import parquet

from galbase.ingest.catalogue import load_sources
from galbase.ingest.cut_images import CutOptions, CutReport, cut_images
from galbase.ingest.cutout import write_cutout
from galbase.ingest.image import ImageOptions, ingest_images
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.releases import Release, add_release
from galbase.ingest.stamp_shard import stamp_header
from galbase.ingest.stored_observation import find_observation
from galbase.ingest.survey_frame import group_frames, read_frame
from galbase.schema.errors import GalbaseError, UsageError
from galbase.schema.flags import ObservationFlag as Flag

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def catalogue(connection: Connection, name: str, ra: Any, dec: Any) -> Release:
    """A release of sources called 0, 1, 2..."""
    release, _ = add_release(connection, name, survey="S")
    ids = [str(i) for i in range(len(ra))]
    with connection.transaction():
        load_sources(connection, release.release_id, name, ids, ra, dec, None, None)
    return release


def wcs_of(header: Any) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def made_header(ra: float, dec: float, nx: int = 300, ny: int = 200, *, turn: float = 0.0, **keys: Any) -> fits.Header:
    """A tangential WCS of 0.3 arcsec a pixel."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = keys.pop("CTYPE1", "RA---TAN"), keys.pop("CTYPE2", "DEC--TAN")
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = nx / 2 + 0.3, ny / 2 - 0.2
    scale, c, s = 0.3 / 3600, np.cos(turn), np.sin(turn)
    for key, value in (("CD1_1", -scale * c), ("CD1_2", scale * s), ("CD2_1", scale * s), ("CD2_2", scale * c)):
        header[key] = value
    header["BUNIT"] = "nanomaggy"
    for key, value in keys.items():
        header[key] = value
    return header


def write_frame(path: Path, header: fits.Header, nx: int = 300, ny: int = 200, seed: int = 1) -> np.ndarray[Any, Any]:
    pixels = np.random.default_rng(seed).normal(0, 1, (ny, nx)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)
    return pixels


def stamps(report: CutReport) -> dict[str, tuple[np.ndarray[Any, Any], fits.Header, float, Path]]:
    """By id: pixels (n_band, ny, nx), header, coverage, file."""
    found = {}
    for path in report.files:
        with h5py.File(path, "r", locking=False) as file:
            for row, native in enumerate(file["native_id"].asstr()[...]):
                assert native not in found
                found[native] = (file["images"][row], stamp_header(path, row), float(file["coverage"][row]), path)
    return found


def check(found: Any, native: str, pixels: Any, header: Any, ra: float, dec: float, size: int, plane: int = 0) -> None:
    """One stamp is astropy's cutout, pixels and WCS."""
    wcs = wcs_of(header)
    wanted = Cutout2D(
        pixels, SkyCoord(ra, dec, unit="deg"), size, wcs=wcs, mode="partial", fill_value=np.nan, copy=True
    )
    stamp, own, covered, _ = found[native]
    np.testing.assert_array_equal(stamp[plane], wanted.data)
    assert covered == pytest.approx(np.isfinite(wanted.data).mean())
    grid = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1], [size / 2, size / 2]])
    there = wcs_of(own).pixel_to_world(*grid.T)
    assert there.separation(wanted.wcs.pixel_to_world(*grid.T)).arcsec.max() < 1e-4


def test_the_real_sdss_frame(connection: Connection, test_data: Path, tmp_path: Path) -> None:
    path = next((test_data / "sdss-frame").glob("frame-*.fits.bz2"))
    with warnings.catch_warnings(), fits.open(path) as hdus:
        warnings.simplefilter("ignore", FITSFixedWarning)
        pixels, header = np.array(hdus[0].data, np.float32), hdus[0].header.copy()
    labels = parquet.read_table(test_data / "sdss-frame" / "stripe82_gz2_labels.parquet")
    ra, dec = np.array(labels["ra"]), np.array(labels["dec"])
    real = catalogue(connection, "stripe82", ra, dec)
    report = cut_images(connection, real, [path], tmp_path / "real", CutOptions(64))
    x, y = wcs_of(header).all_world2pix(ra, dec, 0)
    inside = np.flatnonzero((x > -0.5) & (x < 2047.5) & (y > -0.5) & (y < 1488.5))
    found = stamps(report)
    assert sorted(found) == [str(i) for i in inside]
    assert len(ra) == 5197
    for i in inside:
        check(found, str(i), pixels, header, ra[i], dec[i], 64)
    # Positions all over the frame, its edges and corners among them.
    rng = np.random.default_rng(7)
    px = np.concatenate([rng.uniform(-0.4, 2047.4, 300), [-0.4, 2047.4, -0.4, 5, 1000.5]])
    py = np.concatenate([rng.uniform(-0.4, 1488.4, 300), [-0.4, 1488.4, 1488.4, 700, 0.0]])
    ra, dec = wcs_of(header).all_pix2world(px, py, 0)
    made = catalogue(connection, "on-frame", ra, dec)
    report = cut_images(connection, made, [path], tmp_path / "made", CutOptions(51, min_coverage=0))
    found = stamps(report)
    assert len(found) == 305
    for i in range(305):
        check(found, str(i), pixels, header, ra[i], dec[i], 51)
    with h5py.File(report.files[0], "r") as file:
        assert list(file.attrs["bands"]) == ["g"]
        assert list(file.attrs["units"]) == ["nanomaggy"]
        assert file.attrs["zero_points"].tolist() == [22.5]
        assert file.attrs["pixel_scale_arcsec"] == pytest.approx(0.396, abs=2e-4)


def test_a_real_brick_of_two_bands_and_its_weights(connection: Connection, test_data: Path, tmp_path: Path) -> None:
    folder = next((test_data / "legacysurvey-tractor-sweep" / "dr6" / "coadd").glob("*/*"))
    planes = {}
    for band in "gz":
        with fits.open(folder / f"legacysurvey-0959p805-image-{band}.fits.fz") as hdus:
            plane, header = np.array(hdus[1].data, np.float32), hdus[1].header.copy()
        with fits.open(folder / f"legacysurvey-0959p805-invvar-{band}.fits.fz") as hdus:
            plane[hdus[1].data <= 0] = np.nan
        planes[band] = plane
    y, x = np.nonzero(np.isfinite(planes["g"]))
    pick = np.random.default_rng(1).choice(len(x), 60, replace=False)
    # Off the middle of pixels, where rounding decides between two stamps.
    x, y = x[pick] + 0.3, y[pick] + 0.3
    ra, dec = WCS(header).all_pix2world(x, y, 0)
    release = catalogue(connection, "brick", ra, dec)
    report = cut_images(connection, release, [folder], tmp_path, CutOptions(40, min_coverage=0))
    assert (report.frames, report.frames_ignored, report.rejected) == (2, 4, [])
    # Hardly a pixel has both bands: stamps without one that has are left out whatever is asked for.
    found = stamps(report)
    assert [list(h5py.File(file, "r", locking=False).attrs["bands"]) for file in report.files] in ([], [["g", "z"]])
    assert report.sources == 60
    assert len(found) + report.below_coverage == 60
    for i, (px, py) in enumerate(zip(x, y, strict=True)):
        cut = [Cutout2D(planes[b], (px, py), 40, mode="partial", fill_value=np.nan).data for b in "gz"]
        both = np.isfinite(cut).all(axis=0).mean()
        if both == 0:
            assert str(i) not in found
            continue
        np.testing.assert_array_equal(found[str(i)][0], cut)
        assert found[str(i)][2] == pytest.approx(both)
    single = cut_images(
        connection, release, [folder / "legacysurvey-0959p805-image-g.fits.fz"], tmp_path / "g", CutOptions(40)
    )
    kept = stamps(single)
    assert len(kept) + single.below_coverage == 60
    assert len(kept) > 10
    assert all(item[2] >= 0.5 for item in kept.values())


DISTORTED = {
    "SIP": {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-5, "A_0_2": -1e-5,
        "A_1_1": 3e-6, "B_2_0": 1e-5, "B_0_2": 2e-5, "B_1_1": -2e-6,
    },
    "TPV": {
        "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 1e-5, "PV1_1": 1.001, "PV1_4": 0.3, "PV2_0": -1e-5,
        "PV2_1": 0.999, "PV2_4": 0.2,
    },
    "turned": {"turn": 0.7},
}  # fmt: skip


@pytest.mark.parametrize("kind", DISTORTED)
def test_distortions_move_along(connection: Connection, tmp_path: Path, kind: str) -> None:
    header = made_header(150.0, 30.0, **DISTORTED[kind])
    pixels = write_frame(tmp_path / "f-r.fits", header)
    rng = np.random.default_rng(3)
    ra, dec = wcs_of(header).all_pix2world(rng.uniform(0, 299, 40), rng.uniform(0, 199, 40), 0)
    release = catalogue(connection, f"distorted-{kind}", ra, dec)
    found = stamps(cut_images(connection, release, [tmp_path / "f-r.fits"], tmp_path / "o", CutOptions(33, 0.0)))
    assert len(found) == 40
    for i in range(40):
        check(found, str(i), pixels, header, ra[i], dec[i], 33)


def test_a_mosaic_takes_each_source_from_the_frame_it_lies_deepest_in(connection: Connection, tmp_path: Path) -> None:
    folder, frames = tmp_path / "frames", {}
    for number, dra in enumerate((0.0, 0.015, -0.015)):
        for band in "gr":
            header = made_header(20.0 + dra, 10.0, FILTER=band)
            pixels = write_frame(folder / f"tile{number}-{band}.fits", header, seed=10 * number + ord(band))
            frames[f"tile{number}", band] = (pixels, header)
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(19.97, 20.03, 200), rng.uniform(9.99, 10.01, 200)
    release = catalogue(connection, "mosaic", ra, dec)
    report = cut_images(connection, release, [folder], tmp_path / "out", CutOptions(24, min_coverage=0.9))
    found = stamps(report)
    checked = 0
    for i in range(200):
        depths = {}
        for tile in ("tile0", "tile1", "tile2"):
            x, y = WCS(frames[tile, "g"][1]).all_world2pix(ra[i], dec[i], 0)
            depths[tile] = min(x + 0.5, 299.5 - x, y + 0.5, 199.5 - y)
        tile = max(depths, key=lambda name: depths[name])
        if depths[tile] <= 0:
            assert str(i) not in found
        elif depths[tile] >= 12:
            assert found[str(i)][3].name == f"{tile}.stamps.h5"
            for plane, band in enumerate("gr"):
                check(found, str(i), *frames[tile, band], ra[i], dec[i], 24, plane)
            checked += 1
    assert checked > 100
    assert len({item[3] for item in found.values()}) == 3


def test_registered_flagged_and_nothing_new_at_the_second_run(connection: Connection, tmp_path: Path) -> None:
    header = made_header(40.0, -5.0, FILTER="r")
    pixels = write_frame(tmp_path / "frames" / "a.fits", header)
    ra, dec = WCS(header).all_pix2world([150.3, 3.0, 0.0], [100.2, 100.0, 0.0], 0)
    sources = catalogue(connection, "positions", ra, dec)
    target, _ = add_release(connection, "stamps", survey="S")
    for into, name in ((sources, "same"), (target, "other")):
        report = cut_images(connection, sources, [tmp_path / "frames"], tmp_path / name, CutOptions(20))
        assert (report.sources, report.stamps_cut, report.below_coverage, report.files_cut) == (3, 2, 1, 1)
        loaded = ingest_images(connection, into, report.files, ImageOptions())
        assert (loaded.loaded, loaded.inserted) == (1, 2)
        before = report.files[0].stat()
        again = cut_images(connection, sources, [tmp_path / "frames"], tmp_path / name, CutOptions(20))
        assert (again.stamps_cut, again.files_cut, again.files_current, again.files) == (0, 0, 1, report.files)
        assert report.files[0].stat() == before
        second = ingest_images(connection, into, again.files, ImageOptions())
        assert (second.unchanged, second.wrote) == (1, False)
    rows = connection.execute(
        "SELECT r.release, s.native_id, s.release_id, o.flag, i.bands, i.width, i.pixel_scale_arcsec, o.source_id "
        "FROM archive.observation o JOIN archive.image i USING (observation_id) "
        "JOIN archive.source s USING (source_id) JOIN archive.data_release r ON r.release_id = o.release_id "
        "WHERE r.release IN ('positions', 'stamps') "
        "ORDER BY 1, 2"
    ).fetchall()
    partly = int(Flag.INCOMPLETE_COVERAGE)
    brought = int(Flag.NO_CATALOGUE_SOURCE)
    assert [row[:4] for row in rows] == [
        ("positions", "0", sources.release_id, 0),
        ("positions", "1", sources.release_id, partly),
        ("stamps", "0", target.release_id, brought),
        ("stamps", "1", target.release_id, brought | partly),
    ]
    assert all(row[4:6] == (["r"], 20) for row in rows)
    assert rows[0][6] == pytest.approx(0.3)
    # A cutout written from the archive has the frame's pixels and WCS.
    image = find_observation(connection, rows[0][7], "image")
    write_cutout(image, tmp_path / "cut.fits")
    wanted = Cutout2D(pixels, (150.3, 100.2), 20, wcs=WCS(header))
    with fits.open(tmp_path / "cut.fits") as hdus:
        np.testing.assert_array_equal(hdus[0].data, wanted.data)
        assert hdus[0].header["BUNIT"] == "nanomaggy"
        assert hdus[0].header["MAGZERO"] == 22.5
        sky = WCS(hdus[0].header).pixel_to_world(3, 4)
    assert sky.separation(wanted.wcs.pixel_to_world(3, 4)).arcsec < 1e-4
    read = read_cutouts(report.files[0], "hdf5-stamps", 0, 2)
    assert read.bands == ("r",)
    assert np.isnan(read.pixels[1]).any()


def test_what_changed_is_cut_anew(connection: Connection, tmp_path: Path) -> None:
    header = made_header(60.0, 0.0)
    write_frame(tmp_path / "f" / "a-r.fits", header)
    write_frame(tmp_path / "f" / "b-r.fits", made_header(60.5, 0.0))
    ra, dec = WCS(header).all_pix2world([100.0, 200.0], [100.0, 100.0], 0)
    release = catalogue(connection, "changing", [*ra, 60.5], [*dec, 0.0])

    def run(**options: float) -> CutReport:
        return cut_images(connection, release, [tmp_path / "f"], tmp_path / "o", CutOptions(16, **options))

    assert (run().files_cut, run().files_cut) == (2, 0)
    assert run(min_coverage=0.7).files_cut == 2
    assert run(min_coverage=0.7).files_current == 2
    write_frame(tmp_path / "f" / "a-r.fits", header, seed=9)
    os.utime(tmp_path / "f" / "a-r.fits", ns=(1, 1))
    assert (run(min_coverage=0.7).files_cut, run(min_coverage=0.7).files_cut) == (1, 0)
    with connection.transaction():
        load_sources(connection, release.release_id, release.release, ["1"], ra[1:] + 1e-4, dec[1:], None, None)
    assert run(min_coverage=0.7).files_cut == 1


def test_bands_on_other_grids(connection: Connection, tmp_path: Path) -> None:
    header = made_header(80.0, 20.0)
    shifted, near = header.copy(), header.copy()
    shifted["CRPIX1"] += 7
    near["CRPIX1"] += 0.3
    planes = {
        "g": write_frame(tmp_path / "whole" / "x-g.fits", header, seed=1),
        "r": write_frame(tmp_path / "whole" / "x-r.fits", shifted, seed=2),
    }
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    write_frame(tmp_path / "part" / "x-r.fits", near, seed=3)
    ra, dec = WCS(header).all_pix2world([120.25], [90.75], 0)
    release = catalogue(connection, "grids", ra, dec)
    stamp = stamps(cut_images(connection, release, [tmp_path / "whole"], tmp_path / "o1", CutOptions(10)))["0"][0]
    for plane, (band, dx) in enumerate((("g", 0), ("r", 7))):
        np.testing.assert_array_equal(stamp[plane], Cutout2D(planes[band], (120.25 + dx, 90.75), 10).data)
    refused = cut_images(connection, release, [tmp_path / "part"], tmp_path / "o2", CutOptions(10))
    assert [name for name, _ in refused.rejected] == ["x-g.fits"]
    assert "0.30 pixels off each other within a stamp; pixels are not resampled" in refused.rejected[0][1]
    allowed = cut_images(
        connection, release, [tmp_path / "part"], tmp_path / "o2", CutOptions(10, max_band_offset_px=0.5)
    )
    assert allowed.stamps_cut == 1


def test_groups_and_files_that_are_no_frames(tmp_path: Path) -> None:
    names = ("a-image-g.fits", "a-image-r.fits.gz", "a-invvar-g.fits", "sub/a-image-g.fits", "plain.fits", "w1_W1.fits")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_frame(tmp_path / name, made_header(1.0, 1.0))
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "no-sky.fits")
    frames = [read_frame(path) for path in sorted(tmp_path.rglob("*.fits*"))]
    groups = group_frames([frame for frame in frames if frame is not None])
    bands = {group.name: [frame.band for frame in group.frames] for group in groups}
    folder = tmp_path.name
    assert bands == {
        f"{folder}-a-image": ["g", "r"], "sub-a-image": ["g"], "plain": [None], "w1": ["W1"],
    }  # fmt: skip
    write_frame(tmp_path / "a-image-g.fits.gz", made_header(1.0, 1.0))
    twice = [read_frame(tmp_path / name) for name in ("a-image-g.fits", "a-image-g.fits.gz")]
    with pytest.raises(GalbaseError, match="a-image-g.fits and a-image-g.fits.gz are both of band g"):
        group_frames([frame for frame in twice if frame is not None])


@pytest.mark.parametrize("options", [{"size_px": 0}, {"size_px": 9, "min_coverage": 2}, {"size_px": 10**6}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--size-px|--min-coverage"):
        CutOptions(**options).check()


def test_the_command(archive: Any, tmp_path: Path) -> None:
    def galbase(*words: Any) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "galbase.schema.cli", *map(str, words)],
            capture_output=True, text=True, env=archive.env, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    header = made_header(110.0, 40.0, FILTER="g")
    write_frame(tmp_path / "f" / "good-g.fits", header)
    (tmp_path / "f" / "bad-g.fits").write_bytes((tmp_path / "f" / "good-g.fits").read_bytes()[:9000])
    with archive.connect(autocommit=True) as connection:
        ra, dec = WCS(header).all_pix2world([100.0, 150.0], [100.0, 50.0], 0)
        catalogue(connection, "of-command", ra, dec)
    cut = ("ingest", "images", "--cut-from", tmp_path / "f", "--release", "of-command", "--positions", "of-command",
           "--size-px", 32, "--out", tmp_path / "o", "--json")  # fmt: skip
    status, out, text = galbase(*cut)
    assert status == 1, text
    report = json.loads(out)
    assert (report["stamps_cut"], report["inserted"], report["in_release"]) == (2, 2, 2)
    assert [item["file"] for item in report["rejected"]] == ["bad-g.fits"]
    assert "cut short in HDU 0" in report["rejected"][0]["reason"]
    report = json.loads(galbase(*cut)[1])
    assert (report["stamps_cut"], report["stamp_files_current"], report["inserted"], report["changed"]) == (0, 1, 0, 0)
    status, out, text = galbase("preprocess", "--release", "of-command", "--config", "galeffnet", "--json")
    assert status == 0, text
    assert galbase("ingest", "images", "--cut-from", tmp_path, "--release", "of-command")[0] == 2
    assert galbase("ingest", "images", tmp_path, "--release", "of-command", "--size-px", 9)[0] == 2
    assert galbase("ingest", "images", "--release", "of-command")[0] == 2
