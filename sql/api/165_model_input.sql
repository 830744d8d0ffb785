-- What a model reads. An image is read where its preprocessing keeps it; a spectrum where it covers 3830 to 8000 Angstrom,
-- and, for networks that look at wavelengths at rest, where its redshift is known and without a warning. A model of both
-- reads the image with one spectrum of the same galaxy, and its prediction belongs to the image; without a spectrum there
-- is none, and nothing else takes its place. A model of some bands reads images that have them.
CREATE OR REPLACE VIEW api.spectrum_input AS
SELECT o.observation_id, o.source_id, o.release_id, o.data_file_id, o.row_index, r.priority, r.simulated,
       s.wave_min_angstrom <= 3830 AND s.wave_max_angstrom >= 8000 AS is_covered,
       s.z > -1 AND coalesce(s.z_warning, 0) = 0 IS TRUE AS has_redshift,
       coalesce(f.sha256, f.chunk_sha256) || ' ' || o.row_index || ' ' || coalesce(s.z::text, '') AS content_hash,
       greatest(o.modified_at, f.modified_at) AS changed_at
FROM archive.observation o
JOIN archive.spectrum s ON s.observation_id = o.observation_id
JOIN archive.data_file f ON f.data_file_id = o.data_file_id
JOIN archive.data_release r ON r.release_id = o.release_id
WHERE o.kind = 'spectrum';
COMMENT ON VIEW api.spectrum_input IS 'Spectra as networks read them, and which can be read.';
COMMENT ON COLUMN api.spectrum_input.observation_id IS 'The spectrum [ucd: meta.id;meta.main]';
COMMENT ON COLUMN api.spectrum_input.source_id IS 'Source that it is of [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_input.release_id IS 'Number of its release [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_input.data_file_id IS 'Number of its file [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_input.row_index IS 'Row in the file, counted from 0 [ucd: meta.number]';
COMMENT ON COLUMN api.spectrum_input.priority IS 'Priority of its release, lowest first [ucd: meta.code]';
COMMENT ON COLUMN api.spectrum_input.simulated IS 'Whether it is simulated [ucd: meta.code]';
COMMENT ON COLUMN api.spectrum_input.is_covered IS 'Whether it covers 3830 to 8000 Angstrom, observed [ucd: meta.code]';
COMMENT ON COLUMN api.spectrum_input.has_redshift IS
    'Whether its redshift is known and without a warning [ucd: meta.code]';
COMMENT ON COLUMN api.spectrum_input.content_hash IS 'Its file''s hash, its row and its redshift [ucd: meta.id]';
COMMENT ON COLUMN api.spectrum_input.changed_at IS 'When it was last written [ucd: time]';

-- Networks of some bands name them in their recipe; those whose scalars are of kind `growth` read the widths of the PSF.
-- GaLNet (kind `sersic`) needs calibrated pixels, enough of them, and its band's PSF within what it was trained on.
CREATE OR REPLACE FUNCTION api.image_input(
    calibration jsonb, bands text[], psf_fwhm_arcsec real[], pixel_scale_arcsec double precision, is_display boolean,
    side_px integer)
RETURNS TABLE (is_usable boolean, psf text, psf_missing boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (image_input.calibration #> '{recipe,bands}' IS NULL
            OR image_input.bands @> ARRAY(SELECT jsonb_array_elements_text(image_input.calibration #> '{recipe,bands}')))
           AND (NOT r.measures
                OR NOT image_input.is_display
                   AND image_input.side_px >= (image_input.calibration #>> '{recipe,least_px}')::integer
                   AND image_input.psf_fwhm_arcsec[
                           array_position(image_input.bands, image_input.calibration #>> '{recipe,bands,0}')]
                       / image_input.pixel_scale_arcsec
                       BETWEEN (image_input.calibration #>> '{recipe,psf_fwhm_px,0}')::float8
                           AND (image_input.calibration #>> '{recipe,psf_fwhm_px,1}')::float8) IS TRUE,
           CASE WHEN r.reads OR r.measures
                THEN ' psf ' || coalesce(array_to_string(image_input.psf_fwhm_arcsec, ',', '?'), '') ELSE '' END,
           r.reads AND (image_input.psf_fwhm_arcsec IS NULL
                        OR num_nonnulls(array_position(image_input.psf_fwhm_arcsec, NULL::real),
                                        array_position(image_input.psf_fwhm_arcsec, 'NaN'::real)) > 0)
    FROM (VALUES (coalesce(image_input.calibration #>> '{recipe,scalars}' = 'growth', false),
                  coalesce(image_input.calibration #>> '{recipe,kind}' = 'sersic', false))) r (reads, measures);
END;
COMMENT ON FUNCTION api.image_input(jsonb, text[], real[], double precision, boolean, integer) IS
'What a model reads of an image beside its pixels, from its calibration and what is known of the image.
is_usable: Whether the image has the bands that it reads and, to be measured, pixels and a PSF that it can [ucd: meta.code]
psf: What its prediction''s hash holds of them; empty if it reads none [ucd: meta.id]
psf_missing: Whether it reads some that are not known [ucd: meta.code]';

CREATE OR REPLACE FUNCTION api.model_input(model_id bigint)
RETURNS TABLE (
    observation_id bigint, source_id bigint, release_id bigint, data_file_id bigint, row_index bigint,
    spectrum_observation_id bigint, is_wanted boolean, content_hash text, preprocess_flag bigint,
    pixel_scale_known boolean, psf_missing boolean, simulated boolean, changed_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT o.observation_id, o.source_id, o.release_id, o.data_file_id, o.row_index, NULL::bigint,
           p.kept AND w.is_usable,
           p.input_hash || w.psf, p.flag, i.pixel_scale_arcsec IS NOT NULL, w.psf_missing, r.simulated, p.modified_at
    FROM archive.model m
    JOIN archive.observation o ON o.kind = 'image'
    JOIN archive.image i ON i.observation_id = o.observation_id
    JOIN archive.data_release r ON r.release_id = o.release_id
    LEFT JOIN archive.preprocess p
           ON p.observation_id = o.observation_id AND p.preprocess_config_id = m.preprocess_config_id
    CROSS JOIN LATERAL api.image_input(m.calibration, i.bands, i.psf_fwhm_arcsec, i.pixel_scale_arcsec, i.is_display,
                                       least(i.width, i.height)) w
    WHERE m.model_id = model_input.model_id AND m.input_kind = 'image'
    UNION ALL
    SELECT s.observation_id, s.source_id, s.release_id, s.data_file_id, s.row_index, s.observation_id,
           s.is_covered AND (s.has_redshift OR m.calibration #>> '{recipe,spectrum}' <> 'rest'), s.content_hash,
           0::bigint, true, false, s.simulated, s.changed_at
    FROM archive.model m
    CROSS JOIN api.spectrum_input s
    WHERE m.model_id = model_input.model_id AND m.input_kind = 'spectrum'
    UNION ALL
    SELECT o.observation_id, o.source_id, o.release_id, o.data_file_id, o.row_index, y.observation_id,
           p.kept AND w.is_usable
               AND y.observation_id IS NOT NULL, p.input_hash || w.psf || ' ' || y.content_hash, p.flag,
           i.pixel_scale_arcsec IS NOT NULL, w.psf_missing, r.simulated AND coalesce(y.simulated, true),
           greatest(p.modified_at, y.changed_at)
    FROM archive.model m
    JOIN archive.observation o ON o.kind = 'image'
    JOIN archive.image i ON i.observation_id = o.observation_id
    JOIN archive.data_release r ON r.release_id = o.release_id
    LEFT JOIN archive.preprocess p
           ON p.observation_id = o.observation_id AND p.preprocess_config_id = m.preprocess_config_id
    CROSS JOIN LATERAL api.image_input(m.calibration, i.bands, i.psf_fwhm_arcsec, i.pixel_scale_arcsec, i.is_display,
                                       least(i.width, i.height)) w
    LEFT JOIN LATERAL (
        SELECT s.observation_id, s.content_hash, s.simulated, s.changed_at
        FROM archive.galaxy_member own
        JOIN archive.galaxy_member other ON other.galaxy_id = own.galaxy_id
        JOIN api.spectrum_input s ON s.source_id = other.source_id
        WHERE own.source_id = o.source_id AND s.is_covered
          AND (s.has_redshift OR m.calibration #>> '{recipe,spectrum}' <> 'rest')
        ORDER BY s.priority, s.release_id, other.separation_arcsec, s.source_id, s.observation_id
        LIMIT 1
    ) y ON true
    WHERE m.model_id = model_input.model_id AND m.input_kind = 'image+spectrum';
END;
COMMENT ON FUNCTION api.model_input(bigint) IS
'The observations that a model reads, with what its prediction of each is made from.
observation_id: Image or spectrum that a prediction belongs to [ucd: meta.id;meta.main]
source_id: Its source; NULL where no position is known [ucd: meta.id]
release_id: Number of its release [ucd: meta.id]
data_file_id: Number of its file [ucd: meta.id]
row_index: Row in the file, counted from 0 [ucd: meta.number]
spectrum_observation_id: Spectrum that is read; NULL without one [ucd: meta.id]
is_wanted: Whether it shall have a prediction; NULL before preprocessing [ucd: meta.code]
content_hash: Hash of pixels, preprocessing, spectrum and widths of the PSF, of what it reads [ucd: meta.id]
preprocess_flag: Flags of its preprocessing, registry ''preprocess'' [ucd: meta.code.qual]
pixel_scale_known: Whether an image''s pixel scale is known [ucd: meta.code]
psf_missing: Whether the width of the PSF is read in a band in which it is not known [ucd: meta.code]
simulated: Whether all that is read is simulated [ucd: meta.code]
changed_at: When any of it was last written [ucd: time]';
