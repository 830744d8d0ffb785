CREATE OR REPLACE FUNCTION api.crossmatch_order(radius_arcsec double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Below a minute of arc, coarse cells let most discs lie in one cell, and cells still hold few sources.
RETURN greatest(api.healpix_cone_order(radius_arcsec) - CASE WHEN radius_arcsec < 60 THEN 4 ELSE 0 END, 0);
COMMENT ON FUNCTION api.crossmatch_order(double precision) IS
    'HEALPix order of the cells that a crossmatch within the radius [arcsec] joins on.';

CREATE OR REPLACE FUNCTION api.crossmatch(left_release text, right_release text, radius_arcsec double precision)
RETURNS TABLE (
    left_source_id bigint, right_source_id bigint, separation_arcsec double precision, rank integer,
    n_within integer)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p.left_source_id, p.right_source_id, p.separation_arcsec,
           (row_number() OVER (PARTITION BY p.left_source_id
                               ORDER BY p.separation_arcsec, p.right_source_id))::integer,
           (count(*) OVER (PARTITION BY p.left_source_id))::integer
    FROM (
        SELECT l.source_id AS left_source_id, r.source_id AS right_source_id,
               api.separation_arcsec(l.ra, l."dec", r.ra, r."dec") AS separation_arcsec
        FROM archive.source l
        CROSS JOIN LATERAL unnest(api.healpix_disc_cells(
            l.ra, l."dec", crossmatch.radius_arcsec, api.crossmatch_order(crossmatch.radius_arcsec))) AS c (cell)
        JOIN archive.source r
          ON r.hpx29 >> (2 * (29 - api.crossmatch_order(crossmatch.radius_arcsec))) = c.cell
        WHERE l.release_id = api.release_id(crossmatch.left_release)
          AND r.release_id = api.release_id(crossmatch.right_release)
          AND r.source_id <> l.source_id
          AND api.check_radius(crossmatch.radius_arcsec)
          AND api.separation_arcsec(l.ra, l."dec", r.ra, r."dec") <= crossmatch.radius_arcsec
    ) p;
END;
COMMENT ON FUNCTION api.crossmatch(text, text, double precision) IS
'All pairs of sources of two releases within a radius [arcsec, 0 to 648000]; a release matched with itself leaves out each source''s match with itself; NULL gives no rows.
left_source_id: Source of the left release [ucd: meta.id]
right_source_id: Source of the right release [ucd: meta.id]
separation_arcsec: Great-circle separation of the pair [unit: arcsec] [ucd: pos.angDistance]
rank: 1 is the nearest to the left source [ucd: meta.number]
n_within: Right sources within the radius of the left source [ucd: meta.number]';
