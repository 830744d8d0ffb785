"""Spectra of the archive as network inputs, read from their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galbase.ingest.preprocess.spectrum import prepare_spectrum, read_spectrum_rows, spectrum_form

if TYPE_CHECKING:
    import psycopg

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SpectrumRow:
    """A spectrum in its file.

    Parameters
    ----------
    observation_id : int
    path : Path
    format : str
        As ingested.
    row_index : int
        Row in the file.
    wave_min_angstrom : float
        Least wavelength, vacuum.
    z : float or None
        Redshift of the spectrum's file; None where it tells none.
    """

    observation_id: int
    path: Path
    format: str
    row_index: int
    wave_min_angstrom: float
    z: float | None


def spectrum_rows(connection: psycopg.Connection[Any], observation_id: Sequence[int]) -> list[SpectrumRow]:
    """Spectra with their files, in order of file and row."""
    rows = connection.execute(
        "SELECT o.observation_id, d.path, f.path, f.format, o.row_index, s.wave_min_angstrom, s.z "
        "FROM archive.observation o JOIN archive.spectrum s USING (observation_id) "
        "JOIN archive.data_file f ON f.data_file_id = o.data_file_id JOIN archive.data_root d USING (data_root_id) "
        "WHERE o.observation_id = ANY(%s) ORDER BY f.data_file_id, o.row_index",
        (list(observation_id),),
    ).fetchall()
    return [SpectrumRow(row[0], Path(row[1]) / row[2], *row[3:]) for row in rows]


def load_spectra(rows: Sequence[SpectrumRow], kind: str) -> tuple[Float32, Float32]:
    """Planes ``(n, n_wave, n_channel)`` and raw scalars ``(n, n_scalar)`` of spectra, in their order.

    Parameters
    ----------
    rows : sequence of SpectrumRow
    kind : str
        A key of `ingest.preprocess.spectrum.FORMS`.

    Raises
    ------
    GalbaseError
        If a file is missing or damaged, or a redshift that is needed is missing.
    """
    form = spectrum_form(kind)
    planes = np.empty((len(rows), form.n_wave, form.n_channel), np.float32)
    scalars = np.empty((len(rows), form.n_scalar), np.float32)
    by_file: dict[Path, list[int]] = {}
    for place, row in enumerate(rows):
        by_file.setdefault(row.path, []).append(place)
    for path, places in by_file.items():
        chosen = [rows[place] for place in places]
        first = chosen[0]
        found = read_spectrum_rows(path, first.format, [row.row_index for row in chosen], first.wave_min_angstrom)
        for place, row, pixels in zip(places, chosen, found, strict=True):
            planes[place], scalars[place] = prepare_spectrum(pixels, row.z, kind)
    return planes, scalars
