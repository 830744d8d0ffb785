-- Ellipses about a position, in its zenithal equidistant (ARC) plane. There the sphere is stretched by 1 outward and by
-- rho / sin(rho) across, so a disc of radius r at a distance rho of the centre stays within r * (rho + r) / sin(rho + r).

CREATE OR REPLACE FUNCTION api.check_ellipse(
    semi_major_arcsec double precision, semi_minor_arcsec double precision, position_angle_deg double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    IF NOT (semi_major_arcsec >= 0 AND semi_major_arcsec <= 324000) THEN
        RAISE EXCEPTION 'semi-major axis % arcsec is outside [0, 324000]', semi_major_arcsec
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Axes are arcsec; 324000 arcsec is 90 degrees.';
    END IF;
    IF NOT (semi_minor_arcsec >= 0 AND semi_minor_arcsec <= semi_major_arcsec) THEN
        RAISE EXCEPTION 'semi-minor axis % arcsec is outside [0, % (the semi-major axis)]',
                semi_minor_arcsec, semi_major_arcsec
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The semi-major axis comes before the semi-minor one.';
    END IF;
    IF NOT (position_angle_deg > '-Infinity' AND position_angle_deg < 'Infinity') THEN
        RAISE EXCEPTION 'position angle % deg is not finite', position_angle_deg
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Position angles are degrees east of north.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_ellipse(double precision, double precision, double precision) IS
    'True for the semi-axes [arcsec] and the position angle [deg] of an ellipse; an error that names the value otherwise; '
    'NULL for NULL.';

CREATE OR REPLACE FUNCTION api.ellipse_offsets(
    source_ra double precision, source_dec double precision, ra_deg double precision, dec_deg double precision,
    position_angle_deg double precision)
RETURNS point
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    step double precision := radians(source_ra - ra_deg);
    half_sine double precision := sin(step / 2);
    east double precision := cosd(source_dec) * sin(step);
    -- cos(dec0) sin(dec) - sin(dec0) cos(dec) cos(step), without the difference of nearly equal terms.
    north double precision := sin(radians(source_dec - dec_deg)) + 2 * sind(dec_deg) * cosd(source_dec) * half_sine * half_sine;
    sine double precision := sqrt(east * east + north * north);
    stretch double precision := 1;
    along double precision := sind(position_angle_deg);
    across double precision := cosd(position_angle_deg);
BEGIN
    IF sine > 0 THEN
        stretch := atan2(sine, sind(dec_deg) * sind(source_dec) + cosd(dec_deg) * cosd(source_dec) * cos(step)) / sine;
    END IF;
    RETURN point(stretch * (east * along + north * across), stretch * (east * across - north * along));
END
$function$;
COMMENT ON FUNCTION api.ellipse_offsets(double precision, double precision, double precision, double precision, double precision) IS
    'Place [rad] of a source [deg] in the zenithal equidistant plane of a position [deg], the first coordinate along a '
    'position angle [deg, east of north] and the second across (Calabretta & Greisen 2002, A&A 395, 1077, sect. 5.1.10).';

CREATE OR REPLACE FUNCTION api.within_ellipse(
    source_ra double precision, source_dec double precision, ra_deg double precision, dec_deg double precision,
    semi_major_arcsec double precision, semi_minor_arcsec double precision, position_angle_deg double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    place point := api.ellipse_offsets(source_ra, source_dec, ra_deg, dec_deg, position_angle_deg);
    a double precision := radians(semi_major_arcsec / 3600);
    b double precision := radians(semi_minor_arcsec / 3600);
BEGIN
    -- A circle, or an axis of zero: products would round or vanish.
    IF a = b THEN
        RETURN api.separation_arcsec(ra_deg, dec_deg, source_ra, source_dec) <= semi_major_arcsec;
    ELSIF b = 0 THEN
        RETURN place[1] = 0 AND abs(place[0]) <= a;
    END IF;
    RETURN (place[0] / a) * (place[0] / a) + (place[1] / b) * (place[1] / b) <= 1;
END
$function$;
COMMENT ON FUNCTION api.within_ellipse(
    double precision, double precision, double precision, double precision, double precision, double precision,
    double precision) IS
    'Whether a source [deg] is in the ellipse of api.in_ellipse, without an index.';

CREATE OR REPLACE FUNCTION api.ellipse_cells(
    ra_deg double precision, dec_deg double precision, semi_major_arcsec double precision,
    semi_minor_arcsec double precision, position_angle_deg double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10000
AS $function$
DECLARE
    a double precision := radians(semi_major_arcsec / 3600);
    b double precision := radians(semi_minor_arcsec / 3600);
    first_order integer;
    pixels bigint[];
    found bigint[] := '{}';
    reach double precision;
BEGIN
    PERFORM api.check_position(ra_deg, dec_deg), api.check_order(healpix_order),
            api.check_ellipse(semi_major_arcsec, semi_minor_arcsec, position_angle_deg);
    first_order := greatest(least(api.healpix_cone_order(semi_major_arcsec), healpix_order), 0);
    pixels := api.healpix_disc_cells(ra_deg, dec_deg, semi_major_arcsec, first_order);
    IF first_order = healpix_order THEN
        RETURN pixels;
    END IF;
    FOR pixel_order IN first_order..healpix_order LOOP
        -- No point of a pixel is farther than 1.08 / 2^order rad from its centre.
        reach := 1.08 / (1::bigint << pixel_order) + 1e-8;
        WITH side AS MATERIALIZED (
            SELECT p,
                   -- Beyond 2.5 rad the plane says little, and the ellipse ends at 1.58.
                   CASE WHEN distance + reach > 2.5 THEN distance <= a + reach
                        ELSE abs(place[0]) <= a + reach * stretch AND abs(place[1]) <= b + reach * stretch
                             AND distance <= a + reach END AS near,
                   b > 0 AND distance + reach <= 2.5
                   AND sqrt((place[0] / nullif(a, 0)) * (place[0] / nullif(a, 0))
                            + (place[1] / nullif(b, 0)) * (place[1] / nullif(b, 0)))
                       + reach * stretch / nullif(b, 0) <= 1 AS inside
            FROM (
                SELECT p, place, place <-> '(0,0)'::point AS distance,
                       (least((place <-> '(0,0)'::point) + reach, 2.5)) / sin(least((place <-> '(0,0)'::point) + reach, 2.5))
                       AS stretch
                FROM unnest(pixels) p, api.healpix_center(p, pixel_order) centre,
                     api.ellipse_offsets(centre.ra_deg, centre.dec_deg, ellipse_cells.ra_deg, ellipse_cells.dec_deg,
                                         position_angle_deg) place
                OFFSET 0
            ) c
        )
        SELECT found || ARRAY(
                   SELECT cell FROM side, generate_series(p << (2 * (healpix_order - pixel_order)),
                                                          ((p + 1) << (2 * (healpix_order - pixel_order))) - 1) cell
                   WHERE inside),
               ARRAY(SELECT p FROM side WHERE near AND inside IS NOT TRUE)
        INTO found, pixels;
        EXIT WHEN pixel_order = healpix_order;
        pixels := ARRAY(SELECT 4 * p + child FROM unnest(pixels) p, generate_series(0, 3) child);
    END LOOP;
    RETURN found || pixels;
END
$function$;
COMMENT ON FUNCTION api.ellipse_cells(
    double precision, double precision, double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order that together hold every point of the ellipse of api.in_ellipse.';

-- The planner writes this body in place of a call. The disc around the ellipse is the cheaper test and comes first.
CREATE OR REPLACE FUNCTION api.in_ellipse(
    hpx29 bigint, source_ra double precision, source_dec double precision, ra_deg double precision,
    dec_deg double precision, semi_major_arcsec double precision, semi_minor_arcsec double precision,
    position_angle_deg double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    hpx29 >> 38 = ANY (
        CASE WHEN api.region_order(semi_major_arcsec / 1800, semi_minor_arcsec / 1800) = 10
             THEN api.ellipse_cells(ra_deg, dec_deg, semi_major_arcsec, semi_minor_arcsec, position_angle_deg, 10) END)
    OR hpx29 >> 42 = ANY (
        CASE WHEN api.region_order(semi_major_arcsec / 1800, semi_minor_arcsec / 1800) = 8
             THEN api.ellipse_cells(ra_deg, dec_deg, semi_major_arcsec, semi_minor_arcsec, position_angle_deg, 8) END)
) AND api.within_arcsec(ra_deg, dec_deg, source_ra, source_dec, semi_major_arcsec + 1e-6)
AND api.within_ellipse(
    source_ra, source_dec, ra_deg, dec_deg, semi_major_arcsec, semi_minor_arcsec, position_angle_deg);
COMMENT ON FUNCTION api.in_ellipse(
    bigint, double precision, double precision, double precision, double precision, double precision, double precision,
    double precision) IS
    'Whether a source (its hpx29, ra and dec [deg, ICRS]) is in an ellipse about a position [deg] with semi-axes [arcsec, '
    'the major one to 324000] and the position angle of the major axis [deg, east of north]. With s the separation of the '
    'source and t its position angle from that of the major axis, both on the sphere, it is in where (s cos t / major)^2 + '
    '(s sin t / minor)^2 <= 1: an ellipse in the zenithal equidistant (ARC) projection about the position (Calabretta & '
    'Greisen 2002, A&A 395, 1077). In a WHERE or JOIN it uses the indexes on hpx29 >> 38 and hpx29 >> 42 of '
    'any table that has them; NULL for NULL, an error for an impossible position or ellipse.';

CREATE OR REPLACE FUNCTION api.ellipse_search(
    ra_deg double precision, dec_deg double precision, semi_major_arcsec double precision,
    semi_minor_arcsec double precision, position_angle_deg double precision, release_name text DEFAULT NULL)
RETURNS TABLE (
    source_id bigint, release text, native_id text, ra double precision, "dec" double precision, hpx29 bigint,
    flag bigint, separation_arcsec double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
    SELECT s.source_id, (SELECT r.release FROM archive.data_release r WHERE r.release_id = s.release_id), s.native_id,
           s.ra, s."dec", s.hpx29, s.flag,
           api.separation_arcsec(ellipse_search.ra_deg, ellipse_search.dec_deg, s.ra, s."dec")
    FROM archive.source s
    WHERE api.in_ellipse(s.hpx29, s.ra, s."dec", ellipse_search.ra_deg, ellipse_search.dec_deg,
                         ellipse_search.semi_major_arcsec, ellipse_search.semi_minor_arcsec,
                         ellipse_search.position_angle_deg)
      AND (ellipse_search.release_name IS NULL
           OR s.release_id = (SELECT api.release_id(ellipse_search.release_name)));
END;
COMMENT ON FUNCTION api.ellipse_search(
    double precision, double precision, double precision, double precision, double precision, text) IS
'Sources in an ellipse about a position [deg, ICRS] with semi-axes [arcsec] and the position angle of the major axis [deg, east of north], as api.in_ellipse defines it, of one release or of all; NULL gives no rows, an impossible ellipse an error.
separation_arcsec: Great-circle separation from the position [unit: arcsec] [ucd: pos.angDistance]';
