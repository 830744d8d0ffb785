"""Sersic parameters are properties like others, and a model may have learned from stamps that are in no archive."""

from alembic import op

revision = "a0016"
down_revision = "a0015"
branch_labels = None
depends_on = None

ADDED = ("mag_sersic", "re_sersic", "n_sersic", "q_sersic")


def upgrade() -> None:
    """Add four properties, and let a model have no training set."""
    run = op.get_bind().exec_driver_sql
    for name in ADDED:
        run(f"SELECT archive.add_served_property('{name}')")
    run("ALTER TABLE archive.model ALTER COLUMN training_set_id DROP NOT NULL")
