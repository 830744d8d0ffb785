-- Cells that cover a disc. On a base pixel, column and row (as fractions of its side) change by at most 1.03 a radian
-- where |z| <= 2/3 and by at most 1.46 beyond (the largest gradients are 1.021 and 1.453), their sum by 1.5 cos(dec) and
-- 1.225, their difference by 4 / (pi cos(dec)) and 2.10: so a disc lies in an octagon about its centre. Beyond a side of
-- the base pixel the octagon's box goes on in the next one, turned. Tests compare with healpy. Radii get a margin of
-- 1e-9 rad (0.2 mas) for rounding.

CREATE OR REPLACE FUNCTION api.healpix_spread(v bigint)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
BEGIN
    v := (v | (v << 16)) & 281470681808895;      -- 0x0000FFFF0000FFFF
    v := (v | (v << 8)) & 71777214294589695;     -- 0x00FF00FF00FF00FF
    v := (v | (v << 4)) & 1085102592571150095;   -- 0x0F0F0F0F0F0F0F0F
    v := (v | (v << 2)) & 3689348814741910323;   -- 0x3333333333333333
    RETURN (v | (v << 1)) & 6148914691236517205; -- 0x5555555555555555
END
$function$;
COMMENT ON FUNCTION api.healpix_spread(bigint) IS
    'The lower 32 bits of a number, each moved to twice its place: columns of nested HEALPix pixels as they stand in indices.';

CREATE OR REPLACE FUNCTION api.healpix_box_cells(
    face bigint, first_x bigint, last_x bigint, first_y bigint, last_y bigint, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    -- The base pixel beyond each side, by base pixel: x < 0, x >= 2^order, y < 0, y >= 2^order.
    next_face CONSTANT bigint[] := '{
        {4,5,6,7,11,8,9,10,11,8,9,10}, {1,2,3,0,0,1,2,3,5,6,7,4},
        {5,6,7,4,8,9,10,11,9,10,11,8}, {3,0,1,2,3,0,1,2,4,5,6,7}}';
    edge bigint := 1::bigint << healpix_order;
    beyond bigint;
    x bigint;
    y bigint;
    column_bits bigint;
    row_bits bigint;
    found bigint[] := '{}';
BEGIN
    -- Where one side of a northern (southern) base pixel meets the next northern (southern) one, rows become columns.
    IF first_x < 0 THEN
        beyond := next_face[1][face + 1];
        x := first_x + edge;
        y := least(last_x, -1) + edge;
        found := CASE WHEN face >= 8
            THEN api.healpix_box_cells(beyond, first_y, last_y, edge - 1 - y, edge - 1 - x, healpix_order)
            ELSE api.healpix_box_cells(beyond, x, y, first_y, last_y, healpix_order) END;
    END IF;
    IF last_x >= edge THEN
        beyond := next_face[2][face + 1];
        x := greatest(first_x, edge) - edge;
        y := last_x - edge;
        found := found || CASE WHEN face < 4
            THEN api.healpix_box_cells(beyond, first_y, last_y, edge - 1 - y, edge - 1 - x, healpix_order)
            ELSE api.healpix_box_cells(beyond, x, y, first_y, last_y, healpix_order) END;
    END IF;
    -- Both ways around a corner are taken: where three base pixels meet, they lead to different cells, and elsewhere to
    -- the same.
    IF first_y < 0 THEN
        beyond := next_face[3][face + 1];
        x := first_y + edge;
        y := least(last_y, -1) + edge;
        found := found || CASE WHEN face >= 8
            THEN api.healpix_box_cells(beyond, edge - 1 - y, edge - 1 - x, first_x, last_x, healpix_order)
            ELSE api.healpix_box_cells(beyond, first_x, last_x, x, y, healpix_order) END;
    END IF;
    IF last_y >= edge THEN
        beyond := next_face[4][face + 1];
        x := greatest(first_y, edge) - edge;
        y := last_y - edge;
        found := found || CASE WHEN face < 4
            THEN api.healpix_box_cells(beyond, edge - 1 - y, edge - 1 - x, first_x, last_x, healpix_order)
            ELSE api.healpix_box_cells(beyond, first_x, last_x, x, y, healpix_order) END;
    END IF;
    x := greatest(first_x, 0);
    y := greatest(first_y, 0);
    IF x <= least(last_x, edge - 1) AND y <= least(last_y, edge - 1) THEN
        row_bits := (face << (2 * healpix_order)) | (api.healpix_spread(y) << 1);
        LOOP
            column_bits := api.healpix_spread(x);
            FOR i IN x..least(last_x, edge - 1) LOOP
                found := found || (row_bits | column_bits);
                column_bits := ((column_bits | -6148914691236517206) + 1) & 6148914691236517205;
            END LOOP;
            EXIT WHEN y >= least(last_y, edge - 1);
            y := y + 1;
            row_bits := (face << (2 * healpix_order)) | (api.healpix_spread(y) << 1);
        END LOOP;
    END IF;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.healpix_box_cells(bigint, bigint, bigint, bigint, bigint, integer) IS
    'Nested HEALPix pixels of the columns and rows from first to last of a base pixel (face, 0 to 11) and, where these '
    'go beyond its sides by no more than its length, of its neighbours; a pixel near a corner can occur twice.';

CREATE OR REPLACE FUNCTION api.healpix_wide_disc_cells(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    pixels bigint[] := '{0,1,2,3,4,5,6,7,8,9,10,11}';
    found bigint[] := '{}';
    reach double precision;
BEGIN
    IF healpix_order > 7 THEN
        RAISE EXCEPTION 'a radius of % arcsec is too large for HEALPix order %', radius_arcsec, healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Beyond 34 degrees the order is at most 7.';
    END IF;
    -- Pixels that the rim may cross are divided; those wholly inside are not looked at again.
    FOR pixel_order IN 0..healpix_order LOOP
        -- No point of a pixel is farther than 1.08 / 2^order rad from its centre.
        reach := 1.08 / (1::bigint << pixel_order) * 206264.80624709636 + 1;
        SELECT found || array_agg(c) FILTER (WHERE distance <= radius_arcsec - reach),
               array_agg(p) FILTER (WHERE distance > radius_arcsec - reach AND distance <= radius_arcsec + reach)
        INTO found, pixels
        FROM (
            SELECT p, api.separation_arcsec(ra_deg, dec_deg, centre.ra, centre."dec") AS distance
            FROM unnest(pixels) p, api.healpix_center(p, pixel_order) centre (ra, "dec")
            OFFSET 0  -- or the distance is computed once for each cell
        ) d
        LEFT JOIN LATERAL generate_series(
            p << (2 * (healpix_order - pixel_order)), ((p + 1) << (2 * (healpix_order - pixel_order))) - 1) c
            ON distance <= radius_arcsec - reach;
        EXIT WHEN pixel_order = healpix_order;
        pixels := ARRAY(SELECT 4 * p + child FROM unnest(pixels) p, generate_series(0, 3) child);
    END LOOP;
    RETURN found || pixels;
END
$function$;
COMMENT ON FUNCTION api.healpix_wide_disc_cells(double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order to 7 that together hold every point within a radius [arcsec] of a position [deg], '
    'found by the distances of pixels'' centres.';

CREATE OR REPLACE FUNCTION api.healpix_octagon_cells(
    face bigint, x double precision, y double precision, reach double precision, plus_reach double precision,
    minus_reach double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    edge bigint := 1::bigint << healpix_order;
    first_x bigint := floor(x - reach);
    last_x bigint := floor(x + reach);
    first_y bigint := floor(y - reach);
    last_y bigint := floor(y + reach);
    first_i bigint;
    last_i bigint;
    column_bits bigint;
    row_bits bigint;
    found bigint[] := '{}';
BEGIN
    IF reach > 1000 THEN
        RAISE EXCEPTION 'a disc of % cells'' radius is too large for HEALPix order %', ceil(reach), healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Take a coarser order, with fewer than a million cells.';
    END IF;
    IF (first_x | first_y) < 0 OR last_x >= edge OR last_y >= edge THEN
        found := api.healpix_box_cells(face, first_x, last_x, first_y, last_y, healpix_order);
        IF (first_x < 0 OR last_x >= edge) AND (first_y < 0 OR last_y >= edge) THEN
            -- Both ways around a corner were taken, and led to the same cells where four base pixels meet.
            found := ARRAY(SELECT DISTINCT c FROM unnest(found) c);
        END IF;
        RETURN found;
    END IF;
    row_bits := api.healpix_spread(first_y) << 1;
    FOR row_y IN first_y..last_y LOOP
        -- The cells whose corners reach into the octagon.
        first_i := greatest(first_x, ceil(greatest(x + y - plus_reach - 2 - row_y, x - y - minus_reach - 1 + row_y))::bigint);
        last_i := least(last_x, floor(least(x + y + plus_reach - row_y, x - y + minus_reach + 1 + row_y))::bigint);
        IF first_i <= last_i THEN
            column_bits := (face << (2 * healpix_order)) | row_bits | api.healpix_spread(first_i);
            FOR unused IN first_i..last_i LOOP
                found := found || column_bits;
                -- One column on: the carry runs over the places between.
                column_bits := ((column_bits | -6148914691236517206) + 1) & 6148914691236517205
                               | (column_bits & -6148914691236517206);
            END LOOP;
        END IF;
        row_bits := ((row_bits | 6148914691236517205) + 1) & -6148914691236517206;
    END LOOP;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.healpix_octagon_cells(
    bigint, double precision, double precision, double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order in an octagon about column x and row y of a base pixel (face, 0 to 11): within '
    'reach in x and y, within plus_reach in x + y, within minus_reach in x - y, in pixels.';

CREATE OR REPLACE FUNCTION api.healpix_disc_cells(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    face bigint;
    u double precision;
    v double precision;
    x double precision;
    y double precision;
    r double precision;
    i bigint;
BEGIN
    -- Statements cost more than arithmetic here: 0.1 microseconds each, and 1 the first time in a transaction. So the
    -- common case, a disc within one cell, takes as few as it can.
    IF NOT (dec_deg >= -90 AND dec_deg <= 90 AND ra_deg >= 0 AND ra_deg < 360 AND radius_arcsec >= 0
            AND radius_arcsec <= 120000 AND healpix_order >= 0 AND healpix_order <= 29) THEN
        PERFORM api.check_position(ra_deg, dec_deg), api.check_radius(radius_arcsec), api.check_order(healpix_order);
        IF radius_arcsec > 120000 THEN
            RETURN api.healpix_wide_disc_cells(ra_deg, dec_deg, radius_arcsec, healpix_order);
        END IF;
        u := ra_deg - 360 * floor(ra_deg / 360);
        RETURN api.healpix_disc_cells(CASE WHEN u < 360 THEN u ELSE 0 END, dec_deg, radius_arcsec, healpix_order);
    END IF;
    -- Gorski et al. 2005, eqs. 4 to 9, solved for the place within the base pixel, in units of a cell.
    IF dec_deg < 41.8103148957786 AND dec_deg > -41.8103148957786 THEN
        v := 0.75 * sin(dec_deg * 0.017453292519943295::float8);
        u := 0.5 + ra_deg / 90 + v;
        v := 0.5 + ra_deg / 90 - v;
        face := CASE WHEN floor(u) = floor(v) THEN (floor(u)::bigint & 3) + 4
                     WHEN floor(v) < floor(u) THEN floor(v)::bigint ELSE floor(u)::bigint + 8 END;
        x := (u - floor(u)) * (1::bigint << healpix_order);
        y := (1 - (v - floor(v))) * (1::bigint << healpix_order);
    ELSE
        v := 2.449489742783178::float8 * sin((90 - abs(dec_deg)) * 0.008726646259971648::float8);
        u := (ra_deg / 90 - floor(ra_deg / 90)) * v;
        face := floor(ra_deg / 90)::bigint + CASE WHEN dec_deg > 0 THEN 0 ELSE 8 END;
        x := CASE WHEN dec_deg > 0 THEN 1 - v + u ELSE u END * (1::bigint << healpix_order);
        y := CASE WHEN dec_deg > 0 THEN 1 - u ELSE v - u END * (1::bigint << healpix_order);
    END IF;
    r := (radius_arcsec * 4.84813681109536e-06::float8 + 1e-9::float8) * (1::bigint << healpix_order);
    -- 41.809 leaves room for the margin below asin(2/3), 41.8103 degrees.
    v := CASE WHEN abs(dec_deg) + radius_arcsec / 3600 < 41.809 THEN 1.03 ELSE 1.46 END * r;
    IF healpix_order <= 16 AND floor(x - v) = floor(x + v) AND floor(y - v) = floor(y + v) THEN
        -- Column and row are spread at once, as the halves of one number.
        i := floor(x)::bigint | (floor(y)::bigint << 32);
        i := (i | (i << 8)) & 71777214294589695;
        i := (i | (i << 4)) & 1085102592571150095;
        i := (i | (i << 2)) & 3689348814741910323;
        i := (i | (i << 1)) & 6148914691236517205;
        RETURN ARRAY[(face << (2 * healpix_order)) | (i & 4294967295) | (i >> 31)];
    END IF;
    IF abs(dec_deg) + radius_arcsec / 3600 < 41.809 THEN
        RETURN api.healpix_octagon_cells(
            face, x, y, v, 1.5 * r, 1.2733 * r / cos((abs(dec_deg) + radius_arcsec / 3600) * 0.017453292519943295::float8),
            healpix_order);
    END IF;
    RETURN api.healpix_octagon_cells(face, x, y, v, 1.51 * r, 2.11 * r, healpix_order);
END
$function$;
COMMENT ON FUNCTION api.healpix_disc_cells(double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order that together hold every point within a radius [arcsec] of a position [deg].';
