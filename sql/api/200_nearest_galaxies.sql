-- Exact: the least distance of each galaxy's images to the query is computed for all of the model's embeddings (that
-- pass the filter) and then sorted, which no approximate index can answer. The filter runs with the caller's rights in
-- a function that is not VOLATILE, where PostgreSQL refuses statements that write.
CREATE OR REPLACE FUNCTION api.nearest_galaxies(
    source_id bigint, k integer, model text DEFAULT NULL, filter text DEFAULT NULL)
RETURNS TABLE (
    rank integer, galaxy_id bigint, member_source_id bigint, observation_id bigint, distance double precision,
    model_name text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
AS $function$
DECLARE
    chosen record;
    own_galaxy_id bigint;
    query halfvec;
BEGIN
    IF nearest_galaxies.source_id IS NULL OR k IS NULL THEN
        RETURN;
    END IF;
    IF k < 0 THEN
        RAISE EXCEPTION 'k is %, but a number of neighbours cannot be negative', k
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT m.model_id, m.name INTO chosen
    FROM archive.model m
    WHERE CASE WHEN nearest_galaxies.model IS NULL
               THEN m.model_id = (SELECT s.model_id FROM archive.served_model s WHERE s.input_kind = 'image'
                                  ORDER BY s.property_id LIMIT 1)
               ELSE m.name = nearest_galaxies.model END;
    IF chosen.model_id IS NULL THEN
        RAISE EXCEPTION '%', CASE WHEN nearest_galaxies.model IS NULL THEN 'no model of images is served'
                                  ELSE format('there is no model "%s"', nearest_galaxies.model) END
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Promote one with `galbase promote MODEL`, or name one of: %s.',
                                (SELECT coalesce(string_agg(m.name, ', ' ORDER BY m.name), 'none so far')
                                 FROM archive.model m));
    END IF;
    own_galaxy_id := (SELECT g.galaxy_id FROM archive.galaxy_member g
                      WHERE g.source_id = nearest_galaxies.source_id);
    IF own_galaxy_id IS NULL THEN
        RAISE EXCEPTION 'source % belongs to no galaxy', nearest_galaxies.source_id
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Take a source_id from api.cone_search, or a galaxy_id from api.galaxy_property.';
    END IF;
    query := (SELECT e.vec
              FROM archive.galaxy_member g
              JOIN archive.observation o ON o.source_id = g.source_id
              JOIN archive.embedding e ON e.observation_id = o.observation_id AND e.model_id = chosen.model_id
              JOIN archive.data_release r ON r.release_id = o.release_id
              WHERE g.galaxy_id = own_galaxy_id AND e.vec IS NOT NULL
              ORDER BY g.source_id <> nearest_galaxies.source_id, r.priority, r.release_id, o.observation_id
              LIMIT 1);
    IF query IS NULL THEN
        RAISE NOTICE 'galaxy % has no embedding by model %: it has no kept image', own_galaxy_id, chosen.name;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT row_number() OVER (ORDER BY n.distance, n.galaxy_id)::integer, n.galaxy_id, n.source_id, '
        '       n.observation_id, n.distance, $4 '
        'FROM (SELECT DISTINCT ON (g.galaxy_id) g.galaxy_id, o.source_id, o.observation_id, '
        '             1 + (e.vec <#> $1) AS distance '
        '      FROM archive.embedding e '
        '      JOIN archive.observation o ON o.observation_id = e.observation_id '
        '      JOIN archive.galaxy_member g ON g.source_id = o.source_id '
        '      WHERE e.model_id = $2 AND e.vec IS NOT NULL AND g.galaxy_id <> $3 '
        || CASE WHEN nearest_galaxies.filter IS NULL THEN ''
                ELSE 'AND g.galaxy_id IN (SELECT p.galaxy_id FROM api.galaxy_property p WHERE ('
                     || nearest_galaxies.filter || E'\n)) ' END
        || '      ORDER BY g.galaxy_id, 1 + (e.vec <#> $1), o.observation_id) n '
        'ORDER BY n.distance, n.galaxy_id LIMIT $5'
        USING query, chosen.model_id, own_galaxy_id, chosen.name, k;
END
$function$;
COMMENT ON FUNCTION api.nearest_galaxies(bigint, integer, text, text) IS
'The k galaxies that look most like the galaxy of a source, by cosine distance of a model''s embeddings (NULL: the served model of images); filter is a condition on api.galaxy_property; min(k, matching galaxies) rows.
rank: 1 is the nearest [ucd: meta.number]
galaxy_id: Neighbour [ucd: meta.id;meta.main]
member_source_id: Member whose image is nearest [ucd: meta.id]
observation_id: Its image [ucd: meta.id]
distance: Cosine distance of the embeddings, 0 to 2 [ucd: stat.value]
model_name: Model that made the embeddings [ucd: meta.id]';
