"""Fits of spectra that labels were taken from, with those that failed and why."""

from alembic import op

revision = "a0013"
down_revision = "a0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add table archive.label_fit."""
    op.get_bind().exec_driver_sql(
        """
CREATE TABLE archive.label_fit (
    observation_id BIGINT NOT NULL,
    origin TEXT NOT NULL,
    log_age DOUBLE PRECISION,
    log_age_err DOUBLE PRECISION,
    mh DOUBLE PRECISION,
    mh_err DOUBLE PRECISION,
    chi2 DOUBLE PRECISION,
    a_v DOUBLE PRECISION,
    velocity_km_s DOUBLE PRECISION,
    dispersion_km_s DOUBLE PRECISION,
    n_pixel INTEGER,
    n_realisation INTEGER,
    reason TEXT,
    run_id BIGINT NOT NULL,
    input_hash TEXT NOT NULL,
    modified_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_label_fit PRIMARY KEY (observation_id, origin),
    CONSTRAINT ck_label_fit_outcome CHECK ((reason IS NULL) = (log_age IS NOT NULL AND mh IS NOT NULL)),
    CONSTRAINT fk_label_fit_observation_id FOREIGN KEY(observation_id)
        REFERENCES archive.observation (observation_id) ON DELETE CASCADE,
    CONSTRAINT fk_label_fit_origin FOREIGN KEY(origin) REFERENCES archive.label_origin (origin),
    CONSTRAINT fk_label_fit_run_id FOREIGN KEY(run_id) REFERENCES archive.run (run_id)
)
"""
    )
