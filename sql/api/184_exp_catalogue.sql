-- GPM-ResNet (A&A 694, A271), section 5: galaxies of type EXP in the Legacy Survey (5.1) whose image the preprocessing of
-- section 2.2 keeps (5.2), with the columns of table 2; its Z_pred is oh12 of api.galaxy_property.
--
-- One row a galaxy: the catalogue row and the image with the fewest reasons against them. All of it stands below the
-- galaxy, so that any condition on it and any join with it reaches the indexes; one sort of everything scans all
-- galaxies in half the time, and as long for one. OFFSET 0 keeps an expression from being computed wherever it is used.
CREATE OR REPLACE FUNCTION api.selection_exp(preprocess_config_id bigint)
RETURNS TABLE (
    galaxy_id bigint, ra double precision, "dec" double precision, hpx29 bigint, source_id bigint,
    observation_id bigint, release integer, brickid integer, objid integer, type text, z_phot_median real,
    mag_r double precision, simulated boolean, selected boolean, reason_out text[])
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT g.galaxy_id, g.ra, g."dec", g.hpx29, b.source_id, b.observation_id, b.release, b.brickid, b.objid, b.type,
           b.z_phot_median, b.mag_r, b.simulated, cardinality(b.reason_out) = 0, b.reason_out
    FROM archive.galaxy g
    CROSS JOIN LATERAL (
        SELECT c.source_id, i.observation_id, c.release, c.brickid, c.objid, c.type, c.z_phot_median,
               api.ab_magnitude(c.flux_r) AS mag_r,
               coalesce(c.simulated, false) OR coalesce(i.simulated, false) AS simulated, w.reason_out
        FROM (VALUES (0)) o (one)
        LEFT JOIN api.legacysurvey_member c ON c.galaxy_id = g.galaxy_id
        LEFT JOIN api.imaged_member i ON i.galaxy_id = g.galaxy_id
        LEFT JOIN archive.preprocess p
               ON p.observation_id = i.observation_id
              AND p.preprocess_config_id = selection_exp.preprocess_config_id
        CROSS JOIN LATERAL (
            SELECT array_remove(ARRAY[
                CASE WHEN c.source_id IS NULL THEN 'no Legacy Survey galaxy' END,
                CASE WHEN c.source_id IS NOT NULL AND c.type IS DISTINCT FROM 'EXP' THEN 'type is not EXP' END,
                CASE WHEN i.source_id IS NULL THEN 'no image' END,
                CASE WHEN NOT i.is_display AND NOT i.bands <@ '{g,r,z}' THEN 'image not in g, r, z' END,
                CASE WHEN i.source_id IS NOT NULL AND p.kept IS NULL THEN 'not preprocessed' END,
                CASE WHEN NOT p.kept THEN 'image not kept' END,
                -- Bit 2 is DUPLICATE, see `galbase duplicates`.
                CASE WHEN (coalesce(c.source_flag, 0) | coalesce(i.source_flag, 0)) & 2 <> 0 THEN 'duplicate' END
                ], NULL) OFFSET 0
        ) w (reason_out)
        ORDER BY cardinality(w.reason_out), i.priority, i.release_id, i.observation_id, c.priority,
                 c.member_separation_arcsec, c.source_id
        LIMIT 1
    ) b;
END;
COMMENT ON FUNCTION api.selection_exp(bigint) IS
'The galaxies of GPM-ResNet''s EXP catalogue (A&A 694, A271, section 5.2) among all, with the verdicts of a preprocessing configuration.
galaxy_id: Galaxy [ucd: meta.id;meta.main]
ra: Right ascension of the galaxy, ICRS [unit: deg] [ucd: pos.eq.ra;meta.main]
dec: Declination of the galaxy, ICRS [unit: deg] [ucd: pos.eq.dec;meta.main]
hpx29: HEALPix nested pixel of order 29 of the galaxy [ucd: pos.healpix]
source_id: Legacy Survey member of the galaxy [ucd: meta.id]
observation_id: The galaxy''s image [ucd: meta.id]
release: RELEASE of the Legacy Survey: cameras and filters [ucd: meta.id]
brickid: Brick of the Legacy Survey [ucd: meta.id]
objid: Object within the brick [ucd: meta.id]
type: Morphological model of the Legacy Survey [ucd: src.morph.type]
z_phot_median: Photometric redshift, median of the distribution [ucd: src.redshift.phot]
mag_r: AB magnitude in r, not dereddened [unit: mag] [ucd: phot.mag;em.opt.R]
simulated: Whether the image or the catalogue row is simulated [ucd: meta.code]
selected: Whether the galaxy is in the selection [ucd: meta.code]
reason_out: Why it is not; empty if it is [ucd: meta.note]';
CREATE OR REPLACE VIEW api.exp_catalogue AS
SELECT t.*
FROM (SELECT max(k.preprocess_config_id) FROM archive.preprocess_config k WHERE k.name = 'gpm_resnet') k (own_config_id)
CROSS JOIN LATERAL api.selection_exp(k.own_config_id) t;
COMMENT ON VIEW api.exp_catalogue IS
    'The galaxies of GPM-ResNet''s EXP catalogue (A&A 694, A271, section 5.2) among all: who is in, and why the '
    'others are out. Verdicts are those of the newest configuration named gpm_resnet.';
