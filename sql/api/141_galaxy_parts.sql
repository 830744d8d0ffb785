-- What api.galaxy_property joins, each with at most one row a galaxy.

CREATE OR REPLACE FUNCTION api.served_preprocess_config_id()
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT m.preprocess_config_id
         FROM archive.served_model s JOIN archive.model m ON m.model_id = s.model_id
         WHERE s.input_kind = 'image' ORDER BY s.property_id LIMIT 1),
        (SELECT max(p.preprocess_config_id) FROM archive.preprocess p));
END;
COMMENT ON FUNCTION api.served_preprocess_config_id() IS
    'Preprocessing configuration whose verdicts api.galaxy_property shows: that of the served image model, else the '
    'newest that was run.';

CREATE OR REPLACE VIEW api.galaxy_image AS
SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, o.source_id, o.observation_id, r.release,
       p.kept AS preprocess_kept, p.flag AS preprocess_flag, o.flag AS observation_flag,
       p.blend_score AS preprocess_blend_score
FROM archive.observation o
JOIN archive.galaxy_member m ON m.source_id = o.source_id
JOIN archive.data_release r ON r.release_id = o.release_id
LEFT JOIN archive.preprocess p ON p.observation_id = o.observation_id
     AND p.preprocess_config_id = (SELECT api.served_preprocess_config_id())
WHERE o.kind = 'image'
ORDER BY m.galaxy_id, r.priority, r.release_id, o.observation_id;
COMMENT ON VIEW api.galaxy_image IS
    'The image of each galaxy that has one, with its preprocessing verdict: of several, the first of the release that '
    'comes first.';
COMMENT ON COLUMN api.galaxy_image.source_id IS 'Member at the image''s position [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_image.galaxy_id IS 'Galaxy [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.galaxy_image.observation_id IS 'The image [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_image.release IS 'Release of the image [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_image.preprocess_kept IS
    'Whether preprocessing keeps the image; NULL where it has not judged it [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_image.preprocess_flag IS 'Bits of registry ''preprocess'' in flag_definition [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_image.preprocess_blend_score IS
    'Evidence of another source within the target, roots of S/N; of method improved only [ucd: stat.value]';
COMMENT ON COLUMN api.galaxy_image.observation_flag IS
    'Bits of registry ''observation'' in flag_definition [ucd: meta.code.qual]';

CREATE OR REPLACE VIEW api.galaxy_photometry AS
SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, l.source_id, r.release, l.type, l.ebv, l.shape_r, l.sersic, l.maskbits,
       l.z_phot_median AS z_phot, l.z_phot_std AS z_phot_err,
       l.flux_g, l.flux_r, l.flux_z, l.flux_w1, l.flux_w2,
       l.flux_ivar_g, l.flux_ivar_r, l.flux_ivar_z, l.flux_ivar_w1, l.flux_ivar_w2,
       l.mw_transmission_g, l.mw_transmission_r, l.mw_transmission_z, l.mw_transmission_w1, l.mw_transmission_w2
FROM api.legacysurvey_object l
JOIN archive.galaxy_member m ON m.source_id = l.source_id
JOIN archive.source s ON s.source_id = l.source_id
JOIN archive.data_release r ON r.release_id = s.release_id
ORDER BY m.galaxy_id, l.type IS NOT DISTINCT FROM 'DUP', r.priority, r.release_id, m.separation_arcsec, m.source_id;
COMMENT ON VIEW api.galaxy_photometry IS
    'The Legacy Survey row of each galaxy that has one: of several, that of the release that comes first and the '
    'source nearest to the galaxy.';
COMMENT ON COLUMN api.galaxy_photometry.galaxy_id IS 'Galaxy [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.galaxy_photometry.source_id IS 'Member that the photometry belongs to [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_photometry.release IS 'Release of the photometry [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_photometry.z_phot IS
    'Photometric redshift, median of the distribution [ucd: src.redshift.phot]';
COMMENT ON COLUMN api.galaxy_photometry.z_phot_err IS
    'Standard deviation of the photometric redshift [ucd: stat.error;src.redshift.phot]';

CREATE OR REPLACE VIEW api.galaxy_redshift AS
SELECT DISTINCT ON (m.galaxy_id) m.galaxy_id, z.source_id, r.release, z.z, z.z_err, z.z_warning, z.spectral_class,
       z.sn_median, z.bptclass
FROM (
    SELECT 1 AS place, g.source_id, g.z, g.z_err, g.z_warning, g.spectrotype AS spectral_class, g.sn_median, g.bptclass
    FROM archive.sdss_galaxy g
    UNION ALL
    SELECT 2, o.source_id, p.z::real, p.z_err::real, p.z_warning, p.spectral_class, p.sn_median, NULL
    FROM archive.spectrum p JOIN archive.observation o ON o.observation_id = p.observation_id
    UNION ALL
    SELECT 3, l.source_id, l.z_spec, NULL, NULL, NULL, NULL, NULL
    FROM archive.legacysurvey_dr9_object l
) z
JOIN archive.galaxy_member m ON m.source_id = z.source_id
JOIN archive.source s ON s.source_id = z.source_id
JOIN archive.data_release r ON r.release_id = s.release_id
WHERE z.z IS NOT NULL
ORDER BY m.galaxy_id, coalesce(z.z_warning, 0) <> 0, z.place, r.priority, r.release_id, m.separation_arcsec, m.source_id;
COMMENT ON VIEW api.galaxy_redshift IS
    'The spectroscopic redshift of each galaxy that has one: without a warning before with one, a catalogue of spectra '
    'before a spectrum''s file before a redshift copied into an imaging catalogue.';
COMMENT ON COLUMN api.galaxy_redshift.galaxy_id IS 'Galaxy [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.galaxy_redshift.source_id IS 'Member that the redshift belongs to [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_redshift.release IS 'Release of the redshift [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_redshift.z IS 'Spectroscopic redshift [ucd: src.redshift]';
COMMENT ON COLUMN api.galaxy_redshift.spectral_class IS 'Class of the spectrum: GALAXY, QSO or STAR [ucd: src.class]';
COMMENT ON COLUMN api.galaxy_redshift.z_err IS 'Error of the redshift [ucd: stat.error;src.redshift]';
COMMENT ON COLUMN api.galaxy_redshift.z_warning IS 'Bits of redshift warnings; 0 is good [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_redshift.sn_median IS 'Median signal-to-noise ratio a pixel of the spectrum [ucd: stat.snr]';
