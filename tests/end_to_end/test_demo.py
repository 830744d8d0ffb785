"""The demonstration does what it says, can be run again, and a refresh computes just what is new."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

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
