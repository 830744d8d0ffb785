CREATE OR REPLACE VIEW api.prediction_all AS
SELECT m.galaxy_id, o.source_id, p.observation_id, o.kind AS input_kind, r.release, mo.name AS model,
       mo.state AS model_state, pr.name AS property, pr.unit, p.value, p.err, p.mc_err, p.q025, p.q05, p.q16, p.q50,
       p.q84, p.q95, p.q975, p.flag, api.flag_names('prediction', p.flag) AS flags, p.modified_at, p.model_id
FROM archive.prediction p
JOIN archive.model mo ON mo.model_id = p.model_id
JOIN archive.property pr ON pr.property_id = p.property_id
JOIN archive.observation o ON o.observation_id = p.observation_id
JOIN archive.data_release r ON r.release_id = o.release_id
LEFT JOIN archive.galaxy_member m ON m.source_id = o.source_id;
COMMENT ON VIEW api.prediction_all IS
    'Every prediction of every model, with its flags: values that api.galaxy_property hides are here.';
COMMENT ON COLUMN api.prediction_all.galaxy_id IS 'Galaxy of the observation; NULL where it belongs to none [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.source_id IS
    'Source of the observation; NULL where its position is unknown [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.input_kind IS 'What the value was read from: image or spectrum [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.release IS 'Release of the observation [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.model IS 'Model that made the prediction [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.model_state IS 'candidate, current or retired [ucd: meta.code]';
COMMENT ON COLUMN api.prediction_all.property IS 'Property predicted [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.unit IS 'Unit of the value, its errors and quantiles [ucd: meta.unit]';
COMMENT ON COLUMN api.prediction_all.flags IS 'Names of the bits set in flag [ucd: meta.code]';
COMMENT ON COLUMN api.prediction_all.model_id IS 'Number of the model [ucd: meta.id]';
COMMENT ON COLUMN api.prediction_all.observation_id IS 'Image or spectrum it was read from [ucd: meta.id]';
