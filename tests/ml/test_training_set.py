"""Frozen training sets: what is selected, how it is split, and that a change is noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galbase.ml.selection import select_images, selection_named
from galbase.ml.splits import split_by_sky
from galbase.ml.training_set import create_training_set, find_training_set, members, split_counts
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
        "lgm_fib_p50 = NULL", "specsfr_fib_p50 = -9999",
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
        found = select_images(connection, selection_named("galeffnet"), config)
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


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE archive.sdss_galaxy SET lgm_fib_p50 = lgm_fib_p50 + 0.01 WHERE source_id = %s + 1",
        "UPDATE archive.preprocess p SET input_hash = 'other' FROM archive.observation o "
        "WHERE o.observation_id = p.observation_id AND o.source_id = %s",
        "DELETE FROM archive.galaxy_member WHERE source_id = %s",
        "UPDATE archive.training_member SET split = CASE split WHEN 'test' THEN 'train' ELSE 'test' END "
        "WHERE source_id = %s",
    ],
)
def test_a_change_since_freezing_is_noticed(filled: tuple[Any, Any], statement: str) -> None:
    archive, galaxies = filled
    with archive.connect() as connection:
        made = create_training_set(connection, "frozen", "galeffnet", seed=3)
        connection.execute(statement, (galaxies.source_id[7],))
        with pytest.raises(GalbaseError, match="no longer what was frozen"):
            members(connection, made)
        connection.rollback()


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
        with pytest.raises(GalbaseError, match="there are taken"):
            find_training_set(connection, "nothing")
        connection.execute("UPDATE archive.source SET ra = 160, dec = 10")
        with pytest.raises(GalbaseError, match="would be empty"):
            create_training_set(connection, "small", "galeffnet", seed=3)
        connection.rollback()
    with fresh_archive.connect() as connection, pytest.raises(GalbaseError, match="galbase preprocess"):
        create_training_set(connection, "first", "galeffnet", seed=3)
