-- What the searches of boxes, ellipses and polygons share: which of the indexed orders a region is looked up at, and
-- right ascensions of any revolution.

CREATE OR REPLACE FUNCTION api.region_order(length_deg double precision, width_deg double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Pixels of order 10 are 0.0573 deg wide; so about 12 of them cover the region.
RETURN CASE
    WHEN (length_deg / 0.0573 + 2) * (width_deg / 0.0573 + 2) <= 12 THEN 10
    WHEN length_deg + width_deg IS NOT NULL THEN 8
END;
COMMENT ON FUNCTION api.region_order(double precision, double precision) IS
    'HEALPix order, of those with an index (10, 8), at which a region of a length and a width [deg] is searched.';

CREATE OR REPLACE FUNCTION api.first_turn(ra_deg double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ra_deg - 360 * floor(ra_deg / 360);
COMMENT ON FUNCTION api.first_turn(double precision) IS
    'A right ascension [deg] of any revolution, in [0, 360]; one that is in [0, 360) stays the same to the last bit.';
