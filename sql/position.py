"""Positions and radii as astronomers write them."""

from __future__ import annotations

import math
import re

from galbase.schema.errors import UsageError

_UNITS_ARCSEC = {
    "arcsec": 1.0, '"': 1.0, "''": 1.0, "as": 1.0, "mas": 1e-3, "arcmin": 60.0, "'": 60.0, "am": 60.0,
    "deg": 3600.0, "d": 3600.0, "°": 3600.0, "rad": math.degrees(1) * 3600,
}  # fmt: skip
_RADIUS = re.compile(r"^\s*(?P<value>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*(?P<unit>[a-z\"'°]*)\s*$")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_SEXAGESIMAL = re.compile(
    rf"^(?P<sign>[-+]?)(?P<first>\d+)\s*(?P<mark>[:hd°]|\s)\s*(?P<minutes>{_NUMBER})\s*"
    rf"(?:(?:[:m′']|\s)\s*(?:(?P<seconds>{_NUMBER})\s*(?:s|″|\"|'')?)?)?$"
)
_DEGREES = re.compile(rf"^(?P<number>[-+]?{_NUMBER}(?:[eE][-+]?\d+)?)\s*(?:d|deg|°)?$")
_FULL_CIRCLE_HOURS = 24.0


def _clean(text: str) -> str:
    return text.strip().replace("−", "-").replace("–", "-")


def _sexagesimal(text: str, what: str) -> tuple[float, str] | None:
    """Value in the unit of its first field, and the mark after that field."""
    match = _SEXAGESIMAL.match(text)
    if match is None:
        return None
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise UsageError(f"{what} {text!r} has minutes or seconds of 60 or more; write it like 10:00:00.5.")
    value = int(match["first"]) + minutes / 60 + seconds / 3600
    return (-value if match["sign"] == "-" else value), match["mark"]


def parse_ra(text: str) -> float:
    """Right ascension in degrees.

    Parameters
    ----------
    text : str
        Degrees (``150.1``), or hours where there are several fields: ``10:00:00.5``, ``10h00m00.5s``, ``10 00 00.5``.

    Raises
    ------
    UsageError
        If it is neither.
    """
    cleaned = _clean(text)
    degrees = _DEGREES.match(cleaned)
    if degrees is not None:
        return float(degrees["number"])
    found = _sexagesimal(cleaned, "right ascension")
    if found is None:
        raise UsageError(
            f"right ascension {text!r} is not understood; write degrees like 150.1, or hours like 10:00:00.5 or "
            "10h00m00.5s."
        )
    value, mark = found
    if mark in "d°":
        return value
    if not 0 <= value <= _FULL_CIRCLE_HOURS:
        raise UsageError(f"right ascension {text!r} is outside 0 to 24 hours.")
    return value * 15


def parse_dec(text: str) -> float:
    """Declination in degrees.

    Parameters
    ----------
    text : str
        Degrees (``-1.2``), or degrees, minutes and seconds: ``-01:02:03``, ``-1d02m03s``, ``-01 02 03``.

    Raises
    ------
    UsageError
        If it is neither, or outside -90 to 90.
    """
    cleaned = _clean(text)
    degrees = _DEGREES.match(cleaned)
    if degrees is not None:
        value = float(degrees["number"])
    else:
        found = _sexagesimal(cleaned, "declination")
        if found is None or found[1] == "h":
            raise UsageError(
                f"declination {text!r} is not understood; write degrees like -1.2, or -01:02:03 or -1d02m03s."
            )
        value = found[0]
    if not -90 <= value <= 90:
        raise UsageError(f"declination {text!r} is {value:g} degrees, outside -90 to 90.")
    return value


def parse_radius_arcsec(text: str) -> float:
    """Radius in arcsec.

    Parameters
    ----------
    text : str
        A number with a unit: ``10arcsec``, ``1arcmin``, ``0.5deg``, ``500mas``. A bare number is refused, as
        nothing tells what it means.

    Raises
    ------
    UsageError
        If the unit is missing or unknown, or the radius is not within 0 to 180 degrees.
    """
    match = _RADIUS.match(_clean(text))
    example = "write it like 10arcsec, 1arcmin or 0.5deg."
    if match is None or match["unit"] not in _UNITS_ARCSEC:
        raise UsageError(f"radius {text!r} is not a number with a unit; {example}")
    try:
        value = float(match["value"]) * _UNITS_ARCSEC[match["unit"]]
    except ValueError as error:
        raise UsageError(f"radius {text!r} is not a number with a unit; {example}") from error
    if not 0 <= value <= 648000:
        raise UsageError(f"radius {text!r} is {value:g} arcsec, outside 0 to 648000 (180 degrees); {example}")
    return value
