-- Where on the sky a release's sources are: cells of one order with their sources, and the ranges of hpx29 they make.
-- Both read hpx29 alone, in one pass over the index on (release_id, hpx29): without a subquery around api.release_id the
-- planner knows how many rows a release has, and no other index tempts it. The arguments are checked once and apart from
-- the rows, so that wrong ones are errors in an empty archive too.

CREATE OR REPLACE FUNCTION api.healpix_map(release_name text, healpix_order integer DEFAULT 6)
RETURNS TABLE (healpix_cell bigint, n_source bigint, density double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000
BEGIN ATOMIC
    SELECT s.hpx29 >> (2 * (29 - healpix_map.healpix_order)), count(*),
           -- 4 pi steradians are 41252.96 square degrees.
           count(*) * (12 * 4 ^ healpix_map.healpix_order::float8) / 41252.96124941928
    FROM archive.source s
    WHERE s.release_id = api.release_id(healpix_map.release_name)
      AND (SELECT api.check_order(healpix_map.healpix_order)
                  AND api.release_id(healpix_map.release_name) IS NOT NULL)
    GROUP BY s.hpx29 >> (2 * (29 - healpix_map.healpix_order));
END;
COMMENT ON FUNCTION api.healpix_map(text, integer) IS
'Cells of a HEALPix order (0 to 29) that hold a source of a release; NULL gives no rows, an unknown release or order an error.
healpix_cell: HEALPix index of the cell, nested, of the order asked for [ucd: pos.healpix]
n_source: Sources of the release in the cell [ucd: meta.number]
density: Sources per square degree of the cell [unit: deg**-2] [ucd: src.density]';

CREATE OR REPLACE FUNCTION api.coverage(release_name text, healpix_order integer DEFAULT 11)
RETURNS TABLE (hpx29_start bigint, hpx29_stop bigint, n_source bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    -- Within a run of adjacent cells the cell and its rank rise alike, so their difference names the run.
    SELECT min(i.healpix_cell) << (2 * (29 - coverage.healpix_order)),
           (max(i.healpix_cell) + 1) << (2 * (29 - coverage.healpix_order)),
           sum(i.n_source)::bigint
    FROM (
        SELECT c.healpix_cell, c.n_source, c.healpix_cell - row_number() OVER (ORDER BY c.healpix_cell) AS run
        FROM api.healpix_map(coverage.release_name, coverage.healpix_order) c
    ) i
    GROUP BY i.run
    ORDER BY 1;
END;
COMMENT ON FUNCTION api.coverage(text, integer) IS
'Half-open ranges of hpx29, ascending, disjoint and not adjacent, of the cells of a HEALPix order (0 to 29) that hold a source of a release; NULL gives no rows, an unknown release or order an error.
hpx29_start: First hpx29 of the range [ucd: pos.healpix]
hpx29_stop: The hpx29 after the last of the range [ucd: pos.healpix]
n_source: Sources of the release in the range [ucd: meta.number]';
