-- The search that all others rest on, and the indexes that it asks of a table: hpx29 at orders 10 and 8, shifted as below.
-- One of two lists of cells is not empty; a bitmap scan of an empty list costs 2 microseconds and reads nothing. To 97
-- arcsec a disc touches at most four cells of order 10 (3.4 arcmin). `= ANY` has the statistics of the index's expression
-- behind it; ranges joined by inequalities are taken for a large part of the table and end in sequential scans.

-- The planner writes this body in place of a call, if the position and the radius are columns, parameters or constants.
CREATE OR REPLACE FUNCTION api.in_cone(
    hpx29 bigint, source_ra double precision, source_dec double precision, ra_deg double precision,
    dec_deg double precision, radius_arcsec double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    hpx29 >> 38 = ANY (CASE WHEN radius_arcsec <= 97 THEN api.healpix_disc_cells(ra_deg, dec_deg, radius_arcsec, 10) END)
    OR hpx29 >> 42 = ANY (CASE WHEN radius_arcsec > 97 THEN api.healpix_disc_cells(ra_deg, dec_deg, radius_arcsec, 8) END)
) AND api.within_arcsec(ra_deg, dec_deg, source_ra, source_dec, radius_arcsec);
COMMENT ON FUNCTION api.in_cone(bigint, double precision, double precision, double precision, double precision, double precision) IS
    'Whether a source (its hpx29, ra and dec [deg, ICRS]) is within a radius [arcsec, 0 to 648000] of a position [deg]. In '
    'a WHERE or JOIN it uses the indexes on hpx29 >> 38 and hpx29 >> 42 of any table that has them; NULL for NULL, an '
    'error for an impossible position or radius.';

-- LANGUAGE sql, not STRICT and without SET, so that the planner inlines it and a JOIN or LIMIT around it reaches the
-- index.
CREATE OR REPLACE FUNCTION api.cone_search(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision,
    release_name text DEFAULT NULL)
RETURNS TABLE (
    source_id bigint, release text, native_id text, ra double precision, "dec" double precision, hpx29 bigint,
    flag bigint, separation_arcsec double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
    SELECT s.source_id, (SELECT r.release FROM archive.data_release r WHERE r.release_id = s.release_id), s.native_id,
           s.ra, s."dec", s.hpx29, s.flag,
           api.separation_arcsec(cone_search.ra_deg, cone_search.dec_deg, s.ra, s."dec")
    FROM archive.source s
    WHERE api.in_cone(s.hpx29, s.ra, s."dec", cone_search.ra_deg, cone_search.dec_deg, cone_search.radius_arcsec)
      AND (cone_search.release_name IS NULL OR s.release_id = (SELECT api.release_id(cone_search.release_name)));
END;
COMMENT ON FUNCTION api.cone_search(double precision, double precision, double precision, text) IS
'Sources within a radius [arcsec, 0 to 648000] of a position [deg, ICRS], of one release or of all; NULL gives no rows, an impossible position or radius an error.
separation_arcsec: Great-circle separation from the position [unit: arcsec] [ucd: pos.angDistance]';
