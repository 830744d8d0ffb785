"""Selections of labelled images that training sets are frozen from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from galbase.schema.errors import UsageError

if TYPE_CHECKING:
    import psycopg

LABEL_ORIGIN = "mpa-jhu"
LABEL_COLUMNS = {
    "log_mstar_fib": "lgm_fib_p50",
    "log_mstar_tot": "lgm_tot_p50",
    "log_ssfr_fib": "specsfr_fib_p50",
    "log_ssfr_tot": "specsfr_tot_p50",
    "log_sfr_tot": "sfr_tot_p50",
    "oh12": "oh_p50",
}


@dataclass(frozen=True)
class Selection:
    """Criteria on SDSS galaxies and what their images are labelled with.

    Parameters
    ----------
    name : str
        Name in commands.
    preprocess : str
        Preset of the preprocessing that keeps the images.
    properties : tuple of str
        Properties that must have a label, in the order of the network's outputs.
    criteria : str
        SQL on ``g``, the row of `sdss_galaxy`.
    """

    name: str
    preprocess: str
    properties: tuple[str, ...]
    criteria: LiteralString


SELECTIONS = {
    "galeffnet": Selection(
        name="galeffnet",
        preprocess="galeffnet",
        properties=("log_mstar_fib", "log_ssfr_fib"),
        # GalEffNet paper, section 2.1.
        criteria="g.spectrotype = 'GALAXY' AND g.reliable = 1 AND g.z > 0 AND g.z_warning = 0 AND g.sn_median >= 5",
    ),
}


@dataclass(frozen=True)
class LabelledImage:
    """An image with labels.

    Parameters
    ----------
    observation_id, source_id, galaxy_id : int
        Image, its source and its galaxy.
    ra, dec : float
        Position of the image's source, degrees.
    input_hash : str
        Hash of pixels and preprocessing.
    simulated : bool
        Whether the image or the label comes from a simulated release.
    z : float
        Redshift of the label's spectrum.
    label : tuple of float
        Labels in the order of the selection's properties.
    """

    observation_id: int
    source_id: int
    galaxy_id: int
    ra: float
    dec: float
    input_hash: str
    simulated: bool
    z: float
    label: tuple[float, ...]


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


def select_images(
    connection: psycopg.Connection[Any],
    selection: Selection,
    preprocess_config_id: int,
    training_set_id: int | None = None,
) -> list[LabelledImage]:
    """Images that a preprocessing kept, of galaxies with an SDSS spectrum that passes the criteria.

    Labels sit on SDSS sources and images on their own: they meet in `galaxy_member`. Of several spectra of a galaxy
    that pass, the one nearest to the galaxy's position is used.

    Parameters
    ----------
    connection : psycopg.Connection
    selection : Selection
    preprocess_config_id : int
        Configuration whose verdict counts.
    training_set_id : int, optional
        Only members of this training set.

    Returns
    -------
    list of LabelledImage
        In order of source and observation.
    """
    labels = [sql.SQL("g.{}::float8").format(sql.Identifier(LABEL_COLUMNS[name])) for name in selection.properties]
    finite = [
        sql.SQL("g.{} BETWEEN -1000 AND 1000").format(sql.Identifier(LABEL_COLUMNS[name]))
        for name in selection.properties
    ]
    member: sql.Composable = sql.SQL("")
    if training_set_id is not None:
        member = sql.SQL(
            "JOIN archive.training_member t ON t.observation_id = o.observation_id AND t.training_set_id = {} "
        ).format(sql.Literal(training_set_id))
    query = sql.SQL(
        "SELECT DISTINCT ON (o.source_id, o.observation_id) o.observation_id, o.source_id, m.galaxy_id, s.ra, s.dec, "
        "p.input_hash, r.simulated OR gr.simulated, g.z::float8, {labels} "
        "FROM archive.observation o {member}"
        "JOIN archive.preprocess p ON p.observation_id = o.observation_id AND p.preprocess_config_id = {config} "
        "JOIN archive.source s ON s.source_id = o.source_id "
        "JOIN archive.data_release r ON r.release_id = o.release_id "
        "JOIN archive.galaxy_member m ON m.source_id = o.source_id "
        "JOIN archive.galaxy_member gm ON gm.galaxy_id = m.galaxy_id "
        "JOIN archive.sdss_galaxy g ON g.source_id = gm.source_id "
        "JOIN archive.source gs ON gs.source_id = gm.source_id "
        "JOIN archive.data_release gr ON gr.release_id = gs.release_id "
        "WHERE o.kind = 'image' AND p.kept AND {criteria} AND {finite} "
        "ORDER BY o.source_id, o.observation_id, gm.separation_arcsec, gm.source_id"
    ).format(
        labels=sql.SQL(", ").join(labels),
        member=member,
        config=sql.Literal(preprocess_config_id),
        criteria=sql.SQL(selection.criteria),
        finite=sql.SQL(" AND ").join(finite),
    )
    found = []
    for observation, source, galaxy, ra, dec, digest, simulated, z, *values in connection.execute(query).fetchall():
        label = tuple(float(value) for value in values)
        found.append(LabelledImage(observation, source, galaxy, ra, dec, digest, simulated, z, label))
    return found
