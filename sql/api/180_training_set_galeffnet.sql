-- GalEffNet, section 2.1: galaxies with a reliable SDSS spectrum, without a redshift warning, of S/N 5 or more, with
-- fibre mass and specific star formation rate, and with an image that preprocessing keeps.
CREATE OR REPLACE VIEW api.training_set_galeffnet AS
SELECT g.galaxy_id, i.observation_id, c.source_id AS label_source_id, c.lgm_fib_p50 AS log_mstar_fib,
       c.specsfr_fib_p50 AS log_ssfr_fib, c.z, c.sn_median, w.reason_out, cardinality(w.reason_out) = 0 AS selected
FROM archive.galaxy g
LEFT JOIN (
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, d.*
    FROM archive.sdss_galaxy d
    JOIN archive.galaxy_member m ON m.source_id = d.source_id
    ORDER BY m.galaxy_id,
             d.spectrotype = 'GALAXY' AND d.reliable = 1 AND d.z > 0 AND d.z_warning = 0 AND d.sn_median >= 5
                AND d.lgm_fib_p50 IS NOT NULL AND d.specsfr_fib_p50 IS NOT NULL DESC NULLS LAST,
             m.separation_arcsec, m.source_id
) c ON c.galaxy_id = g.galaxy_id
LEFT JOIN (
    SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.observation_id, p.kept
    FROM archive.observation o
    JOIN archive.galaxy_member m ON m.source_id = o.source_id
    JOIN archive.data_release r ON r.release_id = o.release_id
    LEFT JOIN archive.preprocess_config k ON k.name = 'galeffnet'
    LEFT JOIN archive.preprocess p
           ON p.observation_id = o.observation_id AND p.preprocess_config_id = k.preprocess_config_id
    WHERE o.kind = 'image'
    ORDER BY m.galaxy_id, p.kept DESC NULLS LAST, r.priority, r.release_id, o.observation_id,
             k.preprocess_config_id DESC
) i ON i.galaxy_id = g.galaxy_id
CROSS JOIN LATERAL (
    SELECT array_remove(ARRAY[
        CASE WHEN c.source_id IS NULL THEN 'no SDSS galaxy' END,
        CASE WHEN c.source_id IS NOT NULL AND c.spectrotype IS DISTINCT FROM 'GALAXY' THEN 'class is not GALAXY' END,
        CASE WHEN c.source_id IS NOT NULL AND c.reliable IS DISTINCT FROM 1 THEN 'not reliable' END,
        CASE WHEN c.source_id IS NOT NULL AND (c.z > 0) IS NOT TRUE THEN 'z is not positive' END,
        CASE WHEN c.source_id IS NOT NULL AND c.z_warning IS DISTINCT FROM 0 THEN 'redshift warning' END,
        CASE WHEN c.source_id IS NOT NULL AND (c.sn_median >= 5) IS NOT TRUE THEN 'S/N below 5' END,
        CASE WHEN c.source_id IS NOT NULL AND c.lgm_fib_p50 IS NULL THEN 'no fibre mass' END,
        CASE WHEN c.source_id IS NOT NULL AND c.specsfr_fib_p50 IS NULL THEN 'no fibre sSFR' END,
        CASE WHEN i.observation_id IS NULL THEN 'no image' END,
        CASE WHEN i.observation_id IS NOT NULL AND i.kept IS NULL THEN 'not preprocessed' END,
        CASE WHEN NOT i.kept THEN 'image not kept' END], NULL)
) w (reason_out);
COMMENT ON VIEW api.training_set_galeffnet IS
    'The selection of the GalEffNet paper over all galaxies: who is in, and why the others are out.';
COMMENT ON COLUMN api.training_set_galeffnet.observation_id IS 'The galaxy''s image, a kept one if there is one [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_galeffnet.label_source_id IS 'SDSS member that the labels belong to [ucd: meta.id]';
COMMENT ON COLUMN api.training_set_galeffnet.log_mstar_fib IS
    'log10 of stellar mass within 3 arcsec [solMass], MPA-JHU median [unit: ''dex''] [ucd: phys.mass]';
COMMENT ON COLUMN api.training_set_galeffnet.log_ssfr_fib IS
    'log10 of specific star formation rate within 3 arcsec [1/yr], MPA-JHU median [unit: ''dex''] [ucd: phys.SFR]';
COMMENT ON COLUMN api.training_set_galeffnet.selected IS 'Whether the galaxy is in the selection [ucd: meta.code]';
COMMENT ON COLUMN api.training_set_galeffnet.reason_out IS 'Why it is not; empty if it is [ucd: meta.note]';
COMMENT ON COLUMN api.training_set_galeffnet.galaxy_id IS 'Galaxy [ucd: meta.id;meta.main]';
