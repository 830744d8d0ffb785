"""Wavelengths of a spectrum's pixels: a list in an extension, or what FITS keywords say of the first axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from galbase.ingest.readers.spectrum_file import Floats, check_wavelengths
from galbase.schema.errors import GalbaseError

_LISTS = ("WAVE", "WAVELENGTH", "LAMBDA")
_LOG_LISTS = ("LOGLAM", "LOGWAVE", "LOGLAMBDA")
_ANGSTROM = {
    "": 1.0, "angstrom": 1.0, "angstroms": 1.0, "ang": 1.0, "a": 1.0, "0.1nm": 1.0, "nm": 10.0, "um": 1e4,
    "micron": 1e4, "m": 1e10,
}  # fmt: skip


def has_wavelengths(names: Sequence[str], header: Mapping[str, Any]) -> bool:
    """Whether extensions of these names (capitals) or the header of the fluxes tell the wavelengths."""
    return any(name in names for name in (*_LISTS, *_LOG_LISTS)) or _is_spectral(header)


def wavelengths(hdus: Any, names: Sequence[str], header: Mapping[str, Any], n_pixel: int, file: str) -> Floats:
    """Wavelengths of `n_pixel` pixels, Angstrom.

    In this order: an extension WAVE, WAVELENGTH or LAMBDA; one of log10 Angstrom LOGLAM; COEFF0 and COEFF1 (SDSS:
    log10 of the first wavelength in Angstrom, and its step); DC-FLAG = 1 (IRAF: CRVAL1, CD1_1 or CDELT1 in log10
    Angstrom); CTYPE1 ending in -LOG (Greisen et al. 2006, A&A 446, 747, eq. 5); a linear axis.

    Raises
    ------
    GalbaseError
        If there are none, they are in an unknown unit, or do not rise.
    """
    for name in (*_LISTS, *_LOG_LISTS):
        if name in names:
            data = hdus[name].data
            if data is None or data.dtype.names is not None or data.shape != (n_pixel,):
                shape = "a table" if data is None or data.dtype.names is not None else f"shape {data.shape}"
                raise GalbaseError(
                    f"{file}: extension {name} has {shape} beside spectra of {n_pixel} pixels; one list of wavelengths "
                    "for all rows is needed."
                )
            found = np.asarray(data, np.float64)
            if name in _LOG_LISTS:
                found = 10.0**found
            else:
                found = found * _factor(hdus[name].header.get("BUNIT", ""), f"BUNIT of extension {name}", file)
            check_wavelengths(found, file, f"extension {name}")
            return found
    found = _from_header(header, n_pixel, file)
    check_wavelengths(found, file, "the header")
    return found


def _is_spectral(header: Mapping[str, Any]) -> bool:
    if "COEFF0" in header and "COEFF1" in header:
        return True
    if "CRVAL1" not in header or not ({"CD1_1", "CDELT1"} & set(header)):
        return False
    return "DC-FLAG" in header or _ctype(header).startswith(("WAVE", "AWAV", "LAMBDA"))


def _from_header(header: Mapping[str, Any], n_pixel: int, file: str) -> Floats:
    try:
        if "COEFF0" in header:
            return np.asarray(10.0 ** (float(header["COEFF0"]) + float(header["COEFF1"]) * np.arange(n_pixel)))
        value = float(header["CRVAL1"])
        step = float(header["CD1_1"] if "CD1_1" in header else header["CDELT1"])
        offset = np.arange(1, n_pixel + 1) - float(header.get("CRPIX1", 1.0))
        if int(header.get("DC-FLAG", 0)) == 1:
            return np.asarray(10.0 ** (value + step * offset))
    except (KeyError, TypeError, ValueError) as error:
        raise GalbaseError(f"{file}: the keywords of its wavelengths cannot be read ({error}).") from error
    factor = _factor(header.get("CUNIT1", "m" if _ctype(header)[:4] in ("WAVE", "AWAV") else ""), "CUNIT1", file)
    if _ctype(header).endswith("-LOG"):
        return np.asarray(value * np.exp(step * offset / value) * factor)
    return np.asarray((value + step * offset) * factor)


def is_vacuum(headers: Sequence[Mapping[str, Any]], names: Sequence[str], stated: str | None, file: str) -> bool:
    """Whether wavelengths are those in vacuum: as the user states, or the headers say.

    Keywords VACUUM, AIRORVAC, CTYPE1 (WAVE is vacuum, AWAV air: Greisen et al. 2006, table 1); MaNGA's files (keyword
    MANGAID) are vacuum by their data model.

    Parameters
    ----------
    headers : sequence of mapping
        Of the fluxes, their wavelengths and the file, the first that tells goes first.
    names : sequence of str
        Extensions, for the message.
    stated : {'vacuum', 'air'} or None
    file : str
        Its name, for messages.

    Raises
    ------
    GalbaseError
        If nothing says so: the difference is 80 km/s.
    """
    if stated is not None:
        return stated == "vacuum"
    for header in headers:
        if "VACUUM" in header:
            return str(header["VACUUM"]).strip().upper() in ("TRUE", "T", "1")
        medium = str(header.get("AIRORVAC", "")).strip().lower()
        if medium.startswith(("vac", "air")):
            return medium.startswith("vac")
        if _ctype(header)[:4] in ("WAVE", "AWAV") and "DC-FLAG" not in header:
            return _ctype(header).startswith("WAVE")
        if "MANGAID" in header:
            return True
    raise GalbaseError(
        f"{file} does not say whether its wavelengths are those in vacuum or air (keyword VACUUM or AIRORVAC; its "
        f"extensions are {', '.join(names)}); give --wavelengths vacuum or --wavelengths air."
    )


def _ctype(header: Mapping[str, Any]) -> str:
    return str(header.get("CTYPE1", "")).strip().upper()


def _factor(unit: Any, where: str, file: str) -> float:
    name = str(unit).strip().lower()
    if name not in _ANGSTROM:
        raise GalbaseError(f"{file}: {where} is {unit!r}, no unit of wavelength that is known; Angstrom is expected.")
    return _ANGSTROM[name]
