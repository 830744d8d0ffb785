-- Boxes between two right ascensions and two declinations. A disc around a stripe would be mostly empty: pixels are
-- kept or dropped by the box in right ascension and declination around each of them.

CREATE OR REPLACE FUNCTION api.box_width(ra_min double precision, ra_max double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN ra_max - ra_min >= 360 THEN 360
    WHEN api.first_turn(ra_max) >= api.first_turn(ra_min) THEN api.first_turn(ra_max) - api.first_turn(ra_min)
    ELSE api.first_turn(ra_max) - api.first_turn(ra_min) + 360
END;
COMMENT ON FUNCTION api.box_width(double precision, double precision) IS
    'Degrees of right ascension from ra_min eastward to ra_max [deg, any revolution]; 360 where they differ by 360 or more.';

CREATE OR REPLACE FUNCTION api.box_order(
    ra_min double precision, ra_max double precision, dec_min double precision, dec_max double precision)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    PERFORM api.check_position(ra_min, dec_min), api.check_position(ra_max, dec_max);
    IF dec_min > dec_max THEN
        RAISE EXCEPTION 'the box ends at declination % deg, south of its start at % deg', dec_max, dec_min
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The southern declination comes before the northern one.';
    END IF;
    RETURN api.region_order(
        api.box_width(ra_min, ra_max)
        * CASE WHEN dec_min <= 0 AND dec_max >= 0 THEN 1 ELSE cosd(least(abs(dec_min), abs(dec_max))) END,
        dec_max - dec_min);
END
$function$;
COMMENT ON FUNCTION api.box_order(double precision, double precision, double precision, double precision) IS
    'HEALPix order at which the box between two right ascensions and two declinations [deg] is searched; an error that '
    'names the value for an impossible box.';

CREATE OR REPLACE FUNCTION api.box_cells(
    ra_min double precision, ra_max double precision, dec_min double precision, dec_max double precision,
    healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10000
AS $function$
DECLARE
    half double precision := api.box_width(ra_min, ra_max) / 2;
    middle_ra double precision := ra_min + half;
    middle_dec double precision := (dec_min + dec_max) / 2;
    -- Up to half a turn, no point of a box is farther from its middle than the farthest corner.
    radius double precision := greatest(api.separation_arcsec(middle_ra, middle_dec, ra_min, dec_min),
                                        api.separation_arcsec(middle_ra, middle_dec, ra_min, dec_max));
    first_order integer := CASE WHEN half < 90 THEN greatest(least(api.healpix_cone_order(radius), healpix_order), 0)
                                ELSE 0 END;
    pixels bigint[] := '{0,1,2,3,4,5,6,7,8,9,10,11}';
    found bigint[] := '{}';
    reach double precision;
BEGIN
    PERFORM api.box_order(ra_min, ra_max, dec_min, dec_max), api.check_order(healpix_order);
    IF first_order > 0 THEN
        pixels := api.healpix_disc_cells(middle_ra, middle_dec, radius, first_order);
    END IF;
    IF first_order = healpix_order THEN
        RETURN pixels;
    END IF;
    FOR pixel_order IN first_order..healpix_order LOOP
        -- No point of a pixel is farther than 1.08 / 2^order rad from its centre.
        reach := degrees(1.08 / (1::bigint << pixel_order)) + 1e-6;
        WITH side AS MATERIALIZED (
            SELECT p,
                   offset_ra <= half + swing AND dec_deg BETWEEN dec_min - reach AND dec_max + reach AS near,
                   (half = 180 OR offset_ra <= half - swing) AND (dec_min = -90 OR dec_deg >= dec_min + reach)
                   AND (dec_max = 90 OR dec_deg <= dec_max - reach) AS inside
            FROM (
                -- A disc spans asin(sin(radius) / cos(dec)) to either side, or all right ascensions around a pole.
                SELECT p, centre.dec_deg, abs(api.first_turn(centre.ra_deg - middle_ra + 180) - 180) AS offset_ra,
                       CASE WHEN abs(centre.dec_deg) + reach < 90
                            THEN asind(least(sind(reach) / cosd(centre.dec_deg), 1)) + 1e-6 ELSE 180 END AS swing
                FROM unnest(pixels) p, api.healpix_center(p, pixel_order) centre
                OFFSET 0
            ) c
        )
        SELECT found || ARRAY(
                   SELECT cell FROM side, generate_series(p << (2 * (healpix_order - pixel_order)),
                                                          ((p + 1) << (2 * (healpix_order - pixel_order))) - 1) cell
                   WHERE inside),
               ARRAY(SELECT p FROM side WHERE near AND NOT inside)
        INTO found, pixels;
        EXIT WHEN pixel_order = healpix_order;
        pixels := ARRAY(SELECT 4 * p + child FROM unnest(pixels) p, generate_series(0, 3) child);
    END LOOP;
    RETURN found || pixels;
END
$function$;
COMMENT ON FUNCTION api.box_cells(double precision, double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order that together hold every point of the box between two right ascensions and two '
    'declinations [deg].';

-- The planner writes this body in place of a call. The poles belong to every right ascension.
CREATE OR REPLACE FUNCTION api.in_box(
    hpx29 bigint, source_ra double precision, source_dec double precision, ra_min double precision,
    ra_max double precision, dec_min double precision, dec_max double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    hpx29 >> 38 = ANY (CASE WHEN api.box_order(ra_min, ra_max, dec_min, dec_max) = 10
                            THEN api.box_cells(ra_min, ra_max, dec_min, dec_max, 10) END)
    OR hpx29 >> 42 = ANY (CASE WHEN api.box_order(ra_min, ra_max, dec_min, dec_max) = 8
                               THEN api.box_cells(ra_min, ra_max, dec_min, dec_max, 8) END)
) AND source_dec >= dec_min AND source_dec <= dec_max AND (
    abs(source_dec) = 90
    OR CASE
        WHEN ra_max - ra_min >= 360 THEN source_ra IS NOT NULL
        WHEN api.first_turn(ra_min) <= api.first_turn(ra_max)
        THEN api.first_turn(source_ra) >= api.first_turn(ra_min) AND api.first_turn(source_ra) <= api.first_turn(ra_max)
        ELSE api.first_turn(source_ra) >= api.first_turn(ra_min) OR api.first_turn(source_ra) <= api.first_turn(ra_max)
    END
);
COMMENT ON FUNCTION api.in_box(
    bigint, double precision, double precision, double precision, double precision, double precision, double precision) IS
    'Whether a source (its hpx29, ra and dec [deg, ICRS]) is in the box from ra_min eastward to ra_max and from dec_min to '
    'dec_max [deg], all sides included: ra_min > ra_max passes through 0, right ascensions are of any revolution, and a '
    'difference of 360 or more is the full circle. In a WHERE or JOIN it uses the indexes on hpx29 >> 38 and hpx29 >> 42 '
    'of any table that has them; NULL for NULL, an error for an impossible box.';

CREATE OR REPLACE FUNCTION api.box_search(
    ra_min double precision, ra_max double precision, dec_min double precision, dec_max double precision,
    release_name text DEFAULT NULL)
RETURNS TABLE (
    source_id bigint, release text, native_id text, ra double precision, "dec" double precision, hpx29 bigint,
    flag bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
BEGIN ATOMIC
    SELECT s.source_id, (SELECT r.release FROM archive.data_release r WHERE r.release_id = s.release_id), s.native_id,
           s.ra, s."dec", s.hpx29, s.flag
    FROM archive.source s
    WHERE api.in_box(s.hpx29, s.ra, s."dec", box_search.ra_min, box_search.ra_max, box_search.dec_min,
                     box_search.dec_max)
      AND (box_search.release_name IS NULL OR s.release_id = (SELECT api.release_id(box_search.release_name)));
END;
COMMENT ON FUNCTION api.box_search(double precision, double precision, double precision, double precision, text) IS
    'Sources in the box from ra_min eastward to ra_max and from dec_min to dec_max [deg, ICRS], all sides included, of one '
    'release or of all; ra_min > ra_max passes through 0; NULL gives no rows, an impossible box an error.';
