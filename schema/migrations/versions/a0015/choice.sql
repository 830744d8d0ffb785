-- What knows more of a galaxy comes first.
CREATE FUNCTION archive.input_rank(input_kind text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position(ARRAY['image+spectrum', 'spectrum', 'image'], input_kind)

DROP FUNCTION archive.served_choice(bigint, bigint, text)

-- The definition: one value a galaxy. A value that may be shown comes before one that is hidden; then counts what was
-- read: image and spectrum, a spectrum, an image; of several images the one of the release that comes first, and in it
-- the first registered. Bit 1 is SIMULATION_TRAINED. Models are told as numbers, so that only their partitions are read.
CREATE FUNCTION archive.served_choice(of_property bigint, of_models bigint[], candidates text)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format(
    'SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.source_id, o.observation_id, p.model_id, '
    'CASE WHEN NOT h.hidden THEN p.value END AS value, CASE WHEN NOT h.hidden THEN p.err END AS err, '
    'CASE WHEN NOT h.hidden THEN p.q025 END AS q025, CASE WHEN NOT h.hidden THEN p.q05 END AS q05, '
    'CASE WHEN NOT h.hidden THEN p.q16 END AS q16, CASE WHEN NOT h.hidden THEN p.q50 END AS q50, '
    'CASE WHEN NOT h.hidden THEN p.q84 END AS q84, CASE WHEN NOT h.hidden THEN p.q95 END AS q95, '
    'CASE WHEN NOT h.hidden THEN p.q975 END AS q975, p.flag | h.hidden::integer AS flag '
    'FROM %1$s JOIN archive.observation o ON o.source_id = m.source_id '
    'JOIN archive.data_release r ON r.release_id = o.release_id '
    'JOIN archive.prediction p ON p.observation_id = o.observation_id '
    'JOIN archive.model mo ON mo.model_id = p.model_id '
    'CROSS JOIN LATERAL (SELECT p.flag & 1 <> 0 OR (mo.trained_on = ''simulation'' AND NOT r.simulated)) h (hidden) '
    'WHERE p.model_id IN (%2$s) AND p.property_id = %3$L '
    'ORDER BY m.galaxy_id, h.hidden, array_position(ARRAY[%2$s]::bigint[], p.model_id), r.priority, '
    'r.release_id, o.observation_id',
    candidates, array_to_string(of_models, ', '), of_property)

DROP FUNCTION archive.served_property()

-- Which properties have a table of served values, and the models that serve them, those that know most first.
CREATE FUNCTION archive.served_property()
RETURNS TABLE (property_id bigint, name text, store text, models bigint[])
LANGUAGE sql STABLE
AS $function$
SELECT p.property_id, p.name, 'served_' || p.name,
       ARRAY(SELECT s.model_id FROM archive.served_model s WHERE s.property_id = p.property_id
             ORDER BY archive.input_rank(s.input_kind))
FROM archive.property p
WHERE to_regclass(format('archive.%I', 'served_' || p.name)) IS NOT NULL
$function$

-- Statements are planned for the numbers at hand, of which one unit has hundreds and a crossmatch millions.
CREATE OR REPLACE FUNCTION archive.renew_served(galaxies bigint[])
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    each record;
    assignments text := '';
    stored text := '';
    found text := '';
    joins text := '';
BEGIN
    IF coalesce(cardinality(galaxies), 0) = 0 THEN
        RETURN;
    END IF;
    FOR each IN SELECT * FROM archive.served_property() ORDER BY property_id LOOP
        IF each.models = '{}' THEN
            EXECUTE format('DELETE FROM archive.%I WHERE galaxy_id = ANY($1)', each.store) USING galaxies;
        ELSE
            EXECUTE format(
                'WITH choice AS MATERIALIZED (%1$s), '
                'gone AS (DELETE FROM archive.%2$I t USING unnest($1) k (galaxy_id) WHERE t.galaxy_id = k.galaxy_id '
                'AND NOT EXISTS (SELECT FROM choice c WHERE c.galaxy_id = t.galaxy_id)) '
                'INSERT INTO archive.%2$I AS t SELECT * FROM choice ORDER BY galaxy_id '
                'ON CONFLICT (galaxy_id) DO UPDATE SET (source_id, observation_id, model_id, value, err, q025, q05, '
                'q16, q50, q84, q95, q975, flag) = ROW(excluded.source_id, excluded.observation_id, excluded.model_id, '
                'excluded.value, excluded.err, excluded.q025, excluded.q05, excluded.q16, excluded.q50, excluded.q84, '
                'excluded.q95, excluded.q975, excluded.flag) WHERE ROW(t.*) IS DISTINCT FROM ROW(excluded.*)',
                archive.served_choice(
                    each.property_id, each.models,
                    'unnest($1) k (galaxy_id) JOIN archive.galaxy_member m ON m.galaxy_id = k.galaxy_id'),
                each.store) USING galaxies;
        END IF;
        assignments := assignments || format(', %1$I = v.%1$I', each.name);
        stored := stored || format(', g.%I', each.name);
        found := found || format(', %1$I.value AS %2$I', each.store, each.name);
        joins := joins || format(' LEFT JOIN archive.%1$I ON %1$I.galaxy_id = k.galaxy_id', each.store);
    END LOOP;
    EXECUTE format(
        'UPDATE archive.galaxy g SET %s FROM (SELECT k.galaxy_id%s FROM unnest($1) k (galaxy_id)%s) v '
        'WHERE g.galaxy_id = v.galaxy_id AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        substr(assignments, 3), found, joins, substr(stored, 3), substr(replace(stored, ', g.', ', v.'), 3))
        USING galaxies;
END
$function$

-- All galaxies: what stands is deleted, for nearly all of it changes, and an upsert of a million rows takes three times
-- as long.
CREATE OR REPLACE FUNCTION archive.renew_served_properties(properties bigint[])
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    each record;
    assignments text := '';
    stored text := '';
    found text := '';
    joins text := '';
BEGIN
    FOR each IN SELECT * FROM archive.served_property() WHERE property_id = ANY(properties) ORDER BY property_id LOOP
        EXECUTE format('DELETE FROM archive.%I', each.store);
        IF each.models <> '{}' THEN
            EXECUTE format('INSERT INTO archive.%I %s', each.store,
                archive.served_choice(each.property_id, each.models, 'archive.galaxy_member m'));
        END IF;
        assignments := assignments || format(', %1$I = v.%1$I', each.name);
        stored := stored || format(', g.%I', each.name);
        found := found || format(', %1$I.value AS %2$I', each.store, each.name);
        joins := joins || format(' LEFT JOIN archive.%1$I ON %1$I.galaxy_id = k.galaxy_id', each.store);
    END LOOP;
    IF assignments <> '' THEN
        EXECUTE format(
            'UPDATE archive.galaxy g SET %s FROM (SELECT k.galaxy_id%s FROM archive.galaxy k%s) v '
            'WHERE g.galaxy_id = v.galaxy_id AND ROW(%s) IS DISTINCT FROM ROW(%s)',
            substr(assignments, 3), found, joins, substr(stored, 3), substr(replace(stored, ', g.', ', v.'), 3));
    END IF;
END
$function$
