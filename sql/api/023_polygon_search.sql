CREATE OR REPLACE FUNCTION api.check_crossings(vectors double precision[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
DECLARE
    crossing integer[];
BEGIN
    -- Within a hemisphere, arcs cross where the ends of each lie on either side of the other's great circle.
    WITH edge AS MATERIALIZED (
        SELECT i, x, y, z, to_x, to_y, to_z, y * to_z - z * to_y AS nx, z * to_x - x * to_z AS ny, x * to_y - y * to_x AS nz
        FROM generate_series(0, cardinality(vectors) / 3 - 1) i,
             LATERAL (SELECT 3 * ((i + 1) % (cardinality(vectors) / 3))) s (j),
             LATERAL (SELECT vectors[3 * i + 1], vectors[3 * i + 2], vectors[3 * i + 3],
                             vectors[j + 1], vectors[j + 2], vectors[j + 3]) v (x, y, z, to_x, to_y, to_z)
    )
    SELECT ARRAY[a.i + 1, b.i + 1] INTO crossing
    FROM edge a JOIN edge b
      ON b.i > a.i + 1
     AND (a.nx * b.x + a.ny * b.y + a.nz * b.z) * (a.nx * b.to_x + a.ny * b.to_y + a.nz * b.to_z) < 0
     AND (b.nx * a.x + b.ny * a.y + b.nz * a.z) * (b.nx * a.to_x + b.ny * a.to_y + b.nz * a.to_z) < 0
    WHERE b.i - a.i < cardinality(vectors) / 3 - 1
    LIMIT 1;
    IF crossing IS NOT NULL THEN
        RAISE EXCEPTION 'the edges of the polygon from its vertices % and % cross', crossing[1], crossing[2]
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Vertices follow one another around the polygon.';
    END IF;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION api.check_crossings(double precision[]) IS
    'True for a polygon of unit vectors {x1,y1,z1,x2,...} without edges that cross; an error that names two otherwise.';

CREATE OR REPLACE FUNCTION api.polygon_order(polygon double precision[])
RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
AS $function$
DECLARE
    diameter double precision := api.polygon_radius(polygon) / 1800;
BEGIN
    RETURN api.region_order(diameter, diameter);
END
$function$;
COMMENT ON FUNCTION api.polygon_order(double precision[]) IS
    'HEALPix order at which a polygon {ra1,dec1,ra2,dec2,...} [deg] is searched.';

CREATE OR REPLACE FUNCTION api.polygon_cells(polygon double precision[], healpix_order integer)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10000
AS $function$
DECLARE
    vectors double precision[] := api.polygon_vectors(polygon);
    n integer := cardinality(vectors) / 3;
    centre point := api.polygon_centre(polygon);
    outline polygon := api.polygon_outline(polygon);
    radius double precision := api.polygon_radius(polygon);
    first_order integer;
    pixels bigint[];
    -- The edges near each of the pixels: pairs, pixel by pixel.
    edges integer[];
    inside bigint[];
    found bigint[] := '{}';
    reach double precision;
BEGIN
    PERFORM api.check_order(healpix_order), api.check_crossings(vectors);
    first_order := greatest(least(api.healpix_cone_order(radius), healpix_order), 0);
    -- A cap smaller than a hemisphere holds the great circles between its points.
    pixels := api.healpix_disc_cells(centre[0], centre[1], radius, first_order);
    IF first_order = healpix_order THEN
        RETURN pixels;
    END IF;
    SELECT array_agg(p), array_agg(e) INTO pixels, edges FROM unnest(pixels) p, generate_series(0, n - 1) e;
    FOR pixel_order IN first_order..healpix_order LOOP
        -- No point of a pixel is farther than 1.08 / 2^order rad from its centre.
        reach := 1.08 / (1::bigint << pixel_order) + 1e-7;
        WITH edge AS MATERIALIZED (
            SELECT e, x, y, z, nx / l AS nx, ny / l AS ny, nz / l AS nz, to_x, to_y, to_z
            FROM generate_series(0, n - 1) e,
                 LATERAL (SELECT 3 * ((e + 1) % n)) s (j),
                 LATERAL (SELECT vectors[3 * e + 1], vectors[3 * e + 2], vectors[3 * e + 3],
                                 vectors[j + 1], vectors[j + 2], vectors[j + 3]) v (x, y, z, to_x, to_y, to_z),
                 LATERAL (SELECT y * to_z - z * to_y, z * to_x - x * to_z, x * to_y - y * to_x) c (nx, ny, nz),
                 LATERAL (SELECT sqrt(nx * nx + ny * ny + nz * nz)) d (l)
        ), middle AS MATERIALIZED (
            SELECT p, c.ra, c."dec", cosd(c."dec") * cosd(c.ra) AS px, cosd(c."dec") * sind(c.ra) AS py, sind(c."dec") AS pz
            FROM (SELECT DISTINCT p FROM unnest(pixels) p) d, api.healpix_center(p, pixel_order) c (ra, "dec")
        ), pair AS MATERIALIZED (
            -- Distance from a great circle where the pixel's centre is beside the edge, otherwise from the nearer end.
            SELECT p, e, CASE
                       WHEN px * (ny * z - nz * y) + py * (nz * x - nx * z) + pz * (nx * y - ny * x) >= 0
                        AND px * (to_y * nz - to_z * ny) + py * (to_z * nx - to_x * nz) + pz * (to_x * ny - to_y * nx) >= 0
                       THEN asin(least(abs(px * nx + py * ny + pz * nz), 1))
                       ELSE acos(greatest(least(greatest(px * x + py * y + pz * z, px * to_x + py * to_y + pz * to_z), 1), -1))
                   END AS distance
            FROM unnest(pixels, edges) u (p, e) JOIN middle USING (p) JOIN edge USING (e)
        ), rim AS MATERIALIZED (
            SELECT p FROM pair WHERE distance <= reach GROUP BY p
        )
        SELECT ARRAY(SELECT p FROM middle WHERE p NOT IN (SELECT p FROM rim) AND outline @> api.gnomonic(ra, "dec", centre)),
               array_agg(p), array_agg(e)
        INTO inside, pixels, edges
        -- An edge that is near a child, or a child of it, is within twice the reach of its parent.
        FROM pair WHERE distance <= 2 * reach AND p IN (SELECT p FROM rim);
        found := found || ARRAY(
            SELECT cell FROM unnest(inside) p, generate_series(p << (2 * (healpix_order - pixel_order)),
                                                               ((p + 1) << (2 * (healpix_order - pixel_order))) - 1) cell);
        EXIT WHEN pixel_order = healpix_order;
        SELECT array_agg(4 * p + child), array_agg(e) INTO pixels, edges
        FROM unnest(pixels, edges) u (p, e), generate_series(0, 3) child;
    END LOOP;
    RETURN found || ARRAY(SELECT DISTINCT p FROM unnest(pixels) p);
END
$function$;
COMMENT ON FUNCTION api.polygon_cells(double precision[], integer) IS
    'Nested HEALPix pixels of an order that together hold every point of a polygon {ra1,dec1,ra2,dec2,...} [deg].';

-- The planner writes this body in place of a call, and computes centre and outline of a constant polygon once.
CREATE OR REPLACE FUNCTION api.in_polygon(
    hpx29 bigint, source_ra double precision, source_dec double precision, polygon double precision[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    hpx29 >> 38 = ANY (CASE WHEN api.polygon_order(polygon) = 10 THEN api.polygon_cells(polygon, 10) END)
    OR hpx29 >> 42 = ANY (CASE WHEN api.polygon_order(polygon) = 8 THEN api.polygon_cells(polygon, 8) END)
) AND api.polygon_outline(polygon) @> api.gnomonic(source_ra, source_dec, api.polygon_centre(polygon));
COMMENT ON FUNCTION api.in_polygon(bigint, double precision, double precision, double precision[]) IS
    'Whether a source (its hpx29, ra and dec [deg, ICRS]) is in a polygon {ra1,dec1,ra2,dec2,...} [deg]: convex or not, of '
    'either orientation, with great circles for edges, closed or not, and within a hemisphere; its inside is the smaller '
    'region, its vertices belong to it and its edges to within rounding. In a WHERE or JOIN it uses the indexes on '
    'hpx29 >> 38 and hpx29 >> 42 of any table that has them, if the polygon is a column, a parameter or a '
    'constant; NULL for NULL, an error for an impossible polygon.';

-- As in api.in_polygon, but centre and outline stand in a subquery of their own, so that a polygon that is no constant is
-- prepared once, too; and an array of integers, whose cast is too dear an argument to be written into a body several
-- times, still reaches the indexes.
CREATE OR REPLACE FUNCTION api.polygon_search(polygon double precision[], release_name text DEFAULT NULL)
RETURNS TABLE (
    source_id bigint, release text, native_id text, ra double precision, "dec" double precision, hpx29 bigint,
    flag bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
BEGIN ATOMIC
    SELECT s.source_id, (SELECT r.release FROM archive.data_release r WHERE r.release_id = s.release_id), s.native_id,
           s.ra, s."dec", s.hpx29, s.flag
    FROM (
        SELECT api.polygon_centre(polygon_search.polygon) AS centre, api.polygon_outline(polygon_search.polygon) AS outline
        OFFSET 0
    ) p
    JOIN archive.source s
      ON (s.hpx29 >> 38 = ANY (CASE WHEN api.polygon_order(polygon_search.polygon) = 10
                                    THEN api.polygon_cells(polygon_search.polygon, 10) END)
          OR s.hpx29 >> 42 = ANY (CASE WHEN api.polygon_order(polygon_search.polygon) = 8
                                       THEN api.polygon_cells(polygon_search.polygon, 8) END))
     AND p.outline @> api.gnomonic(s.ra, s."dec", p.centre)
    WHERE polygon_search.release_name IS NULL OR s.release_id = (SELECT api.release_id(polygon_search.release_name));
END;
COMMENT ON FUNCTION api.polygon_search(double precision[], text) IS
    'Sources in a polygon {ra1,dec1,ra2,dec2,...} [deg, ICRS], as api.in_polygon has it, of one release or of all; NULL '
    'gives no rows, an impossible polygon an error.';
