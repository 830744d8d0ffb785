-- MMLforGalAM (A&A 698, A222), section 2.1.1: 0.002 <= z <= 0.3, zWarning = 0, S/N_r >= 5, luminosity-weighted age and
-- metallicity from full-spectrum fitting; section 2.1.2: an image in g, r and i at the same position; section 2.2.1: the
-- spectrum covers 3830 to 8000 Angstrom (observed); section 2.2.2: images that the preprocessing keeps. Redshift and S/N
-- are those of the spectrum's own file (SN_MEDIAN_ALL; the r band's is not kept). The labels come from any member of
-- the galaxy, as their catalogue may be a release of its own. The 3 arcsec and the duplicates are GalEffNet's.
--
-- One row a galaxy: the spectrum, the labels and the image with the fewest reasons against them. All of it stands below
-- the galaxy, so that any condition on it and any join with it reaches the indexes; one sort of everything scans all
-- galaxies in half the time, and as long for one. OFFSET 0 keeps an expression from being computed wherever it is used.
CREATE OR REPLACE FUNCTION api.selection_mmlforgalam(preprocess_config_id bigint, label_origin text)
RETURNS TABLE (
    galaxy_id bigint, ra double precision, "dec" double precision, hpx29 bigint, observation_id bigint,
    image_source_id bigint, spectrum_observation_id bigint, spectrum_source_id bigint, label_source_id bigint,
    label_origin text, log_age double precision, mh double precision, z double precision, sn_median real,
    wave_min_angstrom double precision, wave_max_angstrom double precision, separation_arcsec double precision,
    simulated boolean, selected boolean, reason_out text[])
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT g.galaxy_id, g.ra, g."dec", g.hpx29, b.observation_id, b.image_source_id, b.spectrum_observation_id,
           b.spectrum_source_id, b.label_source_id, b.origin, b.log_age, b.mh, b.z, b.sn_median, b.wave_min_angstrom,
           b.wave_max_angstrom, b.separation_arcsec, b.simulated, cardinality(b.reason_out) = 0, b.reason_out
    FROM archive.galaxy g
    CROSS JOIN LATERAL (
        SELECT i.observation_id, i.source_id AS image_source_id, s.observation_id AS spectrum_observation_id,
               s.source_id AS spectrum_source_id, l.source_id AS label_source_id, l.origin, l.log_age, l.mh, s.z,
               s.sn_median, s.wave_min_angstrom, s.wave_max_angstrom, a.separation_arcsec,
               coalesce(s.simulated, false) OR coalesce(i.simulated, false) OR coalesce(l.simulated, false)
                   AS simulated,
               w.reason_out
        FROM (VALUES (0)) o (one)
        LEFT JOIN api.spectrum_member s ON s.galaxy_id = g.galaxy_id
        LEFT JOIN (
            SELECT m.galaxy_id, m.source_id, r.simulated, v.origin, v.log_age, v.mh
            FROM archive.galaxy_member m
            JOIN archive.source n ON n.source_id = m.source_id
            JOIN archive.data_release r ON r.release_id = n.release_id
            CROSS JOIN LATERAL api.source_label(m.source_id, selection_mmlforgalam.label_origin) v
            WHERE v.log_age IS NOT NULL OR v.mh IS NOT NULL
        ) l ON l.galaxy_id = g.galaxy_id
        LEFT JOIN api.imaged_member i ON i.galaxy_id = g.galaxy_id
        LEFT JOIN archive.preprocess p
               ON p.observation_id = i.observation_id
              AND p.preprocess_config_id = selection_mmlforgalam.preprocess_config_id
        CROSS JOIN LATERAL (SELECT api.separation_arcsec(s.ra, s."dec", i.ra, i."dec") OFFSET 0) a (separation_arcsec)
        CROSS JOIN LATERAL (
            SELECT array_remove(ARRAY[
                CASE WHEN s.source_id IS NULL THEN 'no spectrum' END,
                -- In single precision, as survey files have it: 0.002 and 0.3 themselves are in.
                CASE WHEN s.source_id IS NOT NULL AND (s.z::real BETWEEN 0.002::real AND 0.3::real) IS NOT TRUE
                     THEN 'z outside 0.002 to 0.3' END,
                CASE WHEN s.source_id IS NOT NULL AND s.z_warning IS DISTINCT FROM 0 THEN 'redshift warning' END,
                CASE WHEN s.source_id IS NOT NULL AND (s.sn_median >= 5) IS NOT TRUE THEN 'S/N below 5' END,
                CASE WHEN s.source_id IS NOT NULL AND NOT (s.wave_min_angstrom <= 3830 AND s.wave_max_angstrom >= 8000)
                     THEN 'wavelengths not covered' END,
                CASE WHEN l.log_age IS NULL THEN 'no age' END,
                CASE WHEN l.mh IS NULL THEN 'no stellar metallicity' END,
                CASE WHEN i.source_id IS NULL THEN 'no image' END,
                CASE WHEN NOT i.is_display AND NOT i.bands <@ '{g,r,i}' THEN 'image not in g, r, i' END,
                CASE WHEN i.source_id IS NOT NULL AND p.kept IS NULL THEN 'not preprocessed' END,
                CASE WHEN NOT p.kept THEN 'image not kept' END,
                CASE WHEN a.separation_arcsec > 3 THEN 'farther than 3 arcsec' END,
                CASE WHEN a.separation_arcsec > 0 AND EXISTS (
                         SELECT FROM api.nearer_partner(
                             s.source_id, s.release_id, i.source_id, i.release_id, a.separation_arcsec))
                     THEN 'not the best match' END,
                -- Bit 2 is DUPLICATE, see `galbase duplicates`.
                CASE WHEN (coalesce(s.source_flag, 0) | coalesce(i.source_flag, 0)) & 2 <> 0 THEN 'duplicate' END
                ], NULL) OFFSET 0
        ) w (reason_out)
        ORDER BY cardinality(w.reason_out), i.priority, i.release_id, i.observation_id, s.priority,
                 s.member_separation_arcsec, s.source_id, s.observation_id, l.source_id, l.origin
        LIMIT 1
    ) b;
END;
COMMENT ON FUNCTION api.selection_mmlforgalam(bigint, text) IS
'The selection of the MMLforGalAM paper (A&A 698, A222, section 2) over all galaxies, with the verdicts of a preprocessing configuration and labels of an origin (NULL: any that is not for evaluation only).
galaxy_id: Galaxy [ucd: meta.id;meta.main]
ra: Right ascension of the galaxy, ICRS [unit: deg] [ucd: pos.eq.ra;meta.main]
dec: Declination of the galaxy, ICRS [unit: deg] [ucd: pos.eq.dec;meta.main]
hpx29: HEALPix nested pixel of order 29 of the galaxy [ucd: pos.healpix]
observation_id: The galaxy''s image [ucd: meta.id]
image_source_id: Member at the image''s position [ucd: meta.id]
spectrum_observation_id: The galaxy''s spectrum [ucd: meta.id]
spectrum_source_id: Member that the spectrum belongs to [ucd: meta.id]
label_source_id: Member that the labels belong to [ucd: meta.id]
label_origin: Catalogue or method of the labels [ucd: meta.id]
log_age: log10 of luminosity-weighted stellar age within 3 arcsec [yr] [unit: ''dex''] [ucd: time.age]
mh: Luminosity-weighted stellar metallicity [M/H] within 3 arcsec [unit: ''dex''] [ucd: phys.abund.Z]
z: Spectroscopic redshift [ucd: src.redshift]
sn_median: Median signal-to-noise ratio per pixel of the spectrum [ucd: stat.snr;spect]
wave_min_angstrom: First wavelength of the spectrum, observed frame [unit: Angstrom] [ucd: em.wl;stat.min]
wave_max_angstrom: Last wavelength of the spectrum, observed frame [unit: Angstrom] [ucd: em.wl;stat.max]
separation_arcsec: Separation of the image''s source from the spectrum''s [unit: arcsec] [ucd: pos.angDistance]
simulated: Whether the image, the spectrum or the label is simulated [ucd: meta.code]
selected: Whether the galaxy is in the selection [ucd: meta.code]
reason_out: Why it is not; empty if it is [ucd: meta.note]';
CREATE OR REPLACE VIEW api.training_set_mmlforgalam AS
SELECT t.*
FROM (SELECT max(k.preprocess_config_id) FROM archive.preprocess_config k WHERE k.name = 'mmlforgalam') k (own_config_id)
CROSS JOIN LATERAL api.selection_mmlforgalam(k.own_config_id, NULL) t;
COMMENT ON VIEW api.training_set_mmlforgalam IS
    'The selection of the MMLforGalAM paper (A&A 698, A222, section 2) over all galaxies: who is in, and why the '
    'others are out. Labels are of any origin that is not for evaluation only, verdicts those of the newest '
    'configuration named mmlforgalam.';
