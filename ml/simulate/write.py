"""Writers of image shards, in the layout of georgestein/ssl-legacysurvey."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from galbase.ml.simulate.filters import LEGACY_BANDS
from galbase.ml.simulate.fits_stream import Columns

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


def shard_name(start: int, stop: int, size: int) -> str:
    """File name of a shard with rows start to stop and stamps of `size` pixels, as ssl-legacysurvey names them."""
    return f"images_npix{size}_{start:09d}_{stop:09d}.h5"


def legacy_datasets(columns: Columns) -> Columns:
    """What a shard of ssl-legacysurvey has beside its images, from columns named as in the DR9 sweeps."""
    datasets = {name: columns[column] for name, column in _PLAIN.items()}
    for name, column in _BY_BAND.items():
        datasets[name] = np.stack([columns[f"{column}_{band.upper()}"] for band in LEGACY_BANDS], axis=1)
    return datasets | {name: value for name, value in columns.items() if name.islower()}


class ShardWriter:
    """One HDF5 shard, written under another name until it is whole.

    Parameters
    ----------
    path : Path
        File.
    shape : tuple of int
        Galaxies, bands, height, width.
    attributes : dict, optional
        Attributes of the file.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int, int, int], attributes: dict[str, object] | None = None
    ) -> None:
        self._path, self._partial = path, path.with_suffix(".partial")
        # the newest format would keep a time in its root group, and the same survey would not be the same bytes
        self._file = h5py.File(self._partial, "w")
        for name, value in (attributes or {}).items():
            self._file.attrs[name] = value
        self._images = self._file.create_dataset("images", shape, np.float32, chunks=(1, *shape[1:]))

    def write(self, first: int, images: NDArray[np.float32]) -> None:
        """Write images from a row of the shard on."""
        self._images[first : first + len(images)] = images

    def finish(self, datasets: Columns) -> None:
        """Add the datasets beside the images and give the file its name."""
        for name, value in datasets.items():
            self._file.create_dataset(name, data=value)
        self._file.close()
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Close and remove what was written."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def joined(parts: Iterable[Columns]) -> Columns:
    """Columns of pieces, one after another."""
    pieces = list(parts)
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHECKSUM_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
