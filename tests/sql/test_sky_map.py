"""Maps of the sky, against healpy, matplotlib and numpy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
import typer
from astropy.io import fits
from matplotlib.image import imread
from matplotlib.projections.geo import MollweideAxes
from typer.testing import CliRunner

from galbase.schema.errors import GalbaseError, UsageError
from galbase.sql.aggregate import Aggregate
from galbase.sql.commands_coverage import sky_map
from galbase.sql.mollweide import HALF_HEIGHT, HALF_WIDTH, project, unproject
from galbase.sql.query import ReleaseCredit
from galbase.sql.sky_map import SkyMap, read_aggregate, read_density, write_map_fits
from galbase.sql.sky_picture import FINEST_ORDER, draw_map, raster
from tests.sql.conftest import awkward_positions
from tests.sql.small_archive import SmallArchive, fill_small_archive

NUMPY = {
    Aggregate.MEAN: np.mean, Aggregate.MEDIAN: np.median, Aggregate.COUNT: len, Aggregate.MIN: np.min,
    Aggregate.MAX: np.max, Aggregate.SUM: np.sum,
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(archive: Any) -> Any:
    """An archive with galaxies, a catalogue table of the release `sdss`, and an empty release."""
    with archive.connect(autocommit=True) as owner:
        small = fill_small_archive(owner)
        owner.execute(
            "INSERT INTO archive.data_release (release_id, release, survey) OVERRIDING SYSTEM VALUE "
            "VALUES (9, 'empty', 'test')"
        )
        owner.execute(
            'CREATE TABLE catalogue.odd AS SELECT source_id, hpx29, ra * 2 AS "twice % ra", native_id AS name '
            "FROM archive.source WHERE release_id = 3"
        )
        for source, value in ((3000, None), (3001, "NaN"), (3002, "-Infinity")):
            owner.execute('UPDATE catalogue.odd SET "twice %% ra" = %s WHERE source_id = %s', (value, source))
        owner.execute("CREATE TABLE catalogue.nowhere (a integer)")
        owner.execute(
            "INSERT INTO archive.column_metadata (table_schema, table_name, column_name, unit, description) "
            "VALUES ('catalogue', 'odd', 'twice % ra', '''turn''', 'Twice')"
        )
        reader = archive.config.reader_role
        owner.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA catalogue TO "{reader}"')
    return archive, small


def made_map(cells: Any, order: int, values: Any, unit: str | None = "deg**-2") -> SkyMap:
    credit = ReleaseCredit("dr_1", "CC-BY-4.0", "Müller et al. (2020), $5", None)
    return SkyMap(
        "dr_1", order, np.asarray(cells), np.asarray(values, float), np.ones(len(cells), int), "mean of x", unit,
        (credit,), "SELECT 1",
    )  # fmt: skip


@pytest.mark.parametrize("aggregate", list(Aggregate))
@pytest.mark.parametrize("release", ["sim-image", "sdss"])
def test_aggregates_are_those_of_numpy(filled: Any, aggregate: Aggregate, release: str) -> None:
    archive, small = filled
    assert isinstance(small, SmallArchive)
    with archive.connect(role="reader") as connection:
        found = read_aggregate(connection, release, 7, "log_mstar_fib", aggregate)
        rows = connection.execute(
            "SELECT ra, dec, log_mstar_fib FROM api.galaxy_property WHERE log_mstar_fib IS NOT NULL AND galaxy_id < %s",
            (1040 if release == "sim-image" else 1030,),
        ).fetchall()
    ra, dec, value = np.array(rows).T
    cell = healpy.ang2pix(1 << 7, ra, dec, nest=True, lonlat=True)
    assert found.cells.tolist() == np.unique(cell).tolist()
    assert len(found.cells) > 5
    wanted = [NUMPY[aggregate](value[cell == one]) for one in found.cells]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    assert found.n_value.tolist() == [(cell == one).sum() for one in found.cells]
    assert found.label == f"{aggregate} of log_mstar_fib" + ("" if aggregate is Aggregate.COUNT else " [dex]")
    assert {credit.release for credit in found.credits} > {"sim-image", "sdss"}


def test_columns_of_catalogues_are_mapped_by_source(filled: Any) -> None:
    archive, _ = filled
    with archive.connect(role="reader") as connection:
        for table in ("odd", "catalogue.odd"):
            found = read_aggregate(connection, "sdss", 2, "twice % ra", Aggregate.MEAN, table)
            assert found.label == "mean of twice % ra [turn]"
            assert found.n_value.sum() == 27
            assert [credit.release for credit in found.credits] == ["sdss"]
        rows = connection.execute("SELECT ra, dec FROM archive.source WHERE release_id = 3 AND source_id > 3002")
        ra, dec = np.array(rows.fetchall()).T
    cell = healpy.ang2pix(4, ra, dec, nest=True, lonlat=True)
    np.testing.assert_allclose(found.values, [2 * ra[cell == one].mean() for one in found.cells])


def test_density_is_that_of_healpy(filled: Any) -> None:
    archive, _ = filled
    with archive.connect(role="reader") as connection:
        found = read_density(connection, "sim-image", 6)
        rows = connection.execute("SELECT ra, dec FROM archive.source WHERE release_id = 1").fetchall()
    ra, dec = np.array(rows).T
    cells, counts = np.unique(healpy.ang2pix(64, ra, dec, nest=True, lonlat=True), return_counts=True)
    assert (found.cells.tolist(), found.n_value.tolist()) == (cells.tolist(), counts.tolist())
    np.testing.assert_allclose(found.values, counts / healpy.nside2pixarea(64, degrees=True))
    assert found.label == "source density [deg**-2]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", 3, "z"), 'no release "nowhere"'),
        (("empty", 3, "z"), "no galaxy of release 'empty' has a z in api.galaxy_property"),
        (("sdss", 3, "log_mstar"), "alike are: log_mstar_tot"),
        (("sdss", 3, "spectral_class"), "not a column of numbers"),
        (("sdss", 3, "z; DROP TABLE archive.source"), "is no column of api.galaxy_property"),
        (("sdss", 3, "z", Aggregate.MEAN, "odd; SELECT 1"), "there is no table"),
        (("sdss", 3, "a", Aggregate.MEAN, "catalogue.nowhere"), "neither source_id nor galaxy_id"),
        (("sdss", 3, "relname", Aggregate.MEAN, "pg_class"), "there is no table"),
    ],
)
def test_what_cannot_be_mapped_is_named(filled: Any, arguments: Any, message: str) -> None:
    archive, _ = filled
    with archive.connect(role="reader") as connection, pytest.raises(GalbaseError, match=message):
        read_aggregate(connection, *arguments)


def test_an_empty_release_has_no_density(filled: Any) -> None:
    archive, _ = filled
    for release, message in (("empty", "'empty' has no source"), ("nowhere", "no release 'nowhere'")):
        with archive.connect(role="reader") as connection, pytest.raises(GalbaseError, match=message):
            read_density(connection, release, 3)


@pytest.mark.parametrize("order", [0, 5, 9])
def test_healpy_reads_the_fits_map(order: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(order)
    cells = np.unique(rng.integers(0, 12 * 4**order, 500))
    values = rng.normal(size=len(cells))
    path = tmp_path / "map.fits"
    write_map_fits(made_map(cells, order, values, "'dex'"), path)
    nested = healpy.read_map(path, nest=True)
    wanted = np.full(12 * 4**order, healpy.UNSEEN)
    wanted[cells] = values
    np.testing.assert_array_equal(nested, wanted)
    np.testing.assert_array_equal(healpy.read_map(path), healpy.reorder(wanted, n2r=True))
    header = fits.getheader(path, 1)
    said = {key: header[key] for key in ("TTYPE2", "TUNIT2", "COORDSYS", "LICEN1", "CITE1")}
    assert said == {
        "TTYPE2": "MEAN_X", "TUNIT2": "dex", "COORDSYS": "C", "LICEN1": "CC-BY-4.0",
        "CITE1": "Muller et al. (2020), $5",
    }  # fmt: skip


def test_projection_is_that_of_matplotlib_and_healpy() -> None:
    rng = np.random.default_rng(3)
    hard_ra, hard_dec = awkward_positions()
    ra = np.concatenate([hard_ra, rng.uniform(-360, 720, 2000)])
    dec = np.concatenate([hard_dec, np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))])
    x, y = project(ra, dec)
    east = 180 - np.mod(180 - ra, 360)
    drawn = MollweideAxes.MollweideTransform(400).transform(np.radians(np.stack([east, dec], axis=1)))
    np.testing.assert_allclose(np.stack([-x, y], axis=1), drawn, atol=2e-3)
    seen = healpy.projector.MollweideProj().ang2xy(ra, dec, lonlat=True)
    # On the seam healpy may take the other edge.
    np.testing.assert_allclose(np.abs([x, y]), np.sqrt(2) * np.abs(seen), atol=0.03)
    back = unproject(x * (1 - 1e-15), y * (1 - 1e-15))
    here, there = (healpy.ang2vec(*position, lonlat=True) for position in ((ra, dec), back))
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_projection_keeps_areas_and_knows_its_edge() -> None:
    x, y = np.meshgrid(np.linspace(-HALF_WIDTH, HALF_WIDTH, 1600), np.linspace(-HALF_HEIGHT, HALF_HEIGHT, 800))
    ra, dec = unproject(x, y)
    inside = np.isfinite(ra)
    assert inside.mean() == pytest.approx(np.pi / 4, rel=2e-3)
    counts = np.bincount(healpy.ang2pix(4, ra[inside], dec[inside], nest=True, lonlat=True), minlength=192)
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.03)
    assert np.isnan(unproject(HALF_WIDTH, HALF_HEIGHT)).all()
    x, _ = project([170, 90, 0, 270, 190], 0)
    assert (np.diff(x) > 0).all()


def test_raster_has_each_cell_where_it_is() -> None:
    rng = np.random.default_rng(5)
    order = 4
    cells = np.unique(rng.integers(0, 12 * 4**order, 800))
    values = rng.uniform(1, 2, len(cells))
    height = 300
    grid = raster(made_map(cells, order, values), height)
    assert grid.shape == (height, 2 * height)
    ra, dec = healpy.pix2ang(1 << order, np.arange(12 * 4**order), nest=True, lonlat=True)
    x, y = project(ra, dec)
    row = ((y / HALF_HEIGHT + 1) / 2 * height).astype(int)
    column = ((x / HALF_WIDTH + 1) * height).astype(int)
    wanted = np.full(12 * 4**order, np.nan)
    wanted[cells] = values
    # At the seam a centre's pixel may belong to the other side's cell.
    middle = np.abs(np.mod(ra, 360) - 180) > 1
    np.testing.assert_array_equal(grid[row, column][middle], wanted[middle])


@pytest.mark.parametrize("place", ["pole", "seam", "zero"])
def test_a_single_fine_cell_is_seen(place: str) -> None:
    ra, dec = {"pole": (10.0, 90.0), "seam": (180.0, 0.0), "zero": (0.0, 0.0)}[place]
    cell = healpy.ang2pix(1 << FINEST_ORDER, ra, dec, nest=True, lonlat=True)
    grid = raster(made_map([cell], FINEST_ORDER, [3.0]), 200)
    assert np.nanmax(grid) == 3
    assert 1 <= np.isfinite(grid).sum() <= 4


def test_picture_shows_values_and_grey(tmp_path: Path) -> None:
    """The northern sky in two halves: east, which is left, has the high values."""
    order = 3
    ra, dec = healpy.pix2ang(1 << order, np.arange(12 * 4**order), nest=True, lonlat=True)
    cells = np.flatnonzero(dec > 0)
    path = tmp_path / "map.png"
    draw_map(made_map(cells, order, np.where(ra[cells] < 180, 1.0, 0.0), None), path)
    pixels = imread(path)[:, :, :3]
    height, width = pixels.shape[:2]
    yellow, violet, grey = (0.993, 0.906, 0.144), (0.267, 0.005, 0.329), (0.85, 0.85, 0.85)

    def share(colour: tuple[float, ...], part: Any) -> float:
        return float((np.abs(part - colour).max(axis=2) < 0.02).mean())

    left, right = pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :]
    assert share(yellow, left) > 0.5 > 0.02 > share(violet, left)
    assert share(violet, right) > 0.5 > 0.02 > share(yellow, right)
    assert share(grey, pixels[height // 2 : 3 * height // 4]) > 0.5
    assert b"CC-BY-4.0" in path.read_bytes()


def test_credits_of_many_releases_stand_in_the_metadata(tmp_path: Path) -> None:
    credits = tuple(ReleaseCredit(f"release-{i}", "CC0-1.0", "long " * 60, None) for i in range(30))
    path = tmp_path / "map.png"
    draw_map(replace(made_map([0], 0, [1.0]), credits=credits), path)
    assert imread(path).shape == (1320, 2200, 4)
    assert b"release-29: licence CC0-1.0" in path.read_bytes()


def run(archive: Any, *words: str) -> Any:
    app = typer.Typer()
    app.command()(sky_map)
    return CliRunner().invoke(app, list(words), obj=archive.config)


@pytest.mark.parametrize("ending", [".png", ".fits"])
@pytest.mark.parametrize("words", [(), ("--column", "mag_r", "--aggregate", "median", "--order", "3")])
def test_command_writes_a_map(filled: Any, tmp_path: Path, ending: str, words: tuple[str, ...]) -> None:
    archive, _ = filled
    out = tmp_path / f"map{ending}"
    done = run(archive, "sim-image", "--out", str(out), "--json", *words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["map"] == ("median of mag_r [mag]" if words else "source density [deg**-2]")
    assert "licence: CC0-1.0; cite: Müller et al. (2020)" in done.stderr
    assert list(tmp_path.iterdir()) == [out]
    if ending == ".fits":
        read = healpy.read_map(out, nest=True)
        assert (read != healpy.UNSEEN).sum() == said["cells"]
        assert read.max() == pytest.approx(said["greatest"])
    else:
        assert imread(out).shape[1] == 2200


def test_command_refuses_what_makes_no_sense(filled: Any, tmp_path: Path) -> None:
    archive, _ = filled
    png, other = str(tmp_path / "map.png"), str(tmp_path / "map.jpg")
    for words, message in (
        (("--out", other), "use .png or .fits"),
        (("--out", png, "--order", "9"), "write a .fits map"),
        (("--out", png, "--aggregate", "max"), "add --column"),
        (("--out", png, "--table", "odd"), "add --column"),
    ):
        refused = run(archive, "sdss", *words)
        assert isinstance(refused.exception, UsageError)
        assert message in str(refused.exception)
    assert run(archive, "sdss", "--out", png, "--aggregate", "mode").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_help_has_an_example(archive: Any) -> None:
    assert "Example: galbase map" in run(archive, "--help").stdout
