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
