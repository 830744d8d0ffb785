"""Shards of Sersic stamps: HDF5 files with images, PSFs, truth with units, and where each background comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from galbase.ml.stamps.parameters import PSF_PX, SPLITS, STAMP_PX, StampParameters
from galbase.schema.errors import GalbaseError

Float32Array = NDArray[np.float32]

MANIFEST = "manifest.json"
_CHUNK_ROWS = 64
# column: (unit, meaning)
COLUMNS: Mapping[str, tuple[str, str]] = {
    "mag": ("mag", "total AB magnitude of the untruncated Sersic profile"),
    "flux": ("image unit", "the same as a flux"),
    "re_arcsec": ("arcsec", "effective radius of the Sersic profile along the major axis"),
    "n": ("", "Sersic index"),
    "q": ("", "axis ratio b/a"),
    "pa_deg": ("deg", "position angle of the major axis from +y towards -x, 0 to 180"),
    "dx_px": ("pix", "centre minus the middle of the central pixel, along x"),
    "dy_px": ("pix", "centre minus the middle of the central pixel, along y"),
    "snr": ("", "sqrt(sum of model^2 / (sky variance + model / gain)) over the stamp"),
    "sky_sigma": ("image unit", "noise a pixel of the background"),
    "psf_fwhm_arcsec": ("arcsec", "FWHM of the PSF image: diameter of the area above half of its peak"),
    "split": ("", f"{dict(enumerate(SPLITS))}"),
    "psf_row": ("", "PSF in the manifest's list, -1 for a simulated one"),
    "background_frame": ("", "frame in the manifest's list, -1 for simulated noise"),
    "background_x": ("pix", "first column of the background's patch in its frame, from 0, or -1"),
    "background_y": ("pix", "first row of the background's patch in its frame, from 0, or -1"),
    "background_orientation": ("", "quarter turns of the patch, plus 4 where it was mirrored in x first"),
}


@dataclass(frozen=True, eq=False)
class Block:
    """Some stamps.

    Attributes
    ----------
    image : (m, 61, 61) float32
        Galaxy with photon noise on its background [image unit].
    psf : (m, 25, 25) float32
        PSF images of unit sum.
    truth : dict of str to (m,) float64
    origin : dict of str to (m,) int32
    """

    image: Float32Array
    psf: Float32Array
    truth: dict[str, NDArray[np.float64]]
    origin: dict[str, NDArray[np.int32]]

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, start: int, stop: int) -> Block:
        """Rows start to stop."""
        part = slice(start, stop)
        truth = {name: value[part] for name, value in self.truth.items()}
        return Block(self.image[part], self.psf[part], truth, {name: v[part] for name, v in self.origin.items()})


def shard_name(start: int, stop: int) -> str:
    """File name of the shard with stamps start to stop."""
    return f"sersic_{start:09d}_{stop:09d}.h5"


def write_shard(
    path: Path, n: int, blocks: Iterable[tuple[int, Block]], parameters: StampParameters, background: str
) -> None:
    """Write one shard.

    Parameters
    ----------
    path : Path
        File; replaced.
    n : int
        Stamps.
    blocks : iterable of (int, Block)
        First row of each block in the shard, and the block.
    parameters : StampParameters
        Pixel scale, zero point and gain become attributes.
    background : {'real', 'simulated'}
        Kind of background.
    """
    partial = path.with_suffix(".partial")
    # the newest format would keep a time in its root group, and the same stamps would not be the same bytes
    with h5py.File(partial, "w") as file:
        file.attrs.update(
            pixel_scale_arcsec=parameters.pixel_scale_arcsec,
            zero_point_ab=parameters.zero_point,
            gain_electron=parameters.gain,
            background=background,
        )
        chunk = min(_CHUNK_ROWS, n)
        sides = {"image": STAMP_PX, "psf": PSF_PX}
        made = {
            name: file.create_dataset(name, (n, side, side), np.float32, chunks=(chunk, side, side))
            for name, side in sides.items()
        }
        made["image"].attrs["unit"] = f"1 unit is AB magnitude {parameters.zero_point:g}"
        made["psf"].attrs["unit"] = "share of the light"
        columns: dict[str, NDArray[np.generic]] = {}
        for first, block in blocks:
            rows = slice(first, first + len(block))
            made["image"][rows], made["psf"][rows] = block.image, block.psf
            both: dict[str, NDArray[Any]] = {**block.truth, **block.origin}
            for name, value in both.items():
                columns.setdefault(name, np.empty(n, value.dtype))[rows] = value
        for name, (unit, meaning) in COLUMNS.items():
            column = file.create_dataset(name, data=columns[name])
            column.attrs["unit"], column.attrs["description"] = unit, meaning
    partial.replace(path)


@dataclass(frozen=True, eq=False)
class Stamps:
    """Stamps read back: image (m, 61, 61), psf (m, 25, 25) float32, and columns by name, (m,)."""

    image: Float32Array
    psf: Float32Array
    column: dict[str, NDArray[np.generic]]


def read_manifest(folder: Path) -> dict[str, object]:
    """The manifest of a set of stamps.

    Raises
    ------
    GalbaseError
        If the folder holds none, or its making was not finished.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise GalbaseError(f"{folder} has no {MANIFEST}; make the stamps with galbase simulate-sersic --out {folder}.")
    record: dict[str, object] = json.loads(path.read_text())
    if "digest" not in record:
        raise GalbaseError(
            f"the stamps in {folder} are unfinished; the same galbase simulate-sersic goes on where it ended."
        )
    return record


def read_stamps(folder: Path, start: int, stop: int, columns: Sequence[str] | None = None) -> Stamps:
    """Stamps of a row range, over the borders of shards.

    Parameters
    ----------
    folder : Path
        A folder written by `galbase simulate-sersic`.
    start, stop : int
        Rows, half-open.
    columns : sequence of str, optional
        Keys of `COLUMNS`; all by default.

    Raises
    ------
    GalbaseError
        If the rows or columns do not exist, or a shard is missing.
    """
    record = read_manifest(folder)
    size, rows = int(str(record["size"])), int(str(record["shard_rows"]))
    names = tuple(COLUMNS) if columns is None else tuple(columns)
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise GalbaseError(f"stamps have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}.")
    if not 0 <= start < stop <= size:
        raise GalbaseError(f"rows {start} to {stop} of {size} stamps: ask for a range within 0 to {size}.")
    image = np.empty((stop - start, STAMP_PX, STAMP_PX), np.float32)
    psf = np.empty((stop - start, PSF_PX, PSF_PX), np.float32)
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name in names}
    for first in range(start - start % rows, stop, rows):
        last = min(first + rows, size)
        path = folder / shard_name(first, last)
        if not path.is_file():
            raise GalbaseError(f"{path} is missing; make the stamps again.")
        here = slice(max(start, first) - first, min(stop, last) - first)
        there = slice(max(start, first) - start, min(stop, last) - start)
        with h5py.File(path, "r") as file:
            file["image"].read_direct(image, here, there)
            file["psf"].read_direct(psf, here, there)
            for name in names:
                parts[name].append(file[name][here])
    return Stamps(image, psf, {name: np.concatenate(values) for name, values in parts.items()})
