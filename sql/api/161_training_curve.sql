CREATE OR REPLACE VIEW api.training_curve AS
SELECT e.run_id, r.config ->> 'name' AS model, r.state, e.part, e.epoch, e.loss, e.val_loss, e.recorded_at
FROM archive.training_epoch e
JOIN archive.run r ON r.run_id = e.run_id;
COMMENT ON VIEW api.training_curve IS 'How trainings learn, epoch by epoch, those that run now included.';
COMMENT ON COLUMN api.training_curve.run_id IS 'Number of the run [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.training_curve.model IS 'Name that its model has, or shall have [ucd: meta.id]';
COMMENT ON COLUMN api.training_curve.state IS 'State of the run: running, done or failed [ucd: meta.code]';
