"""HDF5 shards of Legacy Survey cutouts in the layout of georgestein/ssl-legacysurvey.

Datasets (Stein et al. 2021, arXiv:2110.13151, and the repository's README): ``images`` (N, 3, 152, 152) in bands g, r,
z; ``ra``, ``dec``; one value a band in ``flux``, ``fiberflux``, ``psfdepth``, ``psfsize``, ``transmission``,
``fracin``, ``nobs``; one value a row in ``ebv``, ``maskbits``, ``source_type``, ``release``, ``brickid``, ``objid``,
``inds``, ``z_spec``, ``z_training``, ``z_phot_*``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.pixels import LEGACY_BANDS, LEGACY_SCALE_ARCSEC
from galbase.ingest.readers.content import refuse_expansion
from galbase.ingest.readers.image_file import ImageFile
from galbase.schema.errors import GalbaseError
from galbase.schema.flags import ObservationFlag
from galbase.schema.healpix import valid_position
from galbase.schema.tables.legacysurvey import legacysurvey_dr9_object

SUFFIXES = (".h5", ".hdf5", ".hdf")
IDS = ("release", "brickid", "objid")
_RENAMED = {"transmission": "mw_transmission", "source_type": "type"}
_REDSHIFT_MISSING = -99.0
_COLUMNS = frozenset(legacysurvey_dr9_object.columns.keys()) - {"source_id"}


def read_shard(path: Path) -> ImageFile:
    """Read a shard's catalogue columns; its pixels are not touched.

    Only ``images``, ``ra`` and ``dec`` are required; NaN is an unknown position. Ids are ``release-brickid-objid``, or
    None without these three; a file of stamps cut from frames has its sources' own. Redshifts of -99 are missing. A
    file attribute ``bands`` or ``pixel_scale_arcsec`` goes before g, r, z at 0.262 arcsec.

    Raises
    ------
    GalbaseError
        If the file is damaged or not of this layout.
    """
    import h5py

    if not path.stat().st_size:
        raise GalbaseError(f"{path.name} is empty. Fetch the file again.")
    coverage = stamp_ids = None
    try:
        # Survey files lie on read-only mounts, where HDF5's lock fails.
        with h5py.File(path, "r", locking=False) as file:
            nodes = _datasets(file, path)
            shape = _image_shape(nodes, path)
            data = {name: _read_column(node, shape[0], path) for name, node in nodes.items() if name != "images"}
            bands = _attribute_bands(file.attrs.get("bands"), shape[1])
            scale = float(file.attrs.get("pixel_scale_arcsec", LEGACY_SCALE_ARCSEC))
            if "stamp_layout" in file.attrs:
                # Cut from frames by `stamp_shard`, which says these of every stamp.
                stamp_ids, coverage, _ = (data.pop(name) for name in ("native_id", "coverage", "crpix"))
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise GalbaseError(f"{path.name} is damaged or no HDF5 file: {error}. Fetch the file again.") from error
    ra, dec = (np.asarray(data.pop(name), np.float64) for name in ("ra", "dec"))
    valid = valid_position(ra, dec)
    # NaN says that the position is not known, which is no reason to lose the image; any other value is an error.
    bad = ~valid & ~(np.isnan(ra) & np.isnan(dec))
    ids, id_rejected = (stamp_ids.tolist(), []) if stamp_ids is not None else _native_ids(data, shape[0])
    rejected = [
        (int(row), None if ids is None else ids[row], f"position ra={ra[row]}, dec={dec[row]} is not on the sky")
        for row in np.flatnonzero(bad)
    ]
    rejected += [item for item in id_rejected if not bad[item[0]]]
    infinite = _missing_as_nan(data, shape[0])
    psf_fwhm, psf_depth = data.get("psfsize"), data.get("psfdepth")
    survey, extra = _split(data, bands)
    return ImageFile(
        ra=np.where(valid, np.mod(ra, 360.0), np.nan),
        dec=dec,
        bands=bands,
        pixel_scale_arcsec=scale,
        width=int(shape[3]),
        height=int(shape[2]),
        is_display=False,
        native_ids=ids,
        psf_fwhm_arcsec=_per_band(psf_fwhm, len(bands)),
        psf_depth=_per_band(psf_depth, len(bands)),
        survey_columns=survey,
        extra_columns=extra,
        non_finite=infinite,
        rejected=sorted(rejected),
        flags=None if coverage is None else np.where(coverage < 1, int(ObservationFlag.INCOMPLETE_COVERAGE), 0),
    )


def _datasets(file: Any, path: Path) -> dict[str, Any]:
    """Datasets of a file by name, none of which leads to another file or takes more memory than it may.

    Raises
    ------
    GalbaseError
        For links, data in other files, chunks or columns beyond `refuse_expansion`, and a position that is no list of
        numbers.
    """
    import h5py

    nodes = {}
    size = path.stat().st_size
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
            raise GalbaseError(
                f"{path.name}: {name!r} is {kind} link to {link.path!r}; put the data into the file itself."
            )
        node = file[name]
        if not isinstance(node, h5py.Dataset):
            continue
        if node.is_virtual or node.external:
            raise GalbaseError(f"{path.name}: {name!r} keeps its data in another file; put them into the file itself.")
        if node.chunks is not None:
            chunk = int(np.prod(node.chunks, dtype=object)) * node.dtype.itemsize
            refuse_expansion(path.name, chunk, size, f"a chunk of dataset {name!r}, shape {node.chunks},")
        nodes[name] = node
    columns = sum(node.size * node.dtype.itemsize for name, node in nodes.items() if name != "images")
    refuse_expansion(path.name, columns, size, "its columns beside images")
    for name in ("ra", "dec"):
        if name in nodes and (nodes[name].dtype.kind not in "fiu" or nodes[name].ndim != 1):
            raise GalbaseError(
                f"{path.name}: dataset {name!r} has shape {nodes[name].shape} of {nodes[name].dtype}; one real number "
                "an image, in degrees, is needed."
            )
    if "images" in nodes and nodes["images"].dtype.kind not in "fiu":
        raise GalbaseError(f"{path.name}: dataset 'images' holds {nodes['images'].dtype}; numbers are needed.")
    return nodes


def count_rows(path: Path) -> int:
    """Number of images in a shard, 0 if it is damaged."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return _image_shape(file, path)[0]
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, GalbaseError):
        return 0


def _image_shape(file: Any, path: Path) -> tuple[int, int, int, int]:
    missing = [name for name in ("images", "ra", "dec") if name not in file]
    if missing:
        raise GalbaseError(
            f"{path.name} has no dataset {missing[0]!r} (it has {', '.join(sorted(file)) or 'none'}); a shard in the "
            "layout of ssl-legacysurvey is needed."
        )
    shape = file["images"].shape
    if len(shape) != 4 or 0 in shape:
        raise GalbaseError(f"{path.name}: images has shape {shape}, not (N, n_band, ny, nx).")
    return (int(shape[0]), int(shape[1]), int(shape[2]), int(shape[3]))


def _read_column(node: Any, n_row: int, path: Path) -> npt.NDArray[Any]:
    if node.ndim not in (1, 2) or node.shape[0] != n_row:
        raise GalbaseError(f"{path.name}: {node.name} has shape {node.shape} beside {n_row} images.")
    values = np.asarray(node[...])
    if values.dtype.kind in "SO":
        return np.array(
            [item.decode("utf-8", "replace").strip() if isinstance(item, bytes) else str(item) for item in values.flat],
            dtype=np.str_,
        ).reshape(values.shape)
    return values


def _attribute_bands(named: Any, n_band: int) -> tuple[str, ...]:
    if named is not None:
        if isinstance(named, bytes):
            named = named.decode()
        bands = tuple(item.decode() if isinstance(item, bytes) else str(item) for item in named)
        if len(bands) == n_band:
            return bands
    return LEGACY_BANDS if n_band == len(LEGACY_BANDS) else tuple(f"band{i}" for i in range(n_band))


def _native_ids(
    data: dict[str, npt.NDArray[Any]], n_row: int
) -> tuple[list[str] | None, list[tuple[int, str | None, str]]]:
    """Ids of the rows, and the rows whose id occurred before."""
    if not all(name in data for name in IDS):
        return None, []
    parts = [data[name].astype(np.int64).tolist() for name in IDS]
    ids = [f"{release}-{brick}-{objid}" for release, brick, objid in zip(*parts, strict=True)]
    if len(set(ids)) == n_row:
        return ids, []
    seen: dict[str, int] = {}
    twice: list[tuple[int, str | None, str]] = []
    for row, native in enumerate(ids):
        first = seen.setdefault(native, row)
        if first != row:
            twice.append((row, native, f"the id {native} is that of row {first}"))
    return ids, twice


def _missing_as_nan(data: dict[str, npt.NDArray[Any]], n_row: int) -> npt.NDArray[np.bool_]:
    """Replace infinite values and missing redshifts by NaN, in place of the arrays; return rows with infinite ones."""
    infinite = np.zeros(n_row, np.bool_)
    for name, values in data.items():
        if values.dtype.kind != "f":
            continue
        found = np.isinf(values)
        infinite |= found.any(axis=1) if values.ndim == 2 else found
        missing = found | (values == _REDSHIFT_MISSING) if name.startswith("z_") else found
        if missing.any():
            data[name] = np.where(missing, np.nan, values).astype(values.dtype)
    return infinite


def _per_band(values: npt.NDArray[Any] | None, n_band: int) -> npt.NDArray[np.float32] | None:
    if values is None or values.ndim != 2 or values.shape[1] != n_band:
        return None
    return np.asarray(values, np.float32)


def _split(
    data: dict[str, npt.NDArray[Any]], bands: tuple[str, ...]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Columns of the survey's table, one a band where the dataset has two dimensions, and all others."""
    survey: dict[str, npt.NDArray[Any]] = {}
    extra: dict[str, npt.NDArray[Any]] = {}
    for name, values in data.items():
        target = _RENAMED.get(name, name)
        if values.ndim == 1 and target in _COLUMNS:
            survey[target] = values
            continue
        per_band = [f"{target}_{band}" for band in bands]
        if values.ndim == 2 and values.shape[1] == len(bands) and _COLUMNS.issuperset(per_band):
            survey.update({column: values[:, i] for i, column in enumerate(per_band)})
        else:
            extra[name] = values
    return survey, extra
