"""Training sets: a selection frozen with its split, so that it can be named, repeated and scored."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from galbase.ingest.preprocess.config import PreprocessConfig, preset
from galbase.ml.sampling import random_sample, uniform_sample
from galbase.ml.selection import LabelledImage, Selected, Selection, select_images, selection_named
from galbase.ml.splits import FRACTIONS, NO_SPLIT, SPLITS, split_by_sky
from galbase.schema.bulk import copy_rows
from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    import psycopg

MEMBER_COLUMNS = (
    "training_set_id", "observation_id", "source_id", "galaxy_id", "split", "label_source_id", "label", "input_hash",
    "spectrum_observation_id", "spectrum_hash",
)  # fmt: skip


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
        Whether labels, images or spectra are simulated.
    n_member : int
    hash : str
        Hash of members, pixels, labels and splits.
    label_origin : str
        Catalogue or method of its labels.
    properties : tuple of str
        What its members are labelled with.
    options : dict
        How it was drawn: ``n_selected``, ``size``, ``uniform_over`` and ``fractions``.
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
    label_origin: str
    properties: tuple[str, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """How members are drawn from a selection and split.

    Parameters
    ----------
    size : int or None
        Draw at most this many.
    uniform_over : str or None
        Property over which they are drawn uniformly instead of at random; it needs a size.
    fractions : mapping of str to float
        Share of the sky of each split.
    """

    size: int | None = None
    uniform_over: str | None = None
    fractions: Mapping[str, float] = field(default_factory=lambda: FRACTIONS)

    def check(self, properties: Sequence[str]) -> None:
        """Refuse what cannot be drawn.

        Raises
        ------
        UsageError
            If a uniform sample has no size, or is asked for over something that is no label of the set.
        """
        if self.uniform_over is None:
            return
        if self.uniform_over not in properties:
            raise UsageError(
                f"--uniform-over {self.uniform_over!r} is no label of this training set; use {' or '.join(properties)} "
                "(--property chooses the labels)."
            )
        if self.size is None:
            raise UsageError("--uniform-over needs --size: the fewer are drawn, the flatter their distribution.")


def create_training_set(
    connection: psycopg.Connection[Any],
    name: str,
    selection_name: str,
    seed: int,
    size: int | None = None,
    config: PreprocessConfig | None = None,
    *,
    draw: Draw | None = None,
    label_origin: str | None = None,
    properties: Sequence[str] | None = None,
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
        Draw at most this many of the selection at random; short for `draw`.
    config : PreprocessConfig, optional
        Preprocessing of the stamps; the selection's own preset when None.
    draw : Draw, optional
        How members are drawn and split.
    label_origin : str, optional
        Origin of the labels; the selection's own when None.
    properties : sequence of str, optional
        What the members are labelled with; the selection's own when None.

    Raises
    ------
    GalbaseError
        If the name is taken, the images are not preprocessed yet, nothing is selected, or a split would be empty.
    UsageError
        If the selection, a property or the draw does not exist.
    """
    selection = selection_named(selection_name)
    drawn = draw or Draw(size)
    names = tuple(properties or selection.properties)
    drawn.check(names)
    if connection.execute("SELECT 1 FROM archive.training_set WHERE name = %s", (name,)).fetchone():
        raise GalbaseError(f"training set {name!r} exists already and is frozen; choose another name.")
    config = config or preset(selection.preprocess)
    config_id = stored_config_id(connection, config)
    found = select_images(connection, selection, config_id, label_origin, names)
    if not found.images:
        raise GalbaseError(_nothing(connection, selection, label_origin))
    images = _drawn(found, names, drawn, seed)
    split = split_by_sky(
        [image.ra for image in images], [image.dec for image in images], [image.galaxy_id for image in images], seed,
        drawn.fractions,
    )  # fmt: skip
    counts = Counter(split.tolist())
    for needed, share in drawn.fractions.items():
        if share > 0 and not counts[needed]:
            raise GalbaseError(
                f"split {needed!r} would be empty: {len(images)} images lie on too little sky for whole blocks of 1.8 "
                "degrees; load more sky or try another seed."
            )
    digest = members_hash(images, split.tolist())
    options = {
        "n_selected": len(found.images),
        "size": drawn.size,
        "uniform_over": drawn.uniform_over,
        "fractions": dict(drawn.fractions),
    }
    made = connection.execute(
        "INSERT INTO archive.training_set (name, selection, seed, preprocess_config_id, label_origin, simulated, "
        "n_member, hash, properties, options) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "RETURNING training_set_id",
        (
            name, selection_name, seed, config_id, found.label_origin, found.simulated, len(images), digest,
            list(names), json.dumps(options),
        ),
    ).fetchone()  # fmt: skip
    if made is None:
        raise RuntimeError("no training_set_id was returned")
    rows = (
        (
            made[0], image.observation_id, image.source_id, image.galaxy_id, str(part), image.label_source_id,
            list(image.label), image.input_hash, image.spectrum_observation_id, image.spectrum_hash,
        )
        for image, part in zip(images, split, strict=True)
    )  # fmt: skip
    copy_rows(connection, "archive", "training_member", MEMBER_COLUMNS, rows)
    return TrainingSet(
        int(made[0]), name, selection, seed, config_id, config, found.simulated, len(images), digest,
        found.label_origin, names, options,
    )  # fmt: skip


def members_hash(images: Sequence[LabelledImage], split: Sequence[str]) -> str:
    """SHA-256 over sources, pixels, labels and splits, in order of the images; the same in every archive."""
    digest = hashlib.sha256()
    for image, part in zip(images, split, strict=True):
        labels = ",".join(value.hex() for value in image.label)
        pixels = image.input_hash if image.spectrum_hash is None else f"{image.input_hash} {image.spectrum_hash}"
        digest.update(f"{image.source_id} {pixels} {labels} {part}\n".encode())
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
        "t.n_member, t.hash, t.label_origin, t.properties, t.options "
        "FROM archive.training_set t JOIN archive.preprocess_config c USING (preprocess_config_id) WHERE t.name = %s",
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
        bool(row[6]), int(row[7]), row[8], row[9], tuple(row[10]), row[11],
    )  # fmt: skip


def members(connection: psycopg.Connection[Any], training_set: TrainingSet) -> tuple[list[LabelledImage], list[str]]:
    """Images, labels and splits of a training set as they were frozen, checked against its hash and the archive.

    Raises
    ------
    GalbaseError
        If a member has changed since it was frozen, or its image, label or galaxy in the archive has.
    """
    changed = drift(connection, training_set)
    if changed:
        causes = ", ".join(f"{reason}: {count}" for reason, count in changed.items())
        raise GalbaseError(
            f"training set {training_set.name!r} is no longer what was frozen ({causes}; of {training_set.n_member} "
            "members). Bring the archive back to what it was, or create a new set with `galbase training-set create`; "
            "api.training_set_drift has the members."
        )
    return _frozen(connection, training_set)


def drift(connection: psycopg.Connection[Any], training_set: TrainingSet) -> dict[str, int]:
    """Number of members that differ from what was frozen, by reason; empty if none does."""
    rows = connection.execute(
        "SELECT reason, count(*) FROM api.training_set_drift WHERE training_set = %s GROUP BY reason ORDER BY reason",
        (training_set.name,),
    ).fetchall()
    found = {str(reason): int(count) for reason, count in rows}
    if "frozen without its labels" not in found:
        images, split = _frozen(connection, training_set)
        if members_hash(images, split) != training_set.hash:
            found["members or splits altered"] = abs(len(images) - training_set.n_member) or training_set.n_member
    return found


def split_counts(connection: psycopg.Connection[Any], training_set_id: int) -> dict[str, int]:
    """Number of members in each split, ``none`` for the seam included."""
    counts = dict(
        connection.execute(
            "SELECT split, count(*) FROM archive.training_member WHERE training_set_id = %s GROUP BY split",
            (training_set_id,),
        ).fetchall()
    )
    return {name: int(counts.get(name, 0)) for name in (*SPLITS, NO_SPLIT)}


def stored_config_id(connection: psycopg.Connection[Any], config: PreprocessConfig) -> int:
    """Number of a preprocessing configuration that images have been judged by.

    Raises
    ------
    GalbaseError
        If it was never used.
    """
    row = connection.execute(
        "SELECT preprocess_config_id FROM archive.preprocess_config WHERE hash = %s", (config.hash(),)
    ).fetchone()
    if row is None:
        raise GalbaseError(
            f"no image has been preprocessed with this configuration of {config.method!r} (hash {config.hash()}); run "
            f"`galbase preprocess --release NAME --config {config.method}` with the same --config and --option."
        )
    return int(row[0])


def _nothing(connection: psycopg.Connection[Any], selection: Selection, label_origin: str | None) -> str:
    """Why a selection is empty, with the origins that its labels could have."""
    rows = connection.execute(
        "SELECT DISTINCT v.origin FROM archive.reference_value v JOIN archive.property p USING (property_id) "
        "WHERE p.name = %s ORDER BY 1",
        (selection.properties[0],),
    ).fetchall()
    wanted = label_origin or selection.label_origin or "any origin that is not for evaluation only"
    return (
        f"selection {selection.name!r} finds no galaxy with labels of {wanted} and a kept image: ingest images and "
        "labels of the same sky, crossmatch their releases and preprocess the images. There are labels of "
        f"{', '.join(row[0] for row in rows) or 'no origin'}; api.selection_tally tells how many galaxies each "
        "criterion leaves out."
    )


def _drawn(found: Selected, names: Sequence[str], draw: Draw, seed: int) -> list[LabelledImage]:
    """The members, in order of the images."""
    if draw.size is None:
        return found.images
    if draw.uniform_over is None:
        rows = random_sample(len(found.images), draw.size, seed)
    else:
        column = names.index(draw.uniform_over)
        rows = uniform_sample([image.label[column] for image in found.images], draw.size, seed)
    return [found.images[row] for row in rows]


def _frozen(connection: psycopg.Connection[Any], training_set: TrainingSet) -> tuple[list[LabelledImage], list[str]]:
    rows = connection.execute(
        "SELECT m.observation_id, m.source_id, m.galaxy_id, coalesce(s.ra, 'NaN'), coalesce(s.dec, 'NaN'), "
        "m.input_hash, m.label_source_id, m.label, m.spectrum_observation_id, m.spectrum_hash, m.split "
        "FROM archive.training_member m LEFT JOIN archive.source s USING (source_id) "
        "WHERE m.training_set_id = %s ORDER BY m.source_id, m.observation_id",
        (training_set.training_set_id,),
    ).fetchall()
    images = [
        LabelledImage(observation, source, galaxy, ra, dec, digest, labeller, tuple(label), spectrum, spectrum_hash)
        for observation, source, galaxy, ra, dec, digest, labeller, label, spectrum, spectrum_hash, _ in rows
    ]
    return images, [str(row[-1]) for row in rows]
