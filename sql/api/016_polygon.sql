-- Polygons of great circles. In the gnomonic projection about a point within 90 degrees of all vertices, great circles
-- are straight lines, so the server's own test of a point in a polygon, in C, serves. It takes lengths below 1e-6 for
-- zero: coordinates are multiplied by 1e9, so that these are 1e-15 rad.

CREATE OR REPLACE FUNCTION api.polygon_vectors(polygon double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    flat double precision[] := polygon;
    n_number integer := cardinality(polygon);
    n integer := 0;
    cosine double precision;
    x double precision;
    y double precision;
    z double precision;
    found double precision[] := '{}';
BEGIN
    IF n_number % 2 = 1 THEN
        RAISE EXCEPTION 'a polygon of % numbers has a vertex without a declination', n_number
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A polygon is {ra1,dec1,ra2,dec2,...} in degrees.';
    END IF;
    IF array_ndims(polygon) > 1 OR array_lower(polygon, 1) <> 1 THEN
        flat := ARRAY(SELECT unnest(polygon));
    END IF;
    FOR i IN 1..n_number BY 2 LOOP
        IF api.check_position(flat[i], flat[i + 1]) IS NULL THEN
            RAISE EXCEPTION 'vertex % of the polygon is NULL', i / 2 + 1
                USING ERRCODE = 'invalid_parameter_value', HINT = 'A polygon is {ra1,dec1,ra2,dec2,...} in degrees.';
        END IF;
        cosine := cosd(flat[i + 1]);
        x := cosine * cosd(flat[i]);
        y := cosine * sind(flat[i]);
        z := sind(flat[i + 1]);
        -- A vertex that repeats the last one, or at the end the first one, adds nothing.
        CONTINUE WHEN n > 0 AND abs(x - found[n - 2]) + abs(y - found[n - 1]) + abs(z - found[n]) < 1e-12;
        CONTINUE WHEN n > 0 AND i = n_number - 1
                      AND abs(x - found[1]) + abs(y - found[2]) + abs(z - found[3]) < 1e-12;
        found := found || ARRAY[x, y, z];
        n := n + 3;
    END LOOP;
    IF n < 9 THEN
        RAISE EXCEPTION 'a polygon needs 3 distinct vertices and has %', n / 3
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A polygon is {ra1,dec1,ra2,dec2,...} in degrees.';
    END IF;
    FOR i IN 0..n - 3 BY 3 LOOP
        x := found[i + 1] + found[(i + 3) % n + 1];
        y := found[i + 2] + found[(i + 3) % n + 2];
        z := found[i + 3] + found[(i + 3) % n + 3];
        IF abs(x) + abs(y) + abs(z) < 1e-9 THEN
            RAISE EXCEPTION 'the edge of the polygon from its vertex % is 180 degrees long', i / 3 + 1
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Many great circles join antipodes: put a vertex between them.';
        END IF;
    END LOOP;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION api.polygon_vectors(double precision[]) IS
    'Unit vectors {x1,y1,z1,x2,...} of the distinct vertices of a polygon {ra1,dec1,ra2,dec2,...} [deg]; an error that '
    'names the value for what is no polygon.';

-- Centres of the caps through two or three vertices, and of those that hold the vertices before them the smallest: as in
-- the simplex method, the vertex farthest outside enters until none is.
CREATE OR REPLACE FUNCTION api.smallest_cap(vectors double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    n integer := cardinality(vectors) / 3;
    basis integer[] := '{1}';
    entering integer;
    centre double precision[] := vectors[1:3];
    cosine double precision := 1;
    worst double precision;
    product double precision;
BEGIN
    FOR unused IN 1..1000 LOOP
        worst := 2;
        FOR i IN 0..n - 1 LOOP
            product := vectors[3 * i + 1] * centre[1] + vectors[3 * i + 2] * centre[2] + vectors[3 * i + 3] * centre[3];
            IF product < worst THEN
                worst := product;
                entering := i + 1;
            END IF;
        END LOOP;
        EXIT WHEN worst >= cosine - 1e-13;
        basis := basis || entering;
        WITH vertex AS MATERIALIZED (
            SELECT b, vectors[3 * b - 2] AS x, vectors[3 * b - 1] AS y, vectors[3 * b] AS z FROM unnest(basis) b
        ), cap AS (
            SELECT ARRAY[v.b, w.b] AS through, v.x + w.x AS x, v.y + w.y AS y, v.z + w.z AS z
            FROM vertex v JOIN vertex w ON v.b < w.b
            UNION ALL
            SELECT ARRAY[u.b, v.b, w.b], turn * ((v.y - u.y) * (w.z - u.z) - (v.z - u.z) * (w.y - u.y)),
                   turn * ((v.z - u.z) * (w.x - u.x) - (v.x - u.x) * (w.z - u.z)),
                   turn * ((v.x - u.x) * (w.y - u.y) - (v.y - u.y) * (w.x - u.x))
            FROM vertex u JOIN vertex v ON u.b < v.b JOIN vertex w ON v.b < w.b, (VALUES (1), (-1)) t (turn)
        ), unit AS (
            SELECT through, ARRAY[x, y, z] AS middle, x / length AS x, y / length AS y, z / length AS z
            FROM cap, LATERAL (SELECT sqrt(x * x + y * y + z * z)) l (length)
            WHERE length > 1e-15
        )
        SELECT through, ARRAY[c.x, c.y, c.z], nearest
        INTO basis, centre, cosine
        FROM unit c, LATERAL (
            SELECT min(c.x * v.x + c.y * v.y + c.z * v.z),
                   max(c.x * v.x + c.y * v.y + c.z * v.z) FILTER (WHERE v.b = ANY (through))
            FROM vertex v
        ) d (nearest, rim)
        WHERE nearest >= rim - 1e-13
        ORDER BY nearest DESC LIMIT 1;
        EXIT WHEN cosine IS NULL OR cosine <= 0;
    END LOOP;
    RETURN CASE WHEN cosine > 0 THEN centre END;
END
$function$;
COMMENT ON FUNCTION api.smallest_cap(double precision[]) IS
    'Unit vector of the centre of the smallest cap that holds some unit vectors {x1,y1,z1,x2,...}; NULL where it would be '
    'a hemisphere or more.';

CREATE OR REPLACE FUNCTION api.polygon_centre(polygon double precision[])
RETURNS point
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $function$
DECLARE
    vectors double precision[] := api.polygon_vectors(polygon);
    n integer := cardinality(vectors);
    x double precision := 0;
    y double precision := 0;
    z double precision := 0;
    worst double precision := 1;
    centre double precision[];
BEGIN
    FOR i IN 1..n BY 3 LOOP
        x := x + vectors[i];
        y := y + vectors[i + 1];
        z := z + vectors[i + 2];
    END LOOP;
    FOR i IN 1..n BY 3 LOOP
        worst := least(worst, x * vectors[i] + y * vectors[i + 1] + z * vectors[i + 2]);
    END LOOP;
    -- The mean is good enough a centre unless a vertex is more than 78 degrees from it.
    IF worst < 0.2 * sqrt(x * x + y * y + z * z) OR worst <= 0 THEN
        centre := api.smallest_cap(vectors);
        x := centre[1];
        y := centre[2];
        z := centre[3];
        worst := 1;
        FOR i IN 1..n BY 3 LOOP
            worst := least(worst, x * vectors[i] + y * vectors[i + 1] + z * vectors[i + 2]);
        END LOOP;
        IF centre IS NULL OR worst < 1e-6 THEN
            RAISE EXCEPTION 'the polygon of % vertices does not lie within a hemisphere', n / 3
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Search it in parts, each less than 180 degrees across.';
        END IF;
    END IF;
    RETURN point(degrees(atan2(y, x)), degrees(atan2(z, sqrt(x * x + y * y))));
END
$function$;
COMMENT ON FUNCTION api.polygon_centre(double precision[]) IS
    'Position [deg] within 90 degrees of all vertices of a polygon {ra1,dec1,ra2,dec2,...} [deg]; an error where there is '
    'none.';

CREATE OR REPLACE FUNCTION api.gnomonic(source_ra double precision, source_dec double precision, centre point)
RETURNS point
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    step double precision := radians(source_ra - centre[0]);
    half_sine double precision := sin(step / 2);
    dec0 double precision := radians(centre[1]);
    "dec" double precision := radians(source_dec);
    cosine double precision := cos("dec");
    depth double precision := sin(dec0) * sin("dec") + cos(dec0) * cosine * cos(step);
BEGIN
    IF depth <= 0 THEN
        RETURN '(1e100,1e100)';
    END IF;
    -- cos(dec0) sin(dec) - sin(dec0) cos(dec) cos(step), without the difference of nearly equal terms.
    RETURN point(
        1e9 * cosine * sin(step) / depth,
        1e9 * (sin("dec" - dec0) + 2 * sin(dec0) * cosine * half_sine * half_sine) / depth);
END
$function$;
COMMENT ON FUNCTION api.gnomonic(double precision, double precision, point) IS
    'Place [1e-9 rad, east and north] of a source [deg] in the gnomonic projection about a position (ra, dec) [deg]; far '
    'away for what is 90 degrees or more from it.';

CREATE OR REPLACE FUNCTION api.polygon_outline(polygon double precision[])
RETURNS polygon
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $function$
DECLARE
    flat double precision[] := polygon;
    centre point := api.polygon_centre(polygon);
    outline text := '';
BEGIN
    IF array_ndims(polygon) > 1 OR array_lower(polygon, 1) <> 1 THEN
        flat := ARRAY(SELECT unnest(polygon));
    END IF;
    FOR i IN 1..cardinality(flat) BY 2 LOOP
        outline := outline || ',' || api.gnomonic(flat[i], flat[i + 1], centre);
    END LOOP;
    RETURN ('(' || substr(outline, 2) || ')')::polygon;
END
$function$;
COMMENT ON FUNCTION api.polygon_outline(double precision[]) IS
    'Outline of a polygon {ra1,dec1,ra2,dec2,...} [deg] in the gnomonic projection about its api.polygon_centre [1e-9 rad].';

CREATE OR REPLACE FUNCTION api.polygon_radius(polygon double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $function$
DECLARE
    flat double precision[] := ARRAY(SELECT unnest(polygon));
    centre point := api.polygon_centre(polygon);
    radius double precision := 0;
BEGIN
    FOR i IN 1..cardinality(flat) BY 2 LOOP
        radius := greatest(radius, api.separation_arcsec(flat[i], flat[i + 1], centre[0], centre[1]));
    END LOOP;
    RETURN radius;
END
$function$;
COMMENT ON FUNCTION api.polygon_radius(double precision[]) IS
    'Largest separation [arcsec] of a vertex of a polygon {ra1,dec1,ra2,dec2,...} [deg] from its api.polygon_centre.';
