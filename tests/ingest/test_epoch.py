"""Crossmatches at a common epoch, against astropy's space motion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.releases import add_release
from galbase.schema.errors import GalbaseError
from tests.ingest.matching import crossmatch

Connection = psycopg.Connection[Any]
N = 300


@pytest.fixture
def connection(archive: Any) -> Iterator[Connection]:
    with archive.connect(autocommit=True) as made:
        yield made


def stars() -> dict[str, np.ndarray]:
    """Fast stars all over the sky, at poles and at RA 0; Barnard's star moves 10.4 arcsec a year."""
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, N), np.degrees(np.arcsin(rng.uniform(-1, 1, N)))
    dec[:10] = [90, -90, 89.9999, -89.9999, 89.99, -89.99, 41.81, -41.81, 0, 0]
    ra[10:20] = [0, 359.99999, 0, 359.99999, 0, 90, 180, 270, 45, 135]
    speed = 10 ** rng.uniform(1, 4.2, N)
    angle = rng.uniform(0, 2 * np.pi, N)
    return {"ra": ra, "dec": dec, "pmra": speed * np.cos(angle), "pmdec": speed * np.sin(angle)}


def moved(found: dict[str, np.ndarray], years: float) -> dict[str, np.ndarray]:
    """Positions and proper motions later, by astropy; without distances it takes them for very far."""
    with np.errstate(all="ignore"):
        place = SkyCoord(
            ra=found["ra"] * u.deg, dec=found["dec"] * u.deg, pm_ra_cosdec=found["pmra"] * u.mas / u.yr,
            pm_dec=found["pmdec"] * u.mas / u.yr, obstime=Time(2000.0, format="jyear"),
        ).apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear"))  # fmt: skip
    return {
        "ra": place.ra.deg, "dec": place.dec.deg, "pmra": place.pm_ra_cosdec.to_value(u.mas / u.yr),
        "pmdec": place.pm_dec.to_value(u.mas / u.yr),
    }  # fmt: skip


@pytest.fixture
def load(archive: Any, connection: Connection) -> Any:
    """Write a catalogue of columns and ingest it as a release."""

    def run(folder: Path, name: str, columns: dict[str, Any], **more: Any) -> None:
        add_release(connection, name, survey="test")
        table = Table({"id": np.arange(len(columns["ra"])), **columns})
        table["ra"].unit = table["dec"].unit = u.deg
        for key in ("pmra", "pmdec"):
            if key in table.colnames:
                table[key].unit = more.get("unit", u.mas / u.yr)
        table.write(folder / f"{name}.fits")
        report = run_catalogues(archive.config, name, [folder / f"{name}.fits"], CatalogueOptions(id_column="id"))
        assert [file.state for file in report.files] == ["loaded"]

    return run


@pytest.mark.filterwarnings("ignore::erfa.ErfaWarning")
@pytest.mark.parametrize("years", [15.5, -50.0])
def test_positions_are_those_of_astropy(connection: Connection, years: float) -> None:
    found = stars()
    later = moved(found, years)
    rows = connection.execute(
        "SELECT (api.at_epoch(ra, dec, pmra, pmdec, 2000, %s)).* FROM unnest(%s::float8[], %s::float8[], %s::float8[], "
        "%s::float8[]) s (ra, dec, pmra, pmdec)",
        (2000 + years, *(values.tolist() for values in found.values())),
    ).fetchall()
    ours = SkyCoord(*np.array(rows).T, unit="deg")
    # Julian years of TCB and TDB differ by 1.5e-8; astropy rounds distances of 1e10 pc.
    assert ours.separation(SkyCoord(later["ra"], later["dec"], unit="deg")).arcsec.max() < 2e-5
    assert all(0 <= row[0] < 360 for row in rows)


def test_what_does_not_move_stays_to_the_last_bit(connection: Connection) -> None:
    for motion in ("NULL, 1, 2000, 2016", "1, 1, NULL, 2016", "0, 0, 2000, 2016", "5, 5, 2016, 2016"):
        row = connection.execute(f"SELECT * FROM api.at_epoch(10.1, 20.2, {motion})".encode()).fetchone()  # noqa: S608
        assert row == (10.1, 20.2)


@pytest.mark.filterwarnings("ignore::erfa.ErfaWarning")
@pytest.mark.parametrize("moving", ["left", "right", "both"])
def test_stars_are_found_again(load: Any, archive: Any, connection: Connection, tmp_path: Path, moving: str) -> None:
    """One survey at epoch 2000, one at 2015.5; some stars without proper motion, or without epoch."""
    found = stars()
    later = moved(found, 15.5)
    pm, epoch = {key: found[key].copy() for key in ("pmra", "pmdec")}, np.full(N, 2000.0)
    pm["pmra"][20:25], epoch[25:30] = np.nan, 0
    names = {side: f"{moving}-{side}" for side in ("left", "right")}
    first = {"ra": found["ra"], "dec": found["dec"], **pm, "ref_epoch": epoch}
    second = later | {"ref_epoch": np.full(N, 2015.5)}
    if moving != "both":
        second = {key: second[key] for key in ("ra", "dec")}
    sides = ("right", "left") if moving == "right" else ("left", "right")
    load(tmp_path, names[sides[0]], first)
    load(tmp_path, names[sides[1]], second)
    year = 2008.0 if moving == "both" else 2015.5
    report = crossmatch(archive.config, names["left"], names["right"], 0.05, epoch=year)
    pairs = connection.execute(
        "SELECT l.native_id = r.native_id, l.native_id::integer FROM archive.crossmatch c "
        "JOIN archive.crossmatch_run x USING (crossmatch_run_id) JOIN archive.source l ON l.source_id = "
        "c.left_source_id JOIN archive.source r ON r.source_id = c.right_source_id JOIN archive.data_release d "
        "ON d.release_id = x.left_release_id WHERE d.release = %s",
        (names["left"],),
    ).fetchall()
    assert all(same for same, _ in pairs)
    assert {number for _, number in pairs} == set(range(N)) - set(range(20, 30))
    assert report.n_pair == N - 10
    left_over = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'crossmatch_position%'").fetchall()
    assert left_over == []
    without = crossmatch(archive.config, names["left"], names["right"], 0.05)
    assert without.n_pair < N / 4


def test_motions_without_epoch_or_unit_are_refused(load: Any, archive: Any, tmp_path: Path) -> None:
    found = stars()
    place = {key: found[key] for key in ("ra", "dec")}
    load(tmp_path, "plain", place)
    load(tmp_path, "no-epoch", found)
    with pytest.raises(GalbaseError, match="no column of UCD time.epoch or name ref_epoch"):
        crossmatch(archive.config, "no-epoch", "plain", 1, epoch=2016.0)
    load(tmp_path, "no-unit", found | {"ref_epoch": np.full(N, 2000.0)}, unit=u.Jy)
    with pytest.raises(GalbaseError, match="not one of proper motion"):
        crossmatch(archive.config, "plain", "no-unit", 1, epoch=2016.0)
