"""The Mollweide projection of the whole sky: equal areas in an ellipse, right ascension 0 in the middle, east left.

Snyder 1987, "Map Projections: A Working Manual", USGS Professional Paper 1395, equations 31-1 to 31-9, on a sphere of
radius 1, mirrored because the sky is seen from within.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
HALF_WIDTH = 2 * np.sqrt(2)
HALF_HEIGHT = np.sqrt(2)
_N_STEP = 60


def project(ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Place of positions on the map.

    Parameters
    ----------
    ra, dec : array_like of float
        Degrees; right ascension of any revolution.

    Returns
    -------
    x, y : ndarray of float64, the broadcast shape
        Within the ellipse of half axes `HALF_WIDTH` and `HALF_HEIGHT`. Right ascension 180 is on its left edge.
    """
    lon, lat = np.broadcast_arrays(180 - np.mod(180 - np.asarray(ra, float), 360), np.asarray(dec, float))
    wanted = np.pi * np.sin(np.radians(lat))
    # Newton's steps crawl near the poles, where the slope vanishes; halving an interval is as exact everywhere.
    low, high = np.full(lat.shape, -np.pi / 2), np.full(lat.shape, np.pi / 2)
    for _ in range(_N_STEP):
        middle = (low + high) / 2
        below = 2 * middle + np.sin(2 * middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    theta = (low + high) / 2
    return np.asarray(-HALF_WIDTH * lon / 180 * np.cos(theta)), np.asarray(HALF_HEIGHT * np.sin(theta))


def unproject(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Positions of places on the map.

    Parameters
    ----------
    x, y : array_like of float

    Returns
    -------
    ra, dec : ndarray of float64, the broadcast shape
        Degrees, right ascension in [0, 360); NaN outside the ellipse.
    """
    across, up = np.broadcast_arrays(np.asarray(x, float) / HALF_WIDTH, np.asarray(y, float) / HALF_HEIGHT)
    inside = across**2 + up**2 <= 1
    theta = np.arcsin(np.where(inside, up, 0))
    cosine = np.cos(theta)
    turn = np.divide(-across, cosine, out=np.zeros(across.shape), where=inside & (cosine > 0))
    ra = np.mod(180 * np.clip(turn, -1, 1), 360)
    dec = np.degrees(np.arcsin(np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1)))
    return np.where(inside, ra, np.nan), np.where(inside, dec, np.nan)
