"""Files matched without being loaded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from galbase.ingest.catalogue import load_sources
from galbase.ingest.catalogue_job import run_catalogues
from galbase.ingest.catalogue_options import CatalogueOptions
from galbase.ingest.match_file import match_file
from galbase.ingest.releases import add_release
from galbase.schema.errors import GalbaseError

N = 500


@pytest.fixture(scope="module")
def release(archive: Any) -> str:
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, N), np.degrees(np.arcsin(rng.uniform(-1, 1, N)))
    with archive.connect(autocommit=True) as connection:
        made, _ = add_release(connection, "match-me", survey="test", licence="CC0-1.0", citation="Somebody 2026")
        with connection.transaction():
            load_sources(connection, made.release_id, "match-me", [f"s{i}" for i in range(N)], ra, dec, None, None)
    return "match-me"


def targets() -> Table:
    """Every other source, a little off, in another order, and rows without a place on the sky."""
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, N), np.degrees(np.arcsin(rng.uniform(-1, 1, N)))
    moved = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, N) * u.deg, rng.uniform(0, 0.9, N) * u.arcsec
    )
    pick = rng.permutation(N)[: N // 2]
    made = Table({"name": [f"s{i}" for i in pick], "ra": moved.ra.deg[pick], "dec": moved.dec.deg[pick]})
    made["ra"].unit = made["dec"].unit = u.deg
    made["flux"] = np.linspace(1, 2, len(made)).astype(np.float32) * u.mJy
    made["pair"] = rng.integers(0, 9, (len(made), 2))
    made["big"] = np.full(len(made), 2**63 + 5, dtype=np.uint64)
    made["note"] = MaskedColumn(["x"] * len(made), mask=np.arange(len(made)) == 1)
    made["ra"][10] = np.nan
    made["ra"][11] += 10
    return made


def test_all_columns_come_back_with_the_sources(archive: Any, release: str, tmp_path: Path) -> None:
    made = targets()
    made.write(tmp_path / "targets.fits")
    command = [sys.executable, "-m", "galbase.schema.cli", "match", "targets.fits", release, "--radius-arcsec", "1"]
    for join, rows in (("inner", len(made) - 2), ("left", len(made)), ("anti", 2)):
        out = tmp_path / f"{join}.fits"
        done = subprocess.run(
            [*command, "--join", join, "--out", str(out)],
            cwd=tmp_path, env=archive.env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "1 of 250 rows have no position on the sky and match nothing; the first is row 10" in done.stderr
        found = Table.read(out)
        assert len(found) == rows
        assert found["flux"].unit == u.mJy
        assert found.meta["CITE1"] == "Somebody 2026"
        kept = [i for i in range(len(made)) if join == "left" or (i in (10, 11)) == (join == "anti")]
        assert [str(name) for name in found["name"]] == [made["name"][i] for i in kept]
        assert [int(text) for text in found["big"]] == [2**63 + 5] * rows
        if join == "inner":
            assert [str(a) for a in found["galbase_native_id"]] == [str(b) for b in found["name"]]
            apart = SkyCoord(found["ra"], found["dec"], unit="deg").separation(
                SkyCoord(found["galbase_ra"], found["galbase_dec"], unit="deg")
            )
            np.testing.assert_allclose(found["separation_arcsec"], apart.arcsec, atol=1e-8)
        elif join == "anti":
            assert np.ma.getmaskarray(found["galbase_source_id"]).all()


def test_what_cannot_be_matched_is_named(archive: Any, release: str, tmp_path: Path) -> None:
    made = targets()
    made["name", "ra", "dec"].write(tmp_path / "targets.csv")
    with archive.connect(autocommit=True) as connection:
        with pytest.raises(GalbaseError, match="no release 'nothing'"):
            match_file(connection, tmp_path / "targets.csv", "nothing", 1)
        with pytest.raises(GalbaseError, match="radius -1 arcsec is outside"):
            match_file(connection, tmp_path / "targets.csv", release, -1)
        with pytest.raises(GalbaseError, match="no column 'alpha'"):
            match_file(connection, tmp_path / "targets.csv", release, 1, ra="alpha", dec="dec")
        made.rename_column("flux", "n_within")
        made.write(tmp_path / "clash.fits")
        with pytest.raises(GalbaseError, match="has a column 'n_within', as the match does"):
            match_file(connection, tmp_path / "clash.fits", release, 1)
        assert match_file(connection, tmp_path / "targets.csv", release, 1).n_matched == len(made) - 2


def test_real_galaxies_by_another_catalogue(archive: Any, test_data: Path) -> None:
    folder = test_data / "catalogues"
    with archive.connect(autocommit=True) as connection:
        add_release(connection, "openngc-matched", survey="OpenNGC")
        run_catalogues(
            archive.config, "openngc-matched", [folder / "openngc.parquet"], CatalogueOptions(angle_unit="rad")
        )
        found = match_file(connection, folder / "sga2020_ngc.parquet", "openngc-matched", 5.0)
    assert (found.n_row, found.n_matched) == (4221, 4121)
