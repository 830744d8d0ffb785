"""SDSS spectra: files ``spec-PLATE-MJD-FIBER.fits``.

Data model: https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.spectrum_file import DETAILS, Floats, SpectrumFile, SpectrumPixels, number, text
from galbase.ingest.readers.whole_fits import open_whole
from galbase.schema.errors import GalbaseError

FORMAT = "sdss-spec"
_SDSS = frozenset({"COADD", "SPECOBJ"})


@dataclass(frozen=True)
class SdssSpectrum:
    """What the archive keeps of a spectrum.

    Parameters
    ----------
    specobjid : int
        Unsigned 64-bit id of the spectrum.
    ra, dec : float
        Position of the fibre, ICRS, degrees.
    wave_min_angstrom, wave_max_angstrom : float
        Range of vacuum wavelengths.
    n_pixel : int
    z, z_err : float or None
    z_warning : int or None
        Bits of warnings; 0 is good.
    spectral_class, spectral_subclass : str or None
    sn_median : float or None
        Median signal-to-noise ratio a pixel.
    """

    specobjid: int
    ra: float
    dec: float
    wave_min_angstrom: float
    wave_max_angstrom: float
    n_pixel: int
    z: float | None
    z_err: float | None
    z_warning: int | None
    spectral_class: str | None
    spectral_subclass: str | None
    sn_median: float | None


def is_sdss(names: Sequence[str]) -> bool:
    """Whether one of these extensions (capitals) is that of a spec file; both must be there for it to be sound."""
    return bool(_SDSS & set(names))


def read_sdss_file(path: Path) -> SpectrumFile:
    """Read what the archive keeps of a spec file, as one row; errors as in `read_sdss_spectrum`."""
    one = read_sdss_spectrum(path)
    return SpectrumFile(
        FORMAT,
        1,
        np.zeros(1, np.int64),
        [str(one.specobjid)],
        np.array([one.ra]),
        np.array([one.dec]),
        {name: [getattr(one, name)] for name in DETAILS},
    )


def read_sdss_spectrum(path: Path) -> SdssSpectrum:
    """Read an SDSS spec file's details, after checking that its spectrum is whole.

    Raises
    ------
    GalbaseError
        If the file is damaged, no SDSS spec file, or lacks an id or a position.
    """
    pixels, row = _read(path, with_details=True)
    wave = pixels.wave_angstrom
    ra, dec = number(row.get("PLUG_RA")), number(row.get("PLUG_DEC"))
    if ra is None or dec is None or not -90 <= dec <= 90:
        raise GalbaseError(f"{path.name}: PLUG_RA={row.get('PLUG_RA')}, PLUG_DEC={row.get('PLUG_DEC')} is no position.")
    z_warning = number(row.get("ZWARNING"))
    return SdssSpectrum(
        specobjid=_specobjid(row.get("SPECOBJID"), path),
        ra=ra % 360.0,
        dec=dec,
        wave_min_angstrom=float(wave[0]),
        wave_max_angstrom=float(wave[-1]),
        n_pixel=len(wave),
        z=number(row.get("Z")),
        z_err=number(row.get("Z_ERR")),
        z_warning=None if z_warning is None else int(z_warning),
        spectral_class=text(row.get("CLASS")),
        spectral_subclass=text(row.get("SUBCLASS")),
        sn_median=number(row.get("SN_MEDIAN_ALL")),
    )


def read_spectrum_pixels(path: Path) -> SpectrumPixels:
    """Read wavelength, flux and inverse variance of an SDSS spec file.

    Raises
    ------
    GalbaseError
        If the file is damaged or no SDSS spec file.
    """
    # The hundred columns beside the spectrum take longer to read than its pixels.
    return _read(path, with_details=False)[0]


def _read(path: Path, *, with_details: bool) -> tuple[SpectrumPixels, dict[str, Any]]:
    with open_whole(path) as hdus:
        names = [hdu.name.upper() for hdu in hdus]
        if "COADD" not in names or "SPECOBJ" not in names:
            raise GalbaseError(
                f"{path.name} is no SDSS spec file: its extensions are {', '.join(names) or 'none'}, COADD and SPECOBJ "
                "are needed."
            )
        coadd, specobj = hdus["COADD"], hdus["SPECOBJ"]
        arrays = {name.upper(): coadd.data[name] for name in coadd.columns.names}
        row: dict[str, Any] = {}
        if with_details:
            if len(specobj.data) != 1:
                raise GalbaseError(f"{path.name}: SPECOBJ has {len(specobj.data)} rows instead of one.")
            row = {name.upper(): specobj.data[name][0] for name in specobj.columns.names}
    missing = sorted({"LOGLAM", "FLUX", "IVAR"} - set(arrays))
    if missing:
        raise GalbaseError(f"{path.name}: COADD lacks the column {missing[0].lower()}; it is no SDSS spec file.")
    wrong = [name for name in ("LOGLAM", "FLUX", "IVAR") if arrays[name].dtype.kind not in "fiu"]
    if wrong:
        raise GalbaseError(
            f"{path.name}: the column {wrong[0].lower()} of COADD holds {arrays[wrong[0]].dtype}; numbers are needed."
        )
    loglam, flux, ivar = (np.asarray(arrays[name], np.float64) for name in ("LOGLAM", "FLUX", "IVAR"))
    if loglam.ndim != 1 or not len(loglam) or not np.isfinite(loglam).all() or not (np.diff(loglam) > 0).all():
        raise GalbaseError(f"{path.name}: its {len(loglam)} wavelengths do not rise; fetch the file again.")
    if not np.isfinite(flux[ivar > 0]).all() or not (ivar > 0).any():
        raise GalbaseError(f"{path.name}: it has no valid pixel or invalid fluxes with a weight; fetch it again.")
    return SpectrumPixels(10.0**loglam, flux, ivar, resolution_angstrom=_resolution(loglam, arrays.get("WDISP"))), row


def _resolution(loglam: Floats, wdisp: npt.NDArray[Any] | None) -> Floats | None:
    """Column wdisp, one sigma in pixels of 1e-4 in log10 wavelength, as Angstrom; it is 0 where it was not measured."""
    if wdisp is None or wdisp.dtype.kind not in "fiu" or wdisp.shape != loglam.shape:
        return None
    known = np.isfinite(wdisp) & (wdisp > 0)
    if not known.any():
        return None
    pixels = np.interp(loglam, loglam[known], wdisp[known])
    return np.asarray(pixels * 1e-4 * np.log(10) * 10.0**loglam, np.float64)


def _specobjid(value: Any, path: Path) -> int:
    """SDSS writes the id as text with blanks, or as a 64-bit integer, which may be stored as signed."""
    try:
        number = int(str(value).strip()) if isinstance(value, str | bytes) else int(value)
    except (TypeError, ValueError):
        number = 0
    number %= 1 << 64
    if number == 0:
        raise GalbaseError(f"{path.name}: SPECOBJID is {value!r}, not an id.")
    return number
