"""The papers' selections on a large archive: one galaxy, a cone, and a scan of all; one JSON line a case.

Beside each scan stands the same view as one hash join and one sort over everything (DISTINCT ON over all galaxies), as
the view of GalEffNet was before, without separations and best matches: it scans faster, and takes as long for a single
galaxy in a join. Lookups are in wall time, scans in the server's CPU time.

    python benchmarks/selections.py --galaxies 200000
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sky_server import report

from galbase.schema.config import Config
from galbase.schema.database import connect
from galbase.schema.server import stop_server
from galbase.schema.upgrade import upgrade

VIEWS = ("training_set_galeffnet", "training_set_gpm_resnet", "training_set_mmlforgalam", "exp_catalogue")
# Galaxy k has the id 8 k; a survey of n galaxies fills a square of 1,000 galaxies a square degree. SDSS has observed
# every other one, and of these every tenth has a second image.
FILL = """
CREATE TEMP TABLE k AS
SELECT k, 150 + (k % side) * 0.0316 / cos(radians(k / side * 0.0316)) AS ra, k / side * 0.0316 AS "dec"
FROM generate_series(0, {n} - 1) k, LATERAL (SELECT ceil(sqrt({n}))::integer) s (side);
INSERT INTO archive.data_release (release_id, release, survey, priority, simulated) OVERRIDING SYSTEM VALUE
VALUES (1, 'image', 'bench', 1, true), (2, 'sdss', 'bench', 2, true);
INSERT INTO archive.data_root (data_root_id, path) OVERRIDING SYSTEM VALUE VALUES (1, '/nowhere');
INSERT INTO archive.data_file (data_file_id, release_id, data_root_id, path, format, size_bytes, mtime, state)
OVERRIDING SYSTEM VALUE
VALUES (1, 1, 1, 'image', 'hdf5', 0, now(), 'loaded'), (2, 2, 1, 'spectra', 'sdss-spec', 0, now(), 'loaded');
INSERT INTO archive.preprocess_config (preprocess_config_id, name, hash, parameters) OVERRIDING SYSTEM VALUE
VALUES (1, 'galeffnet', 'a', '{}'), (2, 'gpm_resnet', 'b', '{}'), (3, 'mmlforgalam', 'c', '{}');
INSERT INTO archive.source (source_id, release_id, native_id, ra, "dec", hpx29)
SELECT 8 * k, 1, k::text, ra, "dec", api.healpix(ra, "dec", 29) FROM k ORDER BY 6;
INSERT INTO archive.source (source_id, release_id, native_id, ra, "dec", hpx29)
SELECT 8 * k + 1, 2, k::text, ra, "dec" + 1e-4, api.healpix(ra, "dec" + 1e-4, 29) FROM k WHERE k % 2 = 0 ORDER BY 6;
INSERT INTO archive.galaxy (galaxy_id, ra, "dec", hpx29, n_member)
SELECT source_id, ra, "dec", hpx29, 1 FROM archive.source WHERE release_id = 1 ORDER BY hpx29;
INSERT INTO archive.galaxy_member (source_id, galaxy_id, separation_arcsec)
SELECT source_id, source_id / 8 * 8, 0.36 * (source_id % 8) FROM archive.source ORDER BY hpx29;
INSERT INTO archive.crossmatch_run (crossmatch_run_id, left_release_id, right_release_id, radius_arcsec, n_pair)
OVERRIDING SYSTEM VALUE VALUES (1, 1, 2, 3, 0);
INSERT INTO archive.crossmatch SELECT 1, 8 * k, 8 * k + 1, 0.36, 1, 1 FROM k WHERE k % 2 = 0;
INSERT INTO archive.legacysurvey_dr9_object (source_id, type, flux_r)
SELECT 8 * k, (ARRAY['EXP', 'DEV', 'SER', 'REX'])[1 + k % 4], 10 FROM k;
INSERT INTO archive.sdss_galaxy (source_id, spectrotype, reliable, z, z_warning, sn_median, bptclass)
SELECT 8 * k + 1, 'GALAXY', 1, 0.1, CASE WHEN k % 100 = 0 THEN 4 ELSE 0 END, 4 + k % 20, 1 + k % 3 FROM k
WHERE k % 2 = 0;
INSERT INTO archive.reference_value (source_id, property_id, origin, value)
SELECT 8 * k + 1, p.property_id, CASE WHEN p.name IN ('log_age', 'mh') THEN 'ppxf' ELSE 'mpa-jhu' END, 9
FROM k CROSS JOIN archive.property p WHERE k % 2 = 0 ORDER BY 1, 2;
INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index)
SELECT 'image', 8 * k, 1, 1, k FROM k ORDER BY k;
INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index)
SELECT 'image', 8 * k, 1, 1, {n} + k FROM k WHERE k % 20 = 0 ORDER BY k;
INSERT INTO archive.observation (kind, source_id, release_id, data_file_id, row_index)
SELECT 'spectrum', 8 * k + 1, 2, 2, k FROM k WHERE k % 2 = 0 ORDER BY k;
INSERT INTO archive.image (observation_id, bands, width, height, is_display)
SELECT observation_id, '{g,r,z}', 152, 152, false FROM archive.observation WHERE kind = 'image';
INSERT INTO archive.spectrum (observation_id, wave_min_angstrom, wave_max_angstrom, n_pixel, z, z_warning, sn_median)
SELECT observation_id, 3800, 9200, 4000, 0.1, 0, 12 FROM archive.observation WHERE kind = 'spectrum';
INSERT INTO archive.preprocess (observation_id, preprocess_config_id, flag, kept, input_hash)
SELECT observation_id, c, 0, observation_id % 3 <> 0, '' FROM archive.observation CROSS JOIN generate_series(1, 3) c
WHERE kind = 'image';
"""
SORTED = """
SELECT count(*), count(*) FILTER (WHERE kept AND spectrotype = 'GALAXY' AND reliable = 1 AND z > 0 AND z_warning = 0
                                  AND sn_median >= 5 AND mass IS NOT NULL AND ssfr IS NOT NULL)
FROM archive.galaxy g
LEFT JOIN (
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, d.*, v.value AS mass, w.value AS ssfr
    FROM archive.sdss_galaxy d
    JOIN archive.galaxy_member m ON m.source_id = d.source_id
    LEFT JOIN archive.reference_value v ON v.source_id = d.source_id AND v.origin = 'mpa-jhu' AND v.property_id =
              (SELECT property_id FROM archive.property WHERE name = 'log_mstar_fib')
    LEFT JOIN archive.reference_value w ON w.source_id = d.source_id AND w.origin = 'mpa-jhu' AND w.property_id =
              (SELECT property_id FROM archive.property WHERE name = 'log_ssfr_fib')
    ORDER BY m.galaxy_id, m.separation_arcsec, m.source_id
) c ON c.galaxy_id = g.galaxy_id
LEFT JOIN (
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.observation_id, p.kept
    FROM archive.observation o
    JOIN archive.galaxy_member m ON m.source_id = o.source_id
    JOIN archive.data_release r ON r.release_id = o.release_id
    LEFT JOIN archive.preprocess p ON p.observation_id = o.observation_id AND p.preprocess_config_id = 1
    WHERE o.kind = 'image'
    ORDER BY m.galaxy_id, p.kept DESC NULLS LAST, r.priority, r.release_id, o.observation_id
) i ON i.galaxy_id = g.galaxy_id
"""


SCAN = "SELECT count(*), count(*) FILTER (WHERE selected) FROM api.{}"
LOOKUP = "SELECT * FROM api.{} WHERE galaxy_id = 8 * %s"
CONE = 'SELECT count(*) FROM api.{} WHERE api.in_cone(hpx29, ra, "dec", %s, %s, 360)'
JOIN = """SELECT count(*) FROM archive.galaxy g JOIN api.{} t USING (galaxy_id)
          WHERE g.galaxy_id IN (SELECT 8 * k FROM generate_series(%s, %s + 29) k)"""


def timed(
    connection: psycopg.Connection[Any], statement: str, given: Sequence[tuple[Any, ...] | None]
) -> tuple[float, float, Any]:
    """Medians of wall and of the server's CPU seconds, one run a set of parameters; the last run's first row."""
    backend = psutil.Process(connection.info.backend_pid)
    wall, cpu = [], []
    row = None
    for parameters in given:
        before, start = backend.cpu_times(), time.perf_counter()
        row = connection.execute(statement.encode(), parameters).fetchone()
        wall.append(time.perf_counter() - start)
        after = backend.cpu_times()
        cpu.append(after.user + after.system - before.user - before.system)
    return statistics.median(wall), statistics.median(cpu), row


def measure(connection: psycopg.Connection[Any], n: int) -> None:
    """All cases of one archive."""
    places = [n * k // 23 // 2 * 2 for k in range(1, 22)]
    where = [
        connection.execute('SELECT ra, "dec" FROM archive.galaxy WHERE galaxy_id = 8 * %s', (k,)).fetchone()
        for k in places
    ]
    # One process a query, whose CPU time can be told.
    connection.execute("SET max_parallel_workers_per_gather = 0")
    _, sorted_s, rows = timed(connection, SORTED, [None] * 3)
    report("scan, one sort of all", galaxies=n, cpu_s=round(sorted_s, 2), rows=rows)
    for view in VIEWS:
        for case, statement, given in (
            ("one galaxy", LOOKUP, [(k,) for k in places]),
            ("cone of 6 arcmin", CONE, where),
            ("join with 30", JOIN, [(k, k) for k in places]),
        ):
            seconds, _, _ = timed(connection, statement.replace("{}", view), given)
            report(case, view=view, galaxies=n, milliseconds=round(1e3 * seconds, 3))
        _, seconds, rows = timed(connection, SCAN.replace("{}", view), [None] * 3)
        report(
            "scan", view=view, galaxies=n, cpu_s=round(seconds, 2), rows=rows,
            cpu_us_a_galaxy=round(1e6 * seconds / n, 2), of_one_sort=round(seconds / sorted_s, 2),
        )  # fmt: skip


def main() -> None:
    """Make the archive, measure, remove it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=200_000)
    n = parser.parse_args().galaxies
    with tempfile.TemporaryDirectory(prefix="galbase-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        config = Config(data_dir=Path(folder))
        try:
            upgrade(config)
            with connect(config, autocommit=True) as connection:
                connection.execute(FILL.replace("{n}", str(n)).encode())
                connection.execute("VACUUM ANALYZE")
                measure(connection, n)
        finally:
            stop_server(config)


if __name__ == "__main__":
    main()
