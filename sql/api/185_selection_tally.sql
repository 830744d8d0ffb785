-- One scan a selection; a condition on the selection leaves the others out.
CREATE OR REPLACE VIEW api.selection_tally AS
SELECT v.selection, coalesce(r.reason, 'selected') AS reason, count(*) AS n_galaxy,
       count(*) FILTER (WHERE cardinality(v.reason_out) <= 1) AS n_alone
FROM (
    SELECT 'galeffnet' AS selection, t.reason_out FROM api.training_set_galeffnet t
    UNION ALL
    SELECT 'gpm_resnet', t.reason_out FROM api.training_set_gpm_resnet t
    UNION ALL
    SELECT 'mmlforgalam', t.reason_out FROM api.training_set_mmlforgalam t
    UNION ALL
    SELECT 'exp', t.reason_out FROM api.exp_catalogue t
) v
LEFT JOIN LATERAL unnest(v.reason_out) r (reason) ON true
GROUP BY v.selection, r.reason;
COMMENT ON VIEW api.selection_tally IS
    'Why so few are left: for each of the papers'' selections, how many galaxies each reason takes out; all galaxies are '
    'read for it.';
COMMENT ON COLUMN api.selection_tally.selection IS 'galeffnet, gpm_resnet, mmlforgalam or exp [ucd: meta.id]';
COMMENT ON COLUMN api.selection_tally.reason IS 'Reason, or selected [ucd: meta.note]';
COMMENT ON COLUMN api.selection_tally.n_galaxy IS 'Galaxies out for it, perhaps among other reasons; those selected [ucd: meta.number]';
COMMENT ON COLUMN api.selection_tally.n_alone IS 'Galaxies out for nothing else; those selected [ucd: meta.number]';
