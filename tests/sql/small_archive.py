"""A small archive with everything that the views join, known in Python as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import healpy
import numpy as np
import psycopg

N_GALAXY = 60
N_DIMENSION = 16
SIMULATED, REAL, SDSS = 1, 2, 3
MODEL, OTHER_MODEL = 1, 2


@dataclass(frozen=True)
class SmallArchive:
    """What was written; galaxy i has the galaxy_id ``1000 + i`` and image embedding ``vec[i]``.

    Galaxies 0 to 39 have an image of the simulated release, 40 to 49 one of the real release (10 of the first have a
    second image in it too), 50 to 59 none. SDSS sources have ids ``3000 + i``, for galaxies 0 to 29.
    """

    flux: Any
    ivar: Any
    transmission: Any
    value: Any
    label: Any
    vec: Any
    image_of: dict[int, int]


def fill_small_archive(connection: psycopg.Connection[Any]) -> SmallArchive:
    """Write the archive; the connection commits by itself."""
    rng = np.random.default_rng(11)
    _releases(connection)
    ra, dec = rng.uniform(10, 11, N_GALAXY), rng.uniform(-1, 1, N_GALAXY)
    pixel = healpy.ang2pix(1 << 29, ra, dec, nest=True, lonlat=True)
    has_real = [i for i in range(N_GALAXY) if i < 10 or i >= 40]
    sources = [(1000 + i, SIMULATED, i) for i in range(40)] + [
        ((2000 if i < 40 else 1000) + i, REAL, i) for i in has_real
    ]
    sources += [(3000 + i, SDSS, i) for i in range(30)]
    for source, release, i in sources:
        connection.execute(
            "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29) VALUES (%s,%s,%s,%s,%s,%s)",
            (source, release, str(source), ra[i], dec[i], int(pixel[i])),
        )
    for i in range(N_GALAXY):
        members = [source for source, _, at in sources if at == i]
        connection.execute(
            "INSERT INTO archive.galaxy (galaxy_id, ra, dec, hpx29, n_member) VALUES (%s,%s,%s,%s,%s)",
            (1000 + i, ra[i], dec[i], int(pixel[i]), len(members)),
        )
        for source in members:
            connection.execute("INSERT INTO archive.galaxy_member VALUES (%s, %s, %s)", (source, 1000 + i, 0.1))
    flux = rng.uniform(1, 100, (N_GALAXY, 3)).astype("f4")
    ivar = rng.uniform(1, 100, (N_GALAXY, 3)).astype("f4")
    flux[3, 0], flux[4, 1], ivar[5, 2] = 0.0, -2.5, 0.0
    transmission = rng.uniform(0.7, 1, (N_GALAXY, 3)).astype("f4")
    transmission[6, 0] = 0.0
    for i in range(N_GALAXY):
        _photometry(connection, i, flux[i], ivar[i], transmission[i])
    label = rng.normal(10.5, 0.5, 30)
    for i in range(30):
        _spectrum(connection, i, float(label[i]))
    value = rng.normal(10.5, 0.5, N_GALAXY).astype("f4")
    vec = rng.normal(size=(N_GALAXY, N_DIMENSION))
    vec = (vec / np.linalg.norm(vec, axis=1, keepdims=True)).astype("f2")
    _models(connection)
    image_of = _images(connection, sources, value, vec)
    connection.execute("ANALYZE")
    return SmallArchive(flux, ivar, transmission, value, label, vec, image_of)


def _releases(connection: psycopg.Connection[Any]) -> None:
    for number, name, simulated in ((SIMULATED, "sim-image", True), (REAL, "real-image", False), (SDSS, "sdss", True)):
        connection.execute(
            "INSERT INTO archive.data_release (release_id, release, survey, licence, citation, priority, simulated) "
            "OVERRIDING SYSTEM VALUE VALUES (%s, %s, 'test', 'CC0-1.0', 'Müller et al. (2020)', %s, %s)",
            (number, name, number * 10, simulated),
        )
    connection.execute("INSERT INTO archive.data_root (path) VALUES ('/nowhere')")
    for number in (SIMULATED, REAL, SDSS):
        connection.execute(
            "INSERT INTO archive.data_file (data_file_id, release_id, data_root_id, path, format, size_bytes, mtime, "
            "state) OVERRIDING SYSTEM VALUE VALUES (%s, %s, 1, %s, 'hdf5', 0, now(), 'loaded')",
            (number, number, f"file-{number}"),
        )


def _photometry(connection: psycopg.Connection[Any], i: int, flux: Any, ivar: Any, transmission: Any) -> None:
    table = "legacysurvey_dr8_object" if i % 5 == 4 else "legacysurvey_dr9_object"
    connection.execute(
        f"INSERT INTO archive.{table} (source_id, type, flux_g, flux_r, flux_z, flux_ivar_g, flux_ivar_r, "  # noqa: S608
        "flux_ivar_z, mw_transmission_g, mw_transmission_r, mw_transmission_z) "
        "VALUES (%s, 'EXP', %s, %s, %s, %s, %s, %s, %s, %s, %s)".encode(),
        (1000 + i, *map(float, flux), *map(float, ivar), *map(float, transmission)),
    )


def _spectrum(connection: psycopg.Connection[Any], i: int, label: float) -> None:
    connection.execute(
        "INSERT INTO archive.sdss_galaxy (source_id, specobjid, spectrotype, reliable, z, z_err, z_warning, sn_median, "
        "lgm_fib_p50, specsfr_fib_p50) VALUES (%s, %s, %s, %s, 0.1, 0.001, %s, %s, %s, %s)",
        (
            3000 + i, 2**63 + i, "QSO" if i == 1 else "GALAXY", 0 if i == 2 else 1, 4 if i == 3 else 0,
            2.0 if i == 4 else 10.0, label, None if i == 5 else -10,
        ),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO archive.reference_value (source_id, property_id, origin, value, err) "
        "SELECT %s, property_id, 'mpa-jhu', CASE name WHEN 'log_mstar_fib' THEN %s ELSE -10 END, 0.1 "
        "FROM archive.property WHERE name = 'log_mstar_fib' OR name = 'log_ssfr_fib' AND %s",
        (3000 + i, label, i != 5),
    )


def _models(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "INSERT INTO archive.preprocess_config (preprocess_config_id, name, hash, parameters) "
        "OVERRIDING SYSTEM VALUE VALUES (1, 'galeffnet', 'h', '{}')"
    )
    connection.execute(
        "INSERT INTO archive.training_set (training_set_id, name, selection, seed, preprocess_config_id, label_origin, "
        "simulated, n_member, hash) OVERRIDING SYSTEM VALUE "
        "VALUES (1, 'set', 'galeffnet', 1, 1, 'mpa-jhu', true, 9, '')"
    )
    for number, name, state in ((MODEL, "served", "current"), (OTHER_MODEL, "other", "candidate")):
        connection.execute(
            "INSERT INTO archive.model (model_id, name, family, mode, preset, options, code_version, "
            "preprocess_config_id, training_set_id, trained_on, weights_sha256, state) OVERRIDING SYSTEM VALUE "
            "VALUES (%s, %s, 'galeffnet', 'improved', 'tiny', '{}', '1', 1, 1, 'simulation', '', %s)",
            (number, name, state),
        )
        connection.execute(
            "INSERT INTO archive.model_property SELECT %s, property_id, 0 FROM archive.property "
            "WHERE name = 'log_mstar_fib'",
            (number,),
        )
        for table in ("prediction", "embedding"):
            connection.execute(
                f"CREATE TABLE archive.{table}_{number} PARTITION OF archive.{table} FOR VALUES IN ({number})".encode()
            )
    connection.execute(
        "INSERT INTO archive.served_model (property_id, input_kind, model_id) "
        "SELECT property_id, 'image', %s FROM archive.property WHERE name = 'log_mstar_fib'",
        (MODEL,),
    )


def _images(connection: psycopg.Connection[Any], sources: Any, value: Any, vec: Any) -> dict[int, int]:
    """Images with verdict, prediction and embedding; galaxy 7's is not kept. Returns the observation by source."""
    made: dict[int, int] = {}
    for source, release, i in sources:
        if release == SDSS or i >= 50:
            continue
        number = len(made) + 1
        made[source] = number
        kept = i != 7
        connection.execute(
            "INSERT INTO archive.observation (observation_id, kind, source_id, release_id, data_file_id, row_index) "
            "OVERRIDING SYSTEM VALUE VALUES (%s, 'image', %s, %s, %s, %s)",
            (number, source, release, release, number),
        )
        connection.execute(
            "INSERT INTO archive.image (observation_id, bands, width, height, is_display) "
            "VALUES (%s, '{g,r,z}', 152, 152, false)",
            (number,),
        )
        connection.execute(
            "INSERT INTO archive.preprocess (observation_id, preprocess_config_id, flag, kept, input_hash) "
            "VALUES (%s, 1, %s, %s, '')",
            (number, 0 if kept else 256 + 8, kept),
        )
        if not kept:
            continue
        hidden = 1 if release == REAL else 0
        # The second image of a galaxy, in the release that comes later, has another value and vector.
        shown = float(value[i]) + (5 if source >= 2000 else 0)
        direction = vec[(i + 1) % len(vec)] if source >= 2000 else vec[i]
        for model in (MODEL, OTHER_MODEL):
            off = 0.0 if model == MODEL else 1.0
            connection.execute(
                "INSERT INTO archive.prediction (model_id, property_id, observation_id, source_id, value, err, q16, "
                "q50, q84, flag, input_hash) SELECT %s, property_id, %s, %s, %s, 0.2, %s, %s, %s, %s, '' "
                "FROM archive.property WHERE name = 'log_mstar_fib'",
                (model, number, source, shown + off, shown - 0.2, shown, shown + 0.2, hidden),
            )
            connection.execute(
                "INSERT INTO archive.embedding (model_id, observation_id, source_id, vec, flag, input_hash) "
                "VALUES (%s, %s, %s, %s::halfvec, %s, '')",
                (model, number, source, str(direction.tolist()), hidden),
            )
    return made
