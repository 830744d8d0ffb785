CREATE OR REPLACE VIEW api.data_file AS
SELECT r.release, f.path, f.format, f.state, f.reason, f.n_row, f.n_loaded, f.n_rejected, f.size_bytes, f.mtime,
       f.sha256, f.chunk_sha256, f.modified_at, t.path AS root, f.data_file_id, f.run_id
FROM archive.data_file f
JOIN archive.data_release r ON r.release_id = f.release_id
JOIN archive.data_root t ON t.data_root_id = f.data_root_id;
COMMENT ON VIEW api.data_file IS
    'Every file that was ingested, and what became of its rows: n_row = n_loaded + n_rejected.';
COMMENT ON COLUMN api.data_file.release IS 'Name of the data release [ucd: meta.id]';
COMMENT ON COLUMN api.data_file.path IS 'Path relative to its root [ucd: meta.id]';
COMMENT ON COLUMN api.data_file.root IS 'Directory that the path is relative to [ucd: meta.id]';
COMMENT ON COLUMN api.data_file.data_file_id IS 'Number of the file [ucd: meta.id;meta.main]';

CREATE OR REPLACE VIEW api.rejected_row AS
SELECT r.release, f.path, w.row_index, w.native_id, w.reason, w.data_file_id
FROM archive.rejected_row w
JOIN archive.data_file f ON f.data_file_id = w.data_file_id
JOIN archive.data_release r ON r.release_id = f.release_id;
COMMENT ON VIEW api.rejected_row IS 'Rows of loaded files that were not loaded, with the reason.';
COMMENT ON COLUMN api.rejected_row.release IS 'Name of the data release [ucd: meta.id]';
COMMENT ON COLUMN api.rejected_row.path IS 'File of the row, relative to its root [ucd: meta.id]';
COMMENT ON COLUMN api.rejected_row.data_file_id IS 'Number of the file [ucd: meta.id]';
