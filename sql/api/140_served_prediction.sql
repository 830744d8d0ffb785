-- One value a galaxy. A value that may be shown comes before one that is hidden; then counts what was read: image and
-- spectrum, a spectrum, an image; of several images the one of the release that comes first, and in it the first
-- registered. Table functions of one property, not one wide pivot: the planner inlines them into
-- api.galaxy_property and leaves out those whose columns a query does not ask for.

CREATE OR REPLACE FUNCTION api.served_prediction(property_name text)
RETURNS TABLE (
    galaxy_id bigint, source_id bigint, observation_id bigint, model text, value real, err real, q025 real, q05 real,
    q16 real, q50 real, q84 real, q95 real, q975 real, flag bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.source_id, p.observation_id, mo.name,
           CASE WHEN NOT h.hidden THEN p.value END, CASE WHEN NOT h.hidden THEN p.err END,
           CASE WHEN NOT h.hidden THEN p.q025 END, CASE WHEN NOT h.hidden THEN p.q05 END,
           CASE WHEN NOT h.hidden THEN p.q16 END, CASE WHEN NOT h.hidden THEN p.q50 END,
           CASE WHEN NOT h.hidden THEN p.q84 END, CASE WHEN NOT h.hidden THEN p.q95 END,
           CASE WHEN NOT h.hidden THEN p.q975 END, p.flag | h.hidden::integer
    FROM archive.served_model s
    JOIN archive.prediction p ON p.model_id = s.model_id AND p.property_id = s.property_id
    JOIN archive.model mo ON mo.model_id = p.model_id
    JOIN archive.observation o ON o.observation_id = p.observation_id
    JOIN archive.data_release r ON r.release_id = o.release_id
    JOIN archive.galaxy_member m ON m.source_id = o.source_id
    -- Bit 1 is SIMULATION_TRAINED: a network that learned from simulations judged a real image.
    CROSS JOIN LATERAL (SELECT p.flag & 1 <> 0 OR (mo.trained_on = 'simulation' AND NOT r.simulated)) h (hidden)
    WHERE s.property_id = (SELECT pr.property_id FROM archive.property pr
                           WHERE pr.name = served_prediction.property_name)
    ORDER BY m.galaxy_id, h.hidden, archive.input_rank(s.input_kind), r.priority, r.release_id, o.observation_id;
END;
COMMENT ON FUNCTION api.served_prediction(text) IS
'The served prediction of a property for each galaxy, in the property''s unit: of several models that serve it, that of the one which read image and spectrum, else a spectrum, else an image; values of a model trained on simulations are NULL for images that are not simulated.
galaxy_id: Galaxy [ucd: meta.id;meta.main]
source_id: Member whose image or spectrum was read [ucd: meta.id]
observation_id: Image or spectrum that was read [ucd: meta.id]
model: Model that made the prediction [ucd: meta.id]';

CREATE OR REPLACE FUNCTION api.reference_label(property_name text)
RETURNS TABLE (galaxy_id bigint, source_id bigint, origin text, value double precision, err double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, v.source_id, v.origin, v.value, v.err
    FROM archive.reference_value v
    JOIN archive.galaxy_member m ON m.source_id = v.source_id
    JOIN archive.source s ON s.source_id = v.source_id
    JOIN archive.data_release r ON r.release_id = s.release_id
    WHERE v.property_id = (SELECT pr.property_id FROM archive.property pr
                           WHERE pr.name = reference_label.property_name)
    ORDER BY m.galaxy_id, v.origin IN (SELECT e.origin FROM archive.label_origin e WHERE e.evaluation_only), r.priority,
             m.separation_arcsec, m.source_id, v.origin;
END;
COMMENT ON FUNCTION api.reference_label(text) IS
'The label of a property for each galaxy that has one, in the property''s unit: of several, that of the release that comes first and the source nearest to the galaxy, those for evaluation only last.
galaxy_id: Galaxy [ucd: meta.id;meta.main]
source_id: Source the label belongs to [ucd: meta.id]
origin: Catalogue or method of the label [ucd: meta.id]';
