CREATE OR REPLACE FUNCTION api.separation_arcsec(
    ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN degrees(atan2(
    -- Vincenty 1975, Survey Review 23, 88, on a sphere: accurate from coincident to antipodal positions.
    sqrt(
        cos(radians(dec2)) * sin(radians(ra2 - ra1)) * (cos(radians(dec2)) * sin(radians(ra2 - ra1)))
        + (cos(radians(dec1)) * sin(radians(dec2)) - sin(radians(dec1)) * cos(radians(dec2)) * cos(radians(ra2 - ra1)))
        * (cos(radians(dec1)) * sin(radians(dec2)) - sin(radians(dec1)) * cos(radians(dec2)) * cos(radians(ra2 - ra1)))
    ),
    sin(radians(dec1)) * sin(radians(dec2)) + cos(radians(dec1)) * cos(radians(dec2)) * cos(radians(ra2 - ra1))
)) * 3600;
COMMENT ON FUNCTION api.separation_arcsec(double precision, double precision, double precision, double precision) IS
    'Great-circle separation [arcsec] of two positions [deg]; NULL if an argument is NULL.';

-- Short for the executor, which runs it on every candidate: half the chord is the hypotenuse of the two terms of the
-- haversine formula (Sinnott 1984, Sky & Telescope 68, 159). Rounding must not lose the antipode, whose half chord is 1.
-- Within an arcsec of it chords are flat, and tell distances to 1e-5 arcsec.
CREATE OR REPLACE FUNCTION api.within_arcsec(
    ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision, radius_arcsec double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN point(
    sin(0.008726646259971648::float8 * (dec2 - dec1)),
    sqrt(cos(0.017453292519943295::float8 * dec1) * cos(0.017453292519943295::float8 * dec2))
    * sin(0.008726646259971648::float8 * (ra2 - ra1))
) <-> '(0,0)'::point <= sin(radius_arcsec * 2.42406840554768e-06::float8) * 1.0000000000000004::float8;
COMMENT ON FUNCTION api.within_arcsec(double precision, double precision, double precision, double precision, double precision) IS
    'Whether two positions [deg] are within a radius [arcsec, 0 to 648000] of each other; NULL if an argument is NULL.';

CREATE OR REPLACE FUNCTION api.at_epoch(
    source_ra double precision, source_dec double precision, pmra double precision, pmdec double precision,
    ref_epoch double precision, epoch double precision, OUT ra double precision, OUT "dec" double precision)
RETURNS record
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
DECLARE
    -- 1 mas is 4.848e-9 rad.
    east double precision := pmra * (epoch - ref_epoch) * 4.84813681109536e-09::float8;
    north double precision := pmdec * (epoch - ref_epoch) * 4.84813681109536e-09::float8;
    outward double precision;
BEGIN
    ra := source_ra;
    "dec" := source_dec;
    IF east + north IS NOT NULL AND (east <> 0 OR north <> 0) THEN
        -- Uniform motion along the tangent: ESA 1997, The Hipparcos Catalogue, vol. 1, eq. 1.5.20, without radial velocity.
        outward := cosd(source_dec) - north * sind(source_dec);
        ra := source_ra + degrees(atan2(east, outward));
        ra := ra - 360 * floor(ra / 360);
        ra := CASE WHEN ra < 360 THEN ra ELSE 0 END;
        "dec" := degrees(atan2(sind(source_dec) + north * cosd(source_dec), sqrt(east * east + outward * outward)));
    END IF;
END
$function$;
COMMENT ON FUNCTION api.at_epoch(
    double precision, double precision, double precision, double precision, double precision, double precision) IS
'Position [deg] at an epoch [yr] of a source with proper motions in ra, times cos(dec), and in dec [mas/yr], whose position is of ref_epoch [yr]; without one of these it stays where it is.
ra: Right ascension, ICRS [unit: deg] [ucd: pos.eq.ra]
dec: Declination, ICRS [unit: deg] [ucd: pos.eq.dec]';
