CREATE OR REPLACE VIEW api.model_card AS
SELECT m.model_id, m.name AS model, m.family, m.mode, m.preset, m.state, m.trained_on, m.input_kind,
       (SELECT array_agg(p.name ORDER BY mp.output_index)
        FROM archive.model_property mp JOIN archive.property p ON p.property_id = mp.property_id
        WHERE mp.model_id = m.model_id) AS properties,
       (SELECT array_agg(p.name ORDER BY p.property_id)
        FROM archive.served_model s JOIN archive.property p ON p.property_id = s.property_id
        WHERE s.model_id = m.model_id) AS serves,
       t.name AS training_set, t.selection, t.label_origin, t.n_member AS n_training_member, c.name AS preprocess,
       m.metrics, m.options, m.code_version, m.weights_sha256, m.created_at
FROM archive.model m
LEFT JOIN archive.training_set t ON t.training_set_id = m.training_set_id
JOIN archive.preprocess_config c ON c.preprocess_config_id = m.preprocess_config_id;
COMMENT ON VIEW api.model_card IS 'What each model is, what it learned from, how it scores on held-out sky, and what it serves.';
COMMENT ON COLUMN api.model_card.model_id IS 'Number of the model [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.model_card.model IS 'Name of the model [ucd: meta.id]';
COMMENT ON COLUMN api.model_card.properties IS 'Properties it predicts, in the order of its outputs [ucd: meta.id]';
COMMENT ON COLUMN api.model_card.serves IS 'Properties whose values in api.galaxy_property are its own [ucd: meta.id]';
COMMENT ON COLUMN api.model_card.training_set IS 'Name of its training set; NULL for GaLNet, which learned from stamps [ucd: meta.id]';
COMMENT ON COLUMN api.model_card.n_training_member IS 'Members of the training set, all splits [ucd: meta.number]';
COMMENT ON COLUMN api.model_card.preprocess IS 'Preset of the preprocessing of its stamps [ucd: meta.id]';
COMMENT ON COLUMN api.model_card.created_at IS 'When it was registered [ucd: time]';
