CREATE OR REPLACE FUNCTION api.flag_names(registry_name text, flag bigint)
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN flag_names.flag IS NOT NULL THEN coalesce(array_agg(d.name ORDER BY d.value), '{}') END
    FROM archive.flag_definition d
    WHERE d.registry = flag_names.registry_name AND d.value & flag_names.flag <> 0;
END;
COMMENT ON FUNCTION api.flag_names(text, bigint) IS
    'Names of the bits set in a flag; the registry is observation, source, preprocess or prediction. '
    'What they mean stands in archive.flag_definition.';
