"""The tables of schema `archive`; comments, units and flags are refreshed at every upgrade."""

from pathlib import Path

from alembic import op

revision = "a0001"
down_revision = None
branch_labels = None
depends_on = None

PARTS = ("provenance", "sky", "legacysurvey", "sdss", "observation", "knowledge")


def upgrade() -> None:
    """Create schemas and tables; statements in the files are separated by an empty line."""
    connection = op.get_bind()
    for schema in ("archive", "api", "catalogue"):
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for part in PARTS:
        text = (Path(__file__).parent / "a0001" / f"{part}.sql").read_text(encoding="utf-8")
        for statement in text.strip().split("\n\n"):
            connection.exec_driver_sql(statement.replace("%", "%%"))
