-- A verdict's time stamp moves only when its content does, so a verdict newer than the embedding that was made from it
-- means that the image, its metadata or the preprocessing has changed since.
CREATE OR REPLACE VIEW api.stale_prediction AS
SELECT o.observation_id, o.source_id, r.release, m.name AS model, s.reason
FROM archive.model m
CROSS JOIN LATERAL api.model_input(m.model_id) o
JOIN archive.data_file f ON f.data_file_id = o.data_file_id AND f.state = 'loaded'
JOIN archive.data_release r ON r.release_id = o.release_id
LEFT JOIN archive.embedding e ON e.model_id = m.model_id AND e.observation_id = o.observation_id
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN o.is_wanted IS NULL THEN 'not preprocessed'
        WHEN o.is_wanted AND (e.observation_id IS NULL OR NOT EXISTS (
            SELECT FROM archive.prediction q WHERE q.model_id = m.model_id AND q.observation_id = o.observation_id
        )) THEN 'not predicted'
        WHEN NOT o.is_wanted AND e.observation_id IS NOT NULL THEN 'no longer kept'
        WHEN o.is_wanted AND e.source_id IS DISTINCT FROM o.source_id THEN 'source changed'
        WHEN o.is_wanted AND o.changed_at > e.modified_at
            THEN CASE WHEN m.input_kind = 'image' THEN 'verdict changed' ELSE 'input changed' END
    END) s (reason)
WHERE m.state IN ('candidate', 'current') AND s.reason IS NOT NULL;
COMMENT ON VIEW api.stale_prediction IS
    'Images and spectra for which a candidate or current model has no result, or one whose inputs have changed since; '
    '`galbase refresh` computes them.';
COMMENT ON COLUMN api.stale_prediction.observation_id IS 'The image or spectrum [ucd: meta.id]';
COMMENT ON COLUMN api.stale_prediction.source_id IS 'Source at its position; NULL where no position is known [ucd: meta.id]';
COMMENT ON COLUMN api.stale_prediction.release IS 'Release of the image or spectrum [ucd: meta.id]';
COMMENT ON COLUMN api.stale_prediction.model IS 'Model without a current result [ucd: meta.id]';
COMMENT ON COLUMN api.stale_prediction.reason IS
    'not preprocessed, not predicted, no longer kept, source changed, verdict changed or input changed [ucd: meta.note]';
