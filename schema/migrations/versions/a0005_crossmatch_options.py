"""Options of crossmatches, and those that are being made beside those that are done."""

from alembic import op

revision = "a0005"
down_revision = "a0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to archive.crossmatch_run; two rows a pair of releases, one running and one done."""
    op.get_bind().exec_driver_sql(
        "ALTER TABLE archive.crossmatch_run "
        "ADD COLUMN min_radius_arcsec DOUBLE PRECISION DEFAULT 0 NOT NULL, "
        "ADD COLUMN nearest INTEGER, "
        "ADD COLUMN mutual_best BOOLEAN DEFAULT false NOT NULL, "
        "ADD COLUMN epoch DOUBLE PRECISION, "
        "ADD COLUMN positions_hash TEXT, "
        "ADD COLUMN state TEXT DEFAULT 'done' NOT NULL, "
        "ADD CONSTRAINT ck_crossmatch_run_state CHECK (state IN ('running', 'done')), "
        "DROP CONSTRAINT uq_crossmatch_run_left_release_id_right_release_id, "
        "ADD CONSTRAINT uq_crossmatch_run_left_release_id_right_release_id_state "
        "UNIQUE (left_release_id, right_release_id, state)"
    )
