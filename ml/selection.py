"""Selections of labelled images that training sets are frozen from; their criteria are SQL functions of schema api."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import sql

from galbase.schema.errors import GalbaseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg


@dataclass(frozen=True)
class Published:
    """How a paper drew its sample from its selection.

    Parameters
    ----------
    ratio : str
        Training, validation and test.
    size : int or None
        Number drawn; None for all.
    uniform_over : str or None
        Property over which the sample is uniform.
    """

    ratio: str
    size: int | None = None
    uniform_over: str | None = None


@dataclass(frozen=True)
class Selection:
    """Whose images are selected, and what they are labelled with.

    Parameters
    ----------
    name : str
        Name in commands; the criteria are those of the SQL function ``api.selection_<name>``, which the view
        ``api.training_set_<name>`` shows.
    preprocess : str
        Preset of the preprocessing that keeps the images.
    properties : tuple of str
        Properties that the selection asks for, in the order of the network's outputs.
    label_origin : str or None
        Origin of the labels; None for any that is not for evaluation only.
    published : Published
    further : tuple of str
        Other properties that its galaxies may be labelled with.
    has_spectrum : bool
        Whether its galaxies have a spectrum as well.
    """

    name: str
    preprocess: str
    properties: tuple[str, ...]
    label_origin: str | None
    published: Published
    further: tuple[str, ...] = field(default=())
    has_spectrum: bool = False


SELECTIONS = {
    selection.name: selection
    for selection in (
        # GalEffNet paper, sections 2.1 and 2.2.3.
        Selection(
            name="galeffnet",
            preprocess="galeffnet",
            properties=("log_mstar_fib", "log_ssfr_fib"),
            label_origin="mpa-jhu",
            published=Published("6:1:3", 100_000),
        ),
        # GPM-ResNet paper, section 2.2.3; mass as the label in section 4.6.1.
        Selection(
            name="gpm_resnet",
            preprocess="gpm_resnet",
            properties=("oh12",),
            label_origin="mpa-jhu",
            published=Published("5:3:2", 25_000, "oh12"),
            further=("log_mstar_fib", "log_ssfr_fib"),
        ),
        # MMLforGalAM paper, sections 2 and 3.5.
        Selection(
            name="mmlforgalam",
            preprocess="mmlforgalam",
            properties=("log_age", "mh"),
            label_origin=None,
            published=Published("8:1:1"),
            has_spectrum=True,
        ),
    )
}


@dataclass(frozen=True)
class LabelledImage:
    """An image with labels.

    Parameters
    ----------
    observation_id, source_id, galaxy_id : int
        Image, its source and its galaxy.
    ra, dec : float
        Position of the image's source, degrees; NaN where the archive has it no longer.
    input_hash : str
        Hash of pixels and preprocessing.
    label_source_id : int
        Source that the labels belong to.
    label : tuple of float
        Labels in the order of the properties asked for.
    spectrum_observation_id : int or None
        Spectrum, where the selection has one.
    spectrum_hash : str or None
        SHA-256 of its file.
    """

    observation_id: int
    source_id: int
    galaxy_id: int
    ra: float
    dec: float
    input_hash: str
    label_source_id: int
    label: tuple[float, ...]
    spectrum_observation_id: int | None = None
    spectrum_hash: str | None = None


@dataclass(frozen=True)
class Selected:
    """Images of a selection.

    Parameters
    ----------
    images : list of LabelledImage
        One a galaxy, in order of source and observation.
    label_origin : str
        Origin of all labels.
    simulated : bool
        Whether an image, a spectrum or a label comes from a simulated release.
    """

    images: list[LabelledImage]
    label_origin: str
    simulated: bool


def selection_named(name: str) -> Selection:
    """The selection of this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in SELECTIONS:
        raise UsageError(f"no selection {name!r}; use one of {', '.join(sorted(SELECTIONS))}.")
    return SELECTIONS[name]


def check_properties(selection: Selection, properties: Sequence[str]) -> None:
    """Refuse properties that a selection's galaxies cannot be labelled with.

    Raises
    ------
    UsageError
        If there are none, one is unknown or comes twice.
    """
    known = (*selection.properties, *selection.further)
    wrong = [name for name in properties if name not in known]
    if wrong or not properties or len(set(properties)) < len(properties):
        raise UsageError(
            f"--property {', '.join(properties) or 'nothing'} does not fit selection {selection.name!r}: name each of "
            f"{', '.join(known)} at most once."
        )


def select_images(
    connection: psycopg.Connection[Any],
    selection: Selection,
    preprocess_config_id: int,
    label_origin: str | None = None,
    properties: Sequence[str] | None = None,
) -> Selected:
    """The galaxies that ``api.selection_<name>`` selects, each with its image and labels.

    Parameters
    ----------
    connection : psycopg.Connection
    selection : Selection
    preprocess_config_id : int
        Configuration whose verdict counts.
    label_origin : str, optional
        Origin of the labels; the selection's own when None.
    properties : sequence of str, optional
        Labels to read, of which none may be missing; the selection's own when None.

    Raises
    ------
    GalbaseError
        If labels of several origins meet.
    UsageError
        If the selection has no such property.
    """
    names = tuple(properties or selection.properties)
    check_properties(selection, names)
    origin = label_origin or selection.label_origin
    labels = [sql.Identifier("t", name) for name in names]
    # Galaxies without a label are out in any case; told beforehand, they cost nothing.
    labelled = sql.SQL(
        "SELECT m.galaxy_id FROM archive.reference_value v JOIN archive.property p USING (property_id) "
        "JOIN archive.galaxy_member m ON m.source_id = v.source_id WHERE p.name = {} {}"
    ).format(
        sql.Literal(selection.properties[0]),
        sql.SQL("") if origin is None else sql.SQL("AND v.origin = {}").format(sql.Literal(origin)),
    )
    spectrum = sql.SQL("NULL, NULL"), sql.SQL("")
    if selection.has_spectrum:
        spectrum = (
            sql.SQL("t.spectrum_observation_id, coalesce(f.sha256, f.chunk_sha256)"),
            sql.SQL(
                "JOIN archive.observation x ON x.observation_id = t.spectrum_observation_id "
                "JOIN archive.data_file f ON f.data_file_id = x.data_file_id "
            ),
        )
    query = sql.SQL(
        "SELECT t.observation_id, t.image_source_id, t.galaxy_id, s.ra, s.dec, p.input_hash, t.label_source_id, "
        "{spectrum}, t.simulated, t.label_origin, {labels} "
        "FROM {function}({config}, {origin}) t "
        "JOIN archive.preprocess p ON p.observation_id = t.observation_id AND p.preprocess_config_id = {config} "
        "JOIN archive.source s ON s.source_id = t.image_source_id {join}"
        "WHERE t.selected AND t.galaxy_id IN ({labelled}) AND num_nulls({labels}) = 0 "
        "ORDER BY t.image_source_id, t.observation_id"
    ).format(
        spectrum=spectrum[0],
        labels=sql.SQL(", ").join(labels),
        function=sql.Identifier("api", f"selection_{selection.name}"),
        config=sql.Literal(preprocess_config_id),
        origin=sql.SQL("NULL::text") if origin is None else sql.Literal(origin),
        join=spectrum[1],
        labelled=labelled,
    )
    images = []
    origins = set()
    simulated = False
    for (
        observation,
        source,
        galaxy,
        ra,
        dec,
        digest,
        labeller,
        x,
        x_hash,
        is_simulated,
        of,
        *values,
    ) in connection.execute(query).fetchall():
        label = tuple(float(value) for value in values)
        images.append(LabelledImage(observation, source, galaxy, ra, dec, digest, labeller, label, x, x_hash))
        origins.add(str(of))
        simulated |= bool(is_simulated)
    if len(origins) > 1:
        raise GalbaseError(
            f"selection {selection.name!r} finds labels of several origins: {', '.join(sorted(origins))}; choose one "
            "with --label-origin."
        )
    return Selected(images, origins.pop() if origins else origin or "", simulated)
