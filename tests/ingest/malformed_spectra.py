"""Malformed spectra: SDSS spec files and DESI coadds."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.ingest.malformed_case import GIB, Case, bzip2_zeros, cuts, gzip_zeros, of_bytes, patched
from tests.ingest.spectrum_files import write_desi

CASES: list[Case] = []


def add(name: str, file: str, message: str, data: bytes) -> None:
    CASES.append(Case(name, file, "spectrum", message, of_bytes(lambda: data)))


def spec(path: Path, **changes: object) -> Path:
    n = 500
    coadd = {"flux": ("E", np.ones(n)), "loglam": ("E", 3.58 + 1e-4 * np.arange(n)), "ivar": ("E", np.ones(n))}
    row = {"SPECOBJID": ("22A", ["  299489676975171584"]), "PLUG_RA": ("D", [1.0]), "PLUG_DEC": ("D", [2.0]),
           "Z": ("E", [0.1]), "ZWARNING": ("J", [0])}  # fmt: skip
    tables = []
    for name, columns in (("COADD", coadd), ("SPECOBJ", row)):
        wanted = {key: changes.get(key, value) for key, value in columns.items()}
        made = [fits.Column(key, form, array=array) for key, (form, array) in wanted.items() if form]  # type: ignore[misc]
        tables.append(fits.BinTableHDU.from_columns(made, name=name))
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


@lru_cache
def sound(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fits"
        return (spec(path) if kind == "sdss" else write_desi(path, 3)).read_bytes()


SDSS, DESI = sound("sdss"), sound("desi")
LAST = SDSS.index(b"XTENSION", 4000)
MIDDLE = DESI.rindex(b"XTENSION", 0, DESI.index(b"EXTNAME = 'R_FLUX"))
for where, data in cuts(SDSS, LAST):
    add(f"SDSS spectrum cut {where}", "spec.fits", "damaged|cut short|holds no spectrum|no SDSS spec", data)
for part in (0.05, 0.4, 0.7, 0.999):
    add(f"DESI coadd cut at {part}", "coadd.fits", "damaged|cut short", DESI[: int(part * len(DESI))])
add(
    "DESI coadd cut between two extensions",
    "coadd.fits",
    "lacks the extension R_FLUX",
    DESI[:MIDDLE],
)
add("DESI coadd cut before the last block", "coadd.fits", "damaged|cut short", DESI[:-2880])
add("DESI coadd, NAXIS1 of 4 GB", "coadd.fits", "cut short", patched(DESI, "NAXIS1", 10**9, after=MIDDLE))
add("DESI coadd, NAXIS2 too small", "coadd.fits", "damaged|R_FLUX", patched(DESI, "NAXIS2", 2, after=MIDDLE))
add("SDSS spectrum, NAXIS2 too large", "spec.fits", "cut short|damaged", patched(SDSS, "NAXIS2", 10**9, after=2880))
add("SDSS spectrum, TFORM too wide", "spec.fits", "damaged|TFORM", patched(SDSS, "TFORM1", "99E", after=2880))
add("SDSS spectrum, empty file", "spec.fits", "is empty", b"")
add("SDSS spectrum, a web page", "spec.fits", "no FITS file", b"<html>not found</html>")
for suffix, bomb in (("gz", gzip_zeros), ("bz2", bzip2_zeros)):
    add(f"SDSS spectrum, {suffix} bomb", f"spec.fits.{suffix}", "expands to more than 100 times", bomb(SDSS, 2 * GIB))
    packed = bomb(DESI, 64 * 2**20)
    add(f"DESI coadd, {suffix} cut short", f"coadd.fits.{suffix}", "damaged compressed", packed[: len(packed) // 2])
CASES += [
    Case("SDSS spectrum, no wavelengths", "spec.fits", "spectrum", "COADD lacks the column loglam", lambda path: spec(
        path, loglam=("", None))),
    Case("SDSS spectrum, fluxes of text", "spec.fits", "spectrum", "flux", lambda path: spec(
        path, flux=("4A", ["a"] * 500))),
    Case("SDSS spectrum, an id of letters", "spec.fits", "spectrum", "SPECOBJID is 'x'", lambda path: spec(
        path, SPECOBJID=("4A", ["x"]))),
    Case("SDSS spectrum, a position of text", "spec.fits", "spectrum", "PLUG_RA=north", lambda path: spec(
        path, PLUG_RA=("8A", ["north"]))),
    Case("DESI coadd, ids of real numbers", "coadd.fits", "spectrum", "no integer column TARGETID", lambda path: rename(
        write_desi(path, 3), "TARGETID", "TARGET_ID")),
    Case("DESI coadd, no positions", "coadd.fits", "spectrum", "lacks the column TARGET_RA", lambda path: rename(
        write_desi(path, 3), "TARGET_RA", "RA_OF_TARGET")),
]  # fmt: skip


def rename(path: Path, old: str, new: str) -> None:
    with fits.open(path) as hdus:
        hdus["FIBERMAP"].columns.change_name(old, new)
        hdus.writeto(path, overwrite=True, checksum=True)
