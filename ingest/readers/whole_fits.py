"""FITS files that must be whole: astropy only warns of a truncated file or a wrong checksum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from galbase.ingest.readers.content import open_content, refuse_expansion, sniff
from galbase.schema.errors import GalbaseError

_DAMAGE = (
    "truncated", "Checksum verification failed", "Datasum verification failed", "validating header", "END card",
)  # fmt: skip
_UNREADABLE = (
    OSError,
    TypeError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    AttributeError,
    MemoryError,
    OverflowError,
)


def fits_parts(path: Path) -> list[tuple[str, int, Any]] | None:
    """Name in capitals, number of dimensions of its pixels (0 for a table), and header of each part of a FITS file.

    Returns
    -------
    list of (name, dimensions, header), or None if the file cannot be read or is cut short
    """
    from astropy.io import fits

    with warnings.catch_warnings(record=True) as collected:
        warnings.simplefilter("always")
        try:
            stream, _ = open_content(path)
            with stream, fits.open(stream, mode="readonly", memmap=False) as hdus:
                _refuse_short(hdus, stream.seek(0, 2), path)
                _refuse_damage(collected, path)
                return [(hdu.name.upper(), len(hdu.shape) if hdu.is_image else 0, hdu.header) for hdu in hdus]
        except (GalbaseError, *_UNREADABLE):
            return None


def fits_outline(path: Path) -> list[tuple[str, bool]] | None:
    """Name in capitals, and whether it holds pixels of two or three dimensions, of each part of a FITS file.

    Returns
    -------
    list of (name, has pixels), or None if the file cannot be read
    """
    parts = fits_parts(path)
    return None if parts is None else [(name, n_axis in (2, 3)) for name, n_axis, _ in parts]


@contextmanager
def open_whole(path: Path) -> Iterator[Any]:
    """Open a FITS file, compressed or not, without memory map and with checksums verified.

    Data that is read inside the block is checked when the block ends.

    Raises
    ------
    GalbaseError
        If the file is no FITS file, truncated, fails a checksum, or promises more pixels than it can hold.
    """
    from astropy.io import fits

    stream, _ = open_content(path)
    # Warnings are collected, not raised: astropy would leave the file open.
    with stream, warnings.catch_warnings(record=True) as collected:
        warnings.simplefilter("always")
        size = stream.seek(0, 2)
        stream.seek(0)
        if sniff(stream) != "fits":
            what = "is empty" if size == 0 else "is damaged or no FITS file: it does not begin with SIMPLE"
            raise GalbaseError(f"{path.name} {what}. Fetch the file again.")
        try:
            outline = fits.open(stream, mode="readonly", memmap=False)
            _refuse_short(outline, size, path)
            outline.close(closed=False)
            _refuse_damage(collected, path)
            stream.seek(0)
            with fits.open(stream, mode="readonly", memmap=False, checksum=True) as hdus:
                yield hdus
        except _UNREADABLE as error:
            raise GalbaseError(f"{path.name} is damaged or no FITS file: {error}. Fetch the file again.") from error
    _refuse_damage(collected, path)


def _refuse_damage(collected: Sequence[warnings.WarningMessage], path: Path) -> None:
    for warning in collected:
        text = " ".join(str(warning.message).split())
        if any(sign in text for sign in _DAMAGE):
            raise GalbaseError(f"{path.name} is damaged: {text.rstrip('.')}. Fetch the file again.")


def _refuse_short(hdus: Any, size: int, path: Path) -> None:
    """Refuse a file whose headers promise more bytes than are there, before anything is read or allocated."""
    for index, hdu in enumerate(hdus):
        header = hdu.header
        info = hdu.fileinfo()
        raw = getattr(hdu, "_bintable", None)
        table = header if raw is None else raw.header
        if table.get("XTENSION", "").strip() == "BINTABLE":
            used = int(table["NAXIS1"]) * int(table["NAXIS2"]) + int(table.get("PCOUNT", 0))
        else:
            shape = [int(table[f"NAXIS{axis}"]) for axis in range(1, int(table["NAXIS"]) + 1)]
            used = abs(int(table["BITPIX"])) // 8 * int(np.prod(shape, dtype=object)) if shape else 0
        there = max(0, size - int(info["datLoc"]))
        if used > there:
            sizes = ", ".join(f"{key}={value}" for key, value in table["NAXIS*"].items())
            raise GalbaseError(
                f"{path.name} is cut short in HDU {index} ({hdu.name or 'unnamed'}): its header promises {used:,} "
                f"bytes ({sizes}), {there:,} are there. Fetch the file again."
            )
        if raw is not None and hdu.is_image:
            pixels = int(np.prod([int(n) for n in hdu.shape], dtype=object)) * abs(int(header["BITPIX"])) // 8
            refuse_expansion(path.name, pixels, size, f"the compressed image in HDU {index} ({hdu.shape})")
