-- The two data models of the Legacy Surveys side by side. DR8 and before give one radius for each of two profiles; the
-- radius and Sersic index here are those of the profile that `type` names, and NULL for the composite model.
CREATE OR REPLACE VIEW api.legacysurvey_object AS
SELECT e.source_id, 'dr8' AS data_model,
       e.release, e.brickid, e.brickname, e.objid, e.type, e.ra_ivar, e.dec_ivar, e.dchisq, e.ebv, e.flux_g, e.flux_r,
       e.flux_z, e.flux_ivar_g, e.flux_ivar_r, e.flux_ivar_z, e.mw_transmission_g, e.mw_transmission_r,
       e.mw_transmission_z, e.fracflux_g, e.fracflux_r, e.fracflux_z, e.fracmasked_g, e.fracmasked_r, e.fracmasked_z,
       e.fracin_g, e.fracin_r, e.fracin_z, e.nobs_g, e.nobs_r, e.nobs_z, e.psfdepth_g, e.psfdepth_r, e.psfdepth_z,
       e.galdepth_g, e.galdepth_r, e.galdepth_z, e.flux_w1, e.flux_w2, e.flux_w3, e.flux_w4, e.flux_ivar_w1,
       e.flux_ivar_w2, e.flux_ivar_w3, e.flux_ivar_w4, e.mw_transmission_w1, e.mw_transmission_w2,
       e.mw_transmission_w3, e.mw_transmission_w4, e.allmask_g, e.allmask_r, e.allmask_z, e.wisemask_w1,
       e.wisemask_w2, e.fiberflux_g, e.fiberflux_r, e.fiberflux_z, e.fibertotflux_g, e.fibertotflux_r,
       e.fibertotflux_z, e.maskbits, e.ref_cat, e.ref_id, e.gaia_phot_g_mean_mag, e.gaia_phot_g_mean_flux_over_error,
       e.gaia_phot_bp_mean_mag, e.gaia_phot_bp_mean_flux_over_error, e.gaia_phot_rp_mean_mag,
       e.gaia_phot_rp_mean_flux_over_error, e.gaia_phot_bp_rp_excess_factor, e.gaia_astrometric_excess_noise,
       e.gaia_duplicated_source, e.gaia_astrometric_sigma5d_max, e.gaia_astrometric_params_solved, e.parallax,
       e.parallax_ivar, e.pmra, e.pmra_ivar, e.pmdec, e.pmdec_ivar, e.photsys,
       CASE e.type WHEN 'DEV' THEN e.shapedev_r WHEN 'EXP' THEN e.shapeexp_r WHEN 'REX' THEN e.shapeexp_r END AS shape_r,
       CASE e.type WHEN 'DEV' THEN 4 WHEN 'EXP' THEN 1 WHEN 'REX' THEN 1 END::real AS sersic,
       NULL::real AS z_phot_median, NULL::real AS z_phot_std, NULL::real AS z_spec
FROM archive.legacysurvey_dr8_object e
UNION ALL
SELECT n.source_id, 'dr9' AS data_model,
       n.release, n.brickid, n.brickname, n.objid, n.type, n.ra_ivar, n.dec_ivar, n.dchisq, n.ebv, n.flux_g, n.flux_r,
       n.flux_z, n.flux_ivar_g, n.flux_ivar_r, n.flux_ivar_z, n.mw_transmission_g, n.mw_transmission_r,
       n.mw_transmission_z, n.fracflux_g, n.fracflux_r, n.fracflux_z, n.fracmasked_g, n.fracmasked_r, n.fracmasked_z,
       n.fracin_g, n.fracin_r, n.fracin_z, n.nobs_g, n.nobs_r, n.nobs_z, n.psfdepth_g, n.psfdepth_r, n.psfdepth_z,
       n.galdepth_g, n.galdepth_r, n.galdepth_z, n.flux_w1, n.flux_w2, n.flux_w3, n.flux_w4, n.flux_ivar_w1,
       n.flux_ivar_w2, n.flux_ivar_w3, n.flux_ivar_w4, n.mw_transmission_w1, n.mw_transmission_w2,
       n.mw_transmission_w3, n.mw_transmission_w4, n.allmask_g, n.allmask_r, n.allmask_z, n.wisemask_w1,
       n.wisemask_w2, n.fiberflux_g, n.fiberflux_r, n.fiberflux_z, n.fibertotflux_g, n.fibertotflux_r,
       n.fibertotflux_z, n.maskbits, n.ref_cat, n.ref_id, n.gaia_phot_g_mean_mag, n.gaia_phot_g_mean_flux_over_error,
       n.gaia_phot_bp_mean_mag, n.gaia_phot_bp_mean_flux_over_error, n.gaia_phot_rp_mean_mag,
       n.gaia_phot_rp_mean_flux_over_error, n.gaia_phot_bp_rp_excess_factor, n.gaia_astrometric_excess_noise,
       n.gaia_duplicated_source, n.gaia_astrometric_sigma5d_max, n.gaia_astrometric_params_solved, n.parallax,
       n.parallax_ivar, n.pmra, n.pmra_ivar, n.pmdec, n.pmdec_ivar, n.photsys,
       n.shape_r, n.sersic, n.z_phot_median, n.z_phot_std, n.z_spec
FROM archive.legacysurvey_dr9_object n;
COMMENT ON VIEW api.legacysurvey_object IS 'Legacy Survey objects of all releases: the columns that both data models share.';
COMMENT ON COLUMN api.legacysurvey_object.source_id IS
    'Source of the row; ra and dec are in archive.source [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.legacysurvey_object.data_model IS 'Table that holds the row: dr8 or dr9 [ucd: meta.id]';
COMMENT ON COLUMN api.legacysurvey_object.shape_r IS 'Half-light radius of the galaxy model [unit: arcsec] [ucd: phys.angSize]';
COMMENT ON COLUMN api.legacysurvey_object.sersic IS
    'Sersic index (1 for REX and EXP, 4 for DEV) [ucd: src.morph.param]';
