"""The files of a simulated survey, found by their kind and read as columns.

Every table may be one file or one a shard (`truth.fits`, `truth-00000.fits`): they are found by pattern.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from galbase.ml.diagnostics.check import NotInSurveyError
from galbase.schema.errors import GalbaseError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# what the MPA-JHU catalogue writes for a missing value
_MISSING = -9999.0


class Table:
    """Columns of one or several FITS tables, by lower-case name."""

    def __init__(self, what: str, paths: list[Path]) -> None:
        self.what, self.paths = what, paths
        self._column: dict[str, NDArray[Any]] = {}
        parts: list[dict[str, NDArray[Any]]] = []
        for path in paths:
            try:
                with fits.open(path, memmap=False) as hdus:
                    data = hdus[1].data
                    parts.append({name.lower(): _native(data[name]) for name in data.names})
            except (OSError, IndexError, TypeError, AttributeError) as error:
                raise GalbaseError(f"{path} cannot be read as a FITS table: {error}") from error
        for name in parts[0] if parts else ():
            if all(name in part for part in parts):
                self._column[name] = np.concatenate([part[name] for part in parts])

    def __len__(self) -> int:
        return len(next(iter(self._column.values()))) if self._column else 0

    def __contains__(self, name: str) -> bool:
        return name in self._column

    @property
    def names(self) -> list[str]:
        """Columns."""
        return list(self._column)

    def raw(self, name: str) -> NDArray[Any]:
        """A column as it is stored.

        Raises
        ------
        NotInSurveyError
            If there is none.
        """
        if name not in self._column:
            where = self.paths[0].name if self.paths else "no file"
            raise NotInSurveyError(f"the {self.what} ({where}) has no column {name}")
        return self._column[name]

    def __getitem__(self, name: str) -> FloatArray:
        """A column as float64; the missing value -9999 becomes NaN."""
        value = np.asarray(self.raw(name), dtype=np.float64)
        return np.where(value == _MISSING, np.nan, value)


def _native(column: Any) -> NDArray[Any]:
    array = np.asarray(column)
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.byteorder == ">" else array


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One SDSS spec file; arrays are (n_pixel,) float64.

    Attributes
    ----------
    name : str
        File name.
    wave, flux, ivar : float64
        Vacuum wavelength [A], flux and inverse variance [1e-17 erg/s/cm2/A]; ivar is 0 where masked.
    model : float64
        The pipeline's model; the noise-free spectrum of a simulated file.
    wdisp : float64
        Width of the line spread function [px].
    z : float
        Redshift.
    plate, mjd, fiber : int
        Address.
    signal_to_noise : float
        SN_MEDIAN_ALL, NaN where the file has none.
    lines : dict of str to (area, sigma, area_err, z)
        SPZLINE by line name: area [1e-17 erg/s/cm2], sigma [km/s], redshift.
    """

    name: str
    wave: FloatArray
    flux: FloatArray
    ivar: FloatArray
    model: FloatArray
    wdisp: FloatArray
    z: float
    plate: int
    mjd: int
    fiber: int
    signal_to_noise: float
    lines: dict[str, tuple[float, float, float, float]]

    @property
    def rest(self) -> FloatArray:
        """Rest-frame wavelength [A]."""
        return self.wave / (1 + self.z)


def read_spectrum(path: Path) -> Spectrum:
    """Read an SDSS spec file.

    Raises
    ------
    GalbaseError
        If it is none.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            coadd, one = hdus[1].data, hdus[2].data[0]
            names = {name.lower(): name for name in hdus[1].data.names}
            field = {name.upper() for name in hdus[2].data.names}
            flux = np.asarray(coadd[names["flux"]], dtype=np.float64)
            width = np.asarray(coadd[names["wdisp"]], dtype=np.float64) if "wdisp" in names else flux * np.nan
            ivar = np.asarray(coadd[names["ivar"]], dtype=np.float64)
            lines = {}
            if len(hdus) > 3 and "LINENAME" in getattr(hdus[3].data, "names", []):
                for row in hdus[3].data:
                    lines[str(row["LINENAME"]).strip()] = (
                        float(row["LINEAREA"]), float(row["LINESIGMA"]), float(row["LINEAREA_ERR"]), float(row["LINEZ"])
                    )  # fmt: skip
            return Spectrum(
                path.name, 10.0 ** np.asarray(coadd[names["loglam"]], dtype=np.float64), flux, ivar,
                np.asarray(coadd[names["model"]], dtype=np.float64), width, float(one["Z"]), int(one["PLATE"]),
                int(one["MJD"]), int(one["FIBERID"]),
                float(one["SN_MEDIAN_ALL"]) if "SN_MEDIAN_ALL" in field else float("nan"), lines,
            )  # fmt: skip
    except (OSError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise GalbaseError(f"{path} is no SDSS spec file: {error}") from error


class SurveyFiles:
    """A folder written by `galbase simulate`.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    GalbaseError
        If the folder holds no simulated survey.
    """

    def __init__(self, folder: Path) -> None:
        record = folder / "simulation.json"
        if not record.is_file():
            raise GalbaseError(f"{folder} has no simulation.json; make a survey with galbase simulate --out {folder}.")
        self.folder = folder
        self.record: dict[str, Any] = json.loads(record.read_text())

    def _table(self, what: str, *patterns: str) -> Table:
        paths = sorted({path for pattern in patterns for path in self.folder.glob(pattern)})
        if not paths:
            raise NotInSurveyError(f"the survey has no {what} ({' or '.join(patterns)})")
        return Table(what, paths)

    @cached_property
    def truth(self) -> Table:
        """The noise-free truth, one row a galaxy."""
        return self._table("truth table", "truth*.fits", "truth/*.fits")

    @cached_property
    def sweep(self) -> Table:
        """The Legacy-Surveys-like catalogue."""
        return self._table("sweep table", "legacysurvey/sweep*.fits", "legacysurvey/sweep/*.fits")

    @cached_property
    def labels(self) -> Table:
        """The MPA-JHU-like catalogue."""
        return self._table("galSpec table", "sdss/galSpec*.fits")

    @cached_property
    def stellarpop(self) -> Table:
        """Ages and metallicities measured on the spectra."""
        return self._table("table of stellar populations", "sdss/stellarpop*.fits")

    @property
    def decorrelated(self) -> bool:
        """Whether the survey was made as a null test: morphology that knows nothing of the galaxy."""
        places = (self.record, self.record.get("parameters", {}))
        return any(
            bool(place.get(name, False)) for place in places for name in ("decorrelated", "decorrelate_morphology")
        )

    @cached_property
    def sweep_of_truth(self) -> IntArray:
        """Row of the sweep table for each row of the truth, by release, brick and object."""
        return self._rows(self.sweep, _legacy_key(self.sweep), _legacy_key(self.truth))

    def truth_of(self, table: Table) -> IntArray:
        """Row of the truth for each row of a table with `specobjid`."""
        return self._rows(self.truth, self.truth.raw("specobjid"), table.raw("specobjid"))

    def _rows(self, table: Table, key: NDArray[Any], wanted: NDArray[Any]) -> IntArray:
        order = np.argsort(key, kind="stable")
        place = np.clip(np.searchsorted(key[order], wanted), 0, len(key) - 1)
        rows = order[place]
        lost = np.count_nonzero(key[rows] != wanted)
        if lost:
            raise GalbaseError(f"{lost} of {len(wanted)} objects are missing from the {table.what} of {self.folder}.")
        return np.asarray(rows, dtype=np.int64)

    @cached_property
    def spectrum_paths(self) -> list[Path]:
        """The spec files."""
        return sorted((self.folder / "sdss").rglob("spec-*.fits")) if (self.folder / "sdss").is_dir() else []

    @cached_property
    def spectra(self) -> list[Spectrum]:
        """Up to 600 spectra, spread over the files.

        Raises
        ------
        NotInSurveyError
            If there are none.
        """
        paths = self.spectrum_paths
        if not paths:
            raise NotInSurveyError("the survey has no spectra (sdss/spectra/spec-*.fits); simulate with --spectra")
        chosen = np.unique(np.linspace(0, len(paths) - 1, min(600, len(paths))).astype(int))
        return [read_spectrum(paths[k]) for k in chosen]

    @cached_property
    def truth_of_spectra(self) -> IntArray:
        """Row of the truth for each of `spectra`, by plate, MJD and fibre of the labels."""
        labels = self.labels
        plate = "plateid" if "plateid" in labels else "plate"
        known = {
            (int(p), int(m), int(f)): row
            for row, (p, m, f) in enumerate(
                zip(labels.raw(plate), labels.raw("mjd"), labels.raw("fiberid"), strict=True)
            )
        }
        truth = self.truth_of(labels)
        rows = []
        for spectrum in self.spectra:
            address = (spectrum.plate, spectrum.mjd, spectrum.fiber)
            if address not in known:
                raise GalbaseError(f"{spectrum.name} is not in the survey's galSpec table.")
            rows.append(truth[known[address]])
        return np.array(rows, dtype=np.int64)

    def shards(self, survey: str = "legacysurvey") -> list[Path]:
        """HDF5 shards of images.

        Raises
        ------
        NotInSurveyError
            If there are none.
        """
        found = sorted((self.folder / survey).rglob("*.h5"))
        if not found:
            raise NotInSurveyError(f"the survey has no image shards ({survey}/*.h5)")
        return found

    def stamps(self, rows: IntArray, survey: str = "legacysurvey") -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Images (n_band, ny, nx) of rows of the truth, in the shards' order; one at a time."""
        import h5py

        wanted = {int(row) for row in rows}
        first = 0
        for path in self.shards(survey):
            with h5py.File(path, "r") as file:
                n = file["images"].shape[0]
                index = np.asarray(file["inds"]) if "inds" in file else np.arange(first, first + n)
                for place, row in enumerate(index):
                    if int(row) in wanted:
                        yield int(row), np.asarray(file["images"][place], dtype=np.float32)
                first += n


def _legacy_key(table: Table) -> IntArray:
    release, brick, objid = (table.raw(name).astype(np.int64) for name in ("release", "brickid", "objid"))
    key: IntArray = (release << 48) | (brick << 24) | objid
    return key
