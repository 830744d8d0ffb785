"""Training sets: a selection frozen with its split, so that it can be named, repeated and scored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from galbase.ingest.preprocess.config import PreprocessConfig, preset
from galbase.ml.selection import LABEL_ORIGIN, LabelledImage, Selection, select_images, selection_named
from galbase.ml.splits import NO_SPLIT, SPLITS, split_by_sky
from galbase.schema.bulk import copy_rows
from galbase.schema.errors import GalbaseError

if TYPE_CHECKING:
    import psycopg

MEMBER_COLUMNS = ("training_set_id", "observation_id", "source_id", "galaxy_id", "split")


@dataclass(frozen=True)
class TrainingSet:
    """A frozen training set.

    Parameters
    ----------
    training_set_id : int
    name : str
    selection : Selection
    seed : int
        Seed of the split.
    preprocess_config_id : int
    preprocess : PreprocessConfig
        Preprocessing of its stamps.
    simulated : bool
        Whether labels or images are simulated.
    n_member : int
    hash : str
        Hash of members, pixels, labels and splits.
    """

    training_set_id: int
    name: str
    selection: Selection
    seed: int
    preprocess_config_id: int
    preprocess: PreprocessConfig
    simulated: bool
    n_member: int
    hash: str


def create_training_set(
    connection: psycopg.Connection[Any],
    name: str,
    selection_name: str,
    seed: int,
    size: int | None = None,
    config: PreprocessConfig | None = None,
) -> TrainingSet:
    """Freeze a selection with a split by sky; the caller commits.

    Parameters
    ----------
    connection : psycopg.Connection
    name : str
        A new name.
    selection_name : str
        A key of `selection.SELECTIONS`.
    seed : int
        Seed of the split, and of the draw where `size` is given.
    size : int, optional
        Draw at most this many of the selection at random.
    config : PreprocessConfig, optional
        Preprocessing of the stamps; the selection's own preset when None.

    Raises
    ------
    GalbaseError
        If the name is taken, the images are not preprocessed yet, or a split would be empty.
    """
    selection = selection_named(selection_name)
    if connection.execute("SELECT 1 FROM archive.training_set WHERE name = %s", (name,)).fetchone():
        raise GalbaseError(f"training set {name!r} exists already and is frozen; choose another name.")
    config = config or preset(selection.preprocess)
    row = connection.execute(
        "SELECT preprocess_config_id FROM archive.preprocess_config WHERE hash = %s", (config.hash(),)
    ).fetchone()
    if row is None:
        raise GalbaseError(
            f"no image has been preprocessed with this configuration of {config.method!r} (hash {config.hash()}); run "
            f"`galbase preprocess --release NAME --config {config.method}` with the same --option."
        )
    config_id = int(row[0])
    images = select_images(connection, selection, config_id)
    if size is not None and size < len(images):
        drawn = np.sort(np.random.default_rng(seed).permutation(len(images))[:size])
        images = [images[index] for index in drawn]
    if not images:
        raise GalbaseError(
            f"selection {selection_name!r} finds no labelled image that preprocessing kept: ingest images and an SDSS "
            "galaxy catalogue of the same sky, crossmatch their releases and preprocess the images."
        )
    split = split_by_sky(
        [image.ra for image in images], [image.dec for image in images], [image.galaxy_id for image in images], seed
    )
    counts = Counter(split.tolist())
    for needed in SPLITS:
        if not counts[needed]:
            raise GalbaseError(
                f"split {needed!r} would be empty: {len(images)} images lie on too little sky for whole blocks of 1.8 "
                "degrees; load more sky or try another seed."
            )
    simulated = any(image.simulated for image in images)
    digest = members_hash(images, split.tolist())
    made = connection.execute(
        "INSERT INTO archive.training_set (name, selection, seed, preprocess_config_id, label_origin, simulated, "
        "n_member, hash) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING training_set_id",
        (name, selection_name, seed, config_id, LABEL_ORIGIN, simulated, len(images), digest),
    ).fetchone()
    if made is None:
        raise RuntimeError("no training_set_id was returned")
    rows = (
        (made[0], image.observation_id, image.source_id, image.galaxy_id, str(part))
        for image, part in zip(images, split, strict=True)
    )
    copy_rows(connection, "archive", "training_member", MEMBER_COLUMNS, rows)
    return TrainingSet(int(made[0]), name, selection, seed, config_id, config, simulated, len(images), digest)


def members_hash(images: Sequence[LabelledImage], split: Sequence[str]) -> str:
    """SHA-256 over sources, pixels, labels and splits, in order of the images; the same in every archive."""
    digest = hashlib.sha256()
    for image, part in zip(images, split, strict=True):
        labels = ",".join(value.hex() for value in image.label)
        digest.update(f"{image.source_id} {image.input_hash} {labels} {part}\n".encode())
    return digest.hexdigest()


def find_training_set(connection: psycopg.Connection[Any], name: str) -> TrainingSet:
    """The training set of this name.

    Raises
    ------
    GalbaseError
        If there is none.
    """
    row = connection.execute(
        "SELECT t.training_set_id, t.name, t.selection, t.seed, t.preprocess_config_id, c.parameters, t.simulated, "
        "t.n_member, t.hash FROM archive.training_set t JOIN archive.preprocess_config c USING (preprocess_config_id) "
        "WHERE t.name = %s",
        (name,),
    ).fetchone()
    if row is None:
        known = [str(found[0]) for found in connection.execute("SELECT name FROM archive.training_set ORDER BY name")]
        raise GalbaseError(
            f"no training set {name!r}; "
            + (f"there are {', '.join(known)}." if known else "make one with `galbase training-set create`.")
        )
    return TrainingSet(
        int(row[0]), row[1], selection_named(row[2]), int(row[3]), int(row[4]), PreprocessConfig.from_dict(row[5]),
        bool(row[6]), int(row[7]), row[8],
    )  # fmt: skip


def members(connection: psycopg.Connection[Any], training_set: TrainingSet) -> tuple[list[LabelledImage], list[str]]:
    """Images, labels and splits of a training set, checked against its hash.

    Raises
    ------
    GalbaseError
        If pixels, labels or crossmatch have changed since it was frozen.
    """
    images = select_images(
        connection, training_set.selection, training_set.preprocess_config_id, training_set.training_set_id
    )
    found = dict(
        connection.execute(
            "SELECT observation_id, split FROM archive.training_member WHERE training_set_id = %s",
            (training_set.training_set_id,),
        ).fetchall()
    )
    split = [str(found[image.observation_id]) for image in images]
    if members_hash(images, split) != training_set.hash:
        raise GalbaseError(
            f"training set {training_set.name!r} is no longer what was frozen ({len(images)} of "
            f"{training_set.n_member} members found): images, labels or crossmatch have changed. Create a new one with "
            "`galbase training-set create`."
        )
    return images, split


def split_counts(connection: psycopg.Connection[Any], training_set_id: int) -> dict[str, int]:
    """Number of members in each split, ``none`` for the seam included."""
    counts = dict(
        connection.execute(
            "SELECT split, count(*) FROM archive.training_member WHERE training_set_id = %s GROUP BY split",
            (training_set_id,),
        ).fetchall()
    )
    return {name: int(counts.get(name, 0)) for name in (*SPLITS, NO_SPLIT)}
