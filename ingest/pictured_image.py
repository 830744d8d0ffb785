"""Stored images of which pictures of verdicts are drawn: by source, by number, or by what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.rows import dict_row

from galbase.ingest.preprocess.config import PreprocessConfig
from galbase.ingest.preprocess.overlay import see
from galbase.ingest.preprocess.pixels import read_cutouts
from galbase.ingest.stored_observation import refuse_changed
from galbase.ingest.verdict_picture import Case
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import PreprocessFlag
from galbase.sql.query import ReleaseCredit

_IMAGES = """
SELECT o.observation_id, o.source_id, coalesce(s.native_id, f.path) AS name, r.release, r.licence, r.citation, r.url,
    d.path AS root, f.path, f.format, f.size_bytes, f.mtime, o.row_index, i.bands, i.pixel_scale_arcsec, i.is_display
FROM archive.observation o
JOIN archive.image i USING (observation_id)
JOIN archive.data_release r USING (release_id)
JOIN archive.data_file f USING (data_file_id)
JOIN archive.data_root d USING (data_root_id)
LEFT JOIN archive.source s ON s.source_id = o.source_id
WHERE o.observation_id = ANY(%(ids)s)
ORDER BY array_position(%(ids)s::bigint[], o.observation_id)
"""
# The hash of number and seed shuffles the images in the same way on any server.
_CHOICE = """
SELECT p.observation_id
FROM archive.preprocess p
JOIN archive.preprocess_config c USING (preprocess_config_id)
JOIN archive.observation o USING (observation_id)
JOIN archive.data_release r USING (release_id)
WHERE c.hash = %(hash)s AND p.flag & %(flag)s = %(flag)s AND (%(kept)s::boolean IS NULL OR p.kept = %(kept)s)
    AND (%(release)s::text IS NULL OR r.release = %(release)s)
ORDER BY md5(p.observation_id::text || ':' || %(seed)s::text), p.observation_id
LIMIT %(n)s
"""


@dataclass(frozen=True)
class PicturedImage:
    """A stored image, its file, and what its release asks of users.

    Parameters
    ----------
    observation_id : int
    source_id : int or None
        None where no position is known.
    name : str
        The survey's own id, or the file's path.
    bands, pixel_scale_arcsec, is_display
        As registered at ingest.
    """

    observation_id: int
    source_id: int | None
    name: str
    credit: ReleaseCredit
    file: Path
    format: str
    row_index: int
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    is_display: bool

    def pixels(self) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
        """Pixels (ny, nx, n_band) and bands, as preprocessing reads them.

        Raises
        ------
        GalbaseError
            If the file cannot be read.
        """
        cutouts = read_cutouts(self.file, self.format, self.row_index, self.row_index + 1)
        # As preprocessing does: a display image's channels have no names.
        return cutouts.pixels[0], cutouts.bands if self.is_display else self.bands

    def case(self, configs: Sequence[tuple[str, PreprocessConfig]]) -> Case:
        """The image as configurations see it.

        Parameters
        ----------
        configs : sequence of (str, PreprocessConfig)
            Names and options.

        Raises
        ------
        GalbaseError
            If the file cannot be read.
        """
        pixels, bands = self.pixels()
        if len(bands) != pixels.shape[2]:
            raise GalbaseError(f"{self.file} has {pixels.shape[2]} bands, registered are {bands}; ingest it anew.")
        seen = [
            (name, see(pixels, bands, self.pixel_scale_arcsec, self.is_display, config)) for name, config in configs
        ]
        return Case(f"{self.credit.release}: {self.name}", self.is_display, seen)


def load_images(connection: psycopg.Connection[Any], observation_ids: Sequence[int]) -> list[PicturedImage]:
    """Stored images by their numbers, in the order given.

    Raises
    ------
    GalbaseError
        If one is no image, or its file is gone or was changed.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_IMAGES, {"ids": list(observation_ids)}).fetchall()
    missing = sorted(set(observation_ids) - {row["observation_id"] for row in rows})
    if missing:
        raise GalbaseError(
            f"observation {missing[0]} is no image of this archive; api.preprocess_verdict has their numbers."
        )
    images = []
    for row in rows:
        file = Path(row.pop("root")) / row.pop("path")
        refuse_changed(file, row.pop("size_bytes"), row.pop("mtime"))
        credit = ReleaseCredit(*(row.pop(name) for name in ("release", "licence", "citation", "url")))
        row["bands"] = tuple(row["bands"])
        images.append(PicturedImage(credit=credit, file=file, **row))
    return images


def choose_images(
    connection: psycopg.Connection[Any],
    config: PreprocessConfig,
    *,
    flag: PreprocessFlag,
    kept: bool | None,
    release: str | None,
    n: int,
    seed: int,
) -> list[int]:
    """Numbers of up to `n` judged images, drawn by `seed`.

    Parameters
    ----------
    connection : psycopg.Connection
    config : PreprocessConfig
        Whose stored verdicts are looked at.
    flag : PreprocessFlag
        Bits that must all be set; 0 for any.
    kept : bool or None
        Only images that are kept, or that are not.
    release : str or None
        Only images of this release.
    n, seed : int

    Raises
    ------
    GalbaseError
        If there is no such image.
    """
    values = {
        "hash": config.hash(), "flag": int(flag), "kept": kept, "release": release, "n": n, "seed": seed,
    }  # fmt: skip
    found = [int(row[0]) for row in connection.execute(_CHOICE, values).fetchall()]
    if not found:
        raise GalbaseError(
            "no image has such a verdict of this configuration; `galbase preprocess` judges images, and "
            "api.preprocess_tally counts what was found."
        )
    return found


def stored_flags(
    connection: psycopg.Connection[Any], observation_ids: Sequence[int], config: PreprocessConfig
) -> dict[int, PreprocessFlag]:
    """Flags of the stored verdicts of a configuration, by image; images without one are left out."""
    rows = connection.execute(
        "SELECT p.observation_id, p.flag FROM archive.preprocess p JOIN archive.preprocess_config c "
        "USING (preprocess_config_id) WHERE c.hash = %s AND p.observation_id = ANY(%s)",
        (config.hash(), list(observation_ids)),
    ).fetchall()
    return {int(number): PreprocessFlag(flag) for number, flag in rows}
