-- Errors of the sky functions, and the names that they take. A wrong argument stops the query and is named.

CREATE OR REPLACE FUNCTION api.check_position(ra_deg double precision, dec_deg double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    -- PostgreSQL sorts NaN above Infinity, so these comparisons refuse NaN as well.
    IF NOT (dec_deg >= -90 AND dec_deg <= 90) THEN
        RAISE EXCEPTION 'declination % deg is outside [-90, 90]', dec_deg
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Declinations are degrees, the second argument.';
    END IF;
    IF NOT (ra_deg > '-Infinity' AND ra_deg < 'Infinity') THEN
        RAISE EXCEPTION 'right ascension % deg is not finite', ra_deg
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Right ascensions are degrees, the first argument.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_position(double precision, double precision) IS
    'True for a position on the sky [deg]; an error that names the value otherwise; NULL for NULL.';

CREATE OR REPLACE FUNCTION api.check_radius(radius_arcsec double precision)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    IF NOT (radius_arcsec >= 0 AND radius_arcsec <= 648000) THEN
        RAISE EXCEPTION 'radius % arcsec is outside [0, 648000]', radius_arcsec
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Radii are arcsec; 648000 arcsec is 180 degrees.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_radius(double precision) IS
    'True for a radius [arcsec] between 0 and 180 degrees; an error that names the value otherwise; NULL for NULL.';

CREATE OR REPLACE FUNCTION api.check_order(healpix_order integer)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    IF healpix_order < 0 OR healpix_order > 29 THEN
        RAISE EXCEPTION 'HEALPix order % is outside [0, 29]', healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Order 0 has 12 pixels, order 29 has 12 * 4^29.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_order(integer) IS
    'True for a HEALPix order from 0 to 29; an error that names the value otherwise; NULL for NULL.';

CREATE OR REPLACE FUNCTION api.release_id(release_name text)
RETURNS bigint
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    found_id bigint := (SELECT r.release_id FROM archive.data_release r WHERE r.release = release_name);
BEGIN
    IF found_id IS NULL THEN
        RAISE EXCEPTION 'there is no release "%"', release_name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Known are: %s.', (SELECT coalesce(string_agg(r.release, ', ' ORDER BY r.release), 'none')
                                                   FROM archive.data_release r));
    END IF;
    RETURN found_id;
END
$function$;
COMMENT ON FUNCTION api.release_id(text) IS
    'Number of a data release by its name; an error that lists the known releases otherwise; NULL for NULL.';
