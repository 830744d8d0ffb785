"""Coverage of a release in SQL and by `galbase coverage`, against mocpy and numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import psycopg
import pytest
import typer
from astropy import units
from astropy.io import fits
from mocpy import MOC
from typer.testing import CliRunner

from galbase.schema.errors import GalbaseError, UsageError
from galbase.sql.commands_coverage import coverage
from tests.sql.conftest import Sky

LEFT = 1


@pytest.fixture(scope="module")
def covered(sky: Any) -> Any:
    """The sky's connection and sources, with an empty release and the licence of `left` besides."""
    connection, sources = sky
    connection.execute(
        "INSERT INTO archive.data_release (release_id, release, survey) OVERRIDING SYSTEM VALUE VALUES "
        "(3, 'empty', 'test')"
    )
    connection.execute(
        "UPDATE archive.data_release SET licence = 'CC-BY-4.0', citation = 'Dey et al. (2019)' WHERE release = 'left'"
    )
    return connection, sources


def moc_of(sky: Sky, order: int) -> MOC:
    """What mocpy says the left release covers."""
    here = sky.release == LEFT
    ra, dec = sky.ra[here], sky.dec[here]
    if order <= 11:
        return MOC.from_lonlat(ra * units.deg, dec * units.deg, max_norder=order)
    # On the borders of fine cells mocpy's HEALPix and healpy's round otherwise; the cells are healpy's then.
    cells = healpy.ang2pix(1 << order, ra, dec, nest=True, lonlat=True).astype("u8")
    return MOC.from_healpix_cells(cells, np.full(len(cells), order, "u1"), max_depth=order)


@pytest.mark.parametrize("order", [0, 1, 4, 8, 11, 20, 29])
def test_ranges_are_those_of_mocpy(covered: Any, order: int) -> None:
    connection, sky = covered
    rows = connection.execute("SELECT * FROM api.coverage('left', %s)", (order,)).fetchall()
    found = np.array(rows, dtype=np.int64)
    assert found[:, :2].tolist() == moc_of(sky, order).to_depth29_ranges.tolist()
    here = sky.release == LEFT
    hpx29 = np.sort(healpy.ang2pix(1 << 29, sky.ra[here], sky.dec[here], nest=True, lonlat=True))
    counts = np.searchsorted(hpx29, found[:, 1]) - np.searchsorted(hpx29, found[:, 0])
    assert found[:, 2].tolist() == counts.tolist()
    assert found[:, 2].sum() == here.sum()


def test_order_11_is_the_default(covered: Any) -> None:
    connection, _ = covered
    assert (
        connection.execute("SELECT * FROM api.coverage('left')").fetchall()
        == connection.execute("SELECT * FROM api.coverage('left', 11)").fetchall()
    )


@pytest.mark.parametrize("order", [0, 3, 12])
def test_map_counts_are_those_of_healpy(covered: Any, order: int) -> None:
    connection, sky = covered
    rows = connection.execute(
        "SELECT healpix_cell, n_source, density FROM api.healpix_map('left', %s) ORDER BY 1", (order,)
    ).fetchall()
    here = sky.release == LEFT
    cells, counts = np.unique(
        healpy.ang2pix(1 << order, sky.ra[here], sky.dec[here], nest=True, lonlat=True), return_counts=True
    )
    assert [row[:2] for row in rows] == list(zip(cells.tolist(), counts.tolist(), strict=True))
    np.testing.assert_allclose(
        [row[2] for row in rows], counts / healpy.nside2pixarea(1 << order, degrees=True), rtol=1e-12
    )


def question(function: str, arguments: str) -> bytes:
    return f"SELECT * FROM api.{function}({arguments})".encode()  # noqa: S608


@pytest.mark.parametrize("function", ["coverage", "healpix_map"])
def test_nothing_null_and_wrong_arguments(covered: Any, function: str) -> None:
    connection, _ = covered
    for arguments in ("'empty', 11", "NULL, 11", "'left', NULL", "NULL, NULL"):
        assert connection.execute(question(function, arguments)).fetchall() == [], arguments
    for arguments, message in (
        ("'nowhere', 11", 'there is no release "nowhere"'),
        ("'left', 30", "HEALPix order 30 is outside"),
        ("'empty', -1", "HEALPix order -1 is outside"),
    ):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=message):
            connection.execute(question(function, arguments))


def test_only_the_index_is_read(covered: Any) -> None:
    connection, _ = covered
    connection.execute("VACUUM archive.source")
    rows = connection.execute("EXPLAIN (COSTS OFF) SELECT * FROM api.coverage('left', 11)").fetchall()
    assert "Index Only Scan using ix_source_release_hpx29" in "\n".join(row[0] for row in rows)


def run(archive: Any, *words: str) -> Any:
    app = typer.Typer()
    app.command()(coverage)
    return CliRunner().invoke(app, list(words), obj=archive.config)


@pytest.mark.parametrize("ending", [".fits", ".txt", ".ascii", ".json"])
def test_command_writes_the_moc(covered: Any, archive: Any, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"left{ending}"
    done = run(archive, "left", "--order", "8", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["out"], said["licence"], said["citation"]) == (str(out), "CC-BY-4.0", "Dey et al. (2019)")
    if ending == ".fits":
        read = MOC.from_fits(out)
        header = fits.getheader(out, 1)
        assert (header["LICEN1"], header["CITE1"]) == ("CC-BY-4.0", "Dey et al. (2019)")
        assert "api.coverage('left', 8)" in str(header["COMMENT"])
    else:
        read = MOC.from_string(out.read_text(), "json" if ending == ".json" else "ascii")
    assert read == moc_of(covered[1], 8)
    assert list(tmp_path.iterdir()) == [out]


def test_command_sums_up(covered: Any, archive: Any) -> None:
    _, sky = covered
    done = run(archive, "left", "--order", "6", "--json")
    said = json.loads(done.stdout)
    wanted = moc_of(sky, 6)
    assert said["cells"] == wanted.flatten().size
    assert said["sources"] == (sky.release == LEFT).sum()
    assert said["sky_fraction"] == pytest.approx(wanted.sky_fraction, rel=1e-12)
    assert said["area_deg2"] == pytest.approx(wanted.sky_fraction * 41252.96125, rel=1e-9)
    shown = run(archive, "left").stdout
    assert "sky fraction" in shown
    assert "Dey et al. (2019)" in shown


def test_command_covers_an_empty_release(covered: Any, archive: Any, tmp_path: Path) -> None:  # noqa: ARG001
    out = tmp_path / "empty.fits"
    done = run(archive, "empty", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["cells"], said["area_deg2"], said["licence"]) == (0, 0.0, "not stated")
    assert MOC.from_fits(out) == MOC.new_empty(11)


def test_command_refuses_what_makes_no_sense(covered: Any, archive: Any, tmp_path: Path) -> None:  # noqa: ARG001
    unknown = run(archive, "nowhere")
    assert isinstance(unknown.exception, GalbaseError)
    assert "known are: empty, left, right" in str(unknown.exception)
    ending = run(archive, "left", "--out", str(tmp_path / "left.png"))
    assert isinstance(ending.exception, UsageError)
    assert ".ascii" in str(ending.exception)
    folder = run(archive, "left", "--out", str(tmp_path / "no" / "left.fits"))
    assert "cannot be written" in str(folder.exception)
    assert run(archive, "left", "--order", "30").exit_code == 2


def test_help_has_an_example(archive: Any) -> None:
    assert "Example: galbase coverage" in run(archive, "--help").stdout
