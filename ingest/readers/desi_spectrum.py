"""DESI coadded spectra: ``coadd-*.fits`` and ``spectra-*.fits``, many targets a file.

Data model: https://desidatamodel.readthedocs.io (coadd-SURVEY-PROGRAM-PIXNUM.fits, redrock-SURVEY-PROGRAM-PIXNUM.fits).
Extensions ARM_WAVELENGTH (n_wave), ARM_FLUX, ARM_IVAR, ARM_MASK (n_target, n_wave) for the arms B, R and Z, and
FIBERMAP with one row a target. Wavelengths are vacuum, fluxes 1e-17 erg/s/cm2/Angstrom. Redshifts come from extension
REDSHIFTS (ZBEST before 2021) of the file itself, or of ``redrock-*.fits`` (``zbest-*.fits``) beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.readers.spectrum_file import (
    FLUX_UNIT,
    Floats,
    SpectrumFile,
    SpectrumPixels,
    check_wavelengths,
    file_of_rows,
    number,
    text,
)
from galbase.ingest.readers.whole_fits import open_whole
from galbase.schema.errors import GalbaseError

FORMAT = "desi-coadd"
_POSITIONS = (("TARGET_RA", "TARGET_DEC"), ("RA_TARGET", "DEC_TARGET"))
_REDSHIFTS = ("REDSHIFTS", "ZBEST")
_PREFIXES = (("coadd-", ("redrock-", "zbest-")), ("spectra-", ("redrock-", "zbest-")))
# desispec resamples all arms to one grid, so that their pixels coincide where they overlap.
_GRID_TOLERANCE = 0.01


def is_desi(names: Sequence[str]) -> bool:
    """Whether extensions of these names (capitals) make a file of DESI spectra."""
    return "FIBERMAP" in names and bool(_arm_names(names))


def redshift_file(path: Path) -> Path | None:
    """The file of redshifts beside a file of spectra, or None."""
    for prefix, others in _PREFIXES:
        if path.name.startswith(prefix):
            plain = path.name.removesuffix(".gz")
            for other in others:
                for ending in ("", ".gz"):
                    beside = path.with_name(other + plain.removeprefix(prefix) + ending)
                    if beside.is_file():
                        return beside
    return None


def read_desi_spectra(path: Path) -> SpectrumFile:
    """Read what the archive keeps of a file of DESI spectra.

    Ids are TARGETID. A sky fibre, a row without a position, and a spectrum without a pixel of any weight are rejected
    as rows. The signal-to-noise ratio is the median over the pixels of the arms put together (`combine_arms`).

    Raises
    ------
    GalbaseError
        If the file is damaged, its extensions do not fit each other, or none of its rows can be loaded.
    """
    with open_whole(path) as hdus:
        names = [hdu.name.upper() for hdu in hdus]
        if not is_desi(names):
            raise GalbaseError(f"{path.name} holds no DESI spectra: its extensions are {', '.join(names) or 'none'}.")
        fibermap = _columns(hdus["FIBERMAP"])
        wave, flux, ivar = combine_arms(_arms(hdus, names, path.name), path.name)
        own = next((name for name in _REDSHIFTS if name in names), None)
        redshifts = _columns(hdus[own]) if own is not None else None
    n_row = len(flux)
    ids = fibermap.get("TARGETID")
    if ids is None or ids.dtype.kind not in "iu":
        raise GalbaseError(f"{path.name}: extension FIBERMAP has no integer column TARGETID; fetch the file again.")
    if len(ids) != n_row:
        raise GalbaseError(
            f"{path.name}: extension FIBERMAP has {len(ids)} rows beside {n_row} spectra; fetch the file again."
        )
    pair = next((pair for pair in _POSITIONS if set(pair) <= set(fibermap)), None)
    if pair is None:
        raise GalbaseError(f"{path.name}: extension FIBERMAP lacks the column TARGET_RA or TARGET_DEC.")
    beside = redshift_file(path)
    if redshifts is None and beside is not None:
        redshifts = _read_redshifts(beside)
    of_target = _by_target(redshifts, path.name)
    natives = [str(value) for value in ids.tolist()]
    ra, dec = (np.asarray(fibermap[name], np.float64) for name in pair)
    return file_of_rows(
        path.name, FORMAT, natives, ra, dec, (wave, flux, ivar),
        lambda row: _fault(fibermap, row, ra[row], dec[row], flux[row], ivar[row]),
        lambda row: of_target.get(int(ids[row]), {}),
    )  # fmt: skip


def read_desi_pixels(path: Path, rows: Sequence[int]) -> list[SpectrumPixels]:
    """Spectra of a file, each with its arms put together; the file is read once.

    Raises
    ------
    GalbaseError
        If the file is damaged or has no such row.
    """
    with open_whole(path) as hdus:
        names = [hdu.name.upper() for hdu in hdus]
        arms = _arms(hdus, names, path.name)
    n_row = len(arms[0][1])
    missing = [row for row in rows if not 0 <= row < n_row]
    if missing:
        raise GalbaseError(f"{path.name} has {n_row} spectra; row {missing[0]} was asked for. Ingest the file again.")
    chosen = list(rows)
    wave, flux, ivar = combine_arms([(wave, flux[chosen], ivar[chosen]) for wave, flux, ivar in arms], path.name)
    return [
        SpectrumPixels(wave, flux[place], ivar[place], is_vacuum=True, flux_unit=FLUX_UNIT)
        for place in range(len(chosen))
    ]


def combine_arms(
    arms: Sequence[tuple[Floats, npt.NDArray[Any], npt.NDArray[Any]]], name: str
) -> tuple[Floats, Floats, Floats]:
    """Put arms together on their common grid: the inverse-variance weighted mean where they overlap.

    Parameters
    ----------
    arms : sequence of (wave (n_wave,), flux (n, n_wave), ivar (n, n_wave))
        Angstrom; in order of wavelength.
    name : str
        Name of the file, for messages.

    Returns
    -------
    wave (n_pixel,), flux, ivar (n, n_pixel) float64
        Flux is 0 where no arm has a weight.

    Raises
    ------
    GalbaseError
        If the arms' pixels do not coincide.
    """
    if len(arms) == 1:
        wave, flux, ivar = arms[0]
        return wave, np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    start, step = arms[0][0][0], arms[0][0][1] - arms[0][0][0]
    places = []
    for wave, _, _ in arms:
        place = (wave - start) / step
        nearest = np.rint(place)
        if np.abs(place - nearest).max() > _GRID_TOLERANCE:
            raise GalbaseError(
                f"{name}: the arms' wavelengths lie on different grids (steps of {step:g} Angstrom from {start:g}); "
                "coadd the arms with desispec first (desi_coadd_spectra --coadd-cameras)."
            )
        places.append(nearest.astype(np.int64))
    n_pixel = int(max(place[-1] for place in places)) + 1
    shape = (len(arms[0][1]), n_pixel)
    used = np.zeros(n_pixel, np.bool_)
    weight, total = np.zeros(shape), np.zeros(shape)
    grid = np.zeros(n_pixel)
    for place, (wave, flux, ivar) in zip(places, arms, strict=True):
        used[place], grid[place] = True, wave
        weight[:, place] += ivar
        total[:, place] += np.where(ivar > 0, flux, 0.0) * np.asarray(ivar, np.float64)
    mean = np.divide(total, weight, out=np.zeros(shape), where=weight > 0)
    return grid[used], mean[:, used], weight[:, used]


def _arm_names(names: Sequence[str]) -> list[str]:
    return [name.removesuffix("_WAVELENGTH") for name in names if name.endswith("_WAVELENGTH")]


def _arms(
    hdus: Any, names: Sequence[str], name: str
) -> list[tuple[Floats, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Wavelengths, fluxes and inverse variances, 0 where the mask is set, of each arm in order of wavelength."""
    arms = []
    n_row = None
    for arm in _arm_names(names):
        missing = [what for what in ("FLUX", "IVAR") if f"{arm}_{what}" not in names]
        if missing:
            raise GalbaseError(f"{name} lacks the extension {arm}_{missing[0]}; it is cut short: fetch it again.")
        wave = np.asarray(hdus[f"{arm}_WAVELENGTH"].data, np.float64)
        check_wavelengths(wave, name, f"extension {arm}_WAVELENGTH")
        flux, ivar = (_plane(hdus[f"{arm}_{what}"], f"{arm}_{what}", name) for what in ("FLUX", "IVAR"))
        n_row = len(flux) if n_row is None else n_row
        mask = hdus[f"{arm}_MASK"].data if f"{arm}_MASK" in names else None
        for what, plane in (("FLUX", flux), ("IVAR", ivar), ("MASK", mask)):
            if plane is not None and plane.shape != (n_row, len(wave)):
                raise GalbaseError(
                    f"{name}: extension {arm}_{what} has shape {plane.shape} beside {n_row} spectra of {len(wave)} "
                    "pixels; fetch the file again."
                )
        unusable = ~(ivar > 0)
        if mask is not None:
            unusable |= mask != 0
        arms.append((wave, flux, np.where(unusable, np.float32(0), ivar)))
    return sorted(arms, key=lambda arm: arm[0][0])


def _plane(hdu: Any, extension: str, name: str) -> npt.NDArray[np.float32]:
    if hdu.data is None or hdu.data.ndim != 2:
        raise GalbaseError(f"{name}: extension {extension} has no rows of pixels; fetch the file again.")
    return np.asarray(hdu.data, np.float32)


def _columns(hdu: Any) -> dict[str, npt.NDArray[Any]]:
    return {name.upper(): np.asarray(hdu.data[name]) for name in hdu.columns.names}


def _read_redshifts(path: Path) -> dict[str, npt.NDArray[Any]]:
    with open_whole(path) as hdus:
        names = [hdu.name.upper() for hdu in hdus]
        found = next((name for name in _REDSHIFTS if name in names), None)
        if found is None:
            raise GalbaseError(f"{path.name} holds no redshifts: its extensions are {', '.join(names) or 'none'}.")
        return _columns(hdus[found])


def _by_target(redshifts: dict[str, npt.NDArray[Any]] | None, name: str) -> dict[int, dict[str, Any]]:
    """Redshift, error, warning and class by TARGETID."""
    if redshifts is None:
        return {}
    missing = [column for column in ("TARGETID", "Z", "ZERR", "ZWARN") if column not in redshifts]
    if missing:
        raise GalbaseError(f"{name}: its table of redshifts lacks the column {missing[0]}; fetch redrock's file again.")
    n_row = len(redshifts["TARGETID"])
    blank = np.full(n_row, "")
    columns = (
        redshifts["TARGETID"].tolist(), redshifts["Z"].tolist(), redshifts["ZERR"].tolist(),
        redshifts["ZWARN"].tolist(), redshifts.get("SPECTYPE", blank).tolist(),
        redshifts.get("SUBTYPE", blank).tolist(),
    )  # fmt: skip
    found: dict[int, dict[str, Any]] = {}
    for target, z, z_err, z_warning, class_, subclass in zip(*columns, strict=True):
        found.setdefault(
            int(target),
            {
                "z": number(z),
                "z_err": number(z_err),
                "z_warning": int(z_warning),
                "spectral_class": text(class_),
                "spectral_subclass": text(subclass),
            },
        )
    return found


def _fault(
    fibermap: dict[str, npt.NDArray[Any]],
    row: int,
    ra: float,
    dec: float,
    flux: npt.NDArray[Any],
    ivar: npt.NDArray[Any],
) -> str | None:
    """Why a row cannot be loaded; None if it can."""
    kind = text(fibermap["OBJTYPE"][row]) if "OBJTYPE" in fibermap else None
    if kind is not None and kind != "TGT":
        return f"OBJTYPE is {kind}: the fibre was on no target"
    if not (np.isfinite(ra) and -90 <= dec <= 90):
        return f"position TARGET_RA={ra}, TARGET_DEC={dec} is not on the sky"
    if not (ivar > 0).any():
        return "no pixel has a weight"
    if not np.isfinite(flux[ivar > 0]).all():
        return "a flux with a weight is not finite"
    return None
