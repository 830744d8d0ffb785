"""The main question on a large archive: massive galaxies that form no stars, over all the sky and in a cone.

A million galaxies with six predicted properties, asked through `api.galaxy_property`, and beside it, in the same run,
the same question to a flat table of the answers with the same indexes, which is what a user would export for himself.
Warm; medians of wall time and of the server's CPU time, one JSON line a case. Targets: 200 ms, in a cone 20 ms.

Then what it costs to keep the served values: units of predictions written by a model that serves and by one that does
not, promotion of a model with all its values, and a load of detections.

    python benchmarks/galaxy_property.py --galaxies 1000000
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
from selections import timed
from sky_server import report

from galbase.ingest.galaxies import add_galaxies
from galbase.schema.bulk import upsert
from galbase.schema.config import Config
from galbase.schema.database import admin_url, connect, connect_url
from galbase.schema.server import stop_server
from galbase.schema.upgrade import upgrade

PROPERTIES = ("log_mstar_fib", "log_mstar_tot", "log_ssfr_fib", "log_ssfr_tot", "oh12", "log_age")
# Galaxies 8 k, 100 a square degree as in a redshift survey; one image each, masses and rates as of a main sample.
FILL = """
CREATE TEMP TABLE k AS
SELECT k, (7.0 * k / {n} * 51.4) AS ra, degrees(asin((k * 0.618033988749895)::numeric % 1.0 * {n} / 1e6 / 2)) AS "dec"
FROM generate_series(0, {n} - 1) k;
INSERT INTO archive.data_release (release_id, release, survey, priority, simulated) OVERRIDING SYSTEM VALUE
VALUES (1, 'image', 'bench', 1, true);
INSERT INTO archive.data_root (data_root_id, path) OVERRIDING SYSTEM VALUE VALUES (1, '/nowhere');
INSERT INTO archive.data_file (data_file_id, release_id, data_root_id, path, format, size_bytes, mtime, state)
OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'image', 'hdf5', 0, now(), 'loaded');
INSERT INTO archive.preprocess_config (preprocess_config_id, name, hash, parameters) OVERRIDING SYSTEM VALUE
VALUES (1, 'galeffnet', 'a', '{}');
INSERT INTO archive.training_set (training_set_id, name, selection, seed, preprocess_config_id, label_origin, simulated,
    n_member, hash) OVERRIDING SYSTEM VALUE VALUES (1, 'set', 'galeffnet', 1, 1, 'mpa-jhu', true, 9, '');
INSERT INTO archive.model (model_id, name, family, mode, preset, options, code_version, preprocess_config_id,
    training_set_id, trained_on, weights_sha256, state) OVERRIDING SYSTEM VALUE
SELECT k, 'model ' || k, 'galeffnet', 'improved', 'tiny', '{}', '1', 1, 1, 'simulation', '', 'candidate'
FROM generate_series(1, 3) k;
SET ROLE galbase_owner;
CREATE TABLE archive.prediction_1 (LIKE archive.prediction INCLUDING DEFAULTS);
CREATE TABLE archive.prediction_2 (LIKE archive.prediction INCLUDING DEFAULTS);
CREATE TABLE archive.prediction_3 PARTITION OF archive.prediction FOR VALUES IN (3);
RESET ROLE;
INSERT INTO archive.source (source_id, release_id, native_id, ra, "dec", hpx29)
SELECT 8 * k, 1, k::text, ra, "dec", api.healpix(ra, "dec", 29) FROM k ORDER BY 6;
INSERT INTO archive.galaxy (galaxy_id, ra, "dec", hpx29, n_member)
SELECT source_id, ra, "dec", hpx29, 1 FROM archive.source ORDER BY hpx29;
INSERT INTO archive.legacysurvey_dr9_object (source_id, type, flux_r, flux_ivar_r)
SELECT 8 * k, 'EXP', 1 + k % 100, 10 FROM k;
INSERT INTO archive.sdss_galaxy (source_id, z, z_err, z_warning) SELECT 8 * k, 0.1, 1e-4, 0 FROM k WHERE k % 2 = 0;
INSERT INTO archive.galaxy_member (source_id, galaxy_id, separation_arcsec)
SELECT source_id, source_id, 0 FROM archive.source ORDER BY hpx29;
INSERT INTO archive.observation (observation_id, kind, source_id, release_id, data_file_id, row_index)
OVERRIDING SYSTEM VALUE SELECT k + 1, 'image', 8 * k, 1, 1, k FROM k ORDER BY k;
INSERT INTO archive.prediction_1 (model_id, property_id, observation_id, source_id, value, err, q025, q05, q16, q50,
    q84, q95, q975, flag, input_hash)
SELECT 1, p.property_id, k + 1, 8 * k, v, 0.2, v - 0.4, v - 0.33, v - 0.2, v, v + 0.2, v + 0.33, v + 0.4, 0,
       repeat('a', 32)
FROM archive.property p CROSS JOIN k CROSS JOIN LATERAL (
    SELECT CASE WHEN p.name ~ 'mstar' THEN 10.6 + 0.5 * sqrt(-2 * ln((hashint8(8 * k + 1) & 65535) / 65536.0 + 1e-6))
                     * cos(6.2832 * (hashint8(8 * k + 2) & 65535) / 65536)
                WHEN p.name ~ 'ssfr' THEN CASE WHEN hashint8(8 * k + 3) % 2 = 0 THEN -12 ELSE -10 END
                     + 0.6 * ((hashint8(8 * k + 4) & 65535) / 65536.0 - 0.5)
                ELSE 9 END) x (v)
WHERE p.name = ANY({names}) ORDER BY 2, 3;
INSERT INTO archive.prediction_2 (model_id, property_id, observation_id, source_id, value, err, q025, q05, q16, q50,
    q84, q95, q975, flag, input_hash)
SELECT 2, property_id, observation_id, source_id, value + 0.1, err, q025, q05, q16, q50, q84, q95, q975, flag,
       input_hash
FROM archive.prediction_1;
ALTER TABLE archive.prediction ATTACH PARTITION archive.prediction_1 FOR VALUES IN (1);
ALTER TABLE archive.prediction ATTACH PARTITION archive.prediction_2 FOR VALUES IN (2);
"""
PROMOTE = """
INSERT INTO archive.served_model (property_id, input_kind, model_id)
SELECT property_id, 'image', {model} FROM archive.property WHERE name = ANY({names})
ON CONFLICT (property_id, input_kind) DO UPDATE SET model_id = excluded.model_id
"""
FLAT = """
CREATE TABLE public.flat AS SELECT galaxy_id, ra, "dec", hpx29, z, mag_r, {columns} FROM api.galaxy_property
ORDER BY hpx29;
CREATE INDEX ON public.flat (galaxy_id);
CREATE INDEX ON public.flat (hpx29);
CREATE INDEX ON public.flat ((hpx29 >> 38));
CREATE INDEX ON public.flat ((hpx29 >> 42));
"""
WANTED = "log_mstar_tot > 11 AND log_ssfr_tot < -11"
CASES = (
    ("all sky, count", "SELECT count(*) FROM {} WHERE {wanted}", None, 200),
    (
        "all sky, sums over rows with error and quantiles",
        "SELECT count(*), round(sum((log_mstar_tot_err + log_mstar_tot_q16)::float8)::numeric, 3), max(ra) FROM {} "
        "WHERE {wanted}",
        None,
        200,
    ),
    (
        "cone of 10 arcmin, rows",
        'SELECT galaxy_id, ra, "dec", log_mstar_tot, log_ssfr_tot FROM {} WHERE {wanted} '
        'AND api.in_cone(hpx29, ra, "dec", %s, %s, 600)',
        21,
        20,
    ),
    (
        "cone of 10 arcmin, redshift, magnitude and two properties with errors",
        "SELECT galaxy_id, z, mag_r, log_mstar_tot, log_mstar_tot_err, log_ssfr_tot, log_ssfr_tot_err FROM {} "
        'WHERE {wanted} AND api.in_cone(hpx29, ra, "dec", %s, %s, 600)',
        21,
        20,
    ),
    (
        "one galaxy, all columns of the flat table",
        "SELECT {columns} FROM {} WHERE galaxy_id = 8 * %s",
        -21,
        20,
    ),
    (
        "all sky, redshift and magnitude of the galaxies wanted",
        "SELECT count(*), round(sum(z::float8)::numeric, 3), round(sum(mag_r)::numeric, 3) FROM {} WHERE {wanted}",
        None,
        None,
    ),
)
UNIT_ROWS = 256
N_UNIT = 40
COLUMNS = (
    *("model_id", "property_id", "observation_id", "source_id", "value", "err", "q025", "q05", "q16", "q50", "q84"),
    *("q95", "q975", "flag", "input_hash"),
)


def measure(connection: psycopg.Connection[Any], n: int) -> None:
    """All cases, through the view and from the flat table."""
    columns = [f"{name}{end}" for name in PROPERTIES for end in ("", "_err", "_q16", "_q84")]
    connection.execute(FLAT.replace("{columns}", ", ".join(columns)).encode())
    connection.execute("VACUUM ANALYZE public.flat")
    for case, template, places, target in CASES:
        statement = template.replace("{wanted}", WANTED).replace("{columns}", ", ".join(columns))
        given: list[tuple[Any, ...] | None] = [None] * 5
        if places:
            steps = [n * i // (abs(places) + 2) for i in range(1, abs(places) + 1)]
            given = [(k,) for k in steps]
        if places and places > 0:
            given = [
                connection.execute('SELECT ra, "dec" FROM archive.galaxy WHERE galaxy_id = 8 * %s', (k,)).fetchone()
                for k in steps
            ]
        found = {}
        for peer in ("api.galaxy_property", "public.flat"):
            timed(connection, statement.replace("{}", peer), given[:3])
            found[peer] = timed(connection, statement.replace("{}", peer), given)
        ours, flat = found["api.galaxy_property"], found["public.flat"]
        if ours[2] != flat[2]:
            raise SystemExit(f"{case}: {ours[2]} and {flat[2]} differ")
        report(
            case, galaxies=n, milliseconds=round(1e3 * ours[0], 2), cpu_ms=round(1e3 * ours[1], 1), target_ms=target,
            flat_milliseconds=round(1e3 * flat[0], 2), of_flat=round(ours[0] / flat[0], 2),
            first_row=str(ours[2]),
        )  # fmt: skip


def write_units(connection: psycopg.Connection[Any], model_id: int, shift: float, n: int) -> tuple[float, float]:
    """Write the predictions of units as `predict_unit` does; wall and the server's CPU seconds of one prediction."""
    numbers = connection.execute(
        "SELECT property_id FROM archive.property WHERE name = ANY(%s) ORDER BY 1", (list(PROPERTIES),)
    ).fetchall()
    backend = psutil.Process(connection.info.backend_pid)
    before, start = backend.cpu_times(), time.perf_counter()
    for unit in range(N_UNIT):
        first = n * unit // N_UNIT
        rows = [
            (model_id, each, k + 1, 8 * k, 9 + shift, 0.2, *[8.0] * 7, 0, f"{shift:032.3f}")
            for (each,) in numbers
            for k in range(first, first + UNIT_ROWS)
        ]
        with connection.transaction():
            upsert(
                connection, "archive", f"prediction_{model_id}", COLUMNS, rows,
                key=("model_id", "property_id", "observation_id"), compare=("input_hash", "source_id"),
                touch="modified_at",
            )  # fmt: skip
    wall, after = time.perf_counter() - start, backend.cpu_times()
    n_row = N_UNIT * UNIT_ROWS * len(numbers)
    return wall / n_row, (after.user + after.system - before.user - before.system) / n_row


def measure_renewal(connection: psycopg.Connection[Any], n: int) -> None:
    """What predictions cost with and without served values, in the rate of rows."""
    for case, shift in (("new", 1.0), ("changed", 2.0)):
        candidate = write_units(connection, 3, shift, n)
        report(
            f"predictions of a candidate, {case}", rows_per_s=round(1 / candidate[0]), cpu_us=round(1e6 * candidate[1])
        )
    serving = write_units(connection, 1, 3.0, n)
    report(
        "predictions of the serving model, changed", rows_per_s=round(1 / serving[0]), cpu_us=round(1e6 * serving[1]),
        of_candidate=round(serving[0] / candidate[0], 2),
    )  # fmt: skip


def measure_detections(connection: psycopg.Connection[Any], n: int) -> None:
    """Detections of another release that become galaxies of their own, with and without a serving model."""
    connection.execute(
        "INSERT INTO archive.data_release (release_id, release, survey, priority) OVERRIDING SYSTEM VALUE "
        "VALUES (2, 'new', 'bench', 9)"
    )
    for first, serving in ((9 * n, True), (10 * n, False)):
        connection.execute(
            "INSERT INTO archive.source (source_id, release_id, native_id, ra, dec, hpx29) SELECT 8 * k, release_id, "
            "k::text, 10, 10, api.healpix(10, 10, 29) FROM generate_series(%s, %s) k, archive.data_release "
            "WHERE release = 'new'",
            (first, first + n - 1),
        )
        if not serving:
            connection.execute("DELETE FROM archive.served_model")
        start = time.perf_counter()
        add_galaxies(connection)
        report("galaxies of new detections", galaxies=n, serving=serving, seconds=round(time.perf_counter() - start, 2))


def fill(config: Config, n: int, names: str) -> None:
    """Write the archive without checking references, which takes longer than all the rest."""
    with connect_url(admin_url(config), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(FILL.replace("{n}", str(n)).replace("{names}", names).encode())
        connection.execute("SELECT archive.watch_predictions(k) FROM generate_series(1, 3) k")


def promote(connection: psycopg.Connection[Any], model_id: int, names: str, n: int) -> None:
    """Let a model serve all properties at once."""
    backend = psutil.Process(connection.info.backend_pid)
    before, start = backend.cpu_times(), time.perf_counter()
    connection.execute(PROMOTE.replace("{model}", str(model_id)).replace("{names}", names).encode())
    wall, after = time.perf_counter() - start, backend.cpu_times()
    report(
        "promotion", galaxies=n, properties=len(PROPERTIES), seconds=round(wall, 1),
        cpu_s=round(after.user + after.system - before.user - before.system, 1),
    )  # fmt: skip


def main() -> None:
    """Make the archive, measure, remove it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=1_000_000)
    n = parser.parse_args().galaxies
    names = "ARRAY[" + ", ".join(f"'{name}'" for name in PROPERTIES) + "]"
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        config = Config(data_dir=Path(folder))
        try:
            upgrade(config)
            with connect(config, autocommit=True) as connection:
                fill(config, n, names)
                connection.execute("VACUUM ANALYZE")
                promote(connection, 1, names, n)
                connection.execute("VACUUM ANALYZE")
                measure(connection, n)
                measure_renewal(connection, n)
                promote(connection, 2, names, n)
                measure_detections(connection, n)
        finally:
            stop_server(config)


if __name__ == "__main__":
    main()
