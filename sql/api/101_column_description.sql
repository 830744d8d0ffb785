CREATE OR REPLACE VIEW api.column_description AS
SELECT m.table_schema, m.table_name, m.column_name, m.unit, m.ucd, m.description
FROM archive.column_metadata m;
COMMENT ON VIEW api.column_description IS
    'Unit (VOUnit), UCD (UCD1+) and meaning of every column of archive, api and catalogue.';
