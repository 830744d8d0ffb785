"""Catalogue photometry and structure of images' galaxies, for the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ml.baselines import catalogue_features

if TYPE_CHECKING:
    import psycopg

# Shapes of DR8: the larger component's. Axis ratio from the ellipticity e = (1 - b/a) / (1 + b/a).
_QUERY = """
SELECT DISTINCT ON (o.observation_id) o.observation_id, l.flux_g, l.flux_r, l.flux_z, l.flux_ivar_g, l.flux_ivar_r,
       l.flux_ivar_z, l.radius, l.sersic, l.ellipticity, l.type
FROM archive.observation o
JOIN archive.galaxy_member m ON m.source_id = o.source_id
JOIN archive.galaxy_member other ON other.galaxy_id = m.galaxy_id
JOIN (
    SELECT source_id, flux_g, flux_r, flux_z, flux_ivar_g, flux_ivar_r, flux_ivar_z, type, shape_r AS radius, sersic,
           sqrt(shape_e1 ^ 2 + shape_e2 ^ 2) AS ellipticity
    FROM archive.legacysurvey_dr9_object
    UNION ALL
    SELECT source_id, flux_g, flux_r, flux_z, flux_ivar_g, flux_ivar_r, flux_ivar_z, type,
           greatest(shapedev_r, shapeexp_r), CASE WHEN shapedev_r > shapeexp_r THEN 4.0 ELSE 1.0 END,
           CASE WHEN shapedev_r > shapeexp_r THEN sqrt(shapedev_e1 ^ 2 + shapedev_e2 ^ 2)
                ELSE sqrt(shapeexp_e1 ^ 2 + shapeexp_e2 ^ 2) END
    FROM archive.legacysurvey_dr8_object
) l ON l.source_id = other.source_id
WHERE o.observation_id = ANY(%s) AND l.flux_r IS NOT NULL
ORDER BY o.observation_id, (l.source_id = o.source_id) DESC, other.separation_arcsec, l.source_id
"""


def photometry(connection: psycopg.Connection[Any], observation_id: Sequence[int]) -> npt.NDArray[np.float64] | None:
    """Catalogue features of images, in their order; NaN rows where a galaxy has no Legacy Survey row.

    Returns
    -------
    (n, n_feature) ndarray of float or None
        `baselines.catalogue_features`; None if no image has a row.
    """
    rows = {row[0]: row[1:] for row in connection.execute(_QUERY, (list(observation_id),)).fetchall()}
    if not rows:
        return None
    missing = (None,) * 10
    found = [rows.get(observation, missing) for observation in observation_id]
    number = np.array([[np.nan if value is None else value for value in row[:9]] for row in found], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(number[:, 3:6] > 0, 1 / np.sqrt(number[:, 3:6]), np.nan)
    ellipticity = number[:, 8]
    return catalogue_features(
        number[:, :3],
        error,
        number[:, 6],
        number[:, 7],
        (1 - ellipticity) / (1 + ellipticity),
        [row[9] for row in found],
    )
