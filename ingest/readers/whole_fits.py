"""FITS files that must be whole: astropy only warns of a truncated file or a wrong checksum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galbase.schema.errors import GalbaseError

_DAMAGE = ("truncated", "Checksum verification failed", "Datasum verification failed")


def fits_outline(path: Path) -> list[tuple[str, bool]] | None:
    """Name in capitals, and whether it holds pixels of two or three dimensions, of each part of a FITS file.

    Returns
    -------
    list of (name, has pixels), or None if the file cannot be read
    """
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(path, memmap=False) as hdus:
                return [(hdu.name.upper(), bool(hdu.is_image and len(hdu.shape) in (2, 3))) for hdu in hdus]
        except (OSError, TypeError, ValueError, EOFError, KeyError, IndexError):
            return None


@contextmanager
def open_whole(path: Path) -> Iterator[Any]:
    """Open a FITS file as `astropy.io.fits.open` does, without memory map and with checksums verified.

    Data that is read inside the block is checked when the block ends.

    Raises
    ------
    GalbaseError
        If the file is no FITS file, truncated, or fails a checksum.
    """
    from astropy.io import fits

    # Warnings are collected, not raised: astropy would leave the file open.
    with warnings.catch_warnings(record=True) as collected:
        warnings.simplefilter("always")
        try:
            with fits.open(path, memmap=False, checksum=True) as hdus:
                yield hdus
        except (OSError, TypeError, ValueError, EOFError, KeyError, IndexError) as error:
            raise GalbaseError(f"{path.name} is damaged or no FITS file: {error}. Fetch the file again.") from error
    for warning in collected:
        text = str(warning.message)
        if any(sign in text for sign in _DAMAGE):
            raise GalbaseError(f"{path.name} is damaged: {' '.join(text.split())} Fetch the file again.")
