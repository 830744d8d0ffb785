-- One row a galaxy, whatever it has. The served values stand in archive.galaxy, where conditions on them and on the sky
-- meet in one row; what belongs to them is in a table a property. All else is looked up galaxy by galaxy (LATERAL), so
-- that a cone does not wait for all the sky. Each part that is joined is unique in galaxy_id, and seen to be: by its
-- primary key or by DISTINCT ON. So the planner leaves out the parts that a query does not ask for.
-- New columns go to the end, so that users' views on this one survive an upgrade.
CREATE OR REPLACE VIEW api.galaxy_property AS
SELECT
    g.galaxy_id, g.ra, g."dec", g.hpx29, g.n_member, z.z, z.z_err, z.z_warning, z.spectral_class, z.sn_median,
    z.bptclass, l.z_phot, l.z_phot_err, l.type, l.shape_r, l.sersic, l.ebv, l.maskbits,
    api.ab_magnitude(l.flux_g) AS mag_g, api.ab_magnitude_err(l.flux_g, l.flux_ivar_g) AS mag_g_err,
    api.ab_magnitude(l.flux_g::float8 / nullif(l.mw_transmission_g, 0)) AS mag_g_dered,
    api.ab_magnitude(l.flux_r) AS mag_r, api.ab_magnitude_err(l.flux_r, l.flux_ivar_r) AS mag_r_err,
    api.ab_magnitude(l.flux_r::float8 / nullif(l.mw_transmission_r, 0)) AS mag_r_dered,
    api.ab_magnitude(l.flux_z) AS mag_z, api.ab_magnitude_err(l.flux_z, l.flux_ivar_z) AS mag_z_err,
    api.ab_magnitude(l.flux_z::float8 / nullif(l.mw_transmission_z, 0)) AS mag_z_dered,
    api.ab_magnitude(l.flux_w1) AS mag_w1, api.ab_magnitude_err(l.flux_w1, l.flux_ivar_w1) AS mag_w1_err,
    api.ab_magnitude(l.flux_w1::float8 / nullif(l.mw_transmission_w1, 0)) AS mag_w1_dered,
    api.ab_magnitude(l.flux_w2) AS mag_w2, api.ab_magnitude_err(l.flux_w2, l.flux_ivar_w2) AS mag_w2_err,
    api.ab_magnitude(l.flux_w2::float8 / nullif(l.mw_transmission_w2, 0)) AS mag_w2_dered,
    l.source_id AS photometry_source_id, z.source_id AS redshift_source_id, i.observation_id AS image_observation_id,
    i.release AS image_release, i.preprocess_kept, i.preprocess_flag,
    api.flag_names('preprocess', i.preprocess_flag) AS preprocess_flags, g.log_mstar_fib, p1.err AS log_mstar_fib_err,
    p1.q025 AS log_mstar_fib_q025, p1.q05 AS log_mstar_fib_q05, p1.q16 AS log_mstar_fib_q16,
    p1.q50 AS log_mstar_fib_q50, p1.q84 AS log_mstar_fib_q84, p1.q95 AS log_mstar_fib_q95,
    p1.q975 AS log_mstar_fib_q975, p1.flag AS log_mstar_fib_flag, m1.name AS log_mstar_fib_model,
    p1.source_id AS log_mstar_fib_source_id, r1.value AS log_mstar_fib_ref, r1.err AS log_mstar_fib_ref_err,
    r1.origin AS log_mstar_fib_ref_origin, g.log_mstar_tot, p2.err AS log_mstar_tot_err,
    p2.q025 AS log_mstar_tot_q025, p2.q05 AS log_mstar_tot_q05, p2.q16 AS log_mstar_tot_q16,
    p2.q50 AS log_mstar_tot_q50, p2.q84 AS log_mstar_tot_q84, p2.q95 AS log_mstar_tot_q95,
    p2.q975 AS log_mstar_tot_q975, p2.flag AS log_mstar_tot_flag, m2.name AS log_mstar_tot_model,
    p2.source_id AS log_mstar_tot_source_id, r2.value AS log_mstar_tot_ref, r2.err AS log_mstar_tot_ref_err,
    r2.origin AS log_mstar_tot_ref_origin, g.log_ssfr_fib, p3.err AS log_ssfr_fib_err, p3.q025 AS log_ssfr_fib_q025,
    p3.q05 AS log_ssfr_fib_q05, p3.q16 AS log_ssfr_fib_q16, p3.q50 AS log_ssfr_fib_q50, p3.q84 AS log_ssfr_fib_q84,
    p3.q95 AS log_ssfr_fib_q95, p3.q975 AS log_ssfr_fib_q975, p3.flag AS log_ssfr_fib_flag,
    m3.name AS log_ssfr_fib_model, p3.source_id AS log_ssfr_fib_source_id, r3.value AS log_ssfr_fib_ref,
    r3.err AS log_ssfr_fib_ref_err, r3.origin AS log_ssfr_fib_ref_origin, g.log_ssfr_tot, p4.err AS log_ssfr_tot_err,
    p4.q025 AS log_ssfr_tot_q025, p4.q05 AS log_ssfr_tot_q05, p4.q16 AS log_ssfr_tot_q16, p4.q50 AS log_ssfr_tot_q50,
    p4.q84 AS log_ssfr_tot_q84, p4.q95 AS log_ssfr_tot_q95, p4.q975 AS log_ssfr_tot_q975,
    p4.flag AS log_ssfr_tot_flag, m4.name AS log_ssfr_tot_model, p4.source_id AS log_ssfr_tot_source_id,
    r4.value AS log_ssfr_tot_ref, r4.err AS log_ssfr_tot_ref_err, r4.origin AS log_ssfr_tot_ref_origin, g.log_sfr_tot,
    p5.err AS log_sfr_tot_err, p5.q025 AS log_sfr_tot_q025, p5.q05 AS log_sfr_tot_q05, p5.q16 AS log_sfr_tot_q16,
    p5.q50 AS log_sfr_tot_q50, p5.q84 AS log_sfr_tot_q84, p5.q95 AS log_sfr_tot_q95, p5.q975 AS log_sfr_tot_q975,
    p5.flag AS log_sfr_tot_flag, m5.name AS log_sfr_tot_model, p5.source_id AS log_sfr_tot_source_id,
    r5.value AS log_sfr_tot_ref, r5.err AS log_sfr_tot_ref_err, r5.origin AS log_sfr_tot_ref_origin, g.oh12,
    p6.err AS oh12_err, p6.q025 AS oh12_q025, p6.q05 AS oh12_q05, p6.q16 AS oh12_q16, p6.q50 AS oh12_q50,
    p6.q84 AS oh12_q84, p6.q95 AS oh12_q95, p6.q975 AS oh12_q975, p6.flag AS oh12_flag, m6.name AS oh12_model,
    p6.source_id AS oh12_source_id, r6.value AS oh12_ref, r6.err AS oh12_ref_err, r6.origin AS oh12_ref_origin,
    g.log_age, p7.err AS log_age_err, p7.q025 AS log_age_q025, p7.q05 AS log_age_q05, p7.q16 AS log_age_q16,
    p7.q50 AS log_age_q50, p7.q84 AS log_age_q84, p7.q95 AS log_age_q95, p7.q975 AS log_age_q975,
    p7.flag AS log_age_flag, m7.name AS log_age_model, p7.source_id AS log_age_source_id, r7.value AS log_age_ref,
    r7.err AS log_age_ref_err, r7.origin AS log_age_ref_origin, g.mh, p8.err AS mh_err, p8.q025 AS mh_q025,
    p8.q05 AS mh_q05, p8.q16 AS mh_q16, p8.q50 AS mh_q50, p8.q84 AS mh_q84, p8.q95 AS mh_q95, p8.q975 AS mh_q975,
    p8.flag AS mh_flag, m8.name AS mh_model, p8.source_id AS mh_source_id, r8.value AS mh_ref, r8.err AS mh_ref_err,
    r8.origin AS mh_ref_origin, g.mag_sersic, p9.err AS mag_sersic_err, p9.q025 AS mag_sersic_q025,
    p9.q05 AS mag_sersic_q05, p9.q16 AS mag_sersic_q16, p9.q50 AS mag_sersic_q50, p9.q84 AS mag_sersic_q84,
    p9.q95 AS mag_sersic_q95, p9.q975 AS mag_sersic_q975, p9.flag AS mag_sersic_flag, m9.name AS mag_sersic_model,
    p9.source_id AS mag_sersic_source_id, r9.value AS mag_sersic_ref, r9.err AS mag_sersic_ref_err,
    r9.origin AS mag_sersic_ref_origin, g.re_sersic, p10.err AS re_sersic_err, p10.q025 AS re_sersic_q025,
    p10.q05 AS re_sersic_q05, p10.q16 AS re_sersic_q16, p10.q50 AS re_sersic_q50, p10.q84 AS re_sersic_q84,
    p10.q95 AS re_sersic_q95, p10.q975 AS re_sersic_q975, p10.flag AS re_sersic_flag, m10.name AS re_sersic_model,
    p10.source_id AS re_sersic_source_id, r10.value AS re_sersic_ref, r10.err AS re_sersic_ref_err,
    r10.origin AS re_sersic_ref_origin, g.n_sersic, p11.err AS n_sersic_err, p11.q025 AS n_sersic_q025,
    p11.q05 AS n_sersic_q05, p11.q16 AS n_sersic_q16, p11.q50 AS n_sersic_q50, p11.q84 AS n_sersic_q84,
    p11.q95 AS n_sersic_q95, p11.q975 AS n_sersic_q975, p11.flag AS n_sersic_flag, m11.name AS n_sersic_model,
    p11.source_id AS n_sersic_source_id, r11.value AS n_sersic_ref, r11.err AS n_sersic_ref_err,
    r11.origin AS n_sersic_ref_origin, g.q_sersic, p12.err AS q_sersic_err, p12.q025 AS q_sersic_q025,
    p12.q05 AS q_sersic_q05, p12.q16 AS q_sersic_q16, p12.q50 AS q_sersic_q50, p12.q84 AS q_sersic_q84,
    p12.q95 AS q_sersic_q95, p12.q975 AS q_sersic_q975, p12.flag AS q_sersic_flag, m12.name AS q_sersic_model,
    p12.source_id AS q_sersic_source_id, r12.value AS q_sersic_ref, r12.err AS q_sersic_ref_err,
    r12.origin AS q_sersic_ref_origin
FROM archive.galaxy g
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.galaxy_redshift v
                   WHERE v.galaxy_id = g.galaxy_id) z ON z.galaxy_id = g.galaxy_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.galaxy_photometry v
                   WHERE v.galaxy_id = g.galaxy_id) l ON l.galaxy_id = g.galaxy_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.galaxy_image v
                   WHERE v.galaxy_id = g.galaxy_id) i ON i.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_mstar_fib p1 ON p1.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m1 ON m1.model_id = p1.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_mstar_fib') v
                   WHERE v.galaxy_id = g.galaxy_id) r1 ON r1.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_mstar_tot p2 ON p2.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m2 ON m2.model_id = p2.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_mstar_tot') v
                   WHERE v.galaxy_id = g.galaxy_id) r2 ON r2.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_ssfr_fib p3 ON p3.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m3 ON m3.model_id = p3.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_ssfr_fib') v
                   WHERE v.galaxy_id = g.galaxy_id) r3 ON r3.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_ssfr_tot p4 ON p4.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m4 ON m4.model_id = p4.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_ssfr_tot') v
                   WHERE v.galaxy_id = g.galaxy_id) r4 ON r4.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_sfr_tot p5 ON p5.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m5 ON m5.model_id = p5.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_sfr_tot') v
                   WHERE v.galaxy_id = g.galaxy_id) r5 ON r5.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_oh12 p6 ON p6.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m6 ON m6.model_id = p6.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('oh12') v
                   WHERE v.galaxy_id = g.galaxy_id) r6 ON r6.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_log_age p7 ON p7.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m7 ON m7.model_id = p7.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('log_age') v
                   WHERE v.galaxy_id = g.galaxy_id) r7 ON r7.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_mh p8 ON p8.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m8 ON m8.model_id = p8.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('mh') v
                   WHERE v.galaxy_id = g.galaxy_id) r8 ON r8.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_mag_sersic p9 ON p9.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m9 ON m9.model_id = p9.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('mag_sersic') v
                   WHERE v.galaxy_id = g.galaxy_id) r9 ON r9.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_re_sersic p10 ON p10.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m10 ON m10.model_id = p10.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('re_sersic') v
                   WHERE v.galaxy_id = g.galaxy_id) r10 ON r10.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_n_sersic p11 ON p11.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m11 ON m11.model_id = p11.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('n_sersic') v
                   WHERE v.galaxy_id = g.galaxy_id) r11 ON r11.galaxy_id = g.galaxy_id
LEFT JOIN archive.served_q_sersic p12 ON p12.galaxy_id = g.galaxy_id
LEFT JOIN archive.model m12 ON m12.model_id = p12.model_id
LEFT JOIN LATERAL (SELECT DISTINCT ON (v.galaxy_id) v.* FROM api.reference_label('q_sersic') v
                   WHERE v.galaxy_id = g.galaxy_id) r12 ON r12.galaxy_id = g.galaxy_id;
COMMENT ON VIEW api.galaxy_property IS
    'One row a galaxy: survey columns, AB magnitudes, labels (_ref), and what the served models predict, with intervals. '
    'A value of a model trained on simulations is NULL for an image that is not simulated; api.prediction_all has it.';
COMMENT ON COLUMN api.galaxy_property.galaxy_id IS
    'Galaxy: source_id of its member in the release that comes first [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.galaxy_property.ra IS
    'Right ascension of the galaxy, ICRS [unit: deg] [ucd: pos.eq.ra;meta.main]';
COMMENT ON COLUMN api.galaxy_property."dec" IS
    'Declination of the galaxy, ICRS [unit: deg] [ucd: pos.eq.dec;meta.main]';
COMMENT ON COLUMN api.galaxy_property.hpx29 IS 'HEALPix index, nested, order 29 [ucd: pos.healpix]';
COMMENT ON COLUMN api.galaxy_property.n_member IS 'Number of detections [ucd: meta.number]';
COMMENT ON COLUMN api.galaxy_property.z IS 'Spectroscopic redshift [ucd: src.redshift]';
COMMENT ON COLUMN api.galaxy_property.z_err IS 'Error of the spectroscopic redshift [ucd: stat.error;src.redshift]';
COMMENT ON COLUMN api.galaxy_property.z_warning IS
    'Bits of redshift warnings; 0 is good, NULL where the release gives none [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_property.spectral_class IS 'Class of the spectrum: GALAXY, QSO or STAR [ucd: src.class]';
COMMENT ON COLUMN api.galaxy_property.sn_median IS
    'Median signal-to-noise ratio a pixel of the spectrum [ucd: stat.snr]';
COMMENT ON COLUMN api.galaxy_property.bptclass IS
    'Emission-line class: -1 unclassifiable, 1 star forming, 2 low S/N star forming, 3 composite, 4 AGN, 5 low S/N LINER [ucd: src.class]';
COMMENT ON COLUMN api.galaxy_property.z_phot IS
    'Photometric redshift of the Legacy Survey, median of its distribution [ucd: src.redshift.phot]';
COMMENT ON COLUMN api.galaxy_property.z_phot_err IS
    'Standard deviation of the photometric redshift [ucd: stat.error;src.redshift.phot]';
COMMENT ON COLUMN api.galaxy_property.type IS
    'Morphological model of the Legacy Survey: PSF, REX, EXP, DEV, COMP, SER or DUP [ucd: src.class]';
COMMENT ON COLUMN api.galaxy_property.shape_r IS
    'Half-light radius of the galaxy model [unit: arcsec] [ucd: phys.angSize]';
COMMENT ON COLUMN api.galaxy_property.sersic IS 'Sersic index (1 for REX and EXP, 4 for DEV) [ucd: src.morph.param]';
COMMENT ON COLUMN api.galaxy_property.ebv IS
    'Galactic reddening E(B-V) of the SFD98 map [unit: mag] [ucd: phot.color.excess]';
COMMENT ON COLUMN api.galaxy_property.maskbits IS 'Legacy Survey mask bits [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_property.mag_g IS
    'AB magnitude in g, not corrected for Galactic extinction; NULL where the flux is not positive [unit: mag] [ucd: phot.mag;em.opt.B]';
COMMENT ON COLUMN api.galaxy_property.mag_g_err IS
    'One sigma of mag_g and mag_g_dered [unit: mag] [ucd: stat.error;phot.mag;em.opt.B]';
COMMENT ON COLUMN api.galaxy_property.mag_g_dered IS
    'AB magnitude in g, corrected for Galactic extinction [unit: mag] [ucd: phot.mag;em.opt.B]';
COMMENT ON COLUMN api.galaxy_property.mag_r IS
    'AB magnitude in r, not corrected for Galactic extinction; NULL where the flux is not positive [unit: mag] [ucd: phot.mag;em.opt.R]';
COMMENT ON COLUMN api.galaxy_property.mag_r_err IS
    'One sigma of mag_r and mag_r_dered [unit: mag] [ucd: stat.error;phot.mag;em.opt.R]';
COMMENT ON COLUMN api.galaxy_property.mag_r_dered IS
    'AB magnitude in r, corrected for Galactic extinction [unit: mag] [ucd: phot.mag;em.opt.R]';
COMMENT ON COLUMN api.galaxy_property.mag_z IS
    'AB magnitude in z, not corrected for Galactic extinction; NULL where the flux is not positive [unit: mag] [ucd: phot.mag;em.opt.I]';
COMMENT ON COLUMN api.galaxy_property.mag_z_err IS
    'One sigma of mag_z and mag_z_dered [unit: mag] [ucd: stat.error;phot.mag;em.opt.I]';
COMMENT ON COLUMN api.galaxy_property.mag_z_dered IS
    'AB magnitude in z, corrected for Galactic extinction [unit: mag] [ucd: phot.mag;em.opt.I]';
COMMENT ON COLUMN api.galaxy_property.mag_w1 IS
    'AB magnitude in W1, not corrected for Galactic extinction; NULL where the flux is not positive [unit: mag] [ucd: phot.mag;em.IR.3-4um]';
COMMENT ON COLUMN api.galaxy_property.mag_w1_err IS
    'One sigma of mag_w1 and mag_w1_dered [unit: mag] [ucd: stat.error;phot.mag;em.IR.3-4um]';
COMMENT ON COLUMN api.galaxy_property.mag_w1_dered IS
    'AB magnitude in W1, corrected for Galactic extinction [unit: mag] [ucd: phot.mag;em.IR.3-4um]';
COMMENT ON COLUMN api.galaxy_property.mag_w2 IS
    'AB magnitude in W2, not corrected for Galactic extinction; NULL where the flux is not positive [unit: mag] [ucd: phot.mag;em.IR.4-8um]';
COMMENT ON COLUMN api.galaxy_property.mag_w2_err IS
    'One sigma of mag_w2 and mag_w2_dered [unit: mag] [ucd: stat.error;phot.mag;em.IR.4-8um]';
COMMENT ON COLUMN api.galaxy_property.mag_w2_dered IS
    'AB magnitude in W2, corrected for Galactic extinction [unit: mag] [ucd: phot.mag;em.IR.4-8um]';
COMMENT ON COLUMN api.galaxy_property.photometry_source_id IS 'Member that the photometry belongs to [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_property.redshift_source_id IS 'Member that the redshift belongs to [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_property.image_observation_id IS 'The galaxy''s image [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_property.image_release IS 'Release of the image [ucd: meta.id]';
COMMENT ON COLUMN api.galaxy_property.preprocess_kept IS
    'Whether preprocessing keeps the image; NULL where it has not judged one [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_property.preprocess_flag IS
    'Bits of registry ''preprocess'' in flag_definition [ucd: meta.code.qual]';
COMMENT ON COLUMN api.galaxy_property.preprocess_flags IS
    'Names of the bits set in preprocess_flag [ucd: meta.code.qual]';
