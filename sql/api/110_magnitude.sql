-- Legacy Survey fluxes are in nanomaggies: AB magnitude 22.5 is 1 nanomaggy. A flux that is not positive has no
-- magnitude; NaN sorts above Infinity and is refused with it.

CREATE OR REPLACE FUNCTION api.ab_magnitude(flux_nmgy double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN flux_nmgy > 0 AND flux_nmgy < 'Infinity' THEN 22.5 - 2.5 * log(flux_nmgy) END;
COMMENT ON FUNCTION api.ab_magnitude(double precision) IS
    'AB magnitude [mag] of a flux [nanomaggy]; NULL for a flux that is not positive.';

CREATE OR REPLACE FUNCTION api.ab_magnitude_err(flux_nmgy double precision, flux_ivar double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN flux_nmgy > 0 AND flux_nmgy < 'Infinity' AND flux_ivar > 0 AND flux_ivar < 'Infinity'
    THEN 2.5 / ln(10.0::float8) / (flux_nmgy * sqrt(flux_ivar))
END;
COMMENT ON FUNCTION api.ab_magnitude_err(double precision, double precision) IS
    'One sigma [mag] of an AB magnitude, from a flux [nanomaggy] and its inverse variance [nanomaggy^-2], to first '
    'order; NULL where either is not positive.';
