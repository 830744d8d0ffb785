-- Whoever writes takes a turn before a row is locked, so that two who wait for each other's rows cannot be.
CREATE FUNCTION archive.before_served_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM archive.take_served_turn(TG_ARGV[0]::bigint);
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.before_promotion()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('galbase serving models'));
    PERFORM archive.take_served_turn();
    PERFORM pg_advisory_xact_lock(hashtext('galbase served values'));
    RETURN NULL;
END
$function$

-- Rows of a statement that wrote `columns` anew: all that came or went, and of updated ones both states where one of
-- the columns differs.
CREATE FUNCTION archive.changed_rows(operation text, columns text)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE operation
    WHEN 'INSERT' THEN format('SELECT %s FROM new_rows', columns)
    WHEN 'DELETE' THEN format('SELECT %s FROM old_rows', columns)
    ELSE format('(SELECT %1$s FROM old_rows EXCEPT SELECT %1$s FROM new_rows) UNION ALL '
                '(SELECT %1$s FROM new_rows EXCEPT SELECT %1$s FROM old_rows)', columns) END

CREATE FUNCTION archive.after_prediction_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    galaxies bigint[];
BEGIN
    -- An upsert also fires the trigger of what it did not do, and a cascade is a statement a row.
    IF TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows LIMIT 1;
    ELSE
        PERFORM FROM new_rows LIMIT 1;
    END IF;
    IF NOT FOUND OR NOT archive.take_served_turn(TG_ARGV[0]::bigint) THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'SELECT array_agg(DISTINCT m.galaxy_id) FROM (%s) c '
        'JOIN archive.observation o ON o.observation_id = c.observation_id '
        'JOIN archive.galaxy_member m ON m.source_id = o.source_id WHERE EXISTS (SELECT FROM archive.served_model s '
        'WHERE s.model_id = c.model_id AND s.property_id = c.property_id)',
        CASE TG_OP WHEN 'INSERT' THEN 'TABLE new_rows' WHEN 'DELETE' THEN 'TABLE old_rows'
                   ELSE 'SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows' END) INTO galaxies;
    PERFORM archive.renew_served(galaxies);
    RETURN NULL;
END
$function$

-- A detection that comes matters if it has an image or spectrum, one that goes if its value is shown. Its images may
-- have lost it in the same statement, whose cascades all come before this: hence by what is shown.
CREATE FUNCTION archive.after_galaxy_member_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    galaxies bigint[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM FROM old_rows LIMIT 1;
    ELSE
        PERFORM FROM new_rows LIMIT 1;
    END IF;
    IF NOT FOUND OR NOT archive.take_served_turn() THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'SELECT array_agg(DISTINCT c.galaxy_id) FROM (%s) c '
        'WHERE EXISTS (SELECT FROM archive.observation o WHERE o.source_id = c.source_id)%s',
        archive.changed_rows(TG_OP, 'source_id, galaxy_id'),
        CASE WHEN TG_OP <> 'INSERT' THEN (
            SELECT string_agg(format(' OR EXISTS (SELECT FROM archive.%I t WHERE t.galaxy_id = c.galaxy_id '
                                     'AND t.source_id = c.source_id)', p.store), '')
            FROM archive.served_property() p) END) INTO galaxies;
    PERFORM archive.renew_served(galaxies);
    RETURN NULL;
END
$function$

-- The predictions of a deleted observation are gone by now; its galaxy is still known by its source.
CREATE FUNCTION archive.after_observation_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    galaxies bigint[];
BEGIN
    PERFORM FROM old_rows LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'SELECT array_agg(DISTINCT m.galaxy_id) FROM (%s) c JOIN archive.galaxy_member m ON m.source_id = c.source_id',
        archive.changed_rows(TG_OP, 'observation_id, source_id, release_id')) INTO galaxies;
    IF galaxies IS NOT NULL AND archive.take_served_turn() THEN
        PERFORM archive.renew_served(galaxies);
    END IF;
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.after_data_release_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    galaxies bigint[];
BEGIN
    EXECUTE format(
        'SELECT array_agg(DISTINCT m.galaxy_id) FROM (%s) c JOIN archive.observation o ON o.release_id = c.release_id '
        'JOIN archive.galaxy_member m ON m.source_id = o.source_id',
        archive.changed_rows(TG_OP, 'release_id, priority, simulated')) INTO galaxies;
    IF galaxies IS NOT NULL AND archive.take_served_turn() THEN
        PERFORM archive.renew_served(galaxies);
    END IF;
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.after_model_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    IF archive.take_served_turn(NEW.model_id) THEN
        PERFORM archive.renew_served_properties(
            (SELECT array_agg(s.property_id) FROM archive.served_model s WHERE s.model_id = NEW.model_id));
    END IF;
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.after_promotion()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    properties bigint[];
BEGIN
    PERFORM archive.watch_predictions(s.model_id) FROM (SELECT DISTINCT model_id FROM archive.served_model) s;
    EXECUTE format('SELECT array_agg(DISTINCT c.property_id) FROM (%s) c',
                   archive.changed_rows(TG_OP, 'property_id, input_kind, model_id')) INTO properties;
    PERFORM archive.renew_served_properties(properties);
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.after_served_truncate()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM archive.renew_all_served();
    RETURN NULL;
END
$function$

CREATE FUNCTION archive.renew_all_served()
RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM archive.take_served_turn();
    PERFORM pg_advisory_xact_lock(hashtext('galbase served values'));
    PERFORM archive.renew_served_properties((SELECT array_agg(p.property_id) FROM archive.served_property() p));
END
$function$

-- PostgreSQL fires a statement's triggers on the table it names, which is the partition where predictions are written.
CREATE FUNCTION archive.watch_predictions(of_model bigint)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    store text := 'prediction_' || of_model;
    operation text;
BEGIN
    IF to_regclass('archive.' || store) IS NULL OR EXISTS (
        SELECT FROM pg_trigger t
        WHERE t.tgrelid = to_regclass('archive.' || store) AND t.tgname = 'galbase_served_truncate') THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TRIGGER galbase_served_before BEFORE INSERT OR UPDATE OR DELETE ON archive.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION archive.before_served_change(%s)', store, of_model);
    FOREACH operation IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
        EXECUTE format('CREATE TRIGGER %1$I AFTER %2$s ON archive.%3$I REFERENCING %4$s FOR EACH STATEMENT '
                       'EXECUTE FUNCTION archive.after_prediction_change(%5$s)',
                       'galbase_served_' || lower(operation), operation, store,
                       CASE operation WHEN 'INSERT' THEN 'NEW TABLE AS new_rows' WHEN 'DELETE' THEN
                           'OLD TABLE AS old_rows' ELSE 'OLD TABLE AS old_rows NEW TABLE AS new_rows' END,
                       of_model);
    END LOOP;
    EXECUTE format('CREATE TRIGGER galbase_served_truncate AFTER TRUNCATE ON archive.%I FOR EACH STATEMENT '
                   'EXECUTE FUNCTION archive.after_served_truncate()', store);
END
$function$
