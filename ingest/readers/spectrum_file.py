"""What the readers of spectra hand over: what the archive keeps of a file's spectra, and the pixels of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.schema.errors import GalbaseError

Floats = npt.NDArray[np.float64]
FLUX_UNIT = "1e-17 erg / (Angstrom s cm2)"
DETAILS = (
    "wave_min_angstrom", "wave_max_angstrom", "n_pixel", "z", "z_err", "z_warning", "spectral_class",
    "spectral_subclass", "sn_median", "specobjid",
)  # fmt: skip


@dataclass(frozen=True)
class SpectrumFile:
    """The spectra of one file that can be loaded.

    Parameters
    ----------
    format : str
        ``sdss-spec``, ``desi-coadd`` or ``spectrum-stack``.
    n_row : int
        Spectra in the file, rejected ones included.
    rows : (m,) int64
        Rows of the file that can be loaded.
    native_ids : sequence of str, length m
        The survey's own ids, exact.
    ra, dec : (m,) float64
        Positions, ICRS, degrees.
    details : mapping of str to sequence, length m
        Columns `DETAILS`; None where unknown. Wavelengths are vacuum.
    rejected : sequence of (row, native id or None, reason)
        Rows that cannot be loaded.
    """

    format: str
    n_row: int
    rows: npt.NDArray[np.int64]
    native_ids: Sequence[str]
    ra: Floats
    dec: Floats
    details: Mapping[str, Sequence[Any]]
    rejected: Sequence[tuple[int, str | None, str]] = ()

    def keep(self, wanted: npt.NDArray[np.bool_], rejected: Sequence[tuple[int, str | None, str]]) -> SpectrumFile:
        """The file without the rows that are not `wanted` (m,), which `rejected` gives the reasons of."""
        chosen = np.flatnonzero(wanted).tolist()
        return SpectrumFile(
            self.format,
            self.n_row,
            self.rows[wanted],
            [self.native_ids[i] for i in chosen],
            self.ra[wanted],
            self.dec[wanted],
            {name: [values[i] for i in chosen] for name, values in self.details.items()},
            sorted([*self.rejected, *rejected], key=lambda item: item[0]),
        )


def file_of_rows(
    file: str,
    format: str,
    natives: Sequence[str | None],
    ra: Floats,
    dec: Floats,
    spectra: tuple[Floats, npt.NDArray[Any], npt.NDArray[Any]],
    fault: Callable[[int], str | None],
    further: Callable[[int], Mapping[str, Any]],
) -> SpectrumFile:
    """What the archive keeps of spectra on one axis of wavelength, a row each.

    Parameters
    ----------
    file : str
        Name of the file, for messages.
    format : str
    natives : sequence of str or None, length n
    ra, dec : (n,) float64
        Degrees.
    spectra : (wave (n_wave,), flux (n, n_wave), ivar (n, n_wave))
        Vacuum wavelengths in Angstrom.
    fault : callable
        Why a row cannot be loaded; None if it can.
    further : callable
        Columns `DETAILS` of a row, beside those that the pixels give.

    Raises
    ------
    GalbaseError
        If no row can be loaded.
    """
    wave, flux, ivar = spectra
    details: dict[str, list[Any]] = {name: [] for name in DETAILS}
    rejected: list[tuple[int, str | None, str]] = []
    kept: list[int] = []
    for row, native in enumerate(natives):
        reason = fault(row)
        if reason is not None:
            rejected.append((row, native, reason))
            continue
        kept.append(row)
        values = {
            "wave_min_angstrom": float(wave[0]),
            "wave_max_angstrom": float(wave[-1]),
            "n_pixel": len(wave),
            "sn_median": median_snr(flux[row], ivar[row]),
            **further(row),
        }
        for name in DETAILS:
            details[name].append(values.get(name))
    if not kept:
        first = rejected[0][2] if rejected else "the file is empty"
        raise GalbaseError(f"{file}: none of its {len(natives)} spectra can be loaded; the first: {first}.")
    rows = np.array(kept, np.int64)
    return SpectrumFile(
        format, len(natives), rows, [str(natives[row]) for row in kept], np.mod(ra[rows], 360.0), dec[rows], details,
        rejected,
    )  # fmt: skip


@dataclass(frozen=True)
class SpectrumPixels:
    """One spectrum.

    Parameters
    ----------
    wave_angstrom : (n_pixel,) float64
        Wavelengths as the file has them, Angstrom.
    flux, ivar : (n_pixel,) float64
        Flux in `flux_unit`, and its inverse variance; 0 for a masked pixel.
    is_vacuum : bool
        Whether the wavelengths are those in vacuum; otherwise in air.
    flux_unit : str or None
        None where the file does not tell.
    resolution_angstrom : (n_pixel,) float64 or None
        One sigma of the instrument's line spread; None where the file does not tell or is not read for it.
    """

    wave_angstrom: Floats
    flux: Floats
    ivar: Floats
    is_vacuum: bool = True
    flux_unit: str | None = FLUX_UNIT
    resolution_angstrom: Floats | None = None


def air_to_vacuum(wave_angstrom: npt.ArrayLike) -> Floats:
    """Vacuum wavelengths of wavelengths in standard air.

    N. Piskunov's inversion of the refractive index of Birch & Downs (1994), as used by VALD; good to 1e-8 of the
    wavelength from 2,000 to 100,000 Angstrom (https://www.astro.uu.se/valdwiki/Air-to-vacuum%20conversion).

    Parameters
    ----------
    wave_angstrom : array_like of float
        Angstrom; at 2,000 or below wavelengths are in vacuum by convention and stay.
    """
    air = np.asarray(wave_angstrom, np.float64)
    s2 = (1e4 / air) ** 2
    n = 1 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2) + 1.599740894897e-4 / (38.92568793293 - s2)
    return np.where(air > 2000, air * n, air)


def median_snr(flux: npt.NDArray[Any], ivar: npt.NDArray[Any]) -> float | None:
    """Median signal-to-noise ratio a pixel over the pixels with a weight; None without such a pixel."""
    good = ivar > 0
    if not good.any():
        return None
    return float(np.median(np.asarray(flux, np.float64)[good] * np.sqrt(np.asarray(ivar, np.float64)[good])))


def check_wavelengths(wave: Floats, name: str, where: str) -> None:
    """Refuse wavelengths that are not finite, positive and rising.

    Raises
    ------
    GalbaseError
        Naming file and extension.
    """
    if wave.ndim != 1 or not wave.size:
        raise GalbaseError(f"{name}: {where} has shape {wave.shape}; one rising list of wavelengths is needed.")
    if not np.isfinite(wave).all() or wave[0] <= 0 or not (np.diff(wave) > 0).all():
        raise GalbaseError(f"{name}: the {wave.size} wavelengths of {where} do not rise; fetch the file again.")


def number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def text(value: Any) -> str | None:
    """Text without blanks around it; None for none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    found = str(value).strip() if value is not None else ""
    return found or None
