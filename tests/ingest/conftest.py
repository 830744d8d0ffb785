"""Small survey files, written by astropy in the surveys' data models."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table


def sky(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Positions [deg], uniform on the sphere."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def tractor(n: int, *, dr9: bool, seed: int = 1) -> Table:
    """A tractor table with the columns that every release has, and an unknown one."""
    rng = np.random.default_rng(seed)
    made = Table()
    made["RELEASE"] = np.full(n, 9010 if dr9 else 8000, np.int16)
    made["BRICKID"] = np.full(n, 330248, np.int32)
    made["BRICKNAME"] = ["3301m002"] * n
    made["OBJID"] = np.arange(n, dtype=np.int32)
    made["TYPE"] = rng.choice(["PSF", "REX", "EXP", "SER" if dr9 else "COMP"], n)
    made["RA"], made["DEC"] = sky(n, seed)
    made["DCHISQ"] = rng.random((n, 5)).astype(np.float32)
    for stem in ("FLUX", "FLUX_IVAR", "MW_TRANSMISSION"):
        for band in "GRZ":
            made[f"{stem}_{band}"] = rng.random(n).astype(np.float32)
    made["SHAPE_R" if dr9 else "SHAPEDEV_R"] = rng.random(n).astype(np.float32)
    if dr9:
        made["SERSIC"] = rng.uniform(0.5, 6, n).astype(np.float32)
    made["APFLUX_G"] = rng.random((n, 8)).astype(np.float32)
    made["BX"] = rng.random(n)
    made["HASH"] = rng.integers(0, 2**62, n)
    return made


def galspec(n: int, *, seed: int = 1, lower: bool = False, text_ids: bool = False) -> Table:
    """A galSpec table, info and extra columns in one; every tenth mass is missing."""
    rng = np.random.default_rng(seed)
    made = Table()
    ids = np.uint64(2**63) + np.arange(n, dtype=np.uint64) * np.uint64(1024)
    made["SPECOBJID"] = [f"{value:>22d}" for value in ids.tolist()] if text_ids else ids
    made["RA"], made["DEC"] = sky(n, seed)
    made["PLATEID"] = np.full(n, 266, np.int32)
    made["SPECTROTYPE"] = ["GALAXY"] * n
    made["RELEASE"] = ["dr8"] * n
    made["RELIABLE"] = np.ones(n, np.int16)
    made["Z"] = rng.uniform(0, 0.3, n).astype(np.float32)
    made["BPTCLASS"] = rng.integers(-1, 6, n).astype(np.int16)
    for stem, low, high in (("LGM_FIB", 8, 11), ("SPECSFR_FIB", -12, -9), ("OH", 8, 9.2), ("LGM_TOT", 8, 11.5)):
        median = rng.uniform(low, high, n)
        median[::10] = -9999
        for part, shift in (("P16", -0.1), ("P50", 0), ("P84", 0.2)):
            made[f"{stem}_{part}"] = np.where(median == -9999, -9999, median + shift).astype(np.float32)
    made["PRIMTARGET"] = rng.integers(0, 2**31 - 1, n).astype(np.int32)
    if lower:
        for name in made.colnames:
            made.rename_column(name, name.lower())
    return made


def write(table: Table, path: Path) -> Path:
    """Write a FITS table, over a file that is there."""
    table.write(path, format="fits", overwrite=True)
    return path


@pytest.fixture(scope="session")
def survey_files() -> SimpleNamespace:
    """Makers of survey tables: `sky`, `tractor`, `galspec`, and `write`."""
    return SimpleNamespace(sky=sky, tractor=tractor, galspec=galspec, write=write)
