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

-- Releases by number, which the planner knows the size of.
CREATE OR REPLACE FUNCTION api.crossmatch_pairs(
    left_release_id bigint, right_release_id bigint, radius_arcsec double precision)
RETURNS TABLE (left_source_id bigint, right_source_id bigint, separation_arcsec double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT l.source_id, r.source_id, api.separation_arcsec(l.ra, l."dec", r.ra, r."dec")
    FROM archive.source l
    JOIN archive.source r
      ON r.hpx29 >> (2 * (29 - api.crossmatch_order(crossmatch_pairs.radius_arcsec)))
         = l.hpx29 >> (2 * (29 - api.crossmatch_order(crossmatch_pairs.radius_arcsec)))
    WHERE l.release_id = crossmatch_pairs.left_release_id
      AND r.release_id = crossmatch_pairs.right_release_id
      AND r.source_id <> l.source_id
      AND api.check_radius(crossmatch_pairs.radius_arcsec)
      AND api.clear_of_sides(l.hpx29, api.crossmatch_order(crossmatch_pairs.radius_arcsec),
                             api.crossmatch_side_order(crossmatch_pairs.radius_arcsec))
      AND api.within_arcsec(l.ra, l."dec", r.ra, r."dec", crossmatch_pairs.radius_arcsec)
    UNION ALL
    SELECT l.source_id, r.source_id, api.separation_arcsec(l.ra, l."dec", r.ra, r."dec")
    FROM archive.source l
    CROSS JOIN LATERAL unnest(api.healpix_disc_cells(
        l.ra, l."dec", crossmatch_pairs.radius_arcsec, api.crossmatch_order(crossmatch_pairs.radius_arcsec))) AS c (cell)
    JOIN archive.source r
      ON r.hpx29 >> (2 * (29 - api.crossmatch_order(crossmatch_pairs.radius_arcsec))) = c.cell
    WHERE l.release_id = crossmatch_pairs.left_release_id
      AND r.release_id = crossmatch_pairs.right_release_id
      AND r.source_id <> l.source_id
      AND api.check_radius(crossmatch_pairs.radius_arcsec)
      AND NOT api.clear_of_sides(l.hpx29, api.crossmatch_order(crossmatch_pairs.radius_arcsec),
                                 api.crossmatch_side_order(crossmatch_pairs.radius_arcsec))
      AND api.within_arcsec(l.ra, l."dec", r.ra, r."dec", crossmatch_pairs.radius_arcsec);
END;
COMMENT ON FUNCTION api.crossmatch_pairs(bigint, bigint, double precision) IS
'All pairs of sources of two releases, by their numbers, within a radius [arcsec, 0 to 648000], in no order; NULL gives no rows.
left_source_id: Source of the left release [ucd: meta.id]
right_source_id: Source of the right release [ucd: meta.id]
separation_arcsec: Great-circle separation of the pair [unit: arcsec] [ucd: pos.angDistance]';

CREATE OR REPLACE FUNCTION api.crossmatch(left_release text, right_release text, radius_arcsec double precision)
RETURNS TABLE (
    left_source_id bigint, right_source_id bigint, separation_arcsec double precision, rank integer,
    n_within integer)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p.left_source_id, p.right_source_id, p.separation_arcsec,
           (row_number() OVER (PARTITION BY p.left_source_id
                               ORDER BY p.separation_arcsec, p.right_source_id))::integer,
           (count(*) OVER (PARTITION BY p.left_source_id))::integer
    FROM api.crossmatch_pairs(
        (SELECT api.release_id(crossmatch.left_release)), (SELECT api.release_id(crossmatch.right_release)),
        crossmatch.radius_arcsec) p;
END;
COMMENT ON FUNCTION api.crossmatch(text, text, double precision) IS
'All pairs of sources of two releases within a radius [arcsec, 0 to 648000]; a release matched with itself leaves out each source''s match with itself; NULL gives no rows.
left_source_id: Source of the left release [ucd: meta.id]
right_source_id: Source of the right release [ucd: meta.id]
separation_arcsec: Great-circle separation of the pair [unit: arcsec] [ucd: pos.angDistance]
rank: 1 is the nearest to the left source [ucd: meta.number]
n_within: Right sources within the radius of the left source [ucd: meta.number]';
