-- Pairs of sources in cells of one of the indexed orders. A source clear of its cell's sides by more than the radius has
-- partners only in its own cell, which is an equality that any join can use; the others, a few in a hundred at 1 arcsec,
-- look in the cells that their discs touch.

CREATE OR REPLACE FUNCTION api.crossmatch_order(radius_arcsec double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN radius_arcsec <= 97 THEN 10 WHEN radius_arcsec IS NOT NULL THEN 8 END;
COMMENT ON FUNCTION api.crossmatch_order(double precision) IS
    'HEALPix order of the cells that a crossmatch within the radius [arcsec] joins on: 10 or 8, which are indexed.';

-- Within a base pixel, column and row (as fractions of its side) change by at most 1.46 a radian: cells of this order are
-- wider than the radius.
CREATE OR REPLACE FUNCTION api.crossmatch_side_order(radius_arcsec double precision)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(api.crossmatch_order(radius_arcsec), least(
    28, floor(-ln(1.46 * (radius_arcsec * 4.84813681109536e-06::float8 + 1e-9)) / ln(2.0::float8))::integer));
COMMENT ON FUNCTION api.crossmatch_side_order(double precision) IS
    'Finest HEALPix order, to 28 and not below api.crossmatch_order, of which a cell is wider than the radius [arcsec].';

CREATE OR REPLACE FUNCTION api.clear_of_sides(hpx29 bigint, cell_order integer, side_order integer)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Even bits are columns, odd bits rows: all 0 is a cell's first, all 1 its last.
RETURN (hpx29 >> (2 * (29 - side_order))) & (6148914691236517205 & ((1::bigint << (2 * (side_order - cell_order))) - 1))
       NOT IN (0, 6148914691236517205 & ((1::bigint << (2 * (side_order - cell_order))) - 1))
   AND (hpx29 >> (2 * (29 - side_order)) & (-6148914691236517206 & ((1::bigint << (2 * (side_order - cell_order))) - 1)))
       NOT IN (0, -6148914691236517206 & ((1::bigint << (2 * (side_order - cell_order))) - 1));
COMMENT ON FUNCTION api.clear_of_sides(bigint, integer, integer) IS
    'Whether a place (hpx29) is at least one cell of side_order away from the sides of its cell of cell_order.';

CREATE OR REPLACE FUNCTION api.check_crossmatch(
    radius_arcsec double precision, min_radius_arcsec double precision, nearest integer, join_type text)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
    PERFORM api.check_radius(radius_arcsec), api.check_radius(min_radius_arcsec);
    IF min_radius_arcsec > radius_arcsec THEN
        RAISE EXCEPTION 'the smallest radius % arcsec is larger than the radius % arcsec', min_radius_arcsec, radius_arcsec
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pairs are between the two radii apart.';
    ELSIF nearest < 1 THEN
        RAISE EXCEPTION 'nearest is %; at least 1 is needed', nearest
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the number of partners kept of each left position.';
    ELSIF join_type NOT IN ('inner', 'left', 'anti') THEN
        RAISE EXCEPTION 'there is no join type %', quote_literal(join_type)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Join types are inner, left and anti.';
    END IF;
    RETURN radius_arcsec IS NOT NULL AND min_radius_arcsec IS NOT NULL AND join_type IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION api.check_crossmatch(double precision, double precision, integer, text) IS
    'True for possible options of a crossmatch, an error that names the value for impossible ones; false where one is NULL '
    'that must not be.';

CREATE OR REPLACE FUNCTION api.release_positions(release_name text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN 'SELECT source_id, ra, "dec", hpx29 FROM archive.source WHERE release_id = ' || api.release_id(release_name);
COMMENT ON FUNCTION api.release_positions(text) IS
    'A query of id, ra, dec [deg] and hpx29 of the sources of a release, as api.crossmatch_queries takes it.';

-- Queries in text, so that every call is planned for its tables and its radius, and in parallel where they can be read so.
-- Where the right query has an index on its cells, this is faster than to hash or to sort a large table, which the planner
-- prefers: 3 million with 30 million sources took 7.1 s by the index and 15.7 s sorted.
CREATE OR REPLACE FUNCTION api.crossmatch_queries(
    left_query text, right_query text, radius_arcsec double precision, min_radius_arcsec double precision DEFAULT 0,
    nearest integer DEFAULT NULL, mutual_best boolean DEFAULT false, join_type text DEFAULT 'inner')
RETURNS TABLE (
    left_id bigint, right_id bigint, separation_arcsec double precision, rank integer, n_within integer)
LANGUAGE plpgsql VOLATILE ROWS 10000
SET enable_hashjoin = on SET enable_mergejoin = on SET enable_seqscan = on SET random_page_cost = 1.1
SET work_mem = '64MB' SET jit = off
AS $function$
DECLARE
    cell_order integer;
    plan jsonb;
    pairs text;
    ranked text;
BEGIN
    IF NOT api.check_crossmatch(radius_arcsec, min_radius_arcsec, nearest, join_type)
       OR left_query IS NULL OR right_query IS NULL OR mutual_best IS NULL THEN
        RETURN;
    END IF;
    cell_order := api.crossmatch_order(radius_arcsec);
    PERFORM set_config('enable_seqscan', 'off', true);
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM (%s) AS r (id, ra, "dec", hpx29) WHERE r.hpx29 >> %s = 0',
                   right_query, 2 * (29 - cell_order)) INTO plan;
    PERFORM set_config('enable_seqscan', 'on', true);
    PERFORM set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
    WHERE jsonb_path_exists(plan, ('$.**."Index Cond" ? (@ like_regex ">> ' || 2 * (29 - cell_order) || '\\)")')::jsonpath);
    pairs := CASE WHEN radius_arcsec > 40000 THEN format(
        -- A large part of the sky: cells would be more than sources.
        $pairs$
        SELECT l.id AS left_id, r.id AS right_id, api.separation_arcsec(l.ra, l."dec", r.ra, r."dec") AS separation_arcsec
        FROM (%1$s) AS l (id, ra, "dec", hpx29)
        JOIN (%2$s) AS r (id, ra, "dec", hpx29) ON api.within_arcsec(l.ra, l."dec", r.ra, r."dec", %3$L)%4$s
        $pairs$,
        left_query, right_query, radius_arcsec, CASE WHEN left_query = right_query THEN ' AND l.id <> r.id' END)
    ELSE format(
        -- Cells are unnested in the target list, which nothing is joined below: the right query is read once even where
        -- few left positions are expected and thousands come.
        $pairs$
        SELECT l.id AS left_id, r.id AS right_id, api.separation_arcsec(l.ra, l."dec", r.ra, r."dec") AS separation_arcsec
        FROM (%1$s) AS l (id, ra, "dec", hpx29)
        JOIN (%2$s) AS r (id, ra, "dec", hpx29) ON r.hpx29 >> %4$s = l.hpx29 >> %4$s
        WHERE api.clear_of_sides(l.hpx29, %5$s, %6$s) AND api.within_arcsec(l.ra, l."dec", r.ra, r."dec", %3$L)%7$s
        UNION ALL
        SELECT l.id, r.id, api.separation_arcsec(l.ra, l."dec", r.ra, r."dec")
        FROM (SELECT id, ra, "dec", unnest(api.healpix_disc_cells(ra, "dec", %3$L, %5$s)) AS cell
              FROM (%1$s) AS l (id, ra, "dec", hpx29) WHERE NOT api.clear_of_sides(hpx29, %5$s, %6$s)) AS l
        JOIN (%2$s) AS r (id, ra, "dec", hpx29) ON r.hpx29 >> %4$s = l.cell
        WHERE api.within_arcsec(l.ra, l."dec", r.ra, r."dec", %3$L)%7$s
        $pairs$,
        left_query, right_query, radius_arcsec, 2 * (29 - cell_order), cell_order,
        api.crossmatch_side_order(radius_arcsec),
        CASE WHEN left_query = right_query THEN ' AND l.id <> r.id' END)
    END;
    IF min_radius_arcsec > 0 THEN
        pairs := format('SELECT * FROM (%s) p WHERE separation_arcsec >= %L', pairs, min_radius_arcsec);
    END IF;
    ranked := format(
        'SELECT left_id, right_id, separation_arcsec, '
        '(row_number() OVER (PARTITION BY left_id ORDER BY separation_arcsec, right_id))::integer AS rank, '
        '(count(*) OVER (PARTITION BY left_id))::integer AS n_within%s FROM (%s) p',
        CASE WHEN mutual_best THEN
            ', row_number() OVER (PARTITION BY right_id ORDER BY separation_arcsec, left_id) AS right_rank' END,
        pairs);
    IF mutual_best THEN
        ranked := format('SELECT * FROM (%s) p WHERE rank = 1 AND right_rank = 1', ranked);
    ELSIF nearest IS NOT NULL THEN
        ranked := format('SELECT * FROM (%s) p WHERE rank <= %s', ranked, nearest);
    END IF;
    IF join_type <> 'inner' THEN
        -- No join, which with the pairs' settings would be a nested loop: each left position joins its own pairs' window.
        ranked := format(
            'SELECT * FROM (SELECT *, count(right_id) OVER (PARTITION BY left_id) AS n_kept FROM (%s UNION ALL '
            'SELECT l.id, NULL, NULL, NULL, 0 FROM (%s) AS l (id, ra, "dec", hpx29)) p) p WHERE n_kept = 0%s',
            format('SELECT left_id, right_id, separation_arcsec, rank, n_within FROM (%s) p', ranked), left_query,
            CASE WHEN join_type = 'left' THEN ' OR right_id IS NOT NULL' END);
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT left_id, right_id, separation_arcsec, rank, n_within FROM (%s) p', ranked);
END
$function$;
COMMENT ON FUNCTION api.crossmatch_queries(
    text, text, double precision, double precision, integer, boolean, text) IS
'Pairs of positions of two queries, each of which gives id (bigint), ra, dec [deg, ICRS] and hpx29, in this order and unique by id, within a radius [arcsec, 0 to 648000] and at least min_radius_arcsec apart: all, the nearest ones of each left position, or those that are each other''s nearest (mutual_best). A query matched with itself leaves out each position''s match with itself. join_type: inner; left, which adds left positions without a match; anti, which gives these alone. An index on hpx29 >> 38 (to 97 arcsec) or hpx29 >> 42 of a right table makes it fast. NULL gives no rows.
left_id: Id of the left position [ucd: meta.id]
right_id: Id of the right position; NULL for none [ucd: meta.id]
separation_arcsec: Great-circle separation of the pair [unit: arcsec] [ucd: pos.angDistance]
rank: 1 is the nearest to the left position [ucd: meta.number]
n_within: Right positions within the radius of the left one, and at least the smallest radius away [ucd: meta.number]';

CREATE OR REPLACE FUNCTION api.crossmatch(
    left_release text, right_release text, radius_arcsec double precision,
    min_radius_arcsec double precision DEFAULT 0, nearest integer DEFAULT NULL, mutual_best boolean DEFAULT false,
    join_type text DEFAULT 'inner')
RETURNS TABLE (
    left_source_id bigint, right_source_id bigint, separation_arcsec double precision, rank integer,
    n_within integer)
LANGUAGE sql VOLATILE ROWS 10000
BEGIN ATOMIC
    SELECT p.left_id, p.right_id, p.separation_arcsec, p.rank, p.n_within
    FROM api.crossmatch_queries(
        api.release_positions(crossmatch.left_release), api.release_positions(crossmatch.right_release),
        crossmatch.radius_arcsec, crossmatch.min_radius_arcsec, crossmatch.nearest, crossmatch.mutual_best,
        crossmatch.join_type) p;
END;
COMMENT ON FUNCTION api.crossmatch(text, text, double precision, double precision, integer, boolean, text) IS
'Pairs of sources of two releases within a radius [arcsec, 0 to 648000] and at least min_radius_arcsec apart: all, the nearest ones of each left source, or those that are each other''s nearest (mutual_best). A release matched with itself leaves out each source''s match with itself. join_type: inner; left, which adds left sources without a match; anti, which gives these alone. NULL gives no rows.
left_source_id: Source of the left release [ucd: meta.id]
right_source_id: Source of the right release; NULL for none [ucd: meta.id]
separation_arcsec: Great-circle separation of the pair [unit: arcsec] [ucd: pos.angDistance]
rank: 1 is the nearest to the left source [ucd: meta.number]
n_within: Right sources within the radius of the left one, and at least the smallest radius away [ucd: meta.number]';
