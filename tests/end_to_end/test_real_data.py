"""Real survey files through the same commands, checked against astropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

pytestmark = pytest.mark.usefixtures("real")


def test_all_four_sdss_pairs_are_found_within_a_tenth_of_an_arcsec(real: Any) -> None:
    rows = real.rows(
        "SELECT left_source_id, right_source_id, separation_arcsec FROM archive.crossmatch "
        "JOIN archive.crossmatch_run USING (crossmatch_run_id) "
        "JOIN archive.data_release ON release_id = left_release_id WHERE release = 'sdss-pairs'"
    )
    assert len(rows) == 4
    assert max(row[2] for row in rows) < 0.1
    galaxies = real.rows(
        "SELECT count(DISTINCT galaxy_id), min(n_member) FROM archive.galaxy JOIN archive.galaxy_member "
        "USING (galaxy_id) "
        "JOIN archive.source USING (source_id) JOIN archive.data_release USING (release_id) WHERE "
        "release = 'sdss-pairs'"
    )
    assert galaxies == [(4, 2)]


def test_gz_coords_sample_has_21_positions_and_3_that_differ(real: Any) -> None:
    rows = real.rows(
        "SELECT count(*), count(source_id), count(*) FILTER (WHERE o.flag & 1 <> 0), count(*) FILTER "
        "(WHERE o.flag & 4 <> 0) "
        "FROM archive.observation o JOIN archive.data_release USING (release_id) WHERE release = 'gz-coords-sample'"
    )
    assert rows == [(27, 21, 6, 3)]


def test_sga_matches_openngc_as_astropy_says(real: Any, test_data: Path) -> None:
    ngc = parquet.read_table(test_data / "catalogues" / "openngc.parquet")
    sga = parquet.read_table(test_data / "catalogues" / "sga2020_ngc.parquet")
    ra, dec = (np.array(ngc[name].to_pylist(), float) for name in ("ra", "dec"))  # None becomes NaN
    known = np.isfinite(ra) & np.isfinite(dec)
    assert (~known).sum() == 7
    places = SkyCoord(ra[known] * u.rad, dec[known] * u.rad)
    wanted = SkyCoord(sga["RAJ2000"].to_numpy() * u.deg, sga["DEJ2000"].to_numpy() * u.deg)
    _, separation, _ = wanted.match_to_catalog_sky(places)
    within = int((separation < 5 * u.arcsec).sum())
    rows = real.rows(
        "SELECT count(DISTINCT left_source_id) FROM archive.crossmatch JOIN archive.crossmatch_run "
        "USING (crossmatch_run_id) "
        "JOIN archive.data_release ON release_id = left_release_id WHERE release = 'sga2020'"
    )
    assert rows[0][0] == within == 4121
    rejected = real.rows(
        "SELECT rejected_row.reason FROM archive.rejected_row JOIN archive.data_file USING (data_file_id) "
        "JOIN archive.data_release USING (release_id) WHERE release = 'openngc'"
    )
    assert len(rejected) == 7
    assert all("position" in row[0] for row in rejected)


def test_tractor_and_sweep_rows_keep_all_96_columns(real: Any, test_data: Path) -> None:
    n_file = 0
    for path in sorted((test_data / "legacysurvey-tractor-sweep" / "t").glob("*.fits")):
        file = Table.read(path)
        n_file += 1
        assert len(file.colnames) == 96
        for row in file:
            native = f"{row['RELEASE']}-{row['BRICKID']}-{row['OBJID']}"
            ((stored,),) = real.rows(
                "SELECT to_jsonb(o) || jsonb_build_object('ra', s.ra, 'dec', s.dec) FROM "
                "archive.legacysurvey_dr8_object o "
                "JOIN archive.source s USING (source_id) JOIN archive.data_release USING (release_id) "
                "WHERE s.native_id = %s AND data_release.release = 'legacysurvey-dr8'",
                native,
            )
            for name in file.colnames:
                value = row[name].tolist() if hasattr(row[name], "tolist") else row[name]
                value = value.decode() if isinstance(value, bytes) else value
                value = value.strip() if isinstance(value, str) else value
                assert name.lower() in stored, name
                if isinstance(value, float):
                    assert stored[name.lower()] == pytest.approx(value, rel=1e-6), (path.name, name)
                elif isinstance(value, (str, bool, int)):
                    assert stored[name.lower()] == value or (value == "" and stored[name.lower()] is None), name
    assert n_file == 6


def test_every_real_cutout_has_a_verdict_and_kept_ones_a_flagged_prediction(real: Any) -> None:
    rows = real.rows(
        "SELECT r.release, count(*), count(p.observation_id), count(*) FILTER (WHERE p.kept), "
        "count(*) FILTER (WHERE p.kept AND e.vec IS NOT NULL), "
        "count(*) FILTER (WHERE p.kept AND EXISTS (SELECT FROM archive.prediction q WHERE "
        "q.observation_id = o.observation_id "
        "AND q.flag & 1 <> 0)) FROM archive.observation o JOIN archive.data_release r USING (release_id) "
        "LEFT JOIN archive.preprocess p USING (observation_id) LEFT JOIN archive.embedding e USING (observation_id) "
        "WHERE o.kind = 'image' AND NOT r.simulated GROUP BY 1"
    )
    found = {row[0]: row[1:] for row in rows}
    assert {name: counts[0] for name, counts in found.items()} == {
        "sdss-pairs": 4, "gz-coords-sample": 27, "gz-example-images": 258
    }  # fmt: skip
    for n_image, n_verdict, n_kept, n_embedding, n_flagged in found.values():
        assert n_verdict == n_image
        assert n_kept == n_embedding == n_flagged
    assert sum(counts[2] for counts in found.values()) > 50


def test_a_simulation_trained_value_of_a_real_galaxy_is_null_in_the_wide_view(real: Any) -> None:
    rows = real.rows(
        "SELECT count(*), count(g.log_mstar_fib) FROM api.galaxy_property g JOIN archive.source s ON "
        "s.source_id = g.galaxy_id "
        "JOIN archive.data_release r USING (release_id) WHERE NOT r.simulated"
    )
    assert rows[0][0] > 4000
    assert rows[0][1] == 0
    flags = real.rows(
        "SELECT DISTINCT p.flag & 1 FROM archive.prediction p JOIN archive.observation o USING (observation_id) "
        "JOIN archive.data_release r USING (release_id) WHERE NOT r.simulated"
    )
    assert flags == [(1,)]
