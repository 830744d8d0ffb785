"""Writers of the simulated survey's files, in the real surveys' layouts."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from galbase.ml.simulate.photometry import Columns
from galbase.ml.simulate.render import STAMP_SIZE
from galbase.ml.simulate.sed import BANDS

_BY_BAND = {
    "flux": "FLUX",
    "fiberflux": "FIBERFLUX",
    "psfdepth": "PSFDEPTH",
    "psfsize": "PSFSIZE",
    "transmission": "MW_TRANSMISSION",
}
_PLAIN = {
    "ra": "RA",
    "dec": "DEC",
    "ebv": "EBV",
    "maskbits": "MASKBITS",
    "source_type": "TYPE",
    "release": "RELEASE",
    "brickid": "BRICKID",
    "objid": "OBJID",
}
_CHECKSUM_BYTES = 1 << 20


def shard_name(start: int, stop: int) -> str:
    """File name of a shard with rows start to stop, as georgestein/ssl-legacysurvey names them."""
    return f"images_npix{STAMP_SIZE}_{start:09d}_{stop:09d}.h5"


def write_shard(
    path: Path, columns: Columns, start: int, stop: int, blocks: Iterable[tuple[int, NDArray[np.float32]]]
) -> None:
    """Write one HDF5 shard in the layout of georgestein/ssl-legacysurvey.

    Parameters
    ----------
    path : Path
        File.
    columns : dict of str to (n,) arrays
        Catalogue of the whole survey, named as in `photometry.legacy_columns`.
    start, stop : int
        Rows of the survey in this shard.
    blocks : iterable of (int, (m, 3, 152, 152) float32)
        First survey row and images [nanomaggy/pixel] of each block, in order.
    """
    rows = slice(start, stop)
    # the newest format would keep a time in its root group, and the same survey would not be the same bytes
    with h5py.File(path, "w") as file:
        for name, column in _PLAIN.items():
            file.create_dataset(name, data=columns[column][rows])
        for name, column in _BY_BAND.items():
            stacked = np.stack([columns[f"{column}_{band.upper()}"][rows] for band in BANDS], axis=1)
            file.create_dataset(name, data=stacked)
        for name, value in columns.items():
            if name.islower():
                file.create_dataset(name, data=value[rows])
        file.create_dataset("inds", data=np.arange(start, stop, dtype=np.int64))
        shape = (stop - start, len(BANDS), STAMP_SIZE, STAMP_SIZE)
        images = file.create_dataset("images", shape, np.float32, chunks=(1, *shape[1:]))
        for first, block in blocks:
            images[first - start : first - start + len(block)] = block


def write_table(path: Path, columns: Columns, name: str, units: dict[str, str] | None = None) -> None:
    """Write one FITS binary table.

    Parameters
    ----------
    path : Path
        File; replaced if it exists.
    columns : dict of str to (n, ...) arrays
        Columns in order.
    name : str
        Extension name.
    units : dict of str to str, optional
        FITS units by column; the Legacy sweeps and MPA-JHU files carry none.
    """
    header = fits.Header()
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name=key, format=_format(value), array=value, unit=(units or {}).get(key))
            for key, value in columns.items()
        ],
        header=header,
        name=name,
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def _format(value: NDArray[np.generic]) -> str:
    if value.dtype.kind == "S":
        return f"{value.dtype.itemsize}A"
    if value.dtype.kind == "b":
        return "L"
    code = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}[value.dtype.str[1:]]
    return f"{value.shape[1]}{code}" if value.ndim == 2 else code


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHECKSUM_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
