-- A training set is what was frozen; what has become of it since is told here, member by member. An image that another
-- has since become better than stays in the set as it was.
CREATE OR REPLACE VIEW api.training_set_drift AS
SELECT t.name AS training_set, m.observation_id, m.source_id, m.galaxy_id, m.split, w.reason
FROM archive.training_set t
JOIN archive.training_member m ON m.training_set_id = t.training_set_id
LEFT JOIN archive.observation o ON o.observation_id = m.observation_id
LEFT JOIN archive.galaxy_member g ON g.source_id = m.source_id
LEFT JOIN archive.galaxy_member n ON n.source_id = m.label_source_id
LEFT JOIN archive.preprocess p
       ON p.observation_id = m.observation_id AND p.preprocess_config_id = t.preprocess_config_id
LEFT JOIN archive.observation x ON x.observation_id = m.spectrum_observation_id
LEFT JOIN archive.data_file f ON f.data_file_id = x.data_file_id
CROSS JOIN LATERAL (
    SELECT array_agg(v.value ORDER BY u.place)
    FROM unnest(t.properties) WITH ORDINALITY u (property, place)
    LEFT JOIN archive.property q ON q.name = u.property
    LEFT JOIN archive.reference_value v
           ON v.source_id = m.label_source_id AND v.property_id = q.property_id AND v.origin = t.label_origin
    OFFSET 0
) l (label)
CROSS JOIN LATERAL unnest(array_remove(ARRAY[
    CASE WHEN m.label IS NULL THEN 'frozen without its labels' END,
    CASE WHEN o.observation_id IS NULL THEN 'image gone' END,
    CASE WHEN o.observation_id IS NOT NULL AND p.input_hash IS NULL THEN 'not preprocessed' END,
    CASE WHEN p.input_hash <> m.input_hash THEN 'pixels or preprocessing changed' END,
    CASE WHEN NOT p.kept THEN 'image not kept' END,
    CASE WHEN m.label IS NOT NULL AND array_position(l.label, NULL) IS NOT NULL THEN 'label gone' END,
    CASE WHEN array_position(l.label, NULL) IS NULL AND l.label <> m.label THEN 'label changed' END,
    CASE WHEN o.observation_id IS NOT NULL
          AND (g.galaxy_id IS DISTINCT FROM m.galaxy_id OR n.galaxy_id IS DISTINCT FROM m.galaxy_id
               OR o.source_id IS DISTINCT FROM m.source_id)
         THEN 'galaxy changed' END,
    CASE WHEN m.spectrum_observation_id IS NOT NULL AND x.observation_id IS NULL THEN 'spectrum gone' END,
    CASE WHEN x.observation_id IS NOT NULL AND coalesce(f.sha256, f.chunk_sha256) IS DISTINCT FROM m.spectrum_hash
         THEN 'spectrum changed' END
    ], NULL)) w (reason);
COMMENT ON VIEW api.training_set_drift IS
    'What has changed since a training set was frozen: a row for each member and reason, none for one that is as it was.';
COMMENT ON COLUMN api.training_set_drift.training_set IS 'Name of the training set [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_drift.observation_id IS 'Image [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_drift.source_id IS 'Source of the image [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_drift.galaxy_id IS 'Galaxy of the image when the set was frozen [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_drift.split IS 'Split of the member [ucd: meta.code]';
COMMENT ON COLUMN api.training_set_drift.reason IS 'What is different now [ucd: meta.note]';
