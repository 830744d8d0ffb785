"""Files of stamps cut from frames: HDF5 in the layout of ssl-legacysurvey, with each stamp's own WCS."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.stamp_cut import band_origins, coverage, cut
from galbase.ingest.survey_frame import FrameGroup, pixel_scale_arcsec
from galbase.schema.errors import GalbaseError

SUFFIX = ".stamps.h5"
LAYOUT_VERSION = 1
_BATCH = 256


def stored_hash(path: Path) -> str | None:
    """Hash of the inputs that a file of stamps was made from; None if there is no such file."""
    import h5py

    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("input_hash")
    except OSError:
        return None
    return None if found is None else str(found)


def write_stamps(
    path: Path,
    group: FrameGroup,
    native_ids: list[str],
    ra: npt.NDArray[np.float64],
    dec: npt.NDArray[np.float64],
    *,
    size_px: int,
    min_coverage: float,
    max_offset_px: float,
    input_hash: str,
) -> tuple[int, int]:
    """Cut a group's stamps and write them to a new file, which takes its place in one step.

    Parameters
    ----------
    path : Path
        File to write; one that is there is replaced.
    group : FrameGroup
    native_ids, ra, dec
        The sources, (n,), ICRS degrees.
    size_px : int
        Width and height.
    min_coverage : float
        A stamp that covers less (`stamp_cut.coverage`) is left out.
    max_offset_px : float
        See `stamp_cut.band_origins`.
    input_hash : str
        Written with the file.

    Returns
    -------
    (written, left_out) : tuple of int
        No file is left where no stamp is written.

    Raises
    ------
    GalbaseError
        If a frame is damaged, the bands' grids differ, or the file cannot be written.
    """
    origins = band_origins(group, ra, dec, size_px, max_offset_px)
    planes = [frame.read() for frame in group.frames]
    crpix = np.asarray(group.frames[0].wcs().wcs.crpix, np.float64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        try:
            written = _write(Path(temporary), group, planes, origins, native_ids, ra, dec, crpix, size_px, min_coverage,
                             input_hash)  # fmt: skip
            if written:
                Path(temporary).chmod(0o644)
                Path(temporary).replace(path)
            else:
                path.unlink(missing_ok=True)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise GalbaseError(f"{path} cannot be written: {error.strerror or error}; give another --out.") from error
    return written, len(native_ids) - written


def _write(
    path: Path,
    group: FrameGroup,
    planes: list[npt.NDArray[np.float32]],
    origins: list[tuple[Any, Any]],
    native_ids: list[str],
    ra: npt.NDArray[np.float64],
    dec: npt.NDArray[np.float64],
    crpix: npt.NDArray[np.float64],
    size_px: int,
    min_coverage: float,
    input_hash: str,
) -> int:
    import h5py

    frames = group.frames
    n, written = len(native_ids), 0
    row_bytes = 4 * len(frames) * size_px**2
    rows_per_chunk = max(1, min(n, 2**20 // row_bytes))
    kept: list[npt.NDArray[np.intp]] = []
    covered: list[npt.NDArray[np.float32]] = []
    with h5py.File(path, "w", locking=False) as file:
        shape = (n, len(frames), size_px, size_px)
        images = file.create_dataset("images", shape, "f4", maxshape=shape, chunks=(rows_per_chunk, *shape[1:]))
        for start in range(0, n, _BATCH):
            here = slice(start, min(start + _BATCH, n))
            stamps = np.stack(
                [cut(plane, x0[here], y0[here], size_px) for plane, (x0, y0) in zip(planes, origins, strict=True)],
                axis=1,
            )
            share = coverage(stamps)
            good = np.flatnonzero((share >= min_coverage) & (share > 0))
            images[written : written + len(good)] = stamps[good]
            kept.append(start + good)
            covered.append(share[good])
            written += len(good)
        images.resize(written, axis=0)
        rows = np.concatenate(kept) if kept else np.empty(0, np.intp)
        x0, y0 = origins[0]
        file["ra"], file["dec"] = ra[rows], dec[rows]
        file["coverage"] = np.concatenate(covered) if covered else np.empty(0, np.float32)
        file["crpix"] = np.column_stack([crpix[0] - x0[rows], crpix[1] - y0[rows]])
        file.create_dataset("native_id", data=[native_ids[row] for row in rows.tolist()], dtype=h5py.string_dtype())
        zeros = [np.nan if frame.zero_point is None else frame.zero_point for frame in frames]
        file.attrs["stamp_layout"] = LAYOUT_VERSION
        file.attrs["bands"] = [frame.band or f"band{i}" for i, frame in enumerate(frames)]
        file.attrs["pixel_scale_arcsec"] = pixel_scale_arcsec(frames[0])
        file.attrs["units"] = [frame.unit or "" for frame in frames]
        file.attrs["zero_points"] = zeros
        file.attrs["frames"] = [frame.path.name for frame in frames]
        file.attrs["wcs_header"] = frames[0].wcs().celestial.to_header(relax=True).tostring(sep="\n")
        file.attrs["input_hash"] = input_hash
    return written


def stamp_header(path: Path, row: int) -> Any | None:
    """Header with the WCS, unit and zero point of one stamp; None for a file that was not cut from frames.

    The reference pixel is the frame's, shifted: SIP and TPV distortions are counted from it, so they move along.
    """
    import h5py
    from astropy.io import fits

    with h5py.File(path, "r", locking=False) as file:
        if "stamp_layout" not in file.attrs:
            return None
        header = fits.Header.fromstring(str(file.attrs["wcs_header"]), sep="\n")
        header["CRPIX1"], header["CRPIX2"] = (float(value) for value in file["crpix"][row])
        units, zeros = set(file.attrs["units"].tolist()), set(np.round(file.attrs["zero_points"], 6).tolist())
        if len(units) == 1 and "" not in units:
            header["BUNIT"] = units.pop()
        if len(zeros) == 1 and np.isfinite(next(iter(zeros))):
            header["MAGZERO"] = (zeros.pop(), "[mag] AB magnitude of one unit")
        header["COVERAGE"] = (float(file["coverage"][row]), "share of pixels with a value")
        header["FRAME"] = str(file.attrs["frames"][0])
    return header
