"""HEALPix positions: the one place where `hpx29` is computed.

`hpx29` is the HEALPix index, nested scheme, order 29 (Gorski et al. 2005, ApJ 622, 759). A coarser index of order
k is ``hpx29 >> 2 * (29 - k)``; ranges are half-open.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

ORDER = 29
# Orders whose cells are indexed in every table with hpx29; api.in_cone chooses among them by radius.
CELL_ORDERS = (10, 8)
NSIDE = 1 << ORDER


def hpx29(ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """HEALPix nested index of order 29.

    Parameters
    ----------
    ra, dec : array_like of float
        Right ascension and declination, ICRS, degrees; RA of any revolution is taken modulo 360.

    Returns
    -------
    ndarray of int64, the broadcast shape of `ra` and `dec`

    Raises
    ------
    GalbaseError
        If a position is not finite or a declination lies outside [-90, 90]; the message has the first such value.
    """
    import healpy

    ra_deg = np.asarray(ra, dtype=np.float64)
    dec_deg = np.asarray(dec, dtype=np.float64)
    bad = ~valid_position(ra_deg, dec_deg)
    if bad.any():
        first = np.flatnonzero(np.atleast_1d(bad))[0]
        pair = np.broadcast_arrays(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
        raise GalbaseError(
            f"position (ra={pair[0].flat[first]}, dec={pair[1].flat[first]}) at index {first} is not on the sky: "
            "degrees are expected, finite, with dec in [-90, 90]."
        )
    pixel = healpy.ang2pix(NSIDE, np.mod(ra_deg, 360.0), dec_deg, nest=True, lonlat=True)
    return np.asarray(pixel, dtype=np.int64)


def valid_position(ra: npt.ArrayLike, dec: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each position is finite with a declination in [-90, 90] (degrees)."""
    ra_deg = np.asarray(ra, dtype=np.float64)
    dec_deg = np.asarray(dec, dtype=np.float64)
    return np.asarray(np.isfinite(ra_deg) & np.isfinite(dec_deg) & (np.abs(dec_deg) <= 90.0))


def separation_arcsec(
    ra1: npt.ArrayLike, dec1: npt.ArrayLike, ra2: npt.ArrayLike, dec2: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Great-circle separation in arcsec of positions in degrees.

    The haversine formula (Sinnott 1984, Sky & Telescope 68, 158), accurate for small separations.
    """
    phi1, phi2 = np.radians(np.asarray(dec1, float)), np.radians(np.asarray(dec2, float))
    half_dphi = (phi2 - phi1) / 2
    half_dlam = np.radians(np.asarray(ra2, float) - np.asarray(ra1, float)) / 2
    h = np.sin(half_dphi) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_dlam) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0, 1)))) * 3600.0)
