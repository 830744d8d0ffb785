"""The papers' selections against their criteria, written again in plain Python from what the files were made from."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table
from psycopg import sql

from galbase.ingest.label_file import LabelOptions, ingest_labels
from galbase.ingest.preprocess.config import preset
from galbase.ingest.releases import require_release
from galbase.ml.selection import SELECTIONS, select_images
from galbase.ml.training_set import create_training_set, find_training_set, members
from galbase.schema.errors import GalbaseError
from galbase.schema.properties import PROPERTIES
from tests.end_to_end.selection_archive import Truth, fill

VIEWS = {
    "galeffnet": "training_set_galeffnet",
    "gpm_resnet": "training_set_gpm_resnet",
    "mmlforgalam": "training_set_mmlforgalam",
    "exp": "exp_catalogue",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are."""
    return tmp_path_factory.mktemp("survey")


@pytest.fixture(scope="module")
def filled(archive: Any, folder: Path) -> tuple[Any, list[Truth]]:
    """The archive, and what is true of its galaxies."""
    return archive, fill(archive, folder)


def of_image(galaxy: Truth, which: str, bands: str, own: str) -> list[str]:
    """Reasons against a galaxy's Legacy or gri image."""
    image = galaxy.image if which == "grz" else galaxy.gri
    if image is None:
        return ["no image"]
    found = [] if which == bands else [f"image not in {', '.join(bands)}"]
    # Each release was preprocessed by the methods of its bands only.
    if image == "later" or which != own:
        return [*found, "not preprocessed"]
    return found + (["image not kept"] if image == "flat" else [])


def of_pair(galaxy: Truth, which: str) -> list[str]:
    """Reasons against an image beside a spectrum."""
    found = sorted(galaxy.flag)
    if (galaxy.separation_arcsec if which == "grz" else galaxy.gri_separation_arcsec) > 3:
        found.append("farther than 3 arcsec")
    return found


def sdss_reasons(galaxy: Truth, selection: str) -> list[str]:
    """Reasons of the MPA-JHU row: section 2.1 of GalEffNet, section 2.1 of GPM-ResNet."""
    row = galaxy.sdss
    if row is None:
        return ["no SDSS galaxy"]
    common = {
        "class is not GALAXY": row["SPECTROTYPE"] != "GALAXY",
        "not reliable": row["RELIABLE"] != 1,
        "redshift warning": row["Z_WARNING"] != 0,
        "S/N below 5": row["SN_MEDIAN"] < 5,
    }
    if selection == "galeffnet":
        common |= {
            "z is not positive": row["Z"] <= 0,
            "no fibre mass": row["LGM_FIB_P50"] == -9999,
            "no fibre sSFR": row["SPECSFR_FIB_P50"] == -9999,
        }
    else:
        common |= {
            "z below 0.002": row["Z"] < 0.002,
            "not star forming": row["BPTCLASS"] != 1,
            "no metallicity": row["OH_P50"] == -9999,
        }
    return [reason for reason, out in common.items() if out]


def spectrum_reasons(galaxy: Truth) -> list[str]:
    """Reasons of the spectrum and its labels: section 2 of MMLforGalAM."""
    found = []
    if galaxy.spectrum is None:
        found.append("no spectrum")
    else:
        row = galaxy.spectrum
        found += [
            reason
            for reason, out in {
                "z outside 0.002 to 0.3": not 0.002 <= row["Z"] <= 0.3,
                "redshift warning": row["ZWARNING"] != 0,
                "S/N below 5": row["SN_MEDIAN_ALL"] < 5,
                "wavelengths not covered": row["low"] > 3830 or row["high"] < 8000,
            }.items()
            if out
        ]
    for name, reason in (("LOG_AGE", "no age"), ("MH", "no stellar metallicity")):
        if math.isnan(galaxy.label.get(name, math.nan)):
            found.append(reason)
    return found


def expected(galaxy: Truth, selection: str) -> list[set[str]]:
    """Reasons of the combinations of image and spectrum that have the fewest of them."""
    bands, own = ("gri", "gri") if selection == "mmlforgalam" else ("grz", "grz")
    images = [which for which in ("grz", "gri") if getattr(galaxy, {"grz": "image", "gri": "gri"}[which]) is not None]
    found = []
    for which in images or ["grz"]:
        reasons = of_image(galaxy, which, bands, own)
        has_image = bool(images)
        if selection == "exp":
            reasons += [] if galaxy.kind == "EXP" else ["type is not EXP"]
            reasons += [reason for reason in galaxy.flag if reason == "duplicate"]
        else:
            reasons += spectrum_reasons(galaxy) if selection == "mmlforgalam" else sdss_reasons(galaxy, selection)
            has_pair = has_image and (galaxy.spectrum if selection == "mmlforgalam" else galaxy.sdss) is not None
            reasons += of_pair(galaxy, which) if has_pair else []
        found.append(set(reasons))
    fewest = min(map(len, found))
    return [reasons for reasons in found if len(reasons) == fewest]


def rows_at(archive: Any, selection: str, galaxies: list[Truth]) -> list[tuple[bool, list[str]]]:
    """What the view says of each galaxy, found by its Legacy Survey source."""
    names = [f"9010-1-{k}" for k in range(len(galaxies) - 2)] + ["9010-1-900", "9010-1-902"]
    with archive.connect(role="reader") as connection:
        found = {
            native: (selected, reasons)
            for native, selected, reasons in connection.execute(
                "SELECT s.native_id, t.selected, t.reason_out FROM archive.source s "  # noqa: S608
                "JOIN archive.galaxy_member m USING (source_id) JOIN archive.data_release r USING (release_id) "
                f"JOIN api.{VIEWS[selection]} t USING (galaxy_id) WHERE r.release = 'ls'".encode()
            )
        }
    return [found[name] for name in names]


@pytest.mark.parametrize("selection", VIEWS)
def test_each_galaxy_is_in_or_out_for_what_is_true_of_it(filled: Any, selection: str) -> None:
    archive, galaxies = filled
    seen: Counter[str] = Counter()
    n_selected = 0
    for galaxy, (selected, reasons) in zip(galaxies, rows_at(archive, selection, galaxies), strict=True):
        assert set(reasons) in expected(galaxy, selection), (galaxy, reasons)
        assert len(set(reasons)) == len(reasons)
        assert selected == (not reasons)
        seen.update(reasons)
        n_selected += selected
    assert n_selected >= 10
    assert set(seen) == REASONS[selection]


IMAGE = {"no image", "not preprocessed", "image not kept"}
PAIR = {"farther than 3 arcsec", "not the best match", "duplicate"}
SDSS = {"no SDSS galaxy", "class is not GALAXY", "not reliable", "redshift warning", "S/N below 5"}
REASONS = {
    "galeffnet": IMAGE | PAIR | SDSS | {"z is not positive", "no fibre mass", "no fibre sSFR", "image not in g, r, z"},
    "gpm_resnet": IMAGE | PAIR | SDSS | {"z below 0.002", "not star forming", "no metallicity", "image not in g, r, z"},
    "mmlforgalam": IMAGE
    | PAIR
    | {"no spectrum", "z outside 0.002 to 0.3", "redshift warning", "S/N below 5", "wavelengths not covered"}
    | {"no age", "no stellar metallicity", "image not in g, r, i"},
    "exp": IMAGE | {"type is not EXP", "duplicate", "image not in g, r, z"},
}


def test_the_tally_counts_what_the_views_say(filled: Any) -> None:
    archive, _ = filled
    with archive.connect(role="reader") as connection:
        for selection, view in VIEWS.items():
            rows = connection.execute(f"SELECT reason_out FROM api.{view}".encode()).fetchall()  # noqa: S608
            reasons = [row[0] for row in rows]
            wanted = {
                reason: (sum(reason in each for each in reasons), reasons.count([reason]))
                for reason in {name for each in reasons for name in each}
            }
            wanted["selected"] = (reasons.count([]),) * 2
            got = connection.execute(
                "SELECT reason, n_galaxy, n_alone FROM api.selection_tally WHERE selection = %s", (selection,)
            ).fetchall()
            assert {row[0]: row[1:] for row in got} == wanted


@pytest.mark.parametrize("view", VIEWS.values())
def test_every_galaxy_has_one_row(filled: Any, view: str) -> None:
    archive, _ = filled
    with archive.connect(role="reader") as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM archive.galaxy), count(*), count(DISTINCT galaxy_id), "  # noqa: S608
            f"count(*) FILTER (WHERE selected <> (reason_out = '{{}}')) FROM api.{view}".encode()
        ).fetchone()
    assert counts == (counts[0], counts[0], counts[0], 0)


CONE = 'api.in_cone(hpx29, ra, "dec", 150.1, 2.1, 60)'
MEMBER = "galaxy_id IN (SELECT galaxy_id FROM archive.galaxy_member WHERE source_id = 17)"


@pytest.mark.parametrize("view", VIEWS.values())
@pytest.mark.parametrize("condition", ["galaxy_id = 17", CONE, MEMBER])
def test_a_condition_on_the_galaxy_reaches_the_indexes(filled: Any, view: str, condition: str) -> None:
    """No table that grows with the archive is read through, and nothing but one galaxy's rows is sorted."""
    archive, _ = filled
    small = {"property", "preprocess_config", "data_release", "crossmatch_run", "label_origin"}
    with archive.connect() as connection:
        # As where all properties are served: an index without rows is the cheapest way to find none.
        served = sql.SQL(", ").join(sql.SQL("{} = 1").format(sql.Identifier(each.name)) for each in PROPERTIES)
        connection.execute(sql.SQL("UPDATE archive.galaxy SET {}").format(served))
        connection.execute("SET LOCAL enable_seqscan = off")
        (plan,) = connection.execute(
            f"EXPLAIN (FORMAT json, COSTS off) SELECT * FROM api.{view} WHERE {condition}".encode()  # noqa: S608
        ).fetchone()
        connection.rollback()
    scanned: set[str] = set()
    sorts: list[bool] = []

    def walk(node: dict[str, Any], below: bool) -> None:
        inside = below or node.get("Relation Name") == "galaxy"
        if node["Node Type"] == "Seq Scan":
            scanned.add(node["Relation Name"])
        if "Index" in node["Node Type"] and "Index Cond" not in node:
            scanned.add(node.get("Relation Name", node["Index Name"]))
        if node["Node Type"] in ("Sort", "Incremental Sort"):
            sorts.append(any(has_galaxy(child) for child in node["Plans"]))
        for child in node.get("Plans", []):
            walk(child, inside)

    def has_galaxy(node: dict[str, Any]) -> bool:
        return node.get("Relation Name") == "galaxy" or any(has_galaxy(child) for child in node.get("Plans", []))

    walk(plan[0]["Plan"], False)
    assert scanned <= small
    assert sorts
    assert not any(sorts)


LABELS = {
    "galeffnet": ("LGM_FIB_P50", "SPECSFR_FIB_P50"),
    "gpm_resnet": ("OH_P50",),
    "mmlforgalam": ("LOG_AGE", "MH"),
}


@pytest.mark.parametrize("selection", LABELS)
def test_training_sets_hold_what_the_views_select(filled: Any, selection: str) -> None:
    archive, galaxies = filled
    wanted = {
        f"9010-1-{k}": tuple(({**(galaxy.sdss or {}), **galaxy.label})[name] for name in LABELS[selection])
        for k, galaxy in enumerate(galaxies[:-2])
        if set() in expected(galaxy, selection)
    }
    with archive.connect() as connection:
        (config,) = connection.execute(
            "SELECT preprocess_config_id FROM archive.preprocess_config WHERE hash = %s",
            (preset(selection).hash(),),
        ).fetchone()
        found = select_images(connection, SELECTIONS[selection], config)
        names = dict(
            connection.execute(
                "SELECT m.galaxy_id, s.native_id FROM archive.galaxy_member m JOIN archive.source s USING (source_id) "
                "JOIN archive.data_release r USING (release_id) WHERE r.release = 'ls'"
            ).fetchall()
        )
    # The objects from 900 on make places crowded.
    got = {names[image.galaxy_id]: image.label for image in found.images}
    got = {name: label for name, label in got.items() if int(name.rsplit("-", 1)[1]) < 900}
    assert set(got) == set(wanted)
    for name, label in wanted.items():
        assert got[name] == pytest.approx(label, rel=1e-6)
    assert found.simulated == (selection == "mmlforgalam")
    assert found.label_origin == ("ppxf" if selection == "mmlforgalam" else "mpa-jhu")
    assert all((image.spectrum_hash is not None) == (selection == "mmlforgalam") for image in found.images)


def test_the_commands_freeze_list_and_show(filled: Any, folder: Path) -> None:
    archive, galaxies = filled

    def galbase(*words: Any, status: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "galbase.schema.cli", "training-set", *map(str, words), "--json"],
            env=archive.env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    made = galbase("create", "metal", "--selection", "gpm_resnet", "--as-published", "--seed", 4)
    n_selected = sum(set() in expected(galaxy, "gpm_resnet") for galaxy in galaxies)
    assert (made["n_selected"], made["n_member"], made["calibration"]) == (n_selected, n_selected, 0)
    flat = galbase(
        "create", "mass", "--selection", "gpm_resnet", "--property", "log_mstar_fib", "--uniform-over", "log_mstar_fib",
        "--size", 20, "--fractions", "5:3:2", "--seed", 4,
    )  # fmt: skip
    assert flat["n_member"] == 20
    galbase("create", "ages", "--selection", "mmlforgalam", "--fractions", "5:3:2", "--seed", 4)
    assert [each["name"] for each in galbase("list")["training_sets"]] == ["ages", "mass", "metal"]
    galbase("create", "none", "--selection", "mmlforgalam", "--label-origin", "nobody", status=1)
    galbase("create", "none", "--selection", "mmlforgalam", "--fractions", "5", status=2)
    shown = galbase("show", "ages")
    assert (shown["properties"], shown["label_origin"], shown["unchanged"], shown["drift"]) == (
        ["log_age", "mh"], "ppxf", True, {},
    )  # fmt: skip
    # A label of one member changes, and comes back.
    labels = Table.read(folder / "labels.fits")
    with archive.connect(autocommit=True) as connection:
        ages = find_training_set(connection, "ages")
        frozen, _ = members(connection, ages)
        (native,) = connection.execute(
            "SELECT native_id FROM archive.source WHERE source_id = %s", (frozen[3].label_source_id,)
        ).fetchone()
        row = [str(each) for each in labels["SPECOBJID"].tolist()].index(native)
        before = labels["LOG_AGE"][row]
        for value, drift in ((before + 0.5, {"label changed": 1}), (before, {})):
            labels["LOG_AGE"][row] = value
            labels.write(folder / "labels.fits", overwrite=True)
            ingest_labels(
                connection, require_release(connection, "sdss"), [folder / "labels.fits"], LabelOptions("ppxf")
            )
            shown = galbase("show", "ages")
            assert (shown["drift"], shown["unchanged"], shown["hash"]) == (drift, not drift, ages.hash)
            where = connection.execute("SELECT observation_id, reason FROM api.training_set_drift").fetchall()
            assert where == [(frozen[3].observation_id, reason) for reason in drift]
        # The spectrum's file becomes another.
        connection.execute(
            "UPDATE archive.data_file SET sha256 = 'other' WHERE data_file_id = (SELECT data_file_id FROM "
            "archive.observation WHERE observation_id = %s)",
            (frozen[3].spectrum_observation_id,),
        )
        with pytest.raises(GalbaseError, match="spectrum changed: 1"):
            members(connection, ages)


def test_labels_of_two_origins_do_not_mix(filled: Any, folder: Path) -> None:
    archive, _ = filled
    labels = Table.read(folder / "labels.fits")
    labels[:10].write(folder / "more.fits")
    with archive.connect(autocommit=True) as connection:
        release = require_release(connection, "sdss")
        ingest_labels(connection, release, [folder / "more.fits"], LabelOptions("a-better-one"))
        with pytest.raises(GalbaseError, match="several origins: a-better-one, ppxf"):
            create_training_set(connection, "mixed", "mmlforgalam", seed=4)
