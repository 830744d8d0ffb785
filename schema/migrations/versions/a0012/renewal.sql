-- A property's served values are a table of their own, with galaxy_id alone as its key: a view that joins it can leave
-- it out, and what is known of one property lies together. The bare value stands in archive.galaxy as well, where
-- conditions on several properties and on the sky meet in one row.
CREATE FUNCTION archive.add_served_property(property_name text)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    store text := 'served_' || property_name;
BEGIN
    EXECUTE format(
        'CREATE TABLE archive.%1$I (galaxy_id BIGINT NOT NULL, source_id BIGINT NOT NULL, '
        'observation_id BIGINT NOT NULL, model_id BIGINT NOT NULL, value REAL, err REAL, q025 REAL, q05 REAL, q16 REAL, '
        'q50 REAL, q84 REAL, q95 REAL, q975 REAL, flag BIGINT NOT NULL, CONSTRAINT %2$I PRIMARY KEY (galaxy_id))',
        store, 'pk_' || store);
    EXECUTE format('ALTER TABLE archive.galaxy ADD COLUMN %I REAL', property_name);
    -- Galaxies without a value are no part of the index, so that a catalogue of detections does not pay for it.
    EXECUTE format('CREATE INDEX %1$I ON archive.galaxy (%2$I) WHERE %2$I IS NOT NULL',
                   'ix_galaxy_' || property_name, property_name);
END
$function$

-- All that renews served values takes turns, and until the end of its transaction: of two that renew the same galaxy
-- at once, each would miss what the other has not committed yet. Whoever changes which model serves waits for all who
-- write predictions, and they for it, by a second lock that is always taken first.
CREATE FUNCTION archive.take_served_turn(of_model bigint DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql
AS $function$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a transaction at isolation level % cannot see what others have just written, and would leave '
            'wrong values in api.galaxy_property', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state', HINT = 'Write to schema archive at READ COMMITTED.';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtext('galbase serving models'));
    IF NOT EXISTS (SELECT FROM archive.served_model s WHERE of_model IS NULL OR s.model_id = of_model) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('galbase served values'));
    RETURN true;
END
$function$

-- The definition: one value a galaxy. Where several images of a galaxy were judged, the one of the release that comes
-- first counts, and in it the first registered. Bit 1 is SIMULATION_TRAINED.
CREATE FUNCTION archive.served_choice(of_property bigint, of_model bigint, candidates text)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format(
    'SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.source_id, o.observation_id, p.model_id, '
    'CASE WHEN NOT h.hidden THEN p.value END AS value, CASE WHEN NOT h.hidden THEN p.err END AS err, '
    'CASE WHEN NOT h.hidden THEN p.q025 END AS q025, CASE WHEN NOT h.hidden THEN p.q05 END AS q05, '
    'CASE WHEN NOT h.hidden THEN p.q16 END AS q16, CASE WHEN NOT h.hidden THEN p.q50 END AS q50, '
    'CASE WHEN NOT h.hidden THEN p.q84 END AS q84, CASE WHEN NOT h.hidden THEN p.q95 END AS q95, '
    'CASE WHEN NOT h.hidden THEN p.q975 END AS q975, p.flag | h.hidden::integer AS flag '
    'FROM %s JOIN archive.observation o ON o.source_id = m.source_id '
    'JOIN archive.data_release r ON r.release_id = o.release_id '
    'JOIN archive.prediction p ON p.observation_id = o.observation_id '
    'JOIN archive.model mo ON mo.model_id = p.model_id '
    'CROSS JOIN LATERAL (SELECT p.flag & 1 <> 0 OR (mo.trained_on = ''simulation'' AND NOT r.simulated)) h (hidden) '
    'WHERE p.model_id = %L AND p.property_id = %L '
    'ORDER BY m.galaxy_id, r.priority, r.release_id, o.observation_id',
    candidates, of_model, of_property)

-- Which properties have a table of served values, and the model that serves them: the one that reads images, else the
-- one that reads spectra, else none.
CREATE FUNCTION archive.served_property()
RETURNS TABLE (property_id bigint, name text, store text, model_id bigint)
LANGUAGE sql STABLE
AS $function$
SELECT p.property_id, p.name, 'served_' || p.name,
       (SELECT s.model_id FROM archive.served_model s WHERE s.property_id = p.property_id
        ORDER BY s.input_kind LIMIT 1)
FROM archive.property p
WHERE to_regclass(format('archive.%I', 'served_' || p.name)) IS NOT NULL
$function$

-- Statements are planned for the numbers at hand, of which one unit has hundreds and a crossmatch millions.
CREATE FUNCTION archive.renew_served(galaxies bigint[])
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
        IF each.model_id IS NULL THEN
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
                    each.property_id, each.model_id,
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
CREATE FUNCTION archive.renew_served_properties(properties bigint[])
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
        IF each.model_id IS NOT NULL THEN
            EXECUTE format('INSERT INTO archive.%I %s', each.store,
                archive.served_choice(each.property_id, each.model_id, 'archive.galaxy_member m'));
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
