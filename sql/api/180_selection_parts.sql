-- What the papers' selections are made of. Plain joins without an order of their own: the planner merges them into a
-- selection, so that a condition on a galaxy reaches the indexes.

CREATE OR REPLACE VIEW api.spectroscopic_member AS
SELECT m.galaxy_id, m.source_id, m.separation_arcsec AS member_separation_arcsec, s.release_id, r.release, r.priority,
       r.simulated, s.ra, s."dec", s.flag AS source_flag, d.specobjid, d.spectrotype, d.reliable, d.z, d.z_warning,
       d.sn_median, d.bptclass
FROM archive.galaxy_member m
JOIN archive.sdss_galaxy d ON d.source_id = m.source_id
JOIN archive.source s ON s.source_id = m.source_id
JOIN archive.data_release r ON r.release_id = s.release_id;
COMMENT ON VIEW api.spectroscopic_member IS 'Rows of the MPA-JHU catalogue with the galaxies they belong to.';
COMMENT ON COLUMN api.spectroscopic_member.galaxy_id IS 'Galaxy [ucd: meta.id]';
COMMENT ON COLUMN api.spectroscopic_member.source_id IS 'Member of the galaxy that the row describes [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.spectroscopic_member.member_separation_arcsec IS
    'Separation of the member from its galaxy [unit: arcsec] [ucd: pos.angDistance]';
COMMENT ON COLUMN api.spectroscopic_member.release_id IS 'Number of the member''s release [ucd: meta.id]';
COMMENT ON COLUMN api.spectroscopic_member.release IS 'The member''s release [ucd: meta.id]';
COMMENT ON COLUMN api.spectroscopic_member.source_flag IS 'Bits of registry ''source'' in flag_definition [ucd: meta.code.qual]';

CREATE OR REPLACE VIEW api.imaged_member AS
SELECT m.galaxy_id, o.source_id, o.observation_id, r.release_id, r.release, r.priority, r.simulated, s.ra, s."dec",
       s.flag AS source_flag, i.bands, i.is_display
FROM archive.galaxy_member m
JOIN archive.observation o ON o.source_id = m.source_id AND o.kind = 'image'
JOIN archive.image i ON i.observation_id = o.observation_id
JOIN archive.source s ON s.source_id = m.source_id
JOIN archive.data_release r ON r.release_id = o.release_id;
COMMENT ON VIEW api.imaged_member IS 'All images with the galaxies they belong to.';
COMMENT ON COLUMN api.imaged_member.galaxy_id IS 'Galaxy [ucd: meta.id]';
COMMENT ON COLUMN api.imaged_member.source_id IS 'Member of the galaxy at the image''s position [ucd: meta.id]';
COMMENT ON COLUMN api.imaged_member.observation_id IS 'The image [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.imaged_member.release_id IS 'Number of the image''s release [ucd: meta.id]';
COMMENT ON COLUMN api.imaged_member.release IS 'Release of the image [ucd: meta.id]';
COMMENT ON COLUMN api.imaged_member.source_flag IS 'Bits of registry ''source'' in flag_definition [ucd: meta.code.qual]';

CREATE OR REPLACE VIEW api.spectrum_member AS
SELECT m.galaxy_id, o.source_id, o.observation_id, m.separation_arcsec AS member_separation_arcsec, r.release_id,
       r.release, r.priority, r.simulated, s.ra, s."dec", s.flag AS source_flag, p.z, p.z_warning, p.sn_median,
       p.wave_min_angstrom, p.wave_max_angstrom
FROM archive.galaxy_member m
JOIN archive.observation o ON o.source_id = m.source_id AND o.kind = 'spectrum'
JOIN archive.spectrum p ON p.observation_id = o.observation_id
JOIN archive.source s ON s.source_id = m.source_id
JOIN archive.data_release r ON r.release_id = o.release_id;
COMMENT ON VIEW api.spectrum_member IS 'All spectra with the galaxies they belong to.';
COMMENT ON COLUMN api.spectrum_member.galaxy_id IS 'Galaxy [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_member.source_id IS 'Member of the galaxy that the spectrum is of [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_member.observation_id IS 'The spectrum [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.spectrum_member.member_separation_arcsec IS
    'Separation of the member from its galaxy [unit: arcsec] [ucd: pos.angDistance]';
COMMENT ON COLUMN api.spectrum_member.release_id IS 'Number of the spectrum''s release [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_member.release IS 'Release of the spectrum [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_member.source_flag IS 'Bits of registry ''source'' in flag_definition [ucd: meta.code.qual]';

CREATE OR REPLACE VIEW api.legacysurvey_member AS
SELECT m.galaxy_id, l.source_id, m.separation_arcsec AS member_separation_arcsec, r.release_id, r.priority, r.simulated,
       s.flag AS source_flag, l.release, l.brickid, l.objid, l.type, l.flux_r, l.z_phot_median
FROM archive.galaxy_member m
JOIN api.legacysurvey_object l ON l.source_id = m.source_id
JOIN archive.source s ON s.source_id = m.source_id
JOIN archive.data_release r ON r.release_id = s.release_id;
COMMENT ON VIEW api.legacysurvey_member IS 'Rows of the Legacy Survey''s catalogues with the galaxies they belong to.';
COMMENT ON COLUMN api.legacysurvey_member.galaxy_id IS 'Galaxy [ucd: meta.id]';
COMMENT ON COLUMN api.legacysurvey_member.source_id IS 'Member of the galaxy that the row describes [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.legacysurvey_member.member_separation_arcsec IS
    'Separation of the member from its galaxy [unit: arcsec] [ucd: pos.angDistance]';
COMMENT ON COLUMN api.legacysurvey_member.release_id IS 'Number of the member''s release [ucd: meta.id]';
COMMENT ON COLUMN api.legacysurvey_member.source_flag IS
    'Bits of registry ''source'' in flag_definition [ucd: meta.code.qual]';
COMMENT ON COLUMN api.legacysurvey_member.release IS 'RELEASE of the Legacy Survey: cameras and filters [ucd: meta.id]';

CREATE OR REPLACE FUNCTION api.source_label(source_id bigint, label_origin text)
RETURNS TABLE (
    origin text, log_mstar_fib double precision, log_ssfr_fib double precision, oh12 double precision,
    log_age double precision, mh double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.origin,
           max(v.value) FILTER (
               WHERE v.property_id = (SELECT p.property_id FROM archive.property p WHERE p.name = 'log_mstar_fib')),
           max(v.value) FILTER (
               WHERE v.property_id = (SELECT p.property_id FROM archive.property p WHERE p.name = 'log_ssfr_fib')),
           max(v.value) FILTER (
               WHERE v.property_id = (SELECT p.property_id FROM archive.property p WHERE p.name = 'oh12')),
           max(v.value) FILTER (
               WHERE v.property_id = (SELECT p.property_id FROM archive.property p WHERE p.name = 'log_age')),
           max(v.value) FILTER (
               WHERE v.property_id = (SELECT p.property_id FROM archive.property p WHERE p.name = 'mh'))
    FROM archive.reference_value v
    WHERE v.source_id = source_label.source_id
      AND (v.origin = source_label.label_origin
           OR source_label.label_origin IS NULL
              AND v.origin NOT IN (SELECT e.origin FROM archive.label_origin e WHERE e.evaluation_only))
    GROUP BY v.origin;
END;
COMMENT ON FUNCTION api.source_label(bigint, text) IS
'The labels of a source side by side, one row an origin; without a label_origin, all but those for evaluation only.
origin: Catalogue or method of the labels [ucd: meta.id]
log_mstar_fib: log10 of stellar mass within 3 arcsec [solMass] [unit: ''dex''] [ucd: phys.mass]
log_ssfr_fib: log10 of specific star formation rate within 3 arcsec [1/yr] [unit: ''dex''] [ucd: phys.SFR]
oh12: 12 + log10(O/H), Tremonti et al. 2004 scale [unit: ''dex''] [ucd: phys.abund.Z]
log_age: log10 of luminosity-weighted stellar age within 3 arcsec [yr] [unit: ''dex''] [ucd: time.age]
mh: Luminosity-weighted stellar metallicity [M/H] within 3 arcsec [unit: ''dex''] [ucd: phys.abund.Z]';

-- Two detections of one galaxy need not be each other's nearest: they may have met through a third. A pair whose
-- releases were never matched with each other has no other partners that could be known.
CREATE OR REPLACE FUNCTION api.nearer_partner(
    source_a bigint, release_a bigint, source_b bigint, release_b bigint, separation_arcsec double precision)
RETURNS TABLE (source_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT x.right_source_id
    FROM archive.crossmatch_run r JOIN archive.crossmatch x ON x.crossmatch_run_id = r.crossmatch_run_id
    WHERE r.state = 'done' AND x.separation_arcsec < nearer_partner.separation_arcsec
      AND r.left_release_id = nearer_partner.release_a AND r.right_release_id = nearer_partner.release_b
      AND x.left_source_id = nearer_partner.source_a AND x.right_source_id <> nearer_partner.source_b
    UNION ALL
    SELECT x.left_source_id
    FROM archive.crossmatch_run r JOIN archive.crossmatch x ON x.crossmatch_run_id = r.crossmatch_run_id
    WHERE r.state = 'done' AND x.separation_arcsec < nearer_partner.separation_arcsec
      AND r.left_release_id = nearer_partner.release_a AND r.right_release_id = nearer_partner.release_b
      AND x.right_source_id = nearer_partner.source_b AND x.left_source_id <> nearer_partner.source_a
    UNION ALL
    SELECT x.right_source_id
    FROM archive.crossmatch_run r JOIN archive.crossmatch x ON x.crossmatch_run_id = r.crossmatch_run_id
    WHERE r.state = 'done' AND x.separation_arcsec < nearer_partner.separation_arcsec
      AND r.left_release_id = nearer_partner.release_b AND r.right_release_id = nearer_partner.release_a
      AND x.left_source_id = nearer_partner.source_b AND x.right_source_id <> nearer_partner.source_a
    UNION ALL
    SELECT x.left_source_id
    FROM archive.crossmatch_run r JOIN archive.crossmatch x ON x.crossmatch_run_id = r.crossmatch_run_id
    WHERE r.state = 'done' AND x.separation_arcsec < nearer_partner.separation_arcsec
      AND r.left_release_id = nearer_partner.release_b AND r.right_release_id = nearer_partner.release_a
      AND x.right_source_id = nearer_partner.source_a AND x.left_source_id <> nearer_partner.source_b;
END;
COMMENT ON FUNCTION api.nearer_partner(bigint, bigint, bigint, bigint, double precision) IS
'Detections that a crossmatch of the releases of two detections found nearer [arcsec] to one of them than they are to each other; none for each other''s best match.
source_id: The nearer detection [ucd: meta.id;meta.main]';
