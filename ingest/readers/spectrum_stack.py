"""Spectra on one axis of wavelength in the manner of MaNGA: FLUX, IVAR, MASK and WAVE, one spectrum or a row each.

What is read: a flux of one dimension (n_wave), or of two (n_spectrum, n_wave) with a table of ids and positions, one
row a spectrum; log-wavelength or linear axes (`log_wavelength`). What is refused: a cube (LOGCUBE) and the fibres
of one integral-field unit (LOGRSS), because neither holds a spectrum of the galaxy, and an aperture is the user's
to choose. MaNGA's data model: https://www.sdss4.org/dr17/manga/manga-data/data-model/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.column import TableFile
from galbase.ingest.readers.fits_table import table_columns
from galbase.ingest.readers.generic import find_id, ids_of, read_positions
from galbase.ingest.readers.log_wavelength import has_wavelengths, is_vacuum, wavelengths
from galbase.ingest.readers.sentinels import clean
from galbase.ingest.readers.spectrum_file import (
    Floats,
    SpectrumFile,
    SpectrumPixels,
    air_to_vacuum,
    file_of_rows,
    number,
    text,
)
from galbase.ingest.readers.whole_fits import open_whole
from galbase.schema.errors import GalbaseError
from galbase.schema.ids import native_text

FORMAT = "spectrum-stack"
_POSITIONS = (("OBJRA", "OBJDEC"), ("RA_OBJ", "DEC_OBJ"), ("PLUG_RA", "PLUG_DEC"), ("RA", "DEC"))
_IDS = ("PLATEIFU", "MANGAID", "OBJID", "OBJECT")
_ERRORS = ("ERROR", "ERR", "STDDEV", "SIGMA", "NOISE")
_MASKS = ("MASK", "DQ")
_COLUMNS = {
    "z": ("z", "redshift"),
    "z_err": ("z_err", "zerr", "redshift_err"),
    "z_warning": ("zwarning", "zwarn", "z_warning"),
    "spectral_class": ("class", "spectype", "spectral_class"),
    "spectral_subclass": ("subclass", "subtype", "spectral_subclass"),
}


def is_stack(parts: Sequence[tuple[str, int, Mapping[str, Any]]]) -> bool:
    """Whether parts of a file (name in capitals, number of dimensions of its pixels, header) hold such spectra."""
    names = [name for name, _, _ in parts]
    flux = next((part for part in parts if part[0] == "FLUX" and part[1]), parts[0] if parts and parts[0][1] else None)
    if flux is None or not flux[1]:
        return False
    return has_wavelengths(names, flux[2]) and (flux[0] == "FLUX" or flux[1] == 1 or "COEFF0" in flux[2])


def read_stack(path: Path, wavelengths_in: str | None = None) -> SpectrumFile:
    """Read what the archive keeps of such a file.

    A single spectrum has its position in OBJRA and OBJDEC (or PLUG_RA, RA...), its id in PLATEIFU, MANGAID, OBJID or
    OBJECT, or else its file's name. Wavelengths in air are kept as those in vacuum (`air_to_vacuum`).

    Parameters
    ----------
    path : Path
    wavelengths_in : {'vacuum', 'air'} or None
        What wavelengths are, where the file does not say.

    Raises
    ------
    GalbaseError
        If the file is damaged, is a cube or the fibres of one unit, or tells neither wavelengths, errors nor positions.
    """
    with open_whole(path) as hdus:
        wave, vacuum, flux, ivar, header = _read(hdus, path.name, wavelengths_in)
        headers = (header, hdus[0].header)
        if flux.ndim == 2:
            ids, ra, dec, further = _from_table(hdus, len(flux), headers, path.name)
        else:
            ids, ra, dec, further = _from_header(headers, path)
            flux, ivar = flux[None], ivar[None]
    if not vacuum:
        wave = air_to_vacuum(wave)
    return file_of_rows(
        path.name, FORMAT, ids, ra, dec, (wave, flux, ivar),
        lambda row: _fault(ids[row], ra[row], dec[row], flux[row], ivar[row]),
        lambda row: {name: column[row] for name, column in further.items()},
    )  # fmt: skip


def read_stack_pixels(path: Path, rows: Sequence[int], wavelengths_in: str | None = None) -> list[SpectrumPixels]:
    """Spectra of such a file, which is read once, their wavelengths as the file has them; errors as in `read_stack`."""
    with open_whole(path) as hdus:
        wave, vacuum, flux, ivar, header = _read(hdus, path.name, wavelengths_in)
    flux, ivar = np.atleast_2d(flux), np.atleast_2d(ivar)
    missing = [row for row in rows if not 0 <= row < len(flux)]
    if missing:
        raise GalbaseError(
            f"{path.name} has {len(flux)} spectra; row {missing[0]} was asked for. Ingest the file again."
        )
    unit = text(header.get("BUNIT"))
    return [SpectrumPixels(wave, flux[row], ivar[row], vacuum, unit) for row in rows]


def _read(hdus: Any, file: str, wavelengths_in: str | None) -> tuple[Floats, bool, Floats, Floats, Any]:
    """Wavelengths, whether they are vacuum, fluxes, inverse variances, and the header of the fluxes."""
    names = [hdu.name.upper() for hdu in hdus]
    hdu = hdus["FLUX"] if "FLUX" in names else hdus[0]
    if hdu.data is None or hdu.data.dtype.names is not None:
        raise GalbaseError(f"{file} holds no fluxes: its extensions are {', '.join(names)}.")
    shape = hdu.data.shape
    if len(shape) == 3:
        raise GalbaseError(
            f"{file} is a cube of {shape[2]} x {shape[1]} spaxels, which has no spectrum of its own; add up an "
            "aperture of your choice and give that as a spectrum of one dimension."
        )
    if len(shape) == 2 and {"XPOS", "YPOS"} <= set(names):
        raise GalbaseError(
            f"{file} holds {shape[0]} fibres of one integral-field unit, none of which is the galaxy's spectrum; add "
            "up an aperture of your choice and give that as a spectrum of one dimension."
        )
    if len(shape) not in (1, 2) or 0 in shape:
        raise GalbaseError(f"{file}: its fluxes have shape {shape}; (n_wave) or (n_spectrum, n_wave) is needed.")
    wave = wavelengths(hdus, names, hdu.header, shape[-1], file)
    lists = [hdus[name].header for name in ("WAVE", "WAVELENGTH", "LOGLAM") if name in names]
    vacuum = is_vacuum([hdu.header, *lists, hdus[0].header], names, wavelengths_in, file)
    flux = np.asarray(hdu.data, np.float64)
    ivar = _weights(hdus, names, shape, file)
    mask = next((name for name in _MASKS if name in names), None)
    if mask is not None:
        ivar = np.where(_same_shape(hdus[mask], mask, shape, file) != 0, 0.0, ivar)
    return wave, vacuum, flux, np.where(ivar > 0, ivar, 0.0), hdu.header


def _weights(hdus: Any, names: Sequence[str], shape: tuple[int, ...], file: str) -> Floats:
    if "IVAR" in names:
        return np.asarray(_same_shape(hdus["IVAR"], "IVAR", shape, file), np.float64)
    error = next((name for name in _ERRORS if name in names), None)
    if error is None:
        raise GalbaseError(
            f"{file} has neither an extension IVAR nor one of {', '.join(_ERRORS)}: a flux without its error cannot be "
            "weighted. Add one."
        )
    sigma = np.asarray(_same_shape(hdus[error], error, shape, file), np.float64)
    good = np.isfinite(sigma) & (sigma > 0)
    return np.divide(1.0, sigma**2, out=np.zeros(shape), where=good)


def _same_shape(hdu: Any, name: str, shape: tuple[int, ...], file: str) -> npt.NDArray[Any]:
    data = hdu.data
    if data is None or data.dtype.names is not None or data.shape != shape:
        found = None if data is None else data.shape
        raise GalbaseError(f"{file}: extension {name} has shape {found} beside fluxes of {shape}; fetch it again.")
    return np.asarray(data)


Placed = tuple[list[str | None], Floats, Floats, dict[str, list[Any]]]


def _from_header(headers: Sequence[Any], path: Path) -> Placed:
    for header in headers:
        for pair in _POSITIONS:
            ra, dec = number(header.get(pair[0])), number(header.get(pair[1]))
            if ra is not None and dec is not None:
                named = next((text(h.get(key)) for h in headers for key in _IDS if text(h.get(key))), None)
                native = named or path.name.split(".")[0]
                z = next((number(h[key]) for h in headers for key in ("Z", "REDSHIFT") if key in h), None)
                return [native], np.array([ra]), np.array([dec]), {"z": [z]}
    raise GalbaseError(
        f"{path.name}: no position in the header, degrees, in one of "
        f"{', '.join('/'.join(pair) for pair in _POSITIONS)}; add it."
    )


def _from_table(hdus: Any, n_row: int, headers: Sequence[Any], file: str) -> Placed:
    tables = [hdu for hdu in hdus if type(hdu).__name__ == "BinTableHDU" and len(hdu.data) == n_row]
    if not tables:
        unit = next((text(h.get("MANGAID")) for h in headers if text(h.get("MANGAID"))), None)
        what = f" of {unit}" if unit else ""
        raise GalbaseError(
            f"{file} holds {n_row} spectra{what}, but no table of {n_row} rows that says what and where they are; add "
            "one with ids and positions."
        )
    table = TableFile("fits", table_columns(tables[0]), n_row)
    places = read_positions(table, file)
    ids = [native_text(native) for native in ids_of(find_id(table, file)).tolist()]
    lower = table.lower()
    further: dict[str, list[Any]] = {}
    for name, candidates in _COLUMNS.items():
        column = next((lower[key] for key in candidates if key in lower and not lower[key].is_array), None)
        if column is not None:
            values = clean(column, ()).values.tolist()
            further[name] = [text(value) for value in values] if name.startswith("spectral") else values
    return ids, places.ra, places.dec, further


def _fault(native: str | None, ra: float, dec: float, flux: Floats, ivar: Floats) -> str | None:
    """Why a row cannot be loaded; None if it can."""
    if native is None:
        return "no valid id"
    if not (np.isfinite(ra) and -90 <= dec <= 90):
        return f"position ra={ra}, dec={dec} is not on the sky"
    if not (ivar > 0).any():
        return "no pixel has a weight"
    if not np.isfinite(flux[ivar > 0]).all():
        return "a flux with a weight is not finite"
    return None
