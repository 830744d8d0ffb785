"""Units and UCDs as files write them, in the forms that the Virtual Observatory defines."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_FORMATS = (None, "fits", "cds", "ogip")


@lru_cache(maxsize=4096)
def vounit(text: str | None) -> str | None:
    """A unit as VOUnit; an unknown one in quotes; None for none, or an expression that is not one.

    Parameters
    ----------
    text : str or None
        Unit as written in a file, in the syntax of FITS, CDS, OGIP or VOUnit.
    """
    from astropy import units

    if text is None or not text.strip() or text.strip() in ("-", "---", "--"):
        return None
    written = text.strip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = units.Unit(written, format="vounit")
        except (ValueError, TypeError):
            pass
        else:
            # astropy overlooks blanks, which VOUnit does not allow.
            return str(made.to_string("vounit")) if " " in written else written
        for syntax in _FORMATS:
            try:
                text = str(units.Unit(written, format=syntax).to_string("vounit"))
            except (ValueError, TypeError):
                continue
            return text or None
    # VOUnit quotes hold one unknown unit of letters, not an expression.
    return f"'{written}'" if re.fullmatch(r"[A-Za-z]+", written) else None


def ucd1plus(text: str | None) -> str | None:
    """A UCD if it is a valid UCD1+, otherwise None."""
    from astropy.io.votable.ucd import check_ucd

    if not text or not check_ucd(text, check_controlled_vocabulary=True):
        return None
    return text
