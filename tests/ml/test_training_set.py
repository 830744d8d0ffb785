"""Frozen training sets: what is selected, how it is split, and that a change is noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galbase.ingest.releases import drop_release
from galbase.ml.fractions import parse_fractions
from galbase.ml.selection import select_images, selection_named
from galbase.ml.splits import split_by_sky
from galbase.ml.training_set import Draw, create_training_set, drift, find_training_set, members, split_counts
from galbase.schema.errors import GalbaseError, UsageError


def test_members_labels_and_splits(filled: tuple[Any, Any]) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "all", "galeffnet", seed=3)
        again = find_training_set(connection, "all")
        images, split = members(connection, again)
        counts = split_counts(connection, made.training_set_id)
        connection.rollback()
    assert again == made
    assert made.simulated
    assert made.n_member == 700 == sum(counts.values())
    found = {image.observation_id: (image.label, part) for image, part in zip(images, split, strict=True)}
    wanted = split_by_sky(galaxies.ra, galaxies.dec, galaxies.source_id, 3)
    for k, observation in enumerate(galaxies.observation_id):
        assert found[observation][0] == pytest.approx(galaxies.label[k], abs=1e-5)
        assert found[observation][1] == wanted[k]
    assert all(counts[name] > 0 for name in ("train", "validation", "calibration", "test"))


@pytest.mark.parametrize(
    "change",
    [
        "spectrotype = 'QSO'", "spectrotype = NULL", "reliable = 0", "z = 0", "z_warning = 4", "sn_median = 4.9",
    ],
)  # fmt: skip
def test_the_papers_criteria(filled: tuple[Any, Any], change: str) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        config = connection.execute("SELECT preprocess_config_id FROM archive.preprocess_config").fetchone()[0]
        connection.execute(
            f"UPDATE archive.sdss_galaxy SET {change} WHERE source_id = %s",  # noqa: S608
            (galaxies.source_id[5] + 1,),
        )
        found = select_images(connection, selection_named("galeffnet"), config).images
        connection.rollback()
    assert len(found) == 699
    assert galaxies.observation_id[5] not in {image.observation_id for image in found}


@pytest.mark.parametrize("name", ["log_mstar_fib", "log_ssfr_fib"])
def test_a_galaxy_without_a_label_is_left_out(filled: tuple[Any, Any], name: str) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        config = connection.execute("SELECT preprocess_config_id FROM archive.preprocess_config").fetchone()[0]
        connection.execute(
            "DELETE FROM archive.reference_value USING archive.property p WHERE source_id = %s AND p.name = %s "
            "AND p.property_id = reference_value.property_id",
            (galaxies.source_id[5] + 1, name),
        )
        found = select_images(connection, selection_named("galeffnet"), config).images
        connection.rollback()
    assert len(found) == 699
    assert galaxies.observation_id[5] not in {image.observation_id for image in found}


def test_images_that_preprocessing_rejects_are_left_out(filled: tuple[Any, Any]) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        connection.execute(
            "UPDATE archive.preprocess SET kept = false WHERE observation_id = %s", (galaxies.observation_id[0],)
        )
        made = create_training_set(connection, "fewer", "galeffnet", seed=3)
        connection.rollback()
    assert made.n_member == 699


def test_a_random_part(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "part", "galeffnet", seed=3, size=400)
        images, _ = members(connection, made)
        connection.rollback()
    assert len(images) == made.n_member == 400


CHANGES = {
    "UPDATE archive.reference_value SET value = value + 0.01 WHERE source_id = %s + 1": "label changed: 1",
    "DELETE FROM archive.reference_value WHERE source_id = %s + 1": "label gone: 1",
    "DELETE FROM archive.source WHERE source_id = %s + 1": "galaxy changed: 1, label gone: 1",
    "UPDATE archive.preprocess p SET input_hash = 'other' FROM archive.observation o "
    "WHERE o.observation_id = p.observation_id AND o.source_id = %s": "pixels or preprocessing changed: 1",
    "DELETE FROM archive.preprocess p USING archive.observation o "
    "WHERE o.observation_id = p.observation_id AND o.source_id = %s": "not preprocessed: 1",
    "UPDATE archive.preprocess p SET kept = false FROM archive.observation o "
    "WHERE o.observation_id = p.observation_id AND o.source_id = %s": "image not kept: 1",
    "DELETE FROM archive.observation WHERE source_id = %s": "image gone: 1",
    "DELETE FROM archive.galaxy_member WHERE source_id = %s": "galaxy changed: 1",
    "UPDATE archive.training_member SET split = CASE split WHEN 'test' THEN 'train' ELSE 'test' END "
    "WHERE source_id = %s": "members or splits altered",
    "DELETE FROM archive.training_member WHERE source_id = %s": "members or splits altered: 1",
}


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_since_freezing_is_noticed_and_told(filled: tuple[Any, Any], statement: str) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "frozen", "galeffnet", seed=3)
        assert drift(connection, made) == {}
        connection.execute(statement.encode(), (galaxies.source_id[7],))
        with pytest.raises(GalbaseError, match=f"no longer what was frozen .*{CHANGES[statement]}"):
            members(connection, made)
        connection.rollback()


def test_a_dropped_release_is_refused_or_told(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "frozen", "galeffnet", seed=3)
        with pytest.raises(GalbaseError, match="training set frozen was frozen from its images"):
            drop_release(connection, "round-images")
        drop_release(connection, "round-spectra")
        assert drift(connection, made) == {"galaxy changed": 700, "label gone": 700}
        connection.rollback()


def test_what_comes_after_freezing_changes_nothing(filled: tuple[Any, Any]) -> None:
    """Another label of another origin, a better image, and a spectrum that no longer passes: the set stays."""
    archive, galaxies = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "frozen", "galeffnet", seed=3)
        before = members(connection, made)
        source = galaxies.source_id[7]
        connection.execute("UPDATE archive.sdss_galaxy SET sn_median = 1 WHERE source_id = %s", (source + 1,))
        connection.execute(
            "INSERT INTO archive.reference_value (source_id, property_id, origin, value) "
            "SELECT %s, property_id, 'other', 1 FROM archive.property",
            (source + 1,),
        )
        connection.execute(
            "WITH o AS (INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index) "
            "SELECT kind, source_id, release_id, data_file_id, row_index + 10000 FROM archive.observation "
            "WHERE source_id = %s RETURNING observation_id) INSERT INTO archive.image "
            "SELECT observation_id, '{g,r,z}', 0.262, 64, 64, false FROM o",
            (source,),
        )
        assert members(connection, made) == before
        connection.rollback()


def test_the_same_twice_is_the_same_set(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    draw = Draw(300, "log_mstar_fib", parse_fractions("6:1:3"))
    with archive.connect() as connection:
        first = create_training_set(connection, "first", "galeffnet", seed=5, draw=draw)
        second = create_training_set(connection, "second", "galeffnet", seed=5, draw=draw)
        other = create_training_set(connection, "other", "galeffnet", seed=6, draw=draw)
        assert find_training_set(connection, "second") == second
        connection.rollback()
    assert first.hash == second.hash != other.hash


def test_uniform_over_a_label(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        connection.execute(
            "UPDATE archive.reference_value SET value = 9 + (value - 9) * (value - 9) / 2 WHERE property_id = "
            "(SELECT property_id FROM archive.property WHERE name = 'log_mstar_fib')"
        )
        made = create_training_set(connection, "flat", "galeffnet", seed=3, draw=Draw(200, "log_mstar_fib"))
        images, _ = members(connection, made)
        whole = create_training_set(connection, "whole", "galeffnet", seed=3)
        everything, _ = members(connection, whole)
        connection.rollback()
    values = np.array([image.label[0] for image in images])
    drawn = np.histogram(values, 5, (9, 11))[0]
    there = np.histogram([image.label[0] for image in everything], 5, (9, 11))[0]
    assert made.n_member == 200
    assert there.max() > 3 * there.min()
    assert drawn.max() <= 1.35 * drawn.min()


def test_fractions_of_a_paper(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        made = create_training_set(
            connection, "paper", "galeffnet", seed=3, draw=Draw(fractions=parse_fractions("6:1:3"))
        )
        counts = split_counts(connection, made.training_set_id)
        connection.rollback()
    inside = sum(counts.values()) - counts["none"]
    assert counts["calibration"] == 0
    for name, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        assert counts[name] / inside == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("text", ["6:1", "a:b:c", "0:1:3", "6:1:0", "6:-1:3", "", "6:1:3:1:1", "inf:1:1", "nan:1:1"])
def test_what_is_no_ratio(text: str) -> None:
    with pytest.raises(UsageError, match="is no ratio"):
        parse_fractions(text)


def test_labels_for_evaluation_only_are_taken_only_by_name(filled: tuple[Any, Any]) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        connection.execute("INSERT INTO archive.label_origin (origin, evaluation_only) VALUES ('truth', true)")
        connection.execute("UPDATE archive.reference_value SET origin = 'truth'")
        with pytest.raises(GalbaseError, match="labels of truth"):
            create_training_set(connection, "truth", "galeffnet", seed=3)
        made = create_training_set(connection, "truth", "galeffnet", seed=3, label_origin="truth")
        connection.rollback()
    assert (made.n_member, made.label_origin) == (700, "truth")


def test_no_object_and_no_neighbour_in_two_splits(filled: tuple[Any, Any]) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "apart", "galeffnet", seed=9)
        images, split = members(connection, made)
        connection.rollback()
    assert len({image.observation_id for image in images}) == len(images)
    where = {observation: k for k, observation in enumerate(galaxies.observation_id)}
    parts = np.array(split)
    vectors = np.array(
        [
            [
                np.cos(np.radians(galaxies.dec[k])) * np.cos(np.radians(galaxies.ra[k])),
                np.cos(np.radians(galaxies.dec[k])) * np.sin(np.radians(galaxies.ra[k])),
                np.sin(np.radians(galaxies.dec[k])),
            ]
            for k in (where[image.observation_id] for image in images)
        ]
    )
    separation = np.degrees(np.arccos(np.clip(vectors @ vectors.T, -1, 1))) * 3600
    different = (parts[:, None] != parts[None, :]) & (parts[:, None] != "none") & (parts[None, :] != "none")
    assert separation[different].min() > 60


def test_what_cannot_be_frozen(filled: tuple[Any, Any], fresh_archive: Any) -> None:
    archive, _ = filled
    with archive.connect() as connection:
        create_training_set(connection, "taken", "galeffnet", seed=3)
        with pytest.raises(GalbaseError, match="exists already"):
            create_training_set(connection, "taken", "galeffnet", seed=3)
        with pytest.raises(UsageError, match="no selection"):
            create_training_set(connection, "other", "quasars", seed=3)
        with pytest.raises(UsageError, match="is no label of this training set"):
            create_training_set(connection, "other", "galeffnet", seed=3, draw=Draw(10, "oh12"))
        with pytest.raises(UsageError, match="needs --size"):
            create_training_set(connection, "other", "galeffnet", seed=3, draw=Draw(None, "log_mstar_fib"))
        with pytest.raises(UsageError, match="does not fit selection"):
            create_training_set(connection, "other", "galeffnet", seed=3, properties=["mh"])
        with pytest.raises(GalbaseError, match="there are taken"):
            find_training_set(connection, "nothing")
        connection.execute("UPDATE archive.source SET ra = 160, dec = 10")
        with pytest.raises(GalbaseError, match="would be empty"):
            create_training_set(connection, "small", "galeffnet", seed=3)
        connection.rollback()
    with fresh_archive.connect() as connection, pytest.raises(GalbaseError, match="galbase preprocess"):
        create_training_set(connection, "first", "galeffnet", seed=3)
