"""A small archive of round galaxies whose labels follow from their fluxes, written to the tables directly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from galbase.ingest.preprocess.config import preset
from galbase.schema import files
from galbase.schema.healpix import hpx29

SIDE = 64
PIXEL_SCALE = 0.262


@dataclass(frozen=True)
class Galaxies:
    """What was written: positions and labels in order of the rows of the file."""

    observation_id: list[int]
    source_id: list[int]
    ra: np.ndarray
    dec: np.ndarray
    label: np.ndarray
    path: Path


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 64, 64) of Gaussian galaxies, and labels: mass grows with flux, sSFR with blueness."""
    rng = np.random.default_rng(seed)
    mass, ssfr = rng.uniform(9, 11, n), rng.uniform(-12, -9, n)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    profile = np.exp(-(x**2 + y**2) / (2 * 4.0**2))
    total = 10 ** (mass - 10)
    bands = np.stack([total * 10 ** (0.2 * (ssfr + 11)), total, total * 1.4], axis=1)
    images = 0.02 * bands[:, :, None, None] * profile + rng.normal(0, 0.001, (n, 3, SIDE, SIDE))
    return images.astype(np.float32), np.column_stack([mass, ssfr])


def write_galaxies(
    connection: Any, path: Path, n: int, seed: int, centre: tuple[float, float] = (160.0, 10.0)
) -> Galaxies:
    """Write `n` galaxies as one HDF5 file and as rows that ingest, crossmatch and preprocessing would write."""
    rng = np.random.default_rng(seed + 1000)
    images, label = blobs(n, seed)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(1, 3, SIDE, SIDE))
    ra, dec = centre[0] + rng.uniform(-10, 10, n), centre[1] + rng.uniform(-10, 10, n)
    releases = {}
    for name in ("round-images", "round-spectra"):
        row = connection.execute(
            "INSERT INTO archive.data_release (release, survey, simulated) VALUES (%s, 'round', true) "
            "ON CONFLICT (release) DO UPDATE SET survey = 'round' RETURNING release_id",
            (name,),
        ).fetchone()
        releases[name] = row[0]
    config = preset("galeffnet")
    config_id = connection.execute(
        "INSERT INTO archive.preprocess_config (name, hash, parameters) VALUES ('galeffnet', %s, %s::jsonb) "
        "ON CONFLICT (hash) DO UPDATE SET name = 'galeffnet' RETURNING preprocess_config_id",
        (config.hash(), json.dumps(config.to_dict())),
    ).fetchone()[0]
    file_id = files.record_file(
        connection, release_id=releases["round-images"], root_id=files.register_root(connection, path.parent),
        path=path.name, format="hdf5", facts=files.file_facts(path), options_hash="", state="loaded", n_row=n,
    )  # fmt: skip
    pixels = hpx29(ra, dec)
    observations, sources = [], []
    for k in range(n):
        image_source = (int(pixels[k]) >> 34 << 35) + 2 * (seed * 10_000 + k)
        for source, release in ((image_source, "round-images"), (image_source + 1, "round-spectra")):
            connection.execute(
                "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29) "
                "VALUES (%s, %s, %s, %s, %s, %s)",
                (source, releases[release], f"{seed}-{k}", ra[k], dec[k], int(pixels[k])),
            )
        connection.execute(
            "INSERT INTO archive.galaxy (galaxy_id, ra, dec, hpx29, n_member) VALUES (%s, %s, %s, %s, 2)",
            (image_source, ra[k], dec[k], int(pixels[k])),
        )
        for source in (image_source, image_source + 1):
            connection.execute("INSERT INTO archive.galaxy_member VALUES (%s, %s, 0)", (source, image_source))
        connection.execute(
            "INSERT INTO archive.sdss_galaxy (source_id, spectrotype, reliable, z, z_warning, sn_median, lgm_fib_p50, "
            "specsfr_fib_p50) VALUES (%s, 'GALAXY', 1, 0.1, 0, 12, %s, %s)",
            (image_source + 1, label[k, 0], label[k, 1]),
        )
        for name, value in zip(("log_mstar_fib", "log_ssfr_fib"), label[k], strict=True):
            connection.execute(
                "INSERT INTO archive.reference_value (source_id, property_id, origin, value) "
                "SELECT %s, property_id, 'mpa-jhu', %s::real FROM archive.property WHERE name = %s",
                (image_source + 1, value, name),
            )
        observation = connection.execute(
            "INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index) "
            "VALUES ('image', %s, %s, %s, %s) RETURNING observation_id",
            (image_source, releases["round-images"], file_id, k),
        ).fetchone()[0]
        connection.execute(
            "INSERT INTO archive.image (observation_id, bands, pixel_scale_arcsec, width, height, is_display) "
            "VALUES (%s, '{g,r,z}', %s, %s, %s, false)",
            (observation, PIXEL_SCALE, SIDE, SIDE),
        )
        connection.execute(
            "INSERT INTO archive.preprocess (observation_id, preprocess_config_id, flag, kept, ellipse_x, ellipse_y, "
            "ellipse_a, ellipse_b, ellipse_theta, input_hash) VALUES (%s, %s, 0, true, 31.5, 31.5, 10, 9, 0, %s)",
            (observation, config_id, f"verdict-{seed}-{k}"),
        )
        observations.append(observation)
        sources.append(image_source)
    return Galaxies(observations, sources, ra, dec, label, path)


@pytest.fixture(scope="session")
def make_galaxies() -> Callable[..., Galaxies]:
    """The writer of galaxies."""
    return write_galaxies


@pytest.fixture(scope="module")
def filled(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Galaxies]:
    """The module's archive with 700 galaxies."""
    path = tmp_path_factory.mktemp("images") / "round.h5"
    with archive.connect() as connection:
        made = write_galaxies(connection, path, 700, 1)
    return archive, made
