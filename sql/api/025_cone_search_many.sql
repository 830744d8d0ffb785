CREATE OR REPLACE FUNCTION api.check_pairs(ra_deg double precision[], dec_deg double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    IF cardinality(ra_deg) <> cardinality(dec_deg) THEN
        RAISE EXCEPTION 'there are % right ascensions and % declinations', cardinality(ra_deg), cardinality(dec_deg)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Positions are pairs of the same place in both arrays.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_pairs(double precision[], double precision[]) IS
    'True for as many right ascensions as declinations; an error that names the numbers otherwise; NULL for NULL.';

CREATE OR REPLACE FUNCTION api.cone_search_many(
    ra_deg double precision[], dec_deg double precision[], radius_arcsec double precision,
    release_name text DEFAULT NULL)
RETURNS TABLE (
    cone bigint, source_id bigint, release text, native_id text, ra double precision, "dec" double precision,
    hpx29 bigint, flag bigint, separation_arcsec double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
    SELECT c.cone, s.source_id, (SELECT r.release FROM archive.data_release r WHERE r.release_id = s.release_id),
           s.native_id, s.ra, s."dec", s.hpx29, s.flag, api.separation_arcsec(c.ra, c."dec", s.ra, s."dec")
    FROM unnest(cone_search_many.ra_deg, cone_search_many.dec_deg) WITH ORDINALITY c (ra, "dec", cone)
    JOIN archive.source s ON api.in_cone(s.hpx29, s.ra, s."dec", c.ra, c."dec", cone_search_many.radius_arcsec)
    WHERE api.check_pairs(cone_search_many.ra_deg, cone_search_many.dec_deg)
      AND (cone_search_many.release_name IS NULL
           OR s.release_id = (SELECT api.release_id(cone_search_many.release_name)));
END;
COMMENT ON FUNCTION api.cone_search_many(double precision[], double precision[], double precision, text) IS
'Sources within a radius [arcsec, 0 to 648000] of each of many positions [deg, ICRS], of one release or of all; a position with a NULL gives no rows, an impossible one an error.
cone: Which of the positions, from 1 [ucd: meta.number]
separation_arcsec: Great-circle separation from the position [unit: arcsec] [ucd: pos.angDistance]';
