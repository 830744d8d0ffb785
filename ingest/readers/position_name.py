"""Positions written in file names: ``225.3958_41.02205.jpg`` and IAU style ``J081412.47+220853.0.png``."""

from __future__ import annotations

import re

from galbase.schema.errors import GalbaseError

# Both numbers need a decimal point: without one they are as likely counters or plate and fibre numbers.
_DEGREES = re.compile(r"(?P<ra>\d{1,3}\.\d+)_(?P<dec>[+-]?\d{1,2}\.\d+)")
_IAU = re.compile(
    r"(?<![0-9])J(?P<h>\d{2})(?P<m>\d{2})(?P<s>\d{2}(?:\.\d+)?)"
    r"(?P<sign>[+\-\u2212])(?P<d>\d{2})(?P<am>\d{2})(?P<as>\d{2}(?:\.\d+)?)(?![0-9])"
)
_SUFFIX = re.compile(r"\.(?:jpe?g|png|fits?|fts)(?:\.(?:gz|bz2|fz))?$", re.IGNORECASE)


def position_from_name(name: str) -> tuple[float, float] | None:
    """Position in a file's name.

    Parameters
    ----------
    name : str
        Name of the file, without folders: ``RA_DEC.ext`` in decimal degrees, or one that holds the IAU form
        ``JHHMMSS.ss+DDMMSS.s``. IAU names cut digits off instead of rounding, so a position is up to one unit
        of its last digit too far west and too near the equator.

    Returns
    -------
    (ra, dec) : tuple of float, degrees, or None if the name holds no position

    Raises
    ------
    GalbaseError
        If the name has the form of a position that is not on the sky.
    """
    stem = _SUFFIX.sub("", name)
    degrees = _DEGREES.fullmatch(stem)
    if degrees:
        ra, dec = float(degrees["ra"]), float(degrees["dec"])
        if ra >= 360 or abs(dec) > 90:
            raise GalbaseError(
                f"the name {name!r} reads as ra={ra}, dec={dec}, which is not on the sky; rename the file or give "
                "its position in a manifest."
            )
        return ra, dec
    iau = _IAU.search(stem)
    if iau is None:
        return None
    hours, minutes, seconds = int(iau["h"]), int(iau["m"]), float(iau["s"])
    degree, arcmin, arcsec = int(iau["d"]), int(iau["am"]), float(iau["as"])
    dec = degree + arcmin / 60 + arcsec / 3600
    if hours >= 24 or minutes >= 60 or seconds >= 60 or arcmin >= 60 or arcsec >= 60 or dec > 90:
        raise GalbaseError(
            f"the name {name!r} has the form of an IAU position, but one that is not on the sky; rename the file or "
            "give its position in a manifest."
        )
    return 15 * (hours + minutes / 60 + seconds / 3600), dec if iau["sign"] == "+" else -dec
