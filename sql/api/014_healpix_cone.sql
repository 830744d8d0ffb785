-- Ranges that cover a disc. Two bounds carry the proof that nothing is missed, both checked against healpy by tests:
-- a disc of radius 0.67 / 2^order rad about any point of a pixel lies within that pixel and its neighbours
-- (Fernique, Boch et al., cdshealpix, give 0.689 or more), and no point of a pixel is farther than 1.08 / 2^order rad
-- from its centre. Radii get a margin of 1e-9 rad (0.2 mas) for rounding.

CREATE OR REPLACE FUNCTION api.healpix_cone_order(radius_arcsec double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN radius_arcsec >= 0 AND radians(radius_arcsec / 3600) <= 0.66
    THEN least(24, floor(ln(0.67 / (radians(radius_arcsec / 3600) + 1e-9)) / ln(2.0::float8))::integer)
    WHEN radius_arcsec IS NOT NULL THEN -1
END;
COMMENT ON FUNCTION api.healpix_cone_order(double precision) IS
    'Finest order (to 24) at which a disc of the radius [arcsec] lies within the pixel of its centre and the '
    'neighbours; -1 where the radius is too large for any.';

CREATE OR REPLACE FUNCTION api.healpix_cone(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision,
    OUT hpx29_start bigint, OUT hpx29_stop bigint, OUT inside boolean)
RETURNS SETOF record
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE ROWS 10
AS $function$
DECLARE
    radius double precision := radians(radius_arcsec / 3600) + 1e-9;
    first_order integer := greatest(api.healpix_cone_order(radius_arcsec), 0);
    last_order integer;
    pixels bigint[];
    orders integer[];
    n_left integer;
    pixel bigint;
    pixel_order integer;
    centre record;
    distance double precision;
    pixel_radius double precision;
    pixel_start bigint;
    pixel_inside boolean;
BEGIN
    pixels := (SELECT array_agg(DISTINCT c ORDER BY c DESC)
               FROM unnest(api.healpix_disc_cells(ra_deg, dec_deg, radius_arcsec, first_order)) c);
    -- Small discs hold few sources: finer ranges would cost more than the rows that they save.
    last_order := CASE WHEN radius_arcsec <= 60 THEN first_order ELSE least(first_order + 3, 24) END;
    n_left := cardinality(pixels);
    orders := array_fill(first_order, ARRAY[n_left]);
    WHILE n_left > 0 LOOP
        pixel := pixels[n_left];
        pixel_order := orders[n_left];
        n_left := n_left - 1;
        centre := api.healpix_center(pixel, pixel_order);
        distance := radians(api.separation_arcsec(ra_deg, dec_deg, centre.ra_deg, centre.dec_deg) / 3600);
        pixel_radius := 1.08 / (1::bigint << pixel_order);
        CONTINUE WHEN distance > radius + pixel_radius;
        pixel_inside := distance + pixel_radius <= radius - 3e-9;
        IF pixel_order = last_order OR pixel_inside THEN
            pixel_start := pixel << (2 * (29 - pixel_order));
            IF hpx29_stop = pixel_start AND inside = pixel_inside THEN
                hpx29_stop := (pixel + 1) << (2 * (29 - pixel_order));
            ELSE
                IF hpx29_stop IS NOT NULL THEN
                    RETURN NEXT;
                END IF;
                inside := pixel_inside;
                hpx29_start := pixel_start;
                hpx29_stop := (pixel + 1) << (2 * (29 - pixel_order));
            END IF;
        ELSE
            FOR child IN REVERSE 3..0 LOOP
                n_left := n_left + 1;
                pixels[n_left] := 4 * pixel + child;
                orders[n_left] := pixel_order + 1;
            END LOOP;
        END IF;
    END LOOP;
    IF hpx29_stop IS NOT NULL THEN
        RETURN NEXT;
    END IF;
END
$function$;
COMMENT ON FUNCTION api.healpix_cone(double precision, double precision, double precision) IS
'Half-open ranges of hpx29, ascending and disjoint, that hold every point within a radius [arcsec] of a position [deg].
hpx29_start: First hpx29 of the range [ucd: pos.healpix]
hpx29_stop: The hpx29 after the last of the range [ucd: pos.healpix]
inside: Whether every point of the range is within the radius [ucd: meta.code]';
