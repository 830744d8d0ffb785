"""Round galaxies with gri images and spectra that tell age and metallicity, written to the tables directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from galbase.schema import files

WAVE = np.arange(3780.0, 8101.0, 4.0)


def label_of(label: np.ndarray) -> np.ndarray:
    """Age [log yr] and [M/H] of galaxies of given masses and sSFR: old where red, rich where massive."""
    return np.column_stack([9.5 - 0.3 * (label[:, 1] + 10.5), 0.3 * (label[:, 0] - 10)])


def spectra(label: np.ndarray, z: np.ndarray, seed: int) -> np.ndarray:
    """Continua that redden with age, with an absorption line at rest that deepens with metallicity."""
    rng = np.random.default_rng(seed)
    slope = 1.5 * (label[:, :1] - 9.5)
    rest = WAVE / (1 + z[:, None])
    line = np.exp(-(((rest - 5175) / 15) ** 2) / 2)
    flux = 10 * (WAVE / 5900) ** slope * (1 - (0.4 + 0.5 * label[:, 1:]).clip(0, 0.9) * line)
    return flux * rng.normal(1, 0.03, flux.shape)


def add_spectra(connection: Any, folder: Path, galaxies: Any) -> None:
    """Give each galaxy's spectroscopic source a spectrum and labels.

    The file is a stack of MaNGA's manner, one row a spectrum.
    """
    label = label_of(galaxies.label)
    n = len(label)
    z = np.random.default_rng(7).uniform(0.02, 0.2, n)
    flux = spectra(label, z, 8)
    path = folder / "spectra.fits"
    header = fits.Header({"VACUUM": True, "BUNIT": "1e-17 erg / (Angstrom s cm2)"})
    fits.HDUList([
        fits.PrimaryHDU(), fits.ImageHDU(flux.astype(np.float32), header, name="FLUX"),
        fits.ImageHDU(np.full(flux.shape, 10.0, np.float32), name="IVAR"), fits.ImageHDU(WAVE, name="WAVE"),
    ]).writeto(path)  # fmt: skip
    release = connection.execute("SELECT release_id FROM archive.data_release WHERE release = 'round-spectra'")
    release_id = release.fetchone()[0]
    file_id = files.record_file(
        connection, release_id=release_id, root_id=files.register_root(connection, folder), path=path.name,
        format="spectrum-stack", facts=files.file_facts(path), options_hash="", state="loaded", n_row=n,
    )  # fmt: skip
    for k in range(n):
        source = galaxies.source_id[k] + 1
        observation = connection.execute(
            "INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index) "
            "VALUES ('spectrum', %s, %s, %s, %s) RETURNING observation_id",
            (source, release_id, file_id, k),
        ).fetchone()[0]
        connection.execute(
            "INSERT INTO archive.spectrum (observation_id, wave_min_angstrom, wave_max_angstrom, n_pixel, z, "
            "z_warning, sn_median) VALUES (%s, %s, %s, %s, %s, 0, 20)",
            (observation, WAVE[0], WAVE[-1], len(WAVE), z[k]),
        )
        for name, value in zip(("log_age", "mh"), label[k], strict=True):
            connection.execute(
                "INSERT INTO archive.reference_value (source_id, property_id, origin, value) "
                "SELECT %s, property_id, 'ppxf', %s::real FROM archive.property WHERE name = %s",
                (source, float(value), name),
            )
