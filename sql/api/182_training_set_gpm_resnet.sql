-- GPM-ResNet (A&A 694, A271), section 2.1: spectrotype = 'GALAXY', reliable = 1, z_warning = 0, bptclass = 1,
-- z >= 0.002, S/N_r >= 5, valid oh_p50, matched by position with images in g, r and z; section 2.2: images that the
-- preprocessing keeps. The text states neither the match's radius nor what was done with repeated entries: both are
-- GalEffNet's, by the same group from the same catalogues. Mass and sSFR (section 2.2.3, figure 5; mass also as the
-- label of section 4.6.1) are shown, and no criterion.
--
-- One row a galaxy: the spectrum and the image with the fewest reasons against them. All of it stands below the galaxy,
-- so that any condition on it and any join with it reaches the indexes; one sort of everything scans all galaxies in
-- half the time, and as long for one. OFFSET 0 keeps an expression from being computed wherever it is used.
CREATE OR REPLACE FUNCTION api.selection_gpm_resnet(preprocess_config_id bigint, label_origin text)
RETURNS TABLE (
    galaxy_id bigint, ra double precision, "dec" double precision, hpx29 bigint, observation_id bigint,
    image_source_id bigint, label_source_id bigint, label_origin text, oh12 double precision,
    log_mstar_fib double precision, log_ssfr_fib double precision, z double precision, sn_median real,
    bptclass smallint, separation_arcsec double precision, simulated boolean, selected boolean, reason_out text[])
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT g.galaxy_id, g.ra, g."dec", g.hpx29, b.observation_id, b.image_source_id, b.label_source_id, b.origin,
           b.oh12, b.log_mstar_fib, b.log_ssfr_fib, b.z, b.sn_median, b.bptclass, b.separation_arcsec, b.simulated,
           cardinality(b.reason_out) = 0, b.reason_out
    FROM archive.galaxy g
    CROSS JOIN LATERAL (
        SELECT i.observation_id, i.source_id AS image_source_id, c.source_id AS label_source_id, l.origin, l.oh12,
               l.log_mstar_fib, l.log_ssfr_fib, c.z::double precision AS z, c.sn_median, c.bptclass,
               a.separation_arcsec,
               coalesce(c.simulated, false) OR coalesce(i.simulated, false) AS simulated, w.reason_out
        FROM (VALUES (0)) o (one)
        LEFT JOIN api.spectroscopic_member c ON c.galaxy_id = g.galaxy_id
        LEFT JOIN LATERAL api.source_label(c.source_id, selection_gpm_resnet.label_origin) l ON true
        LEFT JOIN api.imaged_member i ON i.galaxy_id = g.galaxy_id
        LEFT JOIN archive.preprocess p
               ON p.observation_id = i.observation_id
              AND p.preprocess_config_id = selection_gpm_resnet.preprocess_config_id
        CROSS JOIN LATERAL (SELECT api.separation_arcsec(c.ra, c."dec", i.ra, i."dec") OFFSET 0) a (separation_arcsec)
        CROSS JOIN LATERAL (
            SELECT array_remove(ARRAY[
                CASE WHEN c.source_id IS NULL THEN 'no SDSS galaxy' END,
                CASE WHEN c.source_id IS NOT NULL AND c.spectrotype IS DISTINCT FROM 'GALAXY'
                     THEN 'class is not GALAXY' END,
                CASE WHEN c.source_id IS NOT NULL AND c.reliable IS DISTINCT FROM 1 THEN 'not reliable' END,
                -- In single precision, as the catalogue's redshifts are: 0.002 itself is in.
                CASE WHEN c.source_id IS NOT NULL AND (c.z >= 0.002::real) IS NOT TRUE THEN 'z below 0.002' END,
                CASE WHEN c.source_id IS NOT NULL AND c.z_warning IS DISTINCT FROM 0 THEN 'redshift warning' END,
                CASE WHEN c.source_id IS NOT NULL AND (c.sn_median >= 5) IS NOT TRUE THEN 'S/N below 5' END,
                CASE WHEN c.source_id IS NOT NULL AND c.bptclass IS DISTINCT FROM 1 THEN 'not star forming' END,
                CASE WHEN c.source_id IS NOT NULL AND l.oh12 IS NULL THEN 'no metallicity' END,
                CASE WHEN i.source_id IS NULL THEN 'no image' END,
                CASE WHEN NOT i.is_display AND NOT i.bands <@ '{g,r,z}' THEN 'image not in g, r, z' END,
                CASE WHEN i.source_id IS NOT NULL AND p.kept IS NULL THEN 'not preprocessed' END,
                CASE WHEN NOT p.kept THEN 'image not kept' END,
                CASE WHEN a.separation_arcsec > 3 THEN 'farther than 3 arcsec' END,
                CASE WHEN a.separation_arcsec > 0 AND EXISTS (
                         SELECT FROM api.nearer_partner(
                             c.source_id, c.release_id, i.source_id, i.release_id, a.separation_arcsec))
                     THEN 'not the best match' END,
                -- Bit 2 is DUPLICATE, see `galbase duplicates`.
                CASE WHEN (coalesce(c.source_flag, 0) | coalesce(i.source_flag, 0)) & 2 <> 0 THEN 'duplicate' END
                ], NULL) OFFSET 0
        ) w (reason_out)
        ORDER BY cardinality(w.reason_out), i.priority, i.release_id, i.observation_id, c.priority,
                 c.member_separation_arcsec, c.source_id, l.origin
        LIMIT 1
    ) b;
END;
COMMENT ON FUNCTION api.selection_gpm_resnet(bigint, text) IS
'The selection of the GPM-ResNet paper (A&A 694, A271, section 2.1) over all galaxies, with the verdicts of a preprocessing configuration and labels of an origin (NULL: any that is not for evaluation only).
galaxy_id: Galaxy [ucd: meta.id;meta.main]
ra: Right ascension of the galaxy, ICRS [unit: deg] [ucd: pos.eq.ra;meta.main]
dec: Declination of the galaxy, ICRS [unit: deg] [ucd: pos.eq.dec;meta.main]
hpx29: HEALPix nested pixel of order 29 of the galaxy [ucd: pos.healpix]
observation_id: The galaxy''s image [ucd: meta.id]
image_source_id: Member at the image''s position [ucd: meta.id]
label_source_id: Member that the labels belong to [ucd: meta.id]
label_origin: Catalogue or method of the labels [ucd: meta.id]
oh12: 12 + log10(O/H), Tremonti et al. 2004 scale [unit: ''dex''] [ucd: phys.abund.Z]
log_mstar_fib: log10 of stellar mass within 3 arcsec [solMass] [unit: ''dex''] [ucd: phys.mass]
log_ssfr_fib: log10 of specific star formation rate within 3 arcsec [1/yr] [unit: ''dex''] [ucd: phys.SFR]
z: Spectroscopic redshift [ucd: src.redshift]
sn_median: Median signal-to-noise ratio per pixel of the spectrum [ucd: stat.snr;spect]
bptclass: Emission line class after Brinchmann et al. 2004 (1 star forming) [ucd: src.class]
separation_arcsec: Separation of the image''s source from the label''s [unit: arcsec] [ucd: pos.angDistance]
simulated: Whether the image or the label is simulated [ucd: meta.code]
selected: Whether the galaxy is in the selection [ucd: meta.code]
reason_out: Why it is not; empty if it is [ucd: meta.note]';
CREATE OR REPLACE VIEW api.training_set_gpm_resnet AS
SELECT t.*
FROM (SELECT max(k.preprocess_config_id) FROM archive.preprocess_config k WHERE k.name = 'gpm_resnet') k (own_config_id)
CROSS JOIN LATERAL api.selection_gpm_resnet(k.own_config_id, 'mpa-jhu') t;
COMMENT ON VIEW api.training_set_gpm_resnet IS
    'The selection of the GPM-ResNet paper (A&A 694, A271, section 2.1) over all galaxies: who is in, and why the '
    'others are out. Labels are MPA-JHU''s, verdicts those of the newest configuration named gpm_resnet.';
