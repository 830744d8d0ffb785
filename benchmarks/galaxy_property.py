"""The main question on a large archive: massive galaxies that form no stars, over all the sky and in a cone.

A million galaxies with six predicted properties, asked through `api.galaxy_property`, and beside it, in the same run,
the same question to a flat table of the answers with the same indexes, which is what a user would export for himself.
Warm; medians of wall time and of the server's CPU time, one JSON line a case. Targets: 200 ms, in a cone 20 ms.

    python benchmarks/galaxy_property.py --galaxies 1000000
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from selections import timed
from sky_server import report

from galbase.schema.config import Config
from galbase.schema.database import connect
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
VALUES (1, 'served', 'galeffnet', 'improved', 'tiny', '{}', '1', 1, 1, 'simulation', '', 'current');
INSERT INTO archive.model_property SELECT 1, property_id, 0 FROM archive.property WHERE name = ANY({names});
INSERT INTO archive.served_model (property_id, input_kind, model_id)
SELECT property_id, 'image', 1 FROM archive.property WHERE name = ANY({names});
CREATE TABLE archive.prediction_1 PARTITION OF archive.prediction FOR VALUES IN (1);
INSERT INTO archive.source (source_id, release_id, native_id, ra, "dec", hpx29)
SELECT 8 * k, 1, k::text, ra, "dec", api.healpix(ra, "dec", 29) FROM k ORDER BY 6;
INSERT INTO archive.galaxy (galaxy_id, ra, "dec", hpx29, n_member)
SELECT source_id, ra, "dec", hpx29, 1 FROM archive.source ORDER BY hpx29;
INSERT INTO archive.galaxy_member (source_id, galaxy_id, separation_arcsec)
SELECT source_id, source_id, 0 FROM archive.source ORDER BY hpx29;
INSERT INTO archive.observation (observation_id, kind, source_id, release_id, data_file_id, row_index)
OVERRIDING SYSTEM VALUE SELECT k + 1, 'image', 8 * k, 1, 1, k FROM k ORDER BY k;
INSERT INTO archive.prediction (model_id, property_id, observation_id, source_id, value, err, q025, q05, q16, q50, q84,
    q95, q975, flag, input_hash)
SELECT 1, p.property_id, k + 1, 8 * k, v, 0.2, v - 0.4, v - 0.33, v - 0.2, v, v + 0.2, v + 0.33, v + 0.4, 0,
       repeat('a', 32)
FROM archive.property p CROSS JOIN k CROSS JOIN LATERAL (
    SELECT CASE WHEN p.name ~ 'mstar' THEN 10.6 + 0.5 * sqrt(-2 * ln((hashint8(8 * k + 1) & 65535) / 65536.0 + 1e-6))
                     * cos(6.2832 * (hashint8(8 * k + 2) & 65535) / 65536)
                WHEN p.name ~ 'ssfr' THEN CASE WHEN hashint8(8 * k + 3) % 2 = 0 THEN -12 ELSE -10 END
                     + 0.6 * ((hashint8(8 * k + 4) & 65535) / 65536.0 - 0.5)
                ELSE 9 END) x (v)
WHERE p.name = ANY({names}) ORDER BY 2, 3;
"""
FLAT = """
CREATE TABLE public.flat AS SELECT galaxy_id, ra, "dec", hpx29, {columns} FROM api.galaxy_property ORDER BY hpx29;
CREATE INDEX ON public.flat (hpx29);
CREATE INDEX ON public.flat ((hpx29 >> 38));
CREATE INDEX ON public.flat ((hpx29 >> 42));
"""
WANTED = "log_mstar_tot > 11 AND log_ssfr_tot < -11"
CASES = (
    ("all sky, count", "SELECT count(*) FROM {} WHERE {wanted}", None, 200),
    (
        "all sky, sums over rows with error and quantiles",
        "SELECT count(*), sum(log_mstar_tot_err + log_mstar_tot_q16), max(ra) FROM {} WHERE {wanted}",
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
)


def measure(connection: psycopg.Connection[Any], n: int) -> None:
    """All cases, through the view and from the flat table."""
    columns = [f"{name}{end}" for name in PROPERTIES for end in ("", "_err", "_q16", "_q84")]
    connection.execute(FLAT.replace("{columns}", ", ".join(columns)).encode())
    connection.execute("VACUUM ANALYZE public.flat")
    for case, template, places, target in CASES:
        statement = template.replace("{wanted}", WANTED)
        given: list[tuple[Any, ...] | None] = [None] * 5
        if places:
            steps = [n * i // (places + 2) for i in range(1, places + 1)]
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
                connection.execute(FILL.replace("{n}", str(n)).replace("{names}", names).encode())
                connection.execute("VACUUM ANALYZE")
                measure(connection, n)
        finally:
            stop_server(config)


if __name__ == "__main__":
    main()
