"""Files of spectra in the layouts of DESI and MaNGA, made for tests after their published data models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

ARMS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
FLUX_UNIT = "10**-17 erg/(s cm2 Angstrom)"
IVAR_UNIT = "10**+34 (s2 cm4 Angstrom2) / erg2"


def desi_targets(n: int) -> np.ndarray[Any, Any]:
    """TARGETIDs near the top of the 63-bit range, whose neighbours are equal in double precision."""
    return 2**62 + 39627646 * 10**9 + np.arange(n)


def redshifts_hdu(targets: np.ndarray[Any, Any], order: np.ndarray[Any, Any] | None = None) -> fits.BinTableHDU:
    """Extension REDSHIFTS of redrock; row i of the targets has redshift 0.01 (i + 1)."""
    n = len(targets)
    rows = np.arange(n) if order is None else order
    columns = [
        fits.Column("TARGETID", "K", array=targets[rows]),
        fits.Column("CHI2", "D", array=np.full(n, 8000.0)),
        fits.Column("COEFF", "10D", array=np.ones((n, 10))),
        fits.Column("Z", "D", array=0.01 * (rows + 1)),
        fits.Column("ZERR", "D", array=np.full(n, 1e-5)),
        fits.Column("ZWARN", "K", array=np.where(rows == 1, 4, 0)),
        fits.Column("NPIXELS", "K", array=np.full(n, 7900)),
        fits.Column("SPECTYPE", "6A", array=np.full(n, "GALAXY")),
        fits.Column("SUBTYPE", "20A", array=np.full(n, "")),
        fits.Column("DELTACHI2", "D", array=np.full(n, 900.0)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="REDSHIFTS")


def write_desi(
    path: Path, n: int = 4, *, redshifts: bool = False, arms: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """A coadd file; `changes` replaces whole columns of FIBERMAP or data of image extensions."""
    rng = np.random.default_rng(4)
    targets = changes.pop("TARGETID", desi_targets(n))
    fibermap = {
        "TARGETID": ("K", targets, None),
        "COADD_FIBERSTATUS": ("J", np.zeros(n, np.int32), None),
        "TARGET_RA": ("D", changes.pop("TARGET_RA", 10.0 + 0.1 * np.arange(n)), "deg"),
        "TARGET_DEC": ("D", changes.pop("TARGET_DEC", np.linspace(-1, 1, n)), "deg"),
        "OBJTYPE": ("3A", changes.pop("OBJTYPE", np.full(n, "TGT")), None),
        "FLUX_R": ("E", np.ones(n, np.float32), "nanomaggy"),
    }
    columns = [fits.Column(k, form, array=values, unit=unit) for k, (form, values, unit) in fibermap.items()]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
    for arm, (start, n_pixel) in (arms or ARMS).items():
        mask = np.zeros((n, n_pixel), np.int32)
        mask[0, :5] = 2
        planes = {
            "WAVELENGTH": (start + 0.8 * np.arange(n_pixel), "Angstrom"),
            "FLUX": (rng.normal(5, 1, (n, n_pixel)).astype(np.float32), FLUX_UNIT),
            "IVAR": (rng.gamma(2, 0.5, (n, n_pixel)).astype(np.float32), IVAR_UNIT),
            "MASK": (mask, None),
            "RESOLUTION": (np.zeros((n, 11, n_pixel), np.float32), None),
        }
        for what, (data, unit) in planes.items():
            hdu = fits.ImageHDU(changes.pop(f"{arm}_{what}", data), name=f"{arm}_{what}")
            if unit:
                hdu.header["BUNIT"] = unit
            hdus.append(hdu)
    if redshifts:
        hdus.append(redshifts_hdu(targets))
    assert not changes, changes
    fits.HDUList(hdus).writeto(path, overwrite=True, checksum=True)
    return path


def write_manga(path: Path, shape: tuple[int, ...], **header: Any) -> Path:
    """FLUX, IVAR, MASK and WAVE on MaNGA's axis (log10 steps of 1e-4 from 3621.596 Angstrom), any number of rows."""
    rng = np.random.default_rng(5)
    n_wave = shape[0] if len(shape) == 3 else shape[-1]
    wave = 10 ** (np.log10(3621.596) + 1e-4 * np.arange(n_wave))
    primary = fits.PrimaryHDU()
    primary.header["MANGAID"], primary.header["PLATEIFU"] = "1-209232", "8485-1901"
    primary.header["OBJRA"], primary.header["OBJDEC"] = 232.5447, 48.690201
    flux = fits.ImageHDU(rng.normal(3, 1, shape).astype(np.float32), name="FLUX")
    flux.header["BUNIT"] = "1E-17 erg/s/cm^2/Ang/spaxel"
    for key, value in header.items():
        (primary if key in primary.header else flux).header[key.replace("_D_", "-")] = value
    mask = np.zeros(shape, np.int32)
    mask[..., 3] = 1024
    hdus = [
        primary, flux, fits.ImageHDU(np.full(shape, 4, np.float32), name="IVAR"), fits.ImageHDU(mask, name="MASK"),
        fits.ImageHDU(wave, name="WAVE"),
    ]  # fmt: skip
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
