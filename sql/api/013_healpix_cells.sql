-- Cells that cover a disc. Base pixels are squares in coordinates x and y (Gorski et al. 2005, ApJ 622, 759, section 5),
-- in which a small disc is nearly an ellipse; the cells that this touches, row by row, are the cover. Within |z| <= 2/3, x
-- and y go on across the sides of base pixels. Beyond, near a side or a pole, a square about the disc is taken instead,
-- and what lies beyond the side is looked up in the base pixel there, turned. Tests compare with healpy. Radii get a
-- margin of 1e-9 rad (0.2 mas) for rounding.

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

-- A function whose body is the table, so that the planner puts it in place of a call.
DO $do$
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION api.healpix_spread_table() RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE '
        'AS %L', format('SELECT %L::bigint[]', '[0:1023]=' || (
            SELECT array_agg(api.healpix_spread(v) ORDER BY v)::text FROM generate_series(0, 1023) v)));
END
$do$;
COMMENT ON FUNCTION api.healpix_spread_table() IS 'api.healpix_spread of 0 to 1023, in an array that begins with 0.';

CREATE OR REPLACE FUNCTION api.healpix_face_table()
RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$ SELECT '[-6:0][-1:5]={
    {11,8,9,10,11,8,5}, {11,8,9,10,11,4,0}, {11,8,9,10,7,3,3}, {11,8,9,6,2,2,2}, {11,8,5,1,1,1,1}, {11,4,0,0,0,0,0},
    {7,3,3,3,3,3,3}}'::bigint[] $function$;
COMMENT ON FUNCTION api.healpix_face_table() IS
    'Base pixels by the floors of y and x, as api.healpix_disc_cells counts them around the sky within |z| <= 2/3: 4 to 7 '
    'on the diagonal, 0 to 3 north of it, 8 to 11 south of it.';

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

CREATE OR REPLACE FUNCTION api.healpix_square_cells(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    -- x and y, in units of a base pixel, change by at most 1.453 a radian.
    reach bigint := ceil(1.46 * (radius_arcsec * 4.84813681109536e-06::float8 + 1e-9) * (1 << 29)) + 1;
    place record := api.healpix_face(api.healpix(ra_deg, dec_deg, 29), 29);
    edge bigint := 1::bigint << healpix_order;
    first_x bigint := (place.ix - reach) >> (29 - healpix_order);
    last_x bigint := (place.ix + reach) >> (29 - healpix_order);
    first_y bigint := (place.iy - reach) >> (29 - healpix_order);
    last_y bigint := (place.iy + reach) >> (29 - healpix_order);
    found bigint[];
BEGIN
    IF last_x - first_x > 2000 THEN
        RAISE EXCEPTION 'a disc of % cells'' radius is too large for HEALPix order %', (last_x - first_x) / 2, healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Take a coarser order, with fewer than a million cells.';
    END IF;
    found := api.healpix_box_cells(place.face, first_x, last_x, first_y, last_y, healpix_order);
    IF (first_x < 0 OR last_x >= edge) AND (first_y < 0 OR last_y >= edge) THEN
        -- Both ways around a corner were taken, and led to the same cells where four base pixels meet.
        found := ARRAY(SELECT DISTINCT c FROM unnest(found) c);
    END IF;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.healpix_square_cells(double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order that together hold every point within a radius [arcsec, to 34 degrees] of a '
    'position [deg]: a square about the disc, anywhere on the sky.';

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
    IF healpix_order > 8 THEN
        RAISE EXCEPTION 'a radius of % arcsec is too large for HEALPix order %', radius_arcsec, healpix_order
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Beyond 11 degrees the order is at most 8.';
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
    'Nested HEALPix pixels of an order to 8 that together hold every point within a radius [arcsec] of a position [deg], '
    'found by the distances of pixels'' centres.';

CREATE OR REPLACE FUNCTION api.healpix_disc_cells(
    ra_deg double precision, dec_deg double precision, radius_arcsec double precision, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    mask integer := (1 << healpix_order) - 1;
    shift integer := 2 * healpix_order;
    n double precision := 1 << healpix_order;
    x double precision;
    y double precision;
    reach double precision;
    x0 integer;
    x1 integer;
    row_bits bigint;
    turn double precision;
    c double precision;
    s double precision;
    -- Half width and half height of the ellipse, its height at the rightmost point, its slope and breadth along a row.
    half_x double precision;
    half_y double precision;
    knee double precision;
    slope double precision;
    breadth double precision;
    found bigint[];
BEGIN
    -- Here an operator costs 0.1 microseconds the first time in a transaction, and a statement as much every time. So the
    -- common case, a small disc within |z| <= 2/3, takes as few as it can. 41.809 and 41.811 leave room for the margin
    -- beside asin(2/3), 41.8103 degrees.
    IF abs(dec_deg) + radius_arcsec / 3600 < 41.809 AND ra_deg >= 0 AND ra_deg < 360 AND radius_arcsec >= 0
       AND radius_arcsec <= 40000 AND healpix_order >= 0 AND healpix_order <= 10 THEN
        y := 0.75 * sin(dec_deg * 0.017453292519943295::float8);
        x := (0.5 + ra_deg / 90 + y) * n;
        y := y * 2 * n - x;
        -- x and y change by at most 1.021 a radian.
        reach := (radius_arcsec * 4.993580915428221e-06::float8 + 1.03e-9::float8) * n;
    ELSIF ra_deg >= 0 AND ra_deg < 360 AND abs(dec_deg) <= 90 AND radius_arcsec >= 0 AND radius_arcsec <= 40000
          AND healpix_order >= 0 AND healpix_order <= 10 THEN
        c := (90 - abs(dec_deg)) * 0.017453292519943295::float8;
        turn := ra_deg / 90 - floor(ra_deg / 90);
        y := 2.449489742783178::float8 * sin(c / 2);
        x := CASE WHEN dec_deg > 0 THEN 1 - y * (1 - turn) ELSE y * turn END * n;
        y := CASE WHEN dec_deg > 0 THEN 1 - y * turn ELSE y * (1 - turn) END * n;
        -- By at most 1.453 here.
        reach := (radius_arcsec * 7.07827974419923e-06::float8 + 1.46e-9::float8) * n;
        IF abs(dec_deg) - radius_arcsec / 3600 < 41.811 OR radius_arcsec * 4.84813681109536e-06::float8 > 0.3 * c
           OR x - reach < 0 OR x + reach >= n OR y - reach < 0 OR y + reach >= n THEN
            RETURN api.healpix_square_cells(ra_deg, dec_deg, radius_arcsec, healpix_order);
        END IF;
        x := x + (floor(ra_deg / 90) + CASE WHEN dec_deg > 0 THEN 1 ELSE 0 END) * n;
        y := y - (floor(ra_deg / 90) + CASE WHEN dec_deg > 0 THEN 1 ELSE 2 END) * n;
    ELSE
        PERFORM api.check_position(ra_deg, dec_deg), api.check_radius(radius_arcsec), api.check_order(healpix_order);
        IF radius_arcsec > 120000 OR radius_arcsec > 40000 AND healpix_order <= 8 THEN
            RETURN api.healpix_wide_disc_cells(ra_deg, dec_deg, radius_arcsec, healpix_order);
        ELSIF radius_arcsec > 40000 OR healpix_order > 10 THEN
            RETURN api.healpix_square_cells(ra_deg, dec_deg, radius_arcsec, healpix_order);
        END IF;
        turn := ra_deg - 360 * floor(ra_deg / 360);
        RETURN api.healpix_disc_cells(CASE WHEN turn < 360 THEN turn ELSE 0 END, dec_deg, radius_arcsec, healpix_order);
    END IF;
    found := '{}';
    -- A square of up to three by three cells costs no more than to find out which of them the ellipse touches.
    IF reach <= 1 THEN
        x0 := floor(x - reach);
        x1 := floor(x + reach);
        FOR j IN floor(y - reach)::integer..floor(y + reach)::integer LOOP
            row_bits := (api.healpix_spread_table())[j & mask] << 1;
            FOR i IN x0..x1 LOOP
                found := found || (
                    ((api.healpix_face_table())[j >> healpix_order][i >> healpix_order] << shift)
                    | (api.healpix_spread_table())[i & mask] | row_bits);
            END LOOP;
        END LOOP;
        RETURN found;
    END IF;
    -- The ellipse. With r the radius: x + y is 1.5 sin(dec) and changes by up to c r, x - y is 4 / pi ra and changes by up to
    -- s r, of which 0.5 % are for the sphere's curvature to r = 0.2. In the caps, with colatitude c, x and y follow from
    -- sqrt(6) sin(c / 2); the disc's image leaves its ellipse by at most 0.201 r / c (measured to r = 0.3 c).
    reach := (radius_arcsec * 4.84813681109536e-06::float8 + 1e-9::float8) * n;
    IF abs(dec_deg) + radius_arcsec / 3600 < 41.809 THEN
        s := 1.28 / cos((abs(dec_deg) + radius_arcsec / 3600) * 0.017453292519943295::float8);
        c := 1.5 * cos(greatest(abs(dec_deg) - radius_arcsec / 3600, 0) * 0.017453292519943295::float8);
        half_x := sqrt(s * s + c * c) / 2 * reach;
        half_y := half_x;
        knee := (c * c - s * s) / 4 * reach * reach / half_x;
        breadth := s * c / 2 * reach * reach / (half_y * half_y);
    ELSE
        reach := reach * (1 + 0.25 * radius_arcsec * 4.84813681109536e-06::float8 / c);
        s := 1.224744871391589::float8 * cos(c / 2);
        c := 0.7796968012336761::float8 / cos(c / 2);
        half_x := sqrt(s * s * CASE WHEN dec_deg > 0 THEN (1 - turn) * (1 - turn) ELSE turn * turn END + c * c) * reach;
        half_y := sqrt(s * s * CASE WHEN dec_deg > 0 THEN turn * turn ELSE (1 - turn) * (1 - turn) END + c * c) * reach;
        knee := (turn * (1 - turn) * s * s - c * c) * reach * reach / half_x;
        breadth := s * c * reach * reach / (half_y * half_y);
    END IF;
    slope := knee * half_x / (half_y * half_y);
    FOR j IN floor(y - half_y)::integer..floor(y + half_y)::integer LOOP
        row_bits := (api.healpix_spread_table())[j & mask] << 1;
        -- The leftmost point of the row, and the rightmost one, are where the ellipse's own are, or nearest to these.
        s := greatest(least(-knee, j + 1 - y), j - y);
        c := greatest(least(knee, j + 1 - y), j - y);
        FOR i IN floor(x + slope * s - breadth * sqrt(greatest(half_y * half_y - s * s, 0)))::integer
              .. floor(x + slope * c + breadth * sqrt(greatest(half_y * half_y - c * c, 0)))::integer LOOP
            found := found || (
                ((api.healpix_face_table())[j >> healpix_order][i >> healpix_order] << shift)
                | (api.healpix_spread_table())[i & mask] | row_bits);
        END LOOP;
    END LOOP;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.healpix_disc_cells(double precision, double precision, double precision, integer) IS
    'Nested HEALPix pixels of an order that together hold every point within a radius [arcsec] of a position [deg].';
