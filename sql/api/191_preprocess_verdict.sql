-- Bits of registry 'preprocess' taken apart once for all views; a verdict without flags has one row without a name.
CREATE OR REPLACE VIEW api.preprocess_reason AS
SELECT p.observation_id, o.source_id, r.release, c.name AS config, p.preprocess_config_id, p.kept, d.name AS flag_name,
       d.keeps_out, d.meaning AS reason, d.criterion
FROM archive.preprocess p
JOIN archive.preprocess_config c ON c.preprocess_config_id = p.preprocess_config_id
JOIN archive.observation o ON o.observation_id = p.observation_id
JOIN archive.data_release r ON r.release_id = o.release_id
JOIN archive.flag_definition d ON d.registry = 'preprocess' AND d.value & p.flag <> 0;
COMMENT ON VIEW api.preprocess_reason IS
    'One row an image, preprocessing configuration and flag: why the image is out, by whose criterion, and what else '
    'limits the verdict. An image without any flag has no row.';
COMMENT ON COLUMN api.preprocess_reason.observation_id IS 'The image [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.preprocess_reason.source_id IS
    'Source at its position; NULL where no position is known [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_reason.release IS 'Release of the image [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_reason.config IS 'Preset that the configuration started from [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_reason.preprocess_config_id IS 'The configuration [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_reason.flag_name IS 'Name of the flag [ucd: meta.code]';
COMMENT ON COLUMN api.preprocess_reason.reason IS 'What the flag says [ucd: meta.note]';

CREATE OR REPLACE VIEW api.preprocess_verdict AS
SELECT p.observation_id, o.source_id, m.galaxy_id, r.release, c.name AS config, c.hash AS config_hash,
       c.parameters ->> 'method' AS method, p.kept, w.flags, w.reason_out, w.note, w.criterion_out, p.threshold,
       CASE WHEN c.parameters ->> 'method' = 'improved' AND NOT i.is_display THEN 'nmgy' ELSE 'grey level' END
           AS threshold_unit,
       p.background_rms, p.ellipse_x, p.ellipse_y, p.ellipse_a, p.ellipse_b, p.ellipse_theta,
       (c.parameters ->> 'enlargement')::double precision AS enlargement, p.radius_px, p.radius_arcsec, p.n_contour,
       p.n_source, p.n_region, p.blend_score,
       (c.parameters ->> 'max_blend_score')::double precision AS max_blend_score, i.pixel_scale_arcsec, i.is_display,
       p.flag, p.preprocess_config_id, p.modified_at
FROM archive.preprocess p
JOIN archive.preprocess_config c ON c.preprocess_config_id = p.preprocess_config_id
JOIN archive.observation o ON o.observation_id = p.observation_id
JOIN archive.image i ON i.observation_id = p.observation_id
JOIN archive.data_release r ON r.release_id = o.release_id
LEFT JOIN archive.galaxy_member m ON m.source_id = o.source_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(d.name ORDER BY d.value), '{}') AS flags,
           coalesce(array_agg(d.meaning ORDER BY d.value) FILTER (WHERE d.keeps_out), '{}') AS reason_out,
           coalesce(array_agg(d.meaning ORDER BY d.value) FILTER (WHERE NOT d.keeps_out), '{}') AS note,
           coalesce(array_agg(d.criterion ORDER BY d.value) FILTER (WHERE d.keeps_out), '{}') AS criterion_out
    FROM archive.flag_definition d
    WHERE d.registry = 'preprocess' AND d.value & p.flag <> 0
) w;
COMMENT ON VIEW api.preprocess_verdict IS
    'One row an image and preprocessing configuration: whether it is kept, why not in words and by whose criterion, and '
    'everything that was measured on the way; a measure is NULL where the image did not get that far.';
COMMENT ON COLUMN api.preprocess_verdict.observation_id IS 'The image [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.preprocess_verdict.source_id IS
    'Source at its position; NULL where no position is known [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.galaxy_id IS 'Galaxy of the source; NULL where it has none [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.release IS 'Release of the image [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.config IS
    'Preset that the configuration started from; config_hash tells configurations of one preset apart [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.config_hash IS 'Hash of all parameters [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.method IS 'galeffnet for the published pipelines, or improved [ucd: meta.id]';
COMMENT ON COLUMN api.preprocess_verdict.flags IS 'Names of the flags [ucd: meta.code]';
COMMENT ON COLUMN api.preprocess_verdict.reason_out IS
    'Why the image is out, in words; empty where it is kept [ucd: meta.note]';
COMMENT ON COLUMN api.preprocess_verdict.note IS
    'What else limits the verdict, in words, and keeps no image out [ucd: meta.note]';
COMMENT ON COLUMN api.preprocess_verdict.criterion_out IS
    'Whose criterion each of reason_out is, in the same order [ucd: meta.note]';
COMMENT ON COLUMN api.preprocess_verdict.threshold_unit IS
    'Unit of threshold and background_rms in this row: nmgy a pixel, or grey level of 0 to 255 [ucd: meta.unit]';
COMMENT ON COLUMN api.preprocess_verdict.enlargement IS
    'Factor on the axes of the ellipse that gives the mask, a parameter [ucd: arith.factor]';
COMMENT ON COLUMN api.preprocess_verdict.max_blend_score IS
    'Blend score above which the configuration sees a blend; NULL of published methods [ucd: stat.value]';
COMMENT ON COLUMN api.preprocess_verdict.preprocess_config_id IS 'The configuration [ucd: meta.id]';

CREATE OR REPLACE VIEW api.preprocess_tally AS
SELECT v.release, v.config, v.config_hash, coalesce(w.reason, 'kept') AS reason, count(*) AS n_image,
       count(*) FILTER (WHERE cardinality(v.reason_out) <= 1) AS n_alone
FROM api.preprocess_verdict v
LEFT JOIN LATERAL unnest(v.reason_out) w (reason) ON true
GROUP BY v.release, v.config, v.config_hash, w.reason;
COMMENT ON VIEW api.preprocess_tally IS
    'How many images of a release each reason takes out, by preprocessing configuration; all verdicts are read for it.';
COMMENT ON COLUMN api.preprocess_tally.reason IS 'Reason, or kept [ucd: meta.note]';
COMMENT ON COLUMN api.preprocess_tally.n_image IS
    'Images out for it, perhaps among other reasons; those kept [ucd: meta.number]';
COMMENT ON COLUMN api.preprocess_tally.n_alone IS 'Images out for nothing else; those kept [ucd: meta.number]';

-- All flags of all cells from one pass over the verdicts; a flag that no image of a cell has is at 0 there.
CREATE OR REPLACE FUNCTION api.preprocess_flag_map(
    release_name text, config_hash text, healpix_order integer DEFAULT 6)
RETURNS TABLE (
    healpix_cell bigint, flag_name text, n_image bigint, n_flagged bigint, fraction double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000
BEGIN ATOMIC
    WITH verdict AS (
        SELECT s.hpx29 >> (2 * (29 - preprocess_flag_map.healpix_order)) AS healpix_cell, p.flag, p.kept
        FROM archive.preprocess p
        JOIN archive.preprocess_config c ON c.preprocess_config_id = p.preprocess_config_id
        JOIN archive.observation o ON o.observation_id = p.observation_id
        JOIN archive.source s ON s.source_id = o.source_id
        WHERE c.hash = preprocess_flag_map.config_hash
          AND o.release_id = api.release_id(preprocess_flag_map.release_name)
          AND (SELECT api.check_order(preprocess_flag_map.healpix_order)
                      AND api.release_id(preprocess_flag_map.release_name) IS NOT NULL)
    ), named AS (
        SELECT d.name, d.value FROM archive.flag_definition d WHERE d.registry = 'preprocess'
        UNION ALL
        SELECT 'OUT', 0
    )
    SELECT v.healpix_cell, n.name, count(*),
           count(*) FILTER (WHERE CASE WHEN n.value = 0 THEN NOT v.kept ELSE n.value & v.flag <> 0 END),
           avg((CASE WHEN n.value = 0 THEN NOT v.kept ELSE n.value & v.flag <> 0 END)::integer)::double precision
    FROM verdict v CROSS JOIN named n
    GROUP BY v.healpix_cell, n.name, n.value
    ORDER BY v.healpix_cell, n.value;
END;
COMMENT ON FUNCTION api.preprocess_flag_map(text, text, integer) IS
'By HEALPix cell (nested, of an order) the share of a release''s images that each flag of a preprocessing configuration (its hash) is on; the flag OUT stands for all images that are not kept. Images without a position are left out.
healpix_cell: HEALPix cell of the order, nested [ucd: pos.healpix]
flag_name: Name of the flag, or OUT [ucd: meta.code]
n_image: Images in the cell with a verdict [ucd: meta.number]
n_flagged: Those with the flag [ucd: meta.number]
fraction: Share of the images with the flag [ucd: stat.value;arith.ratio]';
