"""The demonstration does what it says, answers the README, holds the real samples, and can be run again.

All tests that read it are in this file, which one process runs: it takes minutes to make.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from tests.end_to_end.readme import BLOCKS, section, shell

MODIFIED = (
    ("preprocess", "observation_id, preprocess_config_id"),
    ("prediction", "model_id, property_id, observation_id"),
    ("embedding", "model_id, observation_id"),
    ("observation", "observation_id"),
)


def stamps(demo: Any) -> dict[str, dict[tuple[Any, ...], Any]]:
    """Time stamp of every row that a refresh may write."""
    return {
        table: {tuple(row[:-1]): row[-1] for row in demo.rows(f"SELECT {key}, modified_at FROM archive.{table}")}  # noqa: S608
        for table, key in MODIFIED
    }


def test_stellar_mass_beats_the_mean_predictor_on_held_out_sky(demo: Any) -> None:
    mass = demo.figures["test"]["log_mstar_fib"]
    assert mass["network"]["sigma"] <= 0.6 * mass["mean"]["sigma"]
    assert mass["boosted_trees"]["sigma"] > 0
    # Three standard errors of a split-conformal interval: both the calibration and the test sample are finite.
    n_test, n_calibration = demo.figures["n"]["test"], demo.figures["n"]["calibration"]
    error = (0.68 * 0.32 * (1 / n_test + 1 / n_calibration)) ** 0.5
    assert abs(mass["network"]["coverage_68"] - 0.68) <= 3 * error


def test_test_sky_is_apart_from_training_sky(demo: Any) -> None:
    rows = demo.rows(
        "SELECT a.split, b.split, min(api.separation_arcsec(s.ra, s.dec, t.ra, t.dec)) FROM archive.training_member a "
        "JOIN archive.training_member b ON b.training_set_id = a.training_set_id AND b.split = 'test' "
        "JOIN archive.source s ON s.source_id = a.source_id JOIN archive.source t ON t.source_id = b.source_id "
        "WHERE a.split IN ('train', 'calibration') GROUP BY 1, 2"
    )
    assert {row[0] for row in rows} == {"train", "calibration"}
    assert all(row[2] > 60.0 for row in rows)


def test_the_five_questions_are_printed_with_answers(demo: Any) -> None:
    examples = [item for item in files("galbase.sql").joinpath("examples").iterdir() if item.name.endswith(".sql")]
    assert len(examples) >= 5
    for item in examples:
        assert item.read_text().strip().splitlines()[0] in demo.printed
    assert demo.figures["answers"] >= len(examples)
    assert "db psql" in demo.printed
    assert "db stop" in demo.printed


def test_one_row_a_galaxy(demo: Any) -> None:
    ((n_galaxy, n_row, n_distinct),) = demo.rows(
        "SELECT (SELECT count(*) FROM archive.galaxy), count(*), count(DISTINCT galaxy_id) FROM api.galaxy_property"
    )
    assert n_galaxy == n_row == n_distinct > 0


def test_predictions_agree_with_the_simulations_truth(demo: Any) -> None:
    """Against the noise-free truth, which no part of the training has seen, on held-out sky."""
    ((truth,),) = demo.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'catalogue' AND tablename ~ '^sim_truth'"
    )
    ((n, sigma, spread, coverage),) = demo.rows(
        "SELECT count(*), stddev_samp(p.q50 - t.log_mstar_fib), stddev_samp(t.log_mstar_fib), "  # noqa: S608
        "avg((t.log_mstar_fib BETWEEN p.q16 AND p.q84)::int) FROM archive.training_member m "
        "JOIN archive.prediction p USING (observation_id) JOIN archive.property USING (property_id) "
        "JOIN archive.galaxy_member g ON g.source_id = m.source_id "
        "JOIN archive.galaxy_member tm ON tm.galaxy_id = g.galaxy_id "
        f"JOIN catalogue.{truth} t ON t.source_id = tm.source_id "
        "WHERE m.split = 'test' AND property.name = 'log_mstar_fib'"
    )
    assert n > 200
    assert sigma < 0.6 * spread
    assert coverage > 0.55


def test_fifty_new_images_and_nothing_else(demo: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    demo.galbase("simulate", "--out", tmp_path / "new", "--size", 50, "--seed", 77)
    demo.galbase("release", "add", "new-images", "--survey", "simulation", "--simulated")
    demo.galbase("ingest", "images", *(tmp_path / "new").rglob("*.h5"), "--release", "new-images")
    before = stamps(demo)
    first = json.loads(demo.galbase("refresh", "--json"))
    after = stamps(demo)
    second = json.loads(demo.galbase("refresh", "--json"))
    assert first["preprocessed"] == 50
    assert (second["preprocessed"], second["predicted"], second["removed"]) == (0, 0, 0)
    new = {row[0] for row in demo.rows(
        "SELECT observation_id FROM archive.observation JOIN archive.data_release USING (release_id) "
        "WHERE release = 'new-images'"
    )}  # fmt: skip
    assert len(new) == 50
    for table, old in before.items():
        kept = {key: stamp for key, stamp in after[table].items() if key in old}
        if table == "observation":  # preprocessing notes the pixel hash of the images it reads for the first time
            kept = {key: stamp for key, stamp in kept.items() if key[0] not in new}
            old = {key: stamp for key, stamp in old.items() if key[0] not in new}
        assert kept == old, table
    n_kept = demo.rows("SELECT count(*) FROM archive.preprocess WHERE kept AND observation_id = ANY(%s)", list(new))[0][
        0
    ]
    written = [key for key in after["embedding"] if key[1] in new]
    assert first["predicted"] == len(written) == n_kept > 0


def test_running_the_demo_again_changes_no_prediction(demo: Any) -> None:
    before = stamps(demo)
    done = demo.again()
    assert done.returncode == 0, done.stderr[-3000:]
    after = stamps(demo)
    assert after["prediction"] == before["prediction"]
    assert after["preprocess"] == before["preprocess"]


@pytest.mark.parametrize("query", [text for kind, text in BLOCKS if kind == "sql"])
def test_queries_give_rows(demo: Any, query: str) -> None:
    assert len(demo.rows(query)) > 0


def test_the_tour(demo: Any, tmp_path: Path) -> None:
    """The first block names the demo's default directory and the checkout's PATH; here the demo lies elsewhere."""
    first, second = section("Five minutes in SQL")
    lines = first.splitlines(keepends=True)
    assert lines[0] == 'export PATH="$PWD/.venv/bin:$PATH"\n'
    assert lines[1] == "export GALBASE_DATA_DIR=~/.local/share/galbase-demo\n"
    shell("".join(lines[2:]), demo, tmp_path)
    shell(second, demo, tmp_path)
    assert (tmp_path / "galaxies.fits").stat().st_size > 10000
    assert (tmp_path / "predictions.vot").exists()


# Real survey files through the same commands, checked against astropy.


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
