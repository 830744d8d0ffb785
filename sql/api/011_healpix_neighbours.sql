-- The pixels around a pixel, with the tables of the HEALPix C++ library for steps across base-pixel borders.

CREATE OR REPLACE FUNCTION api.healpix_neighbours(pixel bigint, healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    -- Rows S, SE, E, SW, centre, NE, W, NW, N of the step; columns are base pixels; -1 where three faces meet.
    next_face CONSTANT integer[] := '{
        {8,9,10,11,-1,-1,-1,-1,10,11,8,9}, {5,6,7,4,8,9,10,11,9,10,11,8}, {-1,-1,-1,-1,5,6,7,4,-1,-1,-1,-1},
        {4,5,6,7,11,8,9,10,11,8,9,10}, {0,1,2,3,4,5,6,7,8,9,10,11}, {1,2,3,0,0,1,2,3,5,6,7,4},
        {-1,-1,-1,-1,7,4,5,6,-1,-1,-1,-1}, {3,0,1,2,3,0,1,2,4,5,6,7}, {2,3,0,1,-1,-1,-1,-1,0,1,2,3}}';
    -- How the next face is turned: 1 mirrors x, 2 mirrors y, 4 swaps them; columns north, equator, south.
    turn CONSTANT integer[] := '{{0,0,3},{0,0,6},{0,0,0},{0,0,5},{0,0,0},{5,0,0},{0,0,0},{6,0,0},{3,0,0}}';
    step_x CONSTANT integer[] := '{-1,-1,0,1,1,1,0,-1}';
    step_y CONSTANT integer[] := '{0,1,1,1,0,-1,-1,-1}';
    edge bigint := 1::bigint << healpix_order;
    place record;
    base integer;
    x bigint;
    y bigint;
    swapped bigint;
    side integer;
    face integer;
    turned integer;
    found bigint[] := '{}';
BEGIN
    IF healpix_order < 0 OR healpix_order > 29 OR pixel < 0 OR pixel >= 12 * edge * edge THEN
        RAISE EXCEPTION 'there is no HEALPix pixel % of order %', pixel, healpix_order
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Orders are 0 to 29 and indices 0 to 12 * 4^order - 1.';
    END IF;
    place := api.healpix_face(pixel, healpix_order);
    base := place.face;
    FOR i IN 1..8 LOOP
        x := place.ix + step_x[i];
        y := place.iy + step_y[i];
        side := 5;
        IF x < 0 THEN
            x := x + edge;
            side := side - 1;
        ELSIF x >= edge THEN
            x := x - edge;
            side := side + 1;
        END IF;
        IF y < 0 THEN
            y := y + edge;
            side := side - 3;
        ELSIF y >= edge THEN
            y := y - edge;
            side := side + 3;
        END IF;
        face := next_face[side][base + 1];
        CONTINUE WHEN face < 0;
        turned := turn[side][base / 4 + 1];
        IF turned & 1 > 0 THEN
            x := edge - x - 1;
        END IF;
        IF turned & 2 > 0 THEN
            y := edge - y - 1;
        END IF;
        IF turned & 4 > 0 THEN
            swapped := x;
            x := y;
            y := swapped;
        END IF;
        found := found || api.healpix_nest(face, x, y, healpix_order);
    END LOOP;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.healpix_neighbours(bigint, integer) IS
    'The 6 to 8 pixels that touch a nested HEALPix pixel, in the order SW, W, NW, N, NE, E, SE, S, '
    'without the ones that do not exist where three base pixels meet.';
