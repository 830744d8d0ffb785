"""Spectra of any supported format, recognised by the extensions of their FITS file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from galbase.ingest.readers import desi_spectrum, sdss_spectrum, spectrum_stack
from galbase.ingest.readers.spectrum_file import SpectrumFile, SpectrumPixels
from galbase.ingest.readers.whole_fits import fits_parts, open_whole
from galbase.schema.errors import GalbaseError

FORMATS = (sdss_spectrum.FORMAT, desi_spectrum.FORMAT, spectrum_stack.FORMAT)
UNKNOWN = "spectrum"


def spectrum_format(path: Path) -> str | None:
    """One of `FORMATS`; ``spectrum`` for a file that cannot be read; None for FITS of another kind."""
    try:
        status = path.stat()
    except OSError:
        return UNKNOWN
    return _format(path, status.st_size, status.st_mtime_ns)


# A file's kind is asked for when it is found, read and recorded; unpacking it each time would take seconds.
@lru_cache(maxsize=4096)
def _format(path: Path, size: int, mtime_ns: int) -> str | None:  # noqa: ARG001 -- they make the cache's key
    parts = fits_parts(path)
    if parts is None:
        return UNKNOWN
    names = [name for name, _, _ in parts]
    if sdss_spectrum.is_sdss(names):
        return sdss_spectrum.FORMAT
    if desi_spectrum.is_desi(names):
        return desi_spectrum.FORMAT
    return spectrum_stack.FORMAT if spectrum_stack.is_stack(parts) else None


def read_spectra(path: Path, wavelengths_in: str | None = None) -> SpectrumFile:
    """Read what the archive keeps of a file of spectra.

    Parameters
    ----------
    path : Path
    wavelengths_in : {'vacuum', 'air'} or None
        What wavelengths are, where a file does not say.

    Raises
    ------
    GalbaseError
        If the file is damaged, of no known kind, or holds no spectrum that can be loaded.
    """
    found = spectrum_format(path)
    if found == desi_spectrum.FORMAT:
        return desi_spectrum.read_desi_spectra(path)
    if found == spectrum_stack.FORMAT:
        return spectrum_stack.read_stack(path, wavelengths_in)
    if found == UNKNOWN:
        with open_whole(path):
            # What is wrong with a file that cannot be read shows here.
            pass
    names = [name for name, _, _ in fits_parts(path) or ()]
    if found is None and "REDSHIFTS" in names:
        raise GalbaseError(
            f"{path.name} is redrock's file of redshifts, without spectra; ingest the coadd file beside it, which "
            "takes its redshifts from there."
        )
    if found is None:
        raise GalbaseError(
            f"{path.name} holds no spectrum that is known: its extensions are {', '.join(names)}. Known are SDSS spec "
            "files (COADD, SPECOBJ), DESI coadds (B_FLUX, FIBERMAP), and FLUX with IVAR and WAVE."
        )
    return sdss_spectrum.read_sdss_file(path)


def read_pixels(path: Path, format: str, row: int, wave_min_vacuum: float) -> SpectrumPixels:
    """Read one spectrum of a file that was loaded as `format`.

    Parameters
    ----------
    path : Path
    format : str
        One of `FORMATS`.
    row : int
        Row of the file.
    wave_min_vacuum : float
        Least wavelength in vacuum, Angstrom, as stored: where the file's is shorter, its wavelengths are in air.

    Raises
    ------
    GalbaseError
        If the file is damaged or has no such row.
    """
    return read_pixel_rows(path, format, [row], wave_min_vacuum)[0]


def read_pixel_rows(path: Path, format: str, rows: Sequence[int], wave_min_vacuum: float) -> list[SpectrumPixels]:
    """Read spectra of a file that was loaded as `format`, all of them in one go.

    Parameters
    ----------
    path, format, wave_min_vacuum
        As of `read_pixels`; the spectra of a file have one axis of wavelengths.
    rows : sequence of int
        Rows of the file.

    Raises
    ------
    GalbaseError
        If the file is damaged or has no such row.
    """
    if format == desi_spectrum.FORMAT:
        return desi_spectrum.read_desi_pixels(path, rows)
    if format != spectrum_stack.FORMAT:
        return [sdss_spectrum.read_spectrum_pixels(path)] * len(rows)
    # Air shortens wavelengths by 2.8e-4.
    return [
        replace(pixels, is_vacuum=abs(pixels.wave_angstrom[0] / wave_min_vacuum - 1) < 1e-5)
        for pixels in spectrum_stack.read_stack_pixels(path, rows, "vacuum")
    ]
